"""Writes that wait for replicas: what they confirm, and what they do not, which is there once all the same."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import redis.asyncio
from redis_faults.load import LOG, LOG_SPAN, SUM, fresh_id, one, redis_key, session
from support.pair import LATER, SOON, Pair, doubted
from support.proxy import Proxy
from support.servers import RedisServer
from support.waiting import wait_until
from support.workers import Use

from langgraph_sessionstore import (
    NotReplicated,
    keys,
)
from langgraph_sessionstore.ops import (
    Add,
    Append,
    Call,
    Conflict,
    Count,
    Delete,
    Drop,
    Expect,
    Expire,
    Get,
    Op,
    Page,
    Put,
    PutNew,
    Range,
    Touch,
)


def key_of(number: int) -> bytes:
    return keys.sequence(LOG, number)


# -- confirmed


def test_a_write_is_confirmed_in_its_own_trip_and_a_read_does_not_wait(use: Use, pair: Pair) -> None:
    with Proxy(pair.master.host, pair.master.port) as proxy:
        worker = use(f"redis://{proxy.host}:{proxy.port}/0", **LATER)
        name, registry = session(), session()
        worker.do(name, Put(b"k", b"1"))
        worker.do(name, Get(b"k"))
        writes: list[tuple[Call, ...]] = [
            (one(name, Put(b"k", b"2")),),
            (one(name, Range(b"", None), Add(SUM, 1), Range(b"", None)),),
            (one(name, Add(SUM, 1), op_id=fresh_id()),),
            (one(registry, Touch(name)), *[one(session(), Put(b"k", b"1")) for _ in range(20)]),
            (Call(session(), one(session(), Get(b"k")).batch, name),),
        ]
        reads: list[tuple[Call, ...]] = [
            (one(name, Get(b"k")),),
            (one(name, Get(b"k"), Range(b"", None), Count(b"", None)), one(registry, Page())),
            (one(name, Expect(b"k", True), Get(b"k")),),
        ]
        for calls, ordered in itertools.product([*writes, *reads], [False, True]):
            trips, waits, copied = proxy.round_trips, pair.waits(), session()
            calls = tuple(call._replace(partition=copied) if call.source else call for call in calls)
            assert all(isinstance(answer, list) for answer in worker.answers(*calls, ordered=ordered))
            assert proxy.round_trips == trips + 1
            assert pair.waits() == waits + any(call.writes for call in calls)
        assert proxy.connections <= 2


def test_without_the_option_nothing_waits(use: Use, pair: Pair) -> None:
    pair.replica.pause()
    waits = pair.waits()
    sizes = []
    use(pair.master.url).do(session(), Add(SUM, 1))  # the server knows the script
    for options in ({}, {"wait_replicas": 0, "wait_timeout": 1}):
        with Proxy(pair.master.host, pair.master.port) as proxy:
            worker = use(f"redis://{proxy.host}:{proxy.port}/0", **options)
            for ops in ((Add(SUM, 1),), (Range(b"", None), Append(LOG, b"x"), Range(b"", None))):
                worker.do(session(), *ops)
            sizes.append((proxy.bytes_up, proxy.round_trips))
    assert sizes[0] == sizes[1]
    assert pair.waits() == waits


# -- too few


def test_what_too_few_have_confirmed_is_there_once(use: Use, pair: Pair) -> None:
    worker, name = use(pair.master.url, **SOON), session()
    beside = (Range(*LOG_SPAN), Append(LOG, b"y"), Add(SUM, 1), Count(*LOG_SPAN))
    use(pair.master.url, **LATER).do(name, Put(b"k", b"1"))
    pair.replica.pause()
    assert doubted(worker.answers(one(name, Append(LOG, b"x"), Add(SUM, 1)))) == [[key_of(0), 1]]
    assert doubted(worker.answers(one(name, *beside))) == [[[(key_of(0), b"x")], key_of(1), 2, 2]]
    assert worker.do(name, Get(SUM), Range(*LOG_SPAN)) == [b"2", [(key_of(0), b"x"), (key_of(1), b"y")]]
    # what has written nothing needs nobody's word
    assert worker.answers(one(name, Expect(b"k", False), Put(b"k", b"2"))) == [Conflict(0)]
    assert worker.answers(Call(session(), one(name).batch, session())) == [Conflict(-1)]


def test_calls_of_one_trip_have_each_their_answer(use: Use, pair: Pair) -> None:
    worker = use(pair.master.url, **SOON)
    name, other = session(), session()
    calls = [
        one(name, Add(SUM, 1)),
        one(other, Get(b"k")),
        one(name, Add(SUM, 1)),
        one(name, Expect(b"k", True), Add(SUM, 1)),
        one(name, Add(SUM, 1)),
    ]
    pair.replica.pause()
    first, read, second, conflict, third = worker.answers(*calls)
    assert doubted([first, second, third]) == [[1], [2], [3]]
    assert (read, conflict) == ([None], Conflict(0))
    first, read, second, conflict, third = worker.answers(*calls, ordered=True)
    assert doubted([first, second]) == [[4], [5]]  # applied, so those behind are tried
    assert (read, conflict, third) == ([None], Conflict(0), Conflict(-1))
    with pytest.raises(NotReplicated) as caught:
        worker.execute(*calls[:3])
    assert caught.value.result == [[6], [None], [7]]
    assert worker.do(name, Get(SUM)) == [b"7"]


@pytest.mark.parametrize("servers", ["6.2", "7"], indirect=True)
def test_a_retry_with_the_same_id_waits_again(use: Use, pair: Pair) -> None:
    """Also on a connection that has written nothing itself, for which servers from 7.2 on would not wait."""
    name, again = session(), one(session(), Get(b"k"))
    call = one(name, Append(LOG, b"x"), Add(SUM, 1), op_id=fresh_id())
    first, second = use(pair.master.url, **SOON), use(pair.master.url, **SOON)
    second.execute(again)
    pair.replica.pause()
    assert doubted(first.answers(call)) == [[key_of(0), 1]]
    for worker in (first, second):
        assert doubted(worker.answers(call)) == [[key_of(0), 1]]
        assert doubted(worker.answers(call, again, ordered=True)[:1]) == [[key_of(0), 1]]
    pair.replica.resume()
    patient = use(pair.master.url, **LATER)
    assert patient.answers(call) == [[key_of(0), 1]]
    assert patient.do(name, Get(SUM)) == [b"1"]


def test_replicas_hear_of_a_batch_that_changes_nothing(use: Use, pair: Pair) -> None:
    """So that a confirmation covers what it has found there; and what it has found stays as it is.

    (6.2 waits for all that was there when it was asked, and need not be told.)
    """
    worker, plain = use(pair.master.url, **LATER), use(pair.master.url)
    for seconds in (None, 5000):
        name, op_id = session(), fresh_id()
        worker.do(name, Put(b"k", b"1"), Expire(ttl=seconds and seconds * 1000))
        worker.do(name, Add(SUM, 1), op_id=op_id)
        cases: list[tuple[bytes, tuple[Op, ...], bytes | None]] = [
            (name, (Add(SUM, 1),), op_id),
            (name, (Delete(b"nothing"),), None),
            (name, (PutNew(b"k", b"2"),), None),
            (session(), (Delete(b"nothing"),), None),
            (session(), (Drop(),), None),
        ]
        before = found(pair.master, name)
        for partition, ops, given in cases:
            changes = []
            for each in (plain, worker):
                before_it = pair.changes()
                each.do(partition, *ops, op_id=given)
                changes.append(pair.changes() - before_it)
            assert changes[0] == 0 < changes[1], ops
            assert partition == name or not pair.master.ask("EXISTS", redis_key(partition))
        assert found(pair.master, name) == before
        wait_until(lambda: found(pair.replica, name) == before, "the replica has the same")  # noqa: B023


def found(server: RedisServer, partition: bytes) -> Any:
    """All of a partition, and when it ends."""
    key = redis_key(partition)
    with redis.Redis(host=server.host, port=server.port) as client:
        return client.zrange(key, 0, -1), client.execute_command("PEXPIRETIME", key)


def test_a_connection_that_breaks_while_it_waits_leaves_what_was_applied(use: Use, pair: Pair) -> None:
    worker, name = use(pair.master.url, **LATER), session()
    worker.do(name, Put(b"k", b"1"))
    pair.replica.pause()
    waits = pair.waits()

    def cut() -> None:
        wait_until(lambda: "blocked_clients:1\r\n" in pair.master.ask("INFO", "clients"), "somebody waits")
        pair.master.ask("CLIENT", "KILL", "TYPE", "normal")

    with ThreadPoolExecutor(1) as pool:
        cutting = pool.submit(cut)
        (answer,) = worker.answers(one(name, Add(SUM, 1), op_id=fresh_id()))
        cutting.result()
    assert isinstance(answer, NotReplicated)
    assert "the connection broke before replicas could confirm it" in str(answer)
    assert answer.result == [1]
    assert worker.do(name, Get(SUM)) == [b"1"]
    assert pair.waits() <= waits + 1  # and was not sent again


def test_a_server_that_does_not_wait_is_told(use: Use, pair: Pair) -> None:
    pair.master.ask("ACL", "SETUSER", "hasty", "on", ">pw", "~*", "+@all", "-wait")
    worker, name = use(pair.master.url.replace("://", "://hasty:pw@"), **SOON), session()
    with pytest.raises(NotReplicated, match=r"Redis does not wait for replicas: .*permission") as caught:
        worker.do(name, Add(SUM, 1))
    assert caught.value.result == [[1]]
    assert worker.do(name, Get(SUM)) == [b"1"]
