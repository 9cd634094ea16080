"""A cluster whose slots move, and copies meanwhile."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.exceptions import AskError, MovedError, NoScriptError, TryAgainError
from redis_faults.load import (
    LOG,
    OWNER,
    SUM,
    TEN,
    TEN_SPAN,
    Load,
    Wiretap,
    end_move,
    faults_in,
    finish,
    fresh_id,
    move,
    neighbours,
    one,
    others,
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
    OutcomeUnknown,
    keys,
)
from langgraph_sessionstore.backends.redis import RedisBackend
from langgraph_sessionstore.ops import (
    Add,
    Append,
    Batch,
    Call,
    Calls,
    Conflict,
    Count,
    Delete,
    Expect,
    Get,
    Op,
    Plan,
    Put,
    Range,
    call,
)
from langgraph_sessionstore.testing.checks import check_partition
from langgraph_sessionstore.testing.worker import Worker

# -- slots that move


def test_slots_move_under_load_and_nobody_notices(use: Use, moving: RedisCluster, met: list[Exception]) -> None:
    worker = use(moving.url)
    name = session()
    slot = slot_of(name)
    (beside,) = neighbours(name, 1)
    elsewhere = [session_on(moving, node) for node in moving.masters()]
    load = Load(name, beside, *elsewhere)

    def change() -> None:
        home = moving.node_for(slot)
        first, second = others(moving, home)
        for target in (first, second, home):
            moving.begin_slot_move(slot, target)
            load.progress()  # the keys are where they were
            moving.move_keys(slot, [redis_key(name)])
            load.wait_for(AskError, met)
            load.progress()  # one of them is at the new node
            moving.move_keys(slot)
            load.progress()  # both are
            end_move(moving, slot)
            load.progress()

    work_during(worker._loop, [(worker.backend, load.step)] * 4, change)
    load.check_all_went_well(worker.rows)
    kinds = {type(error) for error in met}
    assert {AskError, MovedError} <= kinds
    assert kinds <= {AskError, MovedError, NoScriptError}
    for partition in load.partitions:
        assert not worker.run(check_partition(partition))


def test_answers_are_lost_while_a_slot_moves(use: Use, fragile: RedisCluster, tap: Wiretap) -> None:
    worker = use(fragile.url)
    load = Load(session(), session())
    slot = slot_of(load.partitions[0])

    def change() -> None:
        load.progress(100)
        fragile.begin_slot_move(slot, others(fragile, fragile.node_for(slot))[0])
        load.progress(100)
        fragile.move_keys(slot)
        load.progress(100)
        end_move(fragile, slot)
        load.progress(100)

    tap.lose_every = 5
    work_during(worker._loop, [(worker.backend, load.step)] * 4, change)
    tap.lose_every = 0
    assert not load.refused
    assert load.unknown  # they were applied, but who could know
    assert not load.unknown.keys() & load.repeatable
    load.check(worker.rows)


def test_every_kind_of_batch_works_in_the_middle_of_a_move(
    use: Use, moving: RedisCluster, met: list[Exception], tap: Wiretap
) -> None:
    worker = use(moving.url)
    name = session()
    slot = slot_of(name)
    new, newer, newest = neighbours(name, 3)
    home = moving.node_for(slot)
    target = others(moving, home)[0]
    far = session_on(moving, others(moving, home)[1])
    rows = [(key, b"1") for key in TEN]
    worker.do(name, *[Put(*row) for row in rows])
    worker.do(far, Put(b"k", b"1"))

    def sent_on(work: Callable[[], Any]) -> Any:
        """Do it, and see that the old node did not."""
        met.clear()
        found = work()
        assert any(isinstance(error, AskError) for error in met)
        return found

    moving.begin_slot_move(slot, target)
    moving.move_keys(slot)
    assert sent_on(lambda: worker.do(name, Get(TEN[3]))) == [b"1"]
    assert sent_on(lambda: worker.do(name, Get(TEN[3]), Range(*TEN_SPAN), Count(*TEN_SPAN))) == [b"1", rows, 10]
    assert sent_on(lambda: worker.do(name, Put(b"k", b"1"), Add(SUM, 2))) == [None, 2]
    target.ask("SCRIPT", "FLUSH")
    beside = (Range(*TEN_SPAN), Delete(TEN[9]), Range(*TEN_SPAN))
    assert sent_on(lambda: worker.do(name, *beside)) == [rows, True, rows[:9]]
    assert any(isinstance(error, NoScriptError) for error in met)
    assert sent_on(lambda: worker.do(name, *beside, op_id=b"1")) == [rows[:9], False, rows[:9]]
    assert sent_on(lambda: worker.do(name, Expect(TEN[9], True), Put(b"k", b"2"), Range(b"", None))) == Conflict(0)
    assert sent_on(lambda: worker.do(new, Append(LOG, b"x"), Range(b"", None)))[0] == keys.sequence(LOG, 0)
    assert sent_on(lambda: worker.do(newer, Get(b"k"), Range(b"", None))) == [None, []]
    calls = [one(name, Add(SUM, 1)), one(far, Add(SUM, 1)), one(new, Get(LOG)), one(name, Add(SUM, 1), Range(LOG, SUM))]
    assert sent_on(lambda: worker.execute(*calls)) == [[3], [1], [b"1"], [4, []]]
    assert sent_on(lambda: worker.execute(*calls, ordered=True)) == [[5], [2], [b"1"], [6, []]]
    assert sent_on(lambda: worker.copy(name, far, Range(*TEN_SPAN))) == [rows[:9]]  # out of the slot
    assert sent_on(lambda: worker.copy(far, newest, Expect(keys.INCARNATION, False), Get(SUM))) == [None, b"6"]
    assert sent_on(lambda: worker.copy(far, newest, Expect(keys.INCARNATION, False))) == Conflict(0)
    assert sent_on(lambda: worker.copy(name, new, Get(b"k"))) == [b"1"]  # both are at the new node
    tap.lose_next = True
    assert sent_on(lambda: worker.do(new, Append(LOG, b"x"), Get(b"k"), op_id=b"2")) == [keys.sequence(LOG, 0), b"1"]
    assert not tap.lose_next
    worker.do(new, Delete(LOG), Delete(keys.sequence(LOG, 0)))
    end_move(moving, slot)
    met.clear()
    assert worker.do(name, Get(SUM), Get(b"k")) == [b"6", b"1"]
    assert worker.rows(new) == worker.rows(name) == worker.rows(newest) == worker.rows(far)
    assert {type(error) for error in met} == {MovedError}


def test_a_map_of_long_ago_is_corrected(use: Use, fragile: RedisCluster, met: list[Exception]) -> None:
    worker = use(fragile.url)
    names = [session_on(fragile, node) for node in fragile.masters()] * 2
    worker.execute(*[one(name, Put(b"k", b"1")) for name in names[:3]])
    for name in names[:2]:
        move(fragile, name)
    found = worker.execute(*[one(name, Add(SUM, n), Get(b"k")) for n, name in enumerate(names)])
    assert found == [[0, b"1"], [1, b"1"], [2, b"1"], [3, b"1"], [5, b"1"], [7, b"1"]]
    assert {type(error) for error in met} - {NoScriptError} == {MovedError}


def test_given_clients_follow_moving_slots(use: Use, fragile: RedisCluster, met: list[Exception]) -> None:
    worker = use(fragile.url)
    name, seed = session(), fragile.nodes[0]
    slot = slot_of(name)
    loop = worker._loop
    client: Any
    if loop:
        client = redis.asyncio.RedisCluster(host=seed.host, port=seed.port)
        given = Worker(RedisBackend(async_client=client), loop)
    else:
        client = redis.RedisCluster(host=seed.host, port=seed.port)
        given = Worker(RedisBackend(client), None)
    load = Load(name)

    def change() -> None:
        for _ in range(2):
            fragile.begin_slot_move(slot, others(fragile, fragile.node_for(slot))[0])
            fragile.move_keys(slot)
            load.wait_for(AskError, met)
            end_move(fragile, slot)
            load.progress()

    try:
        work_during(loop, [(given.backend, load.step)] * 4, change)
        load.check_all_went_well(given.rows)
        assert any(isinstance(error, MovedError) for error in met)
    finally:
        given.close()
        if loop:
            finish(worker, client.aclose())
        else:
            client.close()


# -- copies


def test_copies_are_whole_and_guarded_while_slots_move(use: Use, fragile: RedisCluster, met: list[Exception]) -> None:
    worker = use(fragile.url, patience=30)
    source = session()
    slot = slot_of(source)
    home = fragile.node_for(slot)
    near, *fresh_near = neighbours(source, 7)
    far = session_on(fragile, others(fragile, home)[0])
    load = Load(source)
    races = [(target, itertools.count()) for target in [*fresh_near, *[session() for _ in range(20)]]]
    winners: list[tuple[bytes, bytes]] = []
    copied: list[bytes] = []

    def renew() -> Plan[None]:
        """Copy over a copy again and again, for all to see."""
        for target in (far, near):
            me = fresh_id()
            (outcome,) = yield Calls([Call(target, Batch(Put(OWNER, me), Range(b"", None)), source)])
            assert not isinstance(outcome, Conflict)
            found: dict[bytes, bytes] = dict(outcome[1])
            assert found[OWNER] == me
            assert not faults_in(found), faults_in(found)
            replies = yield from call(target, Range(b"", None))
            assert not isinstance(replies, Conflict)
            assert not faults_in(dict(replies[0])), faults_in(dict(replies[0]))
            copied.append(target)

    def race() -> Plan[None]:
        """Make copies that only one may make."""
        for target, tickets in races:
            if next(tickets) < 2:
                me = fresh_id()
                batch = Batch(Expect(keys.INCARNATION, False), Put(OWNER, me), op_id=fresh_id())
                (outcome,) = yield Calls([Call(target, batch, source)])
                if outcome != Conflict(0):
                    winners.append((target, me))
                return
        yield from call(source, Get(OWNER))

    def change() -> None:
        load.progress()
        for first in (source, near):
            target = others(fragile, fragile.node_for(slot))[0]
            fragile.begin_slot_move(slot, target)
            load.progress()
            fragile.move_keys(slot, [redis_key(first)])
            load.wait_for(TryAgainError, met)  # a copy inside the slot has to wait for the end of the move
            load.progress()
            fragile.move_keys(slot)
            load.progress()
            end_move(fragile, slot)
            load.progress()
            move(fragile, far)
            load.progress()
        goal = len(copied) + 4
        wait_until(lambda: len(copied) >= goal, "copies go on")
        wait_until(lambda: all(next(tickets) > 2 for _, tickets in races), "all races are run")

    worker.do(source, *[Put(key, b"0") for key in TEN])
    works = [load.step, load.step, renew, race, race]
    work_during(worker._loop, [(worker.backend, work) for work in works], change)
    load.check_all_went_well(worker.rows)
    won = dict(winners)
    assert len(won) == len(winners)
    for target, owner in winners:
        found = worker.rows(target)
        assert found[OWNER] == owner
        assert not faults_in(found)


def test_a_copy_inside_a_torn_slot_waits_or_leaves_no_trace(use: Use, moving: RedisCluster) -> None:
    hasty, patient = use(moving.url, patience=0.2), use(moving.url, patience=30)
    source = session()
    slot = slot_of(source)
    gone_ahead, new = neighbours(source, 2)
    rows = dict.fromkeys(TEN, b"1")
    hasty.do(source, *[Put(key, b"1") for key in TEN])
    hasty.do(gone_ahead, Put(b"old", b"1"))
    moving.begin_slot_move(slot, others(moving, moving.node_for(slot))[0])
    moving.move_keys(slot, [redis_key(gone_ahead)])
    for target, before in ((gone_ahead, {b"old": b"1"}), (new, {})):
        try:
            hasty.copy(source, target)
        except BackendUnavailable:
            assert hasty.rows(target) == before
        else:
            assert hasty.rows(target) == rows

    def go_on() -> None:
        moving.move_keys(slot)
        end_move(moving, slot)

    timer = threading.Timer(0.3, go_on)
    timer.start()
    try:
        for target in (gone_ahead, new):
            patient.copy(source, target)
            assert patient.rows(target) == rows
    finally:
        timer.join()


@pytest.mark.parametrize("near", [True, False], ids=["one-slot", "two-slots"])
def test_a_copy_whose_answer_is_lost_says_so(use: Use, fragile: RedisCluster, tap: Wiretap, near: bool) -> None:
    worker = use(fragile.url)
    source = session()

    def target() -> bytes:
        return neighbours(source, 1)[0] if near else session()

    worker.do(source, Put(b"k", b"1"))
    for _ in fragile.nodes:
        worker.copy(source, target())  # the script is known
    new = Expect(keys.INCARNATION, False)

    def cut(place: bytes, *ops: Op, op_id: bytes | None = None) -> Any:
        tap.lose_next = True
        try:
            return worker.copy(source, place, *ops, op_id=op_id)
        finally:
            assert not tap.lose_next

    place = target()
    assert cut(place, new, Put(b"new", b"1"), op_id=b"id") == [None, None]
    assert worker.rows(place) == {b"k": b"1", b"new": b"1"}
    for ops in [(new, Put(b"new", b"1")), (new,), (new, Get(b"k"))]:
        place = target()
        with pytest.raises(OutcomeUnknown):
            cut(place, *ops)  # not a conflict with itself
        assert worker.rows(place)[b"k"] == b"1"
