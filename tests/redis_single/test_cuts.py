"""Connections that break."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis_single.wire import (
    append_ops,
    children,
    url_of,
    warm,
)
from support.proxy import Proxy
from support.servers import RedisServer
from support.workers import Use

from langgraph_sessionstore import (
    BackendUnavailable,
    ForeignStorage,
    OutcomeUnknown,
    keys,
    open_backend,
)
from langgraph_sessionstore.ops import (
    Add,
    Batch,
    Call,
    Count,
    Delete,
    Drop,
    Expect,
    Expire,
    Get,
    Op,
    Put,
    Range,
    etag,
)

# -- broken connections


@pytest.mark.parametrize("cut", [0, 1, 4, 9, 20])
@pytest.mark.parametrize("side", ["request", "reply"])
def test_a_cut_append_with_an_operation_id_is_applied_once(
    use: Use, proxy: Proxy, name: bytes, side: str, cut: int
) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    for number in range(3):
        getattr(proxy, f"cut_after_{side}_bytes")(cut)
        made = worker.do(name, *append_ops(number), op_id=b"%d" % number)
        assert made == [keys.sequence(b"a", number), number + 1]
    assert proxy.cuts == 3


@pytest.mark.parametrize("cut", [0, 1, 4, 9, 20])
@pytest.mark.parametrize("side", ["request", "reply"])
def test_a_cut_append_without_an_operation_id_is_never_applied_twice(
    use: Use, proxy: Proxy, name: bytes, side: str, cut: int
) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    for number in range(3):
        worker.do(name, Get(b"warm"))  # connects: a connection that breaks while it opens is another case
        getattr(proxy, f"cut_after_{side}_bytes")(cut)
        with pytest.raises(OutcomeUnknown, match="may have been applied"):
            worker.do(name, *append_ops(number))
    assert proxy.cuts == 3
    count, total = worker.do(name, Count(*children(b"a")), Get(b"n"))
    assert int(total or 0) == count
    assert count == (3 if side == "reply" else 0)


def test_a_transaction_cut_at_every_byte_is_whole_or_not_there(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    batch = (Range(b"", None), Put(b"x", b"1"), Put(b"y", b"1"), Add(b"n", 1), Range(b"", None))
    worker.do(name, *batch)
    size = proxy.bytes_up
    applied = 1
    for cut in [*range(0, size, 37), size - 1]:
        proxy.cut_after_request_bytes(cut)
        with pytest.raises(OutcomeUnknown):
            worker.do(name, *batch)
        assert worker.do(name, Get(b"n")) == [b"%d" % applied]
    proxy.cut_after_reply_bytes(0)
    with pytest.raises(OutcomeUnknown):
        worker.do(name, *batch)
    assert worker.do(name, Get(b"n")) == [b"2"]


def test_a_cut_guarded_batch_is_unknown_and_not_a_conflict_with_itself(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    guarded = (Expect(b"warm", etag(b"1")), Put(b"warm", b"2"))
    proxy.cut_after_reply_bytes(0)
    with pytest.raises(OutcomeUnknown):
        worker.do(name, *guarded)
    assert worker.do(name, Get(b"warm")) == [b"2"]
    worker.do(name, Put(b"warm", b"1"))
    proxy.cut_after_reply_bytes(0)
    assert worker.do(name, *guarded, op_id=b"id") == [None, None]


def test_reads_and_what_is_declared_repeatable_do_not_notice_a_cut(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    worker.do(name, Put(b"k", b"1"))
    for side in ("request", "reply"):
        getattr(proxy, f"cut_after_{side}_bytes")(2)
        assert worker.execute(Call(name, Batch(Put(b"k", b"1"), repeatable=True))) == [[None]]
        cases: list[tuple[tuple[Op, ...], list[Any]]] = [
            ((Get(b"k"), Expect(b"k", True)), [b"1", None]),
            ((Range(b"k", b"l"),), [[(b"k", b"1")]]),
        ]
        for ops, replies in cases:
            getattr(proxy, f"cut_after_{side}_bytes")(2)
            assert worker.do(name, *ops) == replies
    assert proxy.cuts == 6


def test_a_plain_put_is_not_repeated_behind_the_back_of_others(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    for op in (Put(b"warm", b"2"), Drop(), Expire(at=9 * 10**12)):
        proxy.cut_after_reply_bytes(0)
        with pytest.raises(OutcomeUnknown):
            worker.do(name, op)
        worker.do(name, Get(b"warm"))


def test_ordered_calls_stay_in_order_when_the_script_is_lost(
    use: Use, proxy: Proxy, name: bytes, redis_of_the_module: RedisServer
) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    for _ in range(2):
        with redis_of_the_module.client() as client:
            client.script_flush()
        replies = worker.execute(Call(name, Batch(Add(b"n", 1))), Call(name, Batch(Get(b"n"))), ordered=True)
        assert replies[1] == [b"%d" % replies[0][0]]


def test_an_ordered_call_that_redis_refuses_stops_those_behind_it(use: Use, own_redis: RedisServer) -> None:
    worker = use(own_redis.url, prefix="app")
    one, theirs, two = keys.session("1"), keys.session("theirs"), keys.session("2")
    with own_redis.client() as client:
        client.set("app:{$session/$theirs/}", "x")
        for op in (Put(b"k", b"1"), Drop()):
            calls = [Call(one, Batch(Add(b"n", 1))), Call(theirs, Batch(op)), Call(two, Batch(Put(b"k", b"1")))]
            answers = worker.answers(*calls, ordered=True)
            assert [type(answer) for answer in answers] == [list, ForeignStorage, BackendUnavailable]
            answers = worker.answers(*calls[1:], ordered=True)
            assert [type(answer) for answer in answers] == [ForeignStorage, BackendUnavailable]
        copy = Call(theirs, Batch(), source=one)
        assert isinstance(worker.answers(copy)[0], ForeignStorage)
        assert client.get("app:{$session/$theirs/}") == b"x"
    assert worker.do(two, Get(b"k")) == [None]
    worker.touched.clear()


def test_a_delete_whose_answer_was_lost_is_settled_by_its_operation_id(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    for ops, replies in [
        ((Delete(b"warm"), Drop()), [True, None]),
        ((Expect(b"warm", True), Drop(), Put(keys.TOMBSTONE, b""), Expire(ttl=60_000)), None),
    ]:
        warm(worker, proxy, name)
        proxy.cut_after_reply_bytes(0)
        made = worker.do(name, *ops, op_id=str(ops).encode()[:64])
        assert replies is None or made == replies
        assert proxy.cuts == 1
        assert worker.rows(name) == {}


def test_a_cut_in_a_pipeline_tells_what_is_known_of_each_batch(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    calls = [Call(name, Batch(Add(b"n", 1))) for _ in range(5)]
    worker.execute(*calls)
    size = proxy.bytes_down
    proxy.cut_after_reply_bytes(size * 3 // 5)
    answers = worker.answers(*calls)
    assert answers[:3] == [[6], [7], [8]]
    assert [type(answer) for answer in answers[3:]] == [OutcomeUnknown, OutcomeUnknown]
    assert worker.do(name, Get(b"n")) == [b"10"]


def test_idle_connections_that_died_are_replaced_unnoticed(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    for number in range(3):
        assert worker.do(name, Add(b"n", 1)) == [number + 1]
        proxy.drop_all()
        if worker._loop:
            worker._loop.run_until_complete(asyncio.sleep(0.05))  # a loop that stands still notices nothing


def test_cancelled_tasks_leave_no_reply_behind(redis7: RedisServer, name: bytes) -> None:
    async def main() -> None:
        with Proxy("127.0.0.1", redis7.port) as proxy:
            async with open_backend(url_of(proxy) + "?max_connections=1") as backend:
                await backend.aexecute([Call(name, Batch(Put(b"k", b"mine")))])
                proxy.hold_replies()
                task = asyncio.ensure_future(backend.aexecute([Call(name, Batch(Get(b"other")))]))
                await asyncio.sleep(0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                proxy.release_replies()
                assert await backend.aexecute([Call(name, Batch(Get(b"k")))]) == [[b"mine"]]

    asyncio.run(main())
