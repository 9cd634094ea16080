"""The Redis backend on a cluster in trouble: slots that move, masters that die, nodes that are lost, scripts forgotten.

Rule 1: what must hold is read off the rows afterwards. Each piece of work has a number, and leaves it behind.
Rule 2: a test asserts that the trouble it is about was really met.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import uuid
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import redis
import redis.asyncio
from redis.crc import key_slot
from support.cluster_view import view_of
from support.servers import RedisCluster, RedisServer
from support.waiting import wait_until

from langgraph_sessionstore import (
    Backend,
    BackendUnavailable,
    OutcomeUnknown,
    arun,
    keys,
    run,
)
from langgraph_sessionstore.backends.redis.commands import partition_key
from langgraph_sessionstore.backends.redis.steps import Address, Arrival, Trip, errors_in
from langgraph_sessionstore.backends.redis.words import Command
from langgraph_sessionstore.ops import (
    Add,
    Append,
    Batch,
    Call,
    Conflict,
    Count,
    Expect,
    Get,
    Op,
    Plan,
    Put,
    Range,
    call,
    etag,
)
from langgraph_sessionstore.testing.worker import Worker

LOG = keys.encode("log")


SUM = keys.encode("sum")


VERSION = keys.encode("version")


OWNER = keys.encode("owner")


TEN = [keys.encode("ten", n) for n in range(10)]  # rows that are always written together, with one value


LOG_SPAN, TEN_SPAN, EDIT_SPAN = keys.below("log"), keys.below("ten"), keys.below("edit")


class Wiretap:
    """Sees every step of the wires, and loses answers when it is told to."""

    def __init__(self) -> None:
        self.steps: list[list[Address | None]] = []
        """The servers of each step; an async trip counts as a step of its own."""
        self.maps: list[Address | None] = []
        """The servers that were asked for the map."""
        self.lose_next = False
        """Whether the next answer of a script is lost, as if the connection broke after the server's work."""
        self.lose_every = 0
        """Lose one of so many answers of scripts; 0: none."""
        self._scripts = itertools.count(1)

    def after(self, trips: Sequence[Trip], arrivals: list[Arrival]) -> list[Arrival]:
        self.steps.append([trip.address for trip in trips])
        self.maps += [trip.address for trip in trips if trip.commands[0][0] == "CLUSTER"]
        done = not any(errors_in(arrival.replies) for arrival in arrivals)
        if not done or not any(is_script(command) for trip in trips for command in trip.commands):
            return arrivals
        if self.lose_next or (self.lose_every and next(self._scripts) % self.lose_every == 0):
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


def finish(worker: Worker, work: Coroutine[Any, Any, Any]) -> Any:
    assert worker._loop is not None
    return worker._loop.run_until_complete(work)


def one(partition: bytes, *ops: Op, op_id: bytes | None = None) -> Call:
    return Call(partition, Batch(*ops, op_id=op_id))


def fresh_id() -> bytes:
    return os.urandom(16)


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


def follows(node: RedisServer) -> bool:
    return "master_link_status:up" in node.ask("INFO", "replication")
