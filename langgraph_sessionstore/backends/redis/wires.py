"""The I/O of the Redis backend: connections out of redis-py's pools, once sync and once async.

Rule 1: no more than `most` connections for each server; who comes too late waits for its turn instead of failing.
Rule 2: a connection that was left in the middle of a reply is closed before anyone else gets it.
Rule 3: closing a wire lets trips that are under way end, and refuses new ones.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.connection import Connection as AsyncConnection
from redis.connection import Connection
from redis.exceptions import BusyLoadingError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from ...errors import BackendClosed
from ...forks import Lock
from .commands import Command
from .steps import Address, Arrival, Pause, Steps, Trip, Trips, errors_in

if sys.version_info >= (3, 11):
    from asyncio import timeout as async_timeout
else:
    from async_timeout import timeout as async_timeout  # which redis-py brings along

T = TypeVar("T")
MakePool = Callable[["Address | None"], Any]


class SyncWire:
    """Makes trips on the calling thread."""

    def __init__(self, make_pool: MakePool, most: int) -> None:
        self._make_pool = make_pool
        self._most = most
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        """Start with all turns free, as at first and in a forked child; pools know about forks themselves."""
        self._pid = os.getpid()
        self._lock = Lock()
        self._pools: dict[Address | None, Any] = {}
        self._turns: dict[Address | None, SimpleQueue[None]] = {}

    def drive(self, steps: Steps[T]) -> T:
        """Take the steps to their end."""
        if self._pid != os.getpid():
            self._begin()
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = steps.send([])
                else:
                    step = steps.send(self._exchange(step))
        except StopIteration as stop:
            result: T = stop.value
            return result

    def close(self, owned: bool) -> None:
        """Close the connections that nobody uses; trips under way close theirs. Pools of the user stay open."""
        self._closed = owned
        if owned:
            for pool in self._pools.values():
                pool.disconnect(inuse_connections=False)
                _close_sentinels(pool)

    def _exchange(self, step: Trips) -> list[Arrival]:
        """Send to all servers first, then read from all: they work at the same time."""
        arrivals: dict[int, Arrival] = {}
        open_: dict[int, tuple[Any, Any]] = {}
        turns = []
        try:
            # in one order for all threads, so that two of them never wait for each other
            for at, trip in sorted(enumerate(step.trips), key=lambda item: item[1].address or ("", 0)):
                turn = self._turn(trip.address)
                turn.get()
                turns.append(turn)
                try:
                    if self._closed:
                        raise BackendClosed("this Redis backend is closed")
                    pool = self._pool(trip.address)
                    connection = pool.get_connection()
                except Exception as exc:
                    arrivals[at] = Arrival([], exc, sent=False)
                    continue
                open_[at] = (pool, connection)
            for at, (_, connection) in open_.items():
                try:
                    connection.send_packed_command(_pack(step.trips[at].commands))
                except Exception as exc:
                    arrivals[at] = Arrival([], exc)
            for at, (pool, connection) in list(open_.items()):
                if at not in arrivals:
                    arrivals[at] = _read_all(connection, len(step.trips[at].commands))
                if self._closed or _is_spoilt(arrivals[at]):
                    connection.disconnect()
                pool.release(connection)
                del open_[at]
        finally:
            for pool, connection in open_.values():  # left in the middle, by an interrupt
                connection.disconnect()
                pool.release(connection)
            for turn in turns:
                turn.put(None)
        return [arrivals[at] for at in range(len(step.trips))]

    def _turn(self, address: Address | None) -> SimpleQueue[None]:
        with self._lock:
            if address not in self._turns:
                self._turns[address] = SimpleQueue()
                for _ in range(self._most):
                    self._turns[address].put(None)
            return self._turns[address]

    def _pool(self, address: Address | None) -> Any:
        with self._lock:
            if address not in self._pools:
                self._pools[address] = self._make_pool(address)
            return self._pools[address]


class AsyncWire:
    """Makes trips on one event loop."""

    def __init__(self, make_pool: MakePool, most: int) -> None:
        self._make_pool = make_pool
        self._most = most
        self._closed = False
        self._pools: dict[Address | None, Any] = {}
        self._turns: dict[Address | None, asyncio.Semaphore] = {}

    async def drive(self, steps: Steps[T]) -> T:
        """Take the steps to their end."""
        task = asyncio.current_task()
        before = _cancellations(task)
        try:
            step = next(steps)
            while True:
                if _cancellations(task) > before:  # one came, and was lost on the way: see `_send`
                    raise asyncio.CancelledError
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = steps.send([])
                elif len(step.trips) == 1:
                    step = steps.send([await self._make(step.trips[0])])
                else:
                    step = steps.send(await asyncio.gather(*map(self._make, step.trips)))
        except StopIteration as stop:
            if _cancellations(task) > before:
                raise asyncio.CancelledError from None
            result: T = stop.value
            return result

    async def close(self, owned: bool) -> None:
        """Close the connections that nobody uses; trips under way close theirs. Pools of the user stay open."""
        self._closed = owned
        if owned:
            for pool in self._pools.values():
                with suppress(Exception):  # a connection that is broken already
                    await pool.disconnect(inuse_connections=False)
                for sentinel in _sentinels(pool):
                    await sentinel.aclose()

    async def _make(self, trip: Trip) -> Arrival:
        if trip.address not in self._turns:
            self._turns[trip.address] = asyncio.Semaphore(self._most)
        async with self._turns[trip.address]:
            try:
                if self._closed:
                    raise BackendClosed("this Redis backend is closed")
                if trip.address not in self._pools:
                    self._pools[trip.address] = self._make_pool(trip.address)
                pool = self._pools[trip.address]
                connection = await _connection_of(pool)
            except Exception as exc:
                return Arrival([], exc, sent=False)
            try:
                if _has_died(connection):
                    await connection.disconnect(nowait=True)
                    try:
                        await connection.connect()
                    except Exception as exc:
                        return Arrival([], exc, sent=False)
                arrival = await self._talk(connection, trip)
            except BaseException:  # cancelled between request and reply
                await connection.disconnect(nowait=True)
                raise
            finally:
                await pool.release(connection)
        return arrival

    async def _talk(self, connection: Any, trip: Trip) -> Arrival:
        replies: list[Any] = []
        lost: Exception | None = None
        read = connection.read_response
        if isinstance(connection, redis.asyncio.sentinel.SentinelManagedConnection):  # it would hang up on READONLY
            read = partial(AsyncConnection.read_response, connection)
        try:
            await _send(connection, _pack(trip.commands))
            while len(replies) < len(trip.commands) and not lost:
                try:
                    replies.append(await read(disable_decoding=True))
                except Exception as exc:
                    lost = _sort(exc, replies)
        except Exception as exc:
            lost = exc
        arrival = Arrival(replies, lost)
        if self._closed or _is_spoilt(arrival):
            await connection.disconnect(nowait=True)
        return arrival


async def _connection_of(pool: Any) -> Any:
    """A connection that is open. On Python 3.10 a cancellation would be lost while it is being opened: see `_send`."""
    if sys.version_info >= (3, 11):
        return await pool.get_connection()
    opening = asyncio.ensure_future(pool.get_connection())
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        task = asyncio.ensure_future(_put_back(pool, opening))
        _RETURNING.add(task)
        task.add_done_callback(_RETURNING.discard)
        raise


_RETURNING: set[asyncio.Future[None]] = set()


async def _put_back(pool: Any, opening: asyncio.Future[Any]) -> None:
    with suppress(Exception):
        await pool.release(await opening)


def _cancellations(task: Any) -> int:
    """How often a task was told to end; Python 3.10 does not say."""
    count: int = task.cancelling() if hasattr(task, "cancelling") else 0
    return count


async def _send(connection: Any, packed: Any) -> None:
    """Send, in the time that the connection allows.

    redis-py would use `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes at the same time as
    the end of what it waits for.
    """
    seconds, connection.socket_timeout = connection.socket_timeout, None
    try:
        async with async_timeout(seconds):
            await connection.send_packed_command(packed)
    except asyncio.TimeoutError as exc:
        raise RedisTimeout("the request could not be sent in time") from exc
    finally:
        connection.socket_timeout = seconds


def _read_all(connection: Any, count: int) -> Arrival:
    replies: list[Any] = []
    lost: Exception | None = None
    read = connection.read_response
    if isinstance(connection, redis.sentinel.SentinelManagedConnection):  # it would hang up on READONLY
        read = partial(Connection.read_response, connection)
    while len(replies) < count and not lost:
        try:
            replies.append(read(disable_decoding=True))
        except Exception as exc:
            lost = _sort(exc, replies)
    return Arrival(replies, lost)


def _pack(commands: Sequence[Command]) -> list[bytes]:
    """Commands in Redis' protocol, as one piece. redis-py's own packer takes three times as long."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for word in command:
            raw = word if isinstance(word, bytes) else str(word).encode()
            parts += (b"$%d\r\n" % len(raw), raw, b"\r\n")
    return [b"".join(parts)]


def _has_died(connection: Any) -> bool:
    """Whether an idle connection broke while nobody looked, which redis-py tells only after a write."""
    reader, writer = getattr(connection, "_reader", None), getattr(connection, "_writer", None)
    return (reader is not None and (reader.exception() is not None or reader.at_eof())) or (
        writer is not None and writer.transport.is_closing()
    )


def _sort(exc: Exception, replies: list[Any]) -> Exception | None:
    """Put an error that is a reply among the replies; give back what ends the connection."""
    if isinstance(exc, ResponseError):
        replies.append(exc)
        return None
    if isinstance(exc, BusyLoadingError):  # a reply, on which redis-py hangs up
        replies.append(exc)
    return exc


def _is_spoilt(arrival: Arrival) -> bool:
    """Whether the connection is of no more use: broken, or to a master that has become a replica."""
    return arrival.lost is not None or any(
        isinstance(error, ReadOnlyError) or "READONLY" in str(error) for error in errors_in(arrival.replies)
    )


def _sentinels(pool: Any) -> list[Any]:
    """The clients with which a pool asks the Sentinels for the master, if it does."""
    manager = getattr(pool, "sentinel_manager", None)
    return list(manager.sentinels) if manager else []


def _close_sentinels(pool: Any) -> None:
    for sentinel in _sentinels(pool):
        sentinel.close()
