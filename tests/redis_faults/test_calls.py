"""Many calls over the nodes of a cluster, in order or not."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from redis.exceptions import NoScriptError
from redis_faults.load import (
    LOG,
    SUM,
    Wiretap,
    addresses,
    neighbours,
    one,
    redis_key,
    session,
    session_on,
    slot_of,
    work_during,
)
from support.servers import RedisCluster
from support.waiting import wait_until
from support.workers import Use

from langgraph_sessionstore import (
    BackendUnavailable,
    CorruptData,
    ForeignStorage,
    OutcomeUnknown,
    keys,
)
from langgraph_sessionstore.ops import (
    Add,
    Append,
    Batch,
    Call,
    Calls,
    Conflict,
    Expect,
    Get,
    Plan,
    Put,
    Range,
    Row,
)

# -- many calls


def test_calls_to_all_nodes_are_one_trip_each_and_fail_alone(use: Use, fragile: RedisCluster, tap: Wiretap) -> None:
    worker = use(fragile.url)
    names = [session() for _ in range(60)]
    worker.execute(*[one(name, Put(b"k", b"text")) for name in names])
    tap.visited()
    calls = [one(name, Get(b"k"), Add(SUM, n), Range(b"", None)) for n, name in enumerate(names)]
    calls[17] = one(names[17], Expect(b"k", False), Add(SUM, 1))
    calls[31] = one(names[31], Put(b"l", b"1"), Add(b"k", 1))
    found = worker.answers(*calls)
    if worker._loop is None:
        assert len(tap.steps) == 1
    visited = tap.visited()
    assert len(visited) == len(set(visited)) == len(fragile.nodes)
    for n, (name, answer) in enumerate(zip(names, found, strict=True)):
        if n == 17:
            assert answer == Conflict(1 - 1)
            assert worker.rows(name) == {b"k": b"text"}
        elif n == 31:
            assert isinstance(answer, CorruptData)
            assert "is not a counter" in str(answer)
            assert worker.rows(name) == {b"k": b"text"}
        else:
            wanted: list[Row] = [(SUM, b"%d" % n), (b"k", b"text")]
            assert answer == [b"text", n, wanted]
    tap.visited()
    assert worker.answers(*[one(name, Get(b"k")) for name in names]) == [[b"text"]] * 60
    assert sorted(map(str, tap.visited())) == sorted(map(str, addresses(fragile.nodes)))


def test_copies_travel_with_other_calls(use: Use, fragile: RedisCluster) -> None:
    worker = use(fragile.url)
    first, second, _ = fragile.masters()
    source, far, nothing, written = (session_on(fragile, node) for node in (first, second, first, second))
    near = neighbours(source, 1)[0]
    worker.execute(one(source, Put(b"k", b"1")), one(far, Put(b"old", b"1")))
    calls = [
        Call(far, Batch(Expect(b"old", True), Get(b"k")), source),
        one(written, Append(LOG, b"x")),
        Call(near, Batch(Get(b"k")), source),
        Call(session(), Batch(Put(b"k", b"2")), nothing),
        Call(far, Batch(Expect(b"old", False)), nothing),
    ]
    wanted: list[Any] = [[None, b"1"], [keys.sequence(LOG, 0)], [b"1"], Conflict(-1)]
    assert worker.answers(*calls) == [*wanted, Conflict(-1)]
    assert worker.rows(far) == worker.rows(near) == {b"k": b"1"}
    assert worker.answers(*calls[:2], ordered=True) == [Conflict(0), Conflict(-1)]


def test_calls_over_all_nodes_need_one_connection_to_each(use: Use, fragile: RedisCluster) -> None:
    """Nobody waits for a turn at one node while keeping another from it."""
    worker = use(fragile.url, max_connections=1)
    names = [session_on(fragile, node) for node in fragile.masters()]

    def step(order: Sequence[bytes]) -> Plan[None]:
        yield Calls([one(name, Add(SUM, 1)) for name in order])
        done.append(None)

    done: list[None] = []

    def wait() -> None:
        wait_until(lambda: len(done) > 300, "calls are done", 60)

    works = [(worker.backend, partial(step, order)) for order in itertools.permutations(names)]
    work_during(worker._loop, works, wait)
    assert worker.execute(*[one(name, Get(SUM)) for name in names]) == [[b"%d" % len(done)]] * 3


def test_ordered_calls_see_what_was_before_them(use: Use, fragile: RedisCluster, tap: Wiretap) -> None:
    worker = use(fragile.url)
    first, second, third = fragile.masters()
    a, b, c = (session_on(fragile, node) for node in (first, second, third))
    worker.execute(*[one(name, Put(b"warm", b"1")) for name in (a, b, c)])
    tap.visited()
    plan = [a, b, a, a, c, b, b, a, c]
    found = worker.execute(*[one(name, Add(SUM, 1), Get(SUM)) for name in plan], ordered=True)
    wanted = [plan[: n + 1].count(name) for n, name in enumerate(plan)]
    assert found == [[count, b"%d" % count] for count in wanted]
    stays = [node for node, _ in itertools.groupby(tap.visited())]
    assert stays == addresses([first, second, first, third, second, first, third])


@pytest.mark.parametrize("where", [0, 1], ids=["same-node", "other-node"])
def test_ordered_calls_end_at_what_was_not_applied(use: Use, fragile: RedisCluster, where: int) -> None:
    worker = use(fragile.url)
    a, b = session_on(fragile, fragile.masters()[0]), session_on(fragile, fragile.masters()[where])
    worker.execute(one(a, Put(b"k", b"text")), one(b, Put(b"k", b"text")))
    last = [one(b, Add(SUM, 1)), one(a, Add(SUM, 1))]
    found = worker.answers(one(a, Add(SUM, 1)), one(a, Expect(b"k", False)), *last, ordered=True)
    assert found == [[1], Conflict(0), Conflict(-1), Conflict(-1)]
    found = worker.answers(one(a, Add(SUM, 1)), one(b, Add(b"k", 1)), *last, ordered=True)
    assert found[0] == [2]
    assert isinstance(found[1], CorruptData)
    assert [type(answer) for answer in found[2:]] == [BackendUnavailable] * 2
    assert worker.do(a, Get(SUM)) == [b"2"]
    assert worker.do(b, Get(SUM)) == [None]


def test_ordered_calls_end_at_a_node_that_is_silent(use: Use, fragile: RedisCluster) -> None:
    worker = use(fragile.url + "?socket_timeout=0.4", patience=0.2)
    first, second, _ = fragile.masters()
    a, b = session_on(fragile, first), session_on(fragile, second)
    worker.execute(one(a, Put(b"warm", b"1")), one(b, Put(b"warm", b"1")))
    second.pause()
    try:
        found = worker.answers(*[one(name, Add(SUM, 1)) for name in (a, b, a, b, a)], ordered=True)
    finally:
        second.resume()
        fragile.wait_ok()
    assert found[0] == [1]
    assert isinstance(found[1], OutcomeUnknown)
    for answer in found[2:]:
        assert isinstance(answer, BackendUnavailable)
        assert str(answer).startswith("not tried")
    assert worker.do(a, Get(SUM)) == [b"1"]
    # the node did what it had received as soon as it went on, before anything later
    assert worker.do(b, Get(SUM)) == [b"1"]


def test_ordered_calls_keep_their_order_when_a_node_has_forgotten_the_script(
    use: Use, fragile: RedisCluster, met: list[Exception]
) -> None:
    worker = use(fragile.url)
    name = session()
    worker.do(name, Put(b"warm", b"1"))
    fragile.node_for(slot_of(name)).ask("SCRIPT", "FLUSH")
    found = worker.execute(one(name, Put(b"k", b"1")), one(name, Get(b"k")), ordered=True)
    assert any(isinstance(error, NoScriptError) for error in met)
    assert found == [[None], [b"1"]]


def test_ordered_calls_end_at_a_key_of_somebody_else(use: Use, fragile: RedisCluster) -> None:
    worker = use(fragile.url)
    node = fragile.masters()[0]
    theirs, ours = session_on(fragile, node), session_on(fragile, node)
    worker.do(ours, Put(b"warm", b"1"))
    node.ask("SET", redis_key(theirs), "somebody else's")
    try:
        found = worker.answers(one(theirs, Add(SUM, 1)), one(ours, Add(SUM, 1)), ordered=True)
    finally:
        node.ask("DEL", redis_key(theirs))
    assert isinstance(found[0], ForeignStorage)
    assert isinstance(found[1], BackendUnavailable)
    assert worker.do(ours, Get(SUM)) == [None]


def test_ordered_calls_wait_for_a_slot_on_its_way(use: Use, fragile: RedisCluster) -> None:
    """The move is half begun: the old node sends away, and the new one sends back."""
    worker = use(fragile.url, patience=0.2)
    old, new, _ = fragile.masters()
    torn, well = session_on(fragile, old), session_on(fragile, old)
    worker.do(well, Put(b"warm", b"1"))
    old.ask("CLUSTER", "SETSLOT", slot_of(torn), "MIGRATING", new.ask("CLUSTER", "MYID"))
    try:
        found = worker.answers(one(torn, Add(SUM, 1)), one(well, Add(SUM, 1)), ordered=True)
    finally:
        old.ask("CLUSTER", "SETSLOT", slot_of(torn), "STABLE")
    assert [type(answer) for answer in found] == [BackendUnavailable] * 2
    assert worker.do(torn, Get(SUM)) == worker.do(well, Get(SUM)) == [None]


def test_a_lost_answer_to_ordered_calls_is_never_said_to_be_refused(
    use: Use, fragile: RedisCluster, tap: Wiretap
) -> None:
    worker = use(fragile.url)
    name = session()
    worker.do(name, Put(b"warm", b"1"))
    for op_id in (b"id", None):  # with one, the first call is done again and the others follow
        before = worker.do(name, Get(SUM), Get(LOG))
        tap.lose_next = True
        first = one(name, Add(SUM, 1), op_id=op_id)
        found = worker.answers(first, one(name, Append(LOG, b"x")), ordered=True)
        assert not tap.lose_next
        after = worker.do(name, Get(SUM), Get(LOG))
        for answer, was, now in zip(found, before, after, strict=True):
            if now != was:
                assert isinstance(answer, (list, OutcomeUnknown)), found
            else:
                assert isinstance(answer, (BackendUnavailable, OutcomeUnknown)), found
