"""The Redis backend on a cluster in trouble: slots that move, masters that die, nodes that are lost, scripts forgotten.

Rule 1: what must hold is read off the rows afterwards. Each piece of work has a number, and leaves it behind.
Rule 2: a test asserts that the trouble it is about was really met.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, NoScriptError, TryAgainError

from langgraph_sessionstore import (
    Backend,
    BackendUnavailable,
    CorruptData,
    ForeignStorage,
    OutcomeUnknown,
    arun,
    keys,
    open_backend,
    run,
)
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.backends.redis import RedisBackend, delivery
from langgraph_sessionstore.backends.redis.commands import Command, partition_key
from langgraph_sessionstore.backends.redis.steps import Address, Arrival, Trip, Trips, errors_in
from langgraph_sessionstore.backends.redis.wires import AsyncWire, SyncWire
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
    Outcome,
    Plan,
    Put,
    Range,
    Row,
    call,
    etag,
)
from langgraph_sessionstore.testing.checks import check_partition
from langgraph_sessionstore.testing.worker import Worker
from tests.support.binaries import find_binary
from tests.support.cluster_view import view_of
from tests.support.ports import free_port
from tests.support.servers import RedisCluster, RedisServer
from tests.support.waiting import wait_until

Use = Callable[..., Worker]

LOG = keys.encode("log")
SUM = keys.encode("sum")
VERSION = keys.encode("version")
OWNER = keys.encode("owner")
TEN = [keys.encode("ten", n) for n in range(10)]  # rows that are always written together, with one value
LOG_SPAN, TEN_SPAN, EDIT_SPAN = keys.below("log"), keys.below("ten"), keys.below("edit")


@pytest.fixture(params=["sync", "async"])
def use(request: pytest.FixtureRequest) -> Iterator[Use]:
    """Makes workers on a URL, all through one of the two forms."""
    loop = asyncio.new_event_loop() if request.param == "async" else None
    workers: list[Worker] = []

    def make(url: str, **options: Any) -> Worker:
        workers.append(Worker(open_backend(url, **options), loop))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()
    if loop:
        loop.close()


@pytest.fixture
def both() -> Iterator[Use]:
    """Makes workers on a URL whose backends serve threads and tasks at once, see `work_in_both_forms_during`."""
    loop = asyncio.new_event_loop()
    workers: list[Worker] = []

    def make(url: str, **options: Any) -> Worker:
        workers.append(Worker(open_backend(url, **options), loop))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()
    loop.close()


@pytest.fixture(scope="module", params=["6.2", "7"])
def moving(request: pytest.FixtureRequest) -> Iterator[RedisCluster]:
    """A cluster of either line, for what concerns the servers' own ways with a slot that moves."""
    if request.param == "7":
        yield request.getfixturevalue("fragile")
    else:
        with RedisCluster(find_binary(request.param)) as cluster:
            yield cluster


@pytest.fixture(scope="module")
def fragile() -> Iterator[RedisCluster]:
    """A cluster without replicas, whole at the beginning and at the end of each test."""
    with RedisCluster(find_binary("7")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def replicated() -> Iterator[RedisCluster]:
    """A cluster with replicas, which is healed after each kill."""
    with RedisCluster(find_binary("7"), replicas=1) as cluster:
        yield cluster


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """The errors with which servers have refused attempts, as the backend met them."""
    errors: list[Exception] = []
    refused = delivery._refused

    def record(*args: Any) -> None:
        errors.extend(arg for arg in args if isinstance(arg, Exception))
        refused(*args)

    monkeypatch.setattr(delivery, "_refused", record)
    return errors


class Wiretap:
    """Sees every step of the wires, and loses answers when it is told to."""

    def __init__(self) -> None:
        self.steps: list[list[Address | None]] = []
        """The servers of each step; an async trip counts as a step of its own."""
        self.maps: list[Address | None] = []
        """The servers that were asked for the map."""
        self.lose_next = False
        """Whether the next answer of a script is lost, as if the connection broke after the server's work."""

    def after(self, trips: Sequence[Trip], arrivals: list[Arrival]) -> list[Arrival]:
        self.steps.append([trip.address for trip in trips])
        self.maps += [trip.address for trip in trips if trip.commands[0][0] == "CLUSTER"]
        done = not any(errors_in(arrival.replies) for arrival in arrivals)
        if self.lose_next and done and any(is_script(command) for trip in trips for command in trip.commands):
            self.lose_next = False
            return [Arrival([], redis.ConnectionError("cut by the test")) for _ in trips]
        return arrivals

    def visited(self) -> list[Address | None]:
        """The servers in the order of the trips to them; forgets them."""
        found = list(itertools.chain.from_iterable(self.steps))
        self.steps.clear()
        return found


def is_script(command: Command) -> bool:
    return command[0] in ("EVAL", "EVALSHA")


@pytest.fixture
def tap(monkeypatch: pytest.MonkeyPatch) -> Wiretap:
    tap = Wiretap()
    exchange, make = SyncWire._exchange, AsyncWire._make

    def tapped_exchange(wire: SyncWire, step: Trips) -> list[Arrival]:
        return tap.after(step.trips, exchange(wire, step))

    async def tapped_make(wire: AsyncWire, trip: Trip) -> Arrival:
        return tap.after([trip], [await make(wire, trip)])[0]

    monkeypatch.setattr(SyncWire, "_exchange", tapped_exchange)
    monkeypatch.setattr(AsyncWire, "_make", tapped_make)
    return tap


# -- names and places


def redis_key(partition: bytes) -> str:
    return partition_key(b"sessionstore", partition).decode()


def slot_of(partition: bytes) -> int:
    return key_slot(redis_key(partition).encode())


def session() -> bytes:
    return keys.session(str(uuid.uuid4()))


def neighbours(partition: bytes, many: int) -> list[bytes]:
    """Names of partitions in the same slot."""
    slot, base = slot_of(partition), uuid.uuid4().hex
    names = (keys.session(f"{base}-{n}") for n in itertools.count())
    return list(itertools.islice((name for name in names if slot_of(name) == slot), many))


def session_on(cluster: RedisCluster, node: RedisServer) -> bytes:
    return next(name for name in iter(session, b"") if cluster.node_for(slot_of(name)) is node)


def others(cluster: RedisCluster, node: RedisServer) -> list[RedisServer]:
    return [one for one in cluster.masters() if one is not node]


def end_move(cluster: RedisCluster, slot: int) -> None:
    """End a move when all nodes know the epochs of all.

    A new owner takes the highest epoch that it knows of, which others outbid when it has not heard of theirs yet.
    Some nodes then go on believing in the old owner, for ever.
    """
    wait_until(lambda: epochs_agree(cluster), "all nodes know the epochs of all")
    cluster.end_slot_move(slot)


def epochs_agree(cluster: RedisCluster) -> bool:
    first, *views = [{line.id: line.epoch for line in view_of(node)} for node in cluster.nodes]
    return all(view == first for view in views) and len(set(first.values())) == len(first)


def move(cluster: RedisCluster, partition: bytes) -> None:
    """Move the slot of a partition to some other node."""
    slot = slot_of(partition)
    cluster.begin_slot_move(slot, others(cluster, cluster.node_for(slot))[0])
    cluster.move_keys(slot)
    end_move(cluster, slot)


def addresses(nodes: Sequence[RedisServer]) -> list[Address]:
    return [(node.host, node.port) for node in nodes]


# -- using the backend


def finish(worker: Worker, work: Coroutine[Any, Any, Any]) -> Any:
    assert worker._loop is not None
    return worker._loop.run_until_complete(work)


def one(partition: bytes, *ops: Op, op_id: bytes | None = None) -> Call:
    return Call(partition, Batch(*ops, op_id=op_id))


def fresh_id() -> bytes:
    return os.urandom(16)


# -- load


def faults_in(rows: dict[bytes, bytes]) -> list[str]:
    """What is wrong with the rows of a partition under load, or of a copy of one."""
    wrong = []
    log = {key: value for key, value in rows.items() if LOG_SPAN[0] <= key < LOG_SPAN[1]}
    edits = [key for key in rows if EDIT_SPAN[0] <= key < EDIT_SPAN[1]]
    ten = [rows[key] for key in TEN if key in rows]
    if list(log) != [keys.sequence(LOG, n) for n in range(len(log))] or int(rows.get(LOG, 0)) != len(log):
        wrong.append(f"{len(log)} records and the next number {rows.get(LOG)!r}, or a gap")
    if len(set(log.values())) != len(log):
        wrong.append("a record is there twice")
    if int(rows.get(SUM, 0)) != sum(map(int, log.values())):
        wrong.append("the sum is not that of the records: half a batch was applied")
    if len(ten) not in (0, 10) or len(set(ten)) > 1:
        wrong.append(f"half a batch was applied: {ten}")
    if edits != [keys.encode("edit", n + 1) for n in range(len(edits))] or int(rows.get(VERSION, 0)) != len(edits):
        wrong.append(f"{len(edits)} edits and the version {rows.get(VERSION)!r}, or a gap")
    return wrong


class Load:
    """Work on some partitions from many threads or tasks, and what became of each piece of it."""

    def __init__(self, *partitions: bytes) -> None:
        self.partitions = partitions
        self.appended: dict[int, tuple[bytes, bytes]] = {}
        """Acknowledged records: where they are."""
        self.edited: dict[int, bytes] = {}
        """Acknowledged guarded edits: where they are."""
        self.repeatable: set[int] = set()
        self.unknown: dict[int, OutcomeUnknown] = {}
        self.refused: dict[int, BackendUnavailable] = {}
        self.broken = False
        self._numbers = itertools.count(1)
        self._ended: list[int] = []
        self._kinds = (self._append, self._put_ten, self._append_beside, self._edit, self._append_bare, self._read)

    def step(self) -> Plan[None]:
        """One piece of work. Only the two errors that trouble may have are taken."""
        number = next(self._numbers)
        partition = self.partitions[number % len(self.partitions)]
        kind = self._kinds[number // len(self.partitions) % len(self._kinds)]
        try:
            yield from kind(partition, number)
        except OutcomeUnknown as error:
            self.unknown[number] = error
        except BackendUnavailable as error:
            self.refused[number] = error
        except BaseException:
            self.broken = True
            raise
        self._ended.append(number)

    def _append(self, partition: bytes, number: int) -> Plan[None]:
        self.repeatable.add(number)
        ops = (Append(LOG, b"%d" % number), Add(SUM, number))
        replies = yield from call(partition, *ops, op_id=fresh_id())
        assert not isinstance(replies, Conflict)
        self.appended[number] = partition, replies[0]

    def _append_beside(self, partition: bytes, number: int) -> Plan[None]:
        """A transaction: a long range, the script, a long range."""
        self.repeatable.add(number)
        tail = Range(*LOG_SPAN, limit=20, reverse=True)
        ops = (Range(*TEN_SPAN), Append(LOG, b"%d" % number), Add(SUM, number), tail)
        replies = yield from call(partition, *ops, op_id=fresh_id())
        assert not isinstance(replies, Conflict)
        ten, key, _, tail_rows = replies
        assert not faults_in({k: v for k, v in ten if k in TEN}), ten
        # A repeated batch reads anew, and others may have appended since; else its record is the last.
        assert (key, b"%d" % number) in tail_rows or tail_rows[0][0] > key
        self.appended[number] = partition, key

    def _append_bare(self, partition: bytes, number: int) -> Plan[None]:
        """What must not be sent twice."""
        replies = yield from call(partition, Append(LOG, b"%d" % number), Add(SUM, number))
        assert not isinstance(replies, Conflict)
        self.appended[number] = partition, replies[0]

    def _put_ten(self, partition: bytes, number: int) -> Plan[None]:
        self.repeatable.add(number)
        yield from call(partition, *[Put(key, b"%d" % number) for key in TEN], op_id=fresh_id())

    def _edit(self, partition: bytes, number: int) -> Plan[None]:
        """Raises the version by one, unless somebody was faster."""
        self.repeatable.add(number)
        seen = yield from call(partition, Get(VERSION))
        assert not isinstance(seen, Conflict)
        guard = Expect(VERSION, etag(seen[0]) if seen[0] is not None else False)
        version = int(seen[0] or 0) + 1
        ops = (guard, Put(VERSION, b"%d" % version), Put(keys.encode("edit", version), b"%d" % number))
        outcome = yield from call(partition, *ops, op_id=fresh_id())
        if not isinstance(outcome, Conflict):
            self.edited[number] = partition

    def _read(self, partition: bytes, number: int) -> Plan[None]:
        self.repeatable.add(number)
        replies = yield from call(partition, Range(b"", None), Count(*TEN_SPAN))
        assert not isinstance(replies, Conflict)
        assert not faults_in(dict(replies[0])), faults_in(dict(replies[0]))
        assert replies[1] in (0, 10)

    def progress(self, many: int = 30) -> None:
        """Wait until so many more pieces of work have ended."""
        goal = len(self._ended) + many
        wait_until(lambda: self.broken or len(self._ended) >= goal, "the load goes on", 60)

    def wait_for(self, kind: type[Exception], met: list[Exception]) -> None:
        """Wait until the work has met an error of this kind, again."""
        known = len(met)
        wait_until(lambda: self.broken or any(isinstance(error, kind) for error in met[known:]), f"{kind} is met", 60)

    def mark(self) -> int:
        """A number between the work that has begun and the work that has not."""
        return next(self._numbers)

    def check(self, rows_of: Callable[[bytes], dict[bytes, bytes]], kept_since: int = 0) -> None:
        """Nothing half or twice, nothing that was refused; and what was acknowledged since a mark is there."""
        rows = {partition: rows_of(partition) for partition in self.partitions}
        applied: dict[int, tuple[bytes, bytes]] = {}
        edits: dict[int, bytes] = {}
        for partition, found in rows.items():
            assert not faults_in(found), (partition, faults_in(found))
            for key, value in found.items():
                if LOG_SPAN[0] <= key < LOG_SPAN[1]:
                    assert int(value) not in applied, "a record was appended twice"
                    applied[int(value)] = partition, key
                elif EDIT_SPAN[0] <= key < EDIT_SPAN[1]:
                    assert int(value) not in edits, "an edit was applied twice"
                    edits[int(value)] = partition
            if TEN[0] in found:
                assert int(found[TEN[0]]) not in self.refused
        assert not self.refused.keys() & (applied.keys() | edits.keys()), "what was refused was applied"
        for number, place in self.appended.items():
            assert number < kept_since or applied.get(number) == place, (number, place, applied.get(number))
        for number, partition in self.edited.items():
            assert number < kept_since or edits.get(number) == partition
        if not kept_since:
            assert applied.keys() <= self.appended.keys() | self.unknown.keys()
            assert edits.keys() <= self.edited.keys() | self.unknown.keys()

    def check_all_went_well(self, rows_of: Callable[[bytes], dict[bytes, bytes]]) -> None:
        """Every piece of work was done, exactly once."""
        assert not self.unknown
        assert not self.refused
        assert self.appended
        assert self.edited
        self.check(rows_of)


Step = Callable[[], Plan[None]]


def work_during(
    loop: asyncio.AbstractEventLoop | None, works: Sequence[tuple[Backend, Step]], change: Callable[[], None]
) -> None:
    """Take the steps again and again, in threads or in tasks, one for each of `works`, while `change()` happens."""
    stop = threading.Event()

    def work(backend: Backend, step: Step) -> None:
        while not stop.is_set():
            run(backend, step())

    async def work_async(backend: Backend, step: Step) -> None:
        while not stop.is_set():
            await arun(backend, step())

    with ThreadPoolExecutor(len(works) + 1) as pool:
        if loop is None:
            ends = [pool.submit(work, *one) for one in works]
            try:
                change()
            finally:
                stop.set()
                for end in ends:
                    end.result()
        else:

            async def main() -> None:
                tasks = [asyncio.ensure_future(work_async(*one)) for one in works]
                try:
                    await asyncio.get_running_loop().run_in_executor(pool, change)
                finally:
                    stop.set()
                    for end in await asyncio.gather(*tasks, return_exceptions=True):
                        if isinstance(end, BaseException):
                            raise end

            loop.run_until_complete(main())


def work_in_both_forms_during(
    worker: Worker, works: Sequence[tuple[Backend, Step]], change: Callable[[], None]
) -> None:
    """Take the steps in threads and in tasks at the same time, on the same backends."""
    over = threading.Event()

    def until_over() -> None:
        assert over.wait(120)

    with ThreadPoolExecutor(1) as pool:
        threads = pool.submit(work_during, None, works, until_over)
        try:
            work_during(worker._loop, works, change)
        finally:
            over.set()
            threads.result()


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


# -- masters that die and are replaced


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_lost_master_is_replaced(both: Use, replicated: RedisCluster, how: str) -> None:
    url = replicated.url + "?socket_timeout=0.5"
    hasty, patient = both(url, patience=1), both(url, patience=30)
    victim = replicated.masters()[0]
    loads = []
    for _ in range(2):
        lost = [session_on(replicated, victim) for _ in range(2)]
        loads.append(Load(*lost, *[session_on(replicated, node) for node in others(replicated, victim)]))
    marks: list[int] = []

    def change() -> None:
        for load in loads:
            load.progress(200)
        if how == "killed":
            victim.kill()
        else:
            victim.pause()
        wait_until(lambda: loads[0].refused, "the hasty are told")
        replicated.wait_ok()
        marks.extend(load.mark() for load in loads)
        for load in loads:
            load.progress(200)
        if how == "frozen":  # it does what it has received, and learns that it is no master any more
            victim.resume()
            wait_until(lambda: follows(victim), "the old master follows the new one")
            for load in loads:
                load.progress(200)

    try:
        works = [(hasty.backend, loads[0].step), (patient.backend, loads[1].step)]
        work_in_both_forms_during(hasty, works * 2, change)
        assert re.search(r"could not be reached within 1 s: .+", str(next(iter(loads[0].refused.values()))))
        assert not loads[1].refused
        assert not loads[1].unknown.keys() & loads[1].repeatable  # the others cannot be known
        for worker, load, kept_since in zip((hasty, patient), loads, marks, strict=True):
            load.check(worker.rows, kept_since)
            assert max(load.appended) > kept_since
            for partition in load.partitions:
                assert not worker.run(check_partition(partition))
    finally:
        if victim.paused:
            victim.resume()
        victim.start()
        replicated.wait_ok()
        wait_until(lambda: all(node.role() == "master" or follows(node) for node in replicated.nodes), "all is well")


def follows(node: RedisServer) -> bool:
    return "master_link_status:up" in node.ask("INFO", "replication")


# -- nodes that are lost


def test_a_lost_node_takes_the_cluster_down_until_it_is_back(both: Use, fragile: RedisCluster) -> None:
    in_tasks = both(fragile.url, patience=0.1)
    in_threads = Worker(in_tasks.backend, None)
    victim, *rest = fragile.masters()
    lost, *left = [session_on(fragile, node) for node in (victim, *rest)]
    everything = [one(name, Append(LOG, b"x")) for name in (lost, *left)]
    count = dict.fromkeys(left, 0)  # what is there for certain

    def answers_of(worker: Worker, *calls: Call, ordered: bool = False) -> list[Answer]:
        begun = time.monotonic()
        found = worker.answers(*calls, ordered=ordered)
        assert time.monotonic() - begun < 15
        for (name, batch, *_), answer in zip(calls, found, strict=True):
            if isinstance(answer, list) and batch.writes and name in count:
                count[name] += 1
        return found

    for worker in (in_tasks, in_threads):
        assert all(isinstance(answer, list) for answer in answers_of(worker, *everything))
    victim.kill()
    try:
        for worker in (in_tasks, in_threads):
            for ops in [(Get(LOG),), (Get(LOG), Range(b"", None))]:
                (answer,) = answers_of(worker, one(lost, *ops))
                assert isinstance(answer, BackendUnavailable)
            first, *rest_answers = answers_of(worker, *everything)
            assert isinstance(first, (BackendUnavailable, OutcomeUnknown))
            # the cluster may be down already
            assert all(isinstance(answer, (list, BackendUnavailable)) for answer in rest_answers)
            first, *rest_answers = answers_of(worker, *everything, ordered=True)
            assert isinstance(first, (BackendUnavailable, OutcomeUnknown))
            assert ["not tried" in str(answer) for answer in rest_answers] == [True, True]

        def down() -> bool:
            found = answers_of(in_tasks, *[one(name, Get(LOG)) for name in left])
            for name, answer in zip(left, found, strict=True):
                assert isinstance(answer, BackendUnavailable) or answer == [b"%d" % count[name]]
            return all("The cluster is down" in str(answer) for answer in found)

        wait_until(down, "the nodes that are left give up")
        for worker in (in_tasks, in_threads):
            found = answers_of(worker, *[one(name, Append(LOG, b"x")) for name in left])
            assert [type(answer) for answer in found] == [BackendUnavailable] * 2
            for source, target in ((left[0], session()), (left[0], left[1])):
                with pytest.raises(BackendUnavailable):
                    worker.copy(source, target)
    finally:
        victim.restart()
        fragile.wait_ok()
    for number, worker in enumerate((in_tasks, in_threads)):
        wanted = [[keys.sequence(LOG, count[name])] for name in left]
        assert answers_of(worker, *[one(name, Append(LOG, b"x")) for name in left]) == wanted
        found = worker.do(lost, Append(LOG, b"x"), Get(LOG))  # a node without a disk
        assert found == [keys.sequence(LOG, number), b"%d" % (number + 1)]
    assert in_threads.copy(left[0], lost, Get(LOG)) == [b"%d" % count[left[0]]]


def test_a_silent_node_is_not_asked_for_the_map(use: Use, fragile: RedisCluster, tap: Wiretap) -> None:
    """Each time costs a time limit, also those who want something of the other nodes."""
    worker = use(fragile.url + "?socket_timeout=0.1", patience=0)
    silent, well, _ = fragile.masters()
    names = [session_on(fragile, silent), session_on(fragile, well)]
    worker.execute(*[one(name, Put(b"k", b"1")) for name in names])
    tap.maps.clear()
    silent.pause()
    try:
        for _ in range(12):
            assert isinstance(worker.answers(one(names[0], Get(b"k")))[0], BackendUnavailable)
            worker.answers(one(names[1], Get(b"k")))
    finally:
        silent.resume()
        fragile.wait_ok()
    assert len(tap.maps) >= 12
    assert (silent.host, silent.port) not in tap.maps


def test_a_cluster_that_cannot_name_its_nodes(use: Use, fragile: RedisCluster, met: list[Exception]) -> None:
    """Where a node does not know how it is reached, it sends clients to another port of the host that they know."""
    worker = use(fragile.url)
    name = session()
    slot = slot_of(name)
    try:
        for node in fragile.nodes:
            node.ask("CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint")
        assert worker.do(name, Add(SUM, 1)) == [1]
        fragile.begin_slot_move(slot, others(fragile, fragile.node_for(slot))[0])
        fragile.move_keys(slot)
        assert worker.do(name, Add(SUM, 1), Range(LOG, SUM)) == [2, []]
        end_move(fragile, slot)
        assert worker.do(name, Add(SUM, 1)) == [3]
    finally:
        for node in fragile.nodes:
            node.ask("CONFIG", "SET", "cluster-preferred-endpoint-type", "ip")
    assert {AskError, MovedError} <= {type(error) for error in met}


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


# -- scripts that a server has forgotten


def test_a_flushed_script_is_sent_again_to_the_node_that_lost_it(
    use: Use, fragile: RedisCluster, met: list[Exception], tap: Wiretap
) -> None:
    worker = use(fragile.url)
    names = [session_on(fragile, node) for node in fragile.masters()]
    worker.execute(*[one(name, Put(b"k", b"1")) for name in names])
    rounds: list[tuple[Op, ...]] = [(Add(SUM, 1),), (Range(b"k", b"l"), Add(SUM, 1), Range(*LOG_SPAN))]
    for number, ops in enumerate(rounds, 1):
        fragile.masters()[1].ask("SCRIPT", "FLUSH")
        met.clear()
        tap.visited()
        found: list[Outcome] = worker.execute(*[one(name, *ops) for name in names])
        assert [type(error) for error in met] == [NoScriptError]
        assert sorted(map(str, tap.visited())) == sorted(map(str, addresses([*fragile.nodes, fragile.masters()[1]])))
        row = [(b"k", b"1")]
        assert found == [[number] if len(ops) == 1 else [row, number, []]] * 3
        met.clear()
        worker.execute(*[one(name, *ops[:0], Get(b"k"), Put(b"k", b"1")) for name in names])
        assert met == []
    for name in names:
        target = session_on(fragile, fragile.masters()[2])
        fragile.masters()[2].ask("SCRIPT", "FLUSH")
        assert worker.copy(name, target, Get(SUM)) == [b"2"]


def test_a_flushed_script_is_no_matter_of_patience(use: Use, fragile: RedisCluster) -> None:
    worker = use(fragile.url, patience=0)
    name = session()
    worker.do(name, Get(b"k"))  # learns the map
    fragile.node_for(slot_of(name)).ask("SCRIPT", "FLUSH")
    assert worker.do(name, Add(SUM, 1)) == [1]


def test_scripts_are_flushed_under_load(use: Use, fragile: RedisCluster, met: list[Exception]) -> None:
    worker = use(fragile.url)
    load = Load(*[session_on(fragile, node) for node in fragile.masters()])

    def change() -> None:
        for node in fragile.masters() * 3:
            load.progress(20)
            node.ask("SCRIPT", "FLUSH")
        load.progress()

    work_during(worker._loop, [(worker.backend, load.step)] * 4, change)
    load.check_all_went_well(worker.rows)
    assert {type(error) for error in met} == {NoScriptError}


# -- where to begin


def test_one_seed_that_answers_is_enough(use: Use, fragile: RedisCluster) -> None:
    good = fragile.nodes[2]
    name = session()
    with ExitStack() as stack:
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))  # takes connections, and says nothing
        alone = stack.enter_context(RedisServer(find_binary("7")))  # of no cluster
        unmet = stack.enter_context(RedisServer(find_binary("7"), args=("--cluster-enabled", "yes")))  # of its own
        ports = [free_port(), mute.getsockname()[1], alone.port, unmet.port, good.port]
        seeds = ",".join(f"127.0.0.1:{port}" for port in ports)
        worker = use(f"redis+cluster://{seeds}?socket_timeout=0.3")
        assert worker.do(name, Add(SUM, 1)) == [1]
        for other in ports[:4]:
            seeds = f"127.0.0.1:{other},127.0.0.1:{good.port}"
            assert use(f"redis+cluster://{seeds}?socket_timeout=0.3").do(name, Get(SUM)) == [b"1"]


def test_without_a_seed_that_answers_the_trouble_is_named(use: Use) -> None:
    ports = [free_port() for _ in range(3)]
    seeds = ",".join(f"127.0.0.1:{port}" for port in ports)
    worker = use(f"redis+cluster://{seeds}", patience=0.1)
    begun = time.monotonic()
    for op in (Get(b"k"), Append(LOG, b"x")):
        with pytest.raises(BackendUnavailable, match=rf"within 0.1 s: .*({'|'.join(map(str, ports))})"):
            worker.do(session(), op)
    with pytest.raises(BackendUnavailable):
        worker.copy(session(), session())
    assert time.monotonic() - begun < 15
    with RedisServer(find_binary("7")) as alone:
        worker = use(f"redis+cluster://127.0.0.1:{alone.port}", patience=0.1)
        with pytest.raises(BackendUnavailable, match="cluster support disabled"):
            worker.do(session(), Get(b"k"))


def test_the_first_seeds_may_die_later(use: Use, fragile: RedisCluster) -> None:
    """What was learnt from a seed that is gone is used, and so are the nodes that it named."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        seed = f"127.0.0.1:{mute.getsockname()[1]},127.0.0.1:{fragile.nodes[0].port}"
        worker = use(f"redis+cluster://{seed}?socket_timeout=0.3")
        name = session()
        assert worker.do(name, Add(SUM, 1)) == [1]
    move(fragile, name)
    assert worker.do(name, Add(SUM, 1)) == [2]
