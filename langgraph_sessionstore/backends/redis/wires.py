"""The I/O of the Redis backend: connections out of redis-py's pools, once sync and once async.

Rule 1: no more than `most` connections for each server; who comes too late waits for its turn instead of failing.
Rule 2: a connection that was left in the middle of a reply is closed before anyone else gets it.
Rule 3: closing a wire lets trips that are under way end, and refuses new ones.
Rule 4: an event loop's connections end with it at the latest, and none is shared with a forked child.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from ...errors import BackendClosed
from ...forks import Lock, in_child
from .connections import aread_all, has_died, is_spoilt, let_go, pack, read_all, send, sentinels
from .sharing import Load, Sharing
from .steps import Address, Arrival, Pause, Steps, Trips

T = TypeVar("T")
MakePool = Callable[["Address | None"], Any]


class SyncWire:
    """Makes trips on the calling thread."""

    def __init__(self, make_pool: MakePool, most: int, owned: bool) -> None:
        self._make_pool = make_pool
        self._most = most
        self._owned = owned
        self._closed = False
        self._lock = Lock()
        self._pools: dict[Address | None, Any] = {}
        self._turns: dict[Address | None, SimpleQueue[None]] = {}
        in_child(self)

    def renew(self) -> None:
        """Start with all turns free in a forked child, and let go of the parent's connections."""
        for connection in _connections(self._pools, used=True) if self._owned else ():
            connection.disconnect()  # which only closes it here, and says nothing to the server
        self._pools.clear()
        self._turns.clear()

    def drive(self, steps: Steps[T]) -> T:
        """Take the steps to their end."""
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

    def close(self) -> None:
        """Close the connections that nobody uses; trips under way close theirs. Pools of the user stay open."""
        self._closed = self._owned
        if self._owned:
            with self._lock:
                pools = [*self._pools.values()]
            for pool in pools:
                pool.disconnect(inuse_connections=False)
                for sentinel in sentinels(pool):
                    sentinel.close()

    def _exchange(self, step: Trips) -> list[Arrival]:
        """Send to all servers first, then read from all: they work at the same time."""
        arrivals: dict[int, Arrival] = {}
        open_: dict[int, tuple[Any, Any]] = {}
        turns = []
        try:
            # in one order for all threads, so that two of them never wait for each other
            order = range(len(step.trips))
            for at in sorted(order, key=lambda at: step.trips[at].address or ("", 0)) if len(order) > 1 else order:
                trip = step.trips[at]
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
                    connection.send_packed_command([pack(step.trips[at].commands)])
                except Exception as exc:
                    arrivals[at] = Arrival([], exc)
            for at, (pool, connection) in list(open_.items()):
                if at not in arrivals:
                    arrivals[at] = read_all(connection, len(step.trips[at].commands))
                if self._closed or is_spoilt(arrivals[at]):
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
        if (found := self._turns.get(address)) is not None:
            return found
        with self._lock:
            if address not in self._turns:
                turns: SimpleQueue[None] = SimpleQueue()
                for _ in range(self._most):
                    turns.put(None)
                self._turns[address] = turns
            return self._turns[address]

    def _pool(self, address: Address | None) -> Any:
        if (found := self._pools.get(address)) is not None:
            return found
        with self._lock:
            if address not in self._pools:
                self._pools[address] = self._make_pool(address)
            return self._pools[address]


class AsyncWire:
    """Makes trips on the event loop on which it is made. `ended` is called when it is closed, or the loop ends."""

    def __init__(self, make_pool: MakePool, most: int, owned: bool, ended: Callable[[], object]) -> None:
        self._make_pool = make_pool
        self._most = most
        self._owned = owned
        self._ended = ended
        self._closed = False
        self.lost = False
        """Whether it was given up, because this is a forked child and the loop is its parent's."""
        self._pools: dict[Address | None, Any] = {}
        self._turns: dict[Address | None, asyncio.Semaphore] = {}
        self._returning: set[asyncio.Future[None]] = set()
        self._trips = Sharing(self._travel)
        self._life = self._live()
        with suppress(StopIteration):  # it waits at its `yield` from now on
            self._life.__anext__().send(None)

    async def drive(self, steps: Steps[T]) -> T:
        """Take the steps to their end."""
        task = asyncio.current_task()
        before = _cancellations(task)
        try:
            step = next(steps)
            while True:
                if _cancellations(task) > before:  # one came, and was lost on the way: see `connections.send`
                    raise asyncio.CancelledError
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = steps.send([])
                elif len(step.trips) == 1:
                    step = steps.send([await self._trips.make(step.trips[0])])
                else:
                    step = steps.send(await asyncio.gather(*map(self._trips.make, step.trips)))
        except StopIteration as stop:
            if _cancellations(task) > before:
                raise asyncio.CancelledError from None
            result: T = stop.value
            return result

    async def close(self) -> None:
        """Close the connections that nobody uses; trips under way close theirs. Pools of the user stay open."""
        with suppress(RuntimeError):  # somebody is doing so
            await self._life.aclose()

    def hang_up(self) -> None:
        """The same from a callback of the loop, which waits for nothing."""
        self._closed = self._owned
        for connection in _connections(self._pools) if self._owned else ():
            writer, connection._writer, connection._reader = connection._writer, None, None
            if writer is not None:
                writer.close()

    def give_up(self) -> None:
        """Let go of all sockets without the loop: it has ended, or is that of a parent process."""
        self.lost = True
        for connection in _connections(self._pools, used=True) if self._owned else ():
            writer, connection._writer, connection._reader = connection._writer, None, None
            if writer is not None:
                let_go(writer.transport)

    async def _live(self) -> AsyncGenerator[None, None]:
        """An event loop that ends closes the asynchronous generators that were begun on it, as `asyncio.run` does."""
        try:
            yield
        finally:
            self._ended()
            self._closed = self._owned
            for pool in self._pools.values() if self._owned else ():
                with suppress(Exception):  # a connection that is broken already
                    await pool.disconnect(inuse_connections=False)
                for sentinel in sentinels(pool):
                    await sentinel.aclose()

    async def _travel(self, address: Address | None, load: Load) -> Arrival:
        if address not in self._turns:
            self._turns[address] = asyncio.Semaphore(self._most)
        async with self._turns[address]:
            try:
                if self._closed:
                    raise BackendClosed("this Redis backend is closed")
                if address not in self._pools:
                    self._pools[address] = self._make_pool(address)
                pool = self._pools[address]
                connection = await self._connection_of(pool)
            except Exception as exc:
                return Arrival([], exc, sent=False)
            try:
                if has_died(connection):
                    await connection.disconnect(nowait=True)
                    try:
                        await connection.connect()
                    except Exception as exc:
                        return Arrival([], exc, sent=False)
                arrival = await self._talk(connection, load)
            except BaseException:  # cancelled between request and reply
                await connection.disconnect(nowait=True)
                raise
            finally:
                await pool.release(connection)
        return arrival

    async def _connection_of(self, pool: Any) -> Any:
        """A connection that is open. On Python 3.10 a cancellation would be lost while it opens: see `send`."""
        if sys.version_info >= (3, 11):
            return await pool.get_connection()
        opening = asyncio.ensure_future(pool.get_connection())
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            task = asyncio.ensure_future(_put_back(pool, opening))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)
            raise

    async def _talk(self, connection: Any, load: Load) -> Arrival:
        packed, count = load()
        if not count:
            return Arrival([])
        try:
            await send(connection, packed)
            arrival = await aread_all(connection, count)
        except Exception as exc:
            arrival = Arrival([], exc)
        if self._closed or is_spoilt(arrival):
            await connection.disconnect(nowait=True)
        return arrival


def _connections(pools: Mapping[Any, Any], used: bool = False) -> list[Any]:
    """The connections that nobody uses (or all), those to Sentinels included."""
    found: list[Any] = []
    for pool in pools.values():
        for each in (pool, *(sentinel.connection_pool for sentinel in sentinels(pool))):
            found += [*each._available_connections, *(each._in_use_connections if used else ())]
    return found


async def _put_back(pool: Any, opening: asyncio.Future[Any]) -> None:
    with suppress(Exception):
        await pool.release(await opening)


def _cancellations(task: Any) -> int:
    """How often a task was told to end; Python 3.10 does not say."""
    count: int = task.cancelling() if hasattr(task, "cancelling") else 0
    return count
