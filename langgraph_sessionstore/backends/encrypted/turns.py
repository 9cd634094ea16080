"""One batch that counts at a time on a partition, among those of this process.

Such a batch expects a counter as it was last seen here. Without turns, many at once would all expect the same, and all
but one would be done again; others in other processes still can come in between, and so can those who have waited long.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from weakref import WeakKeyDictionary

from ...forks import in_child

_STRIPES = 256  # partitions share turns, so that there are only so many
_SECONDS = 0.5  # somebody whose storage does not answer keeps the others waiting no longer


class Turns:
    """Turns of threads, and of the tasks of each event loop."""

    def __init__(self) -> None:
        self.renew()
        in_child(self)

    def renew(self) -> None:
        """Begin with all turns free."""
        self._threads = [threading.Lock() for _ in range(_STRIPES)]
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, asyncio.Lock]] = WeakKeyDictionary()

    @contextmanager
    def take(self, partitions: Iterable[bytes]) -> Iterator[None]:
        """Wait for the turn on these partitions, as a thread."""
        with ExitStack() as stack:
            for stripe in _stripes(partitions):
                lock = self._threads[stripe]
                if lock.acquire(timeout=_SECONDS):
                    stack.callback(lock.release)
            yield

    @asynccontextmanager
    async def atake(self, partitions: Iterable[bytes]) -> AsyncIterator[None]:
        """Wait for the turn on these partitions, as a task."""
        locks = self._loops.setdefault(asyncio.get_running_loop(), {})
        with ExitStack() as stack:
            for stripe in _stripes(partitions):
                lock = locks.setdefault(stripe, asyncio.Lock())
                if not lock.locked():
                    await lock.acquire()  # which does not wait, and so does not cost a task
                    stack.callback(lock.release)
                elif await _in_time(lock):
                    stack.callback(lock.release)
            yield


async def _in_time(lock: asyncio.Lock) -> bool:
    """Whether the lock was taken before the time is over."""
    taking = asyncio.ensure_future(lock.acquire())
    try:
        await asyncio.wait({taking}, timeout=_SECONDS)
    except asyncio.CancelledError:
        if not taking.cancel():
            lock.release()  # it was taken just now
        raise
    return taking.done() or not taking.cancel()


def _stripes(partitions: Iterable[bytes]) -> list[int]:
    """In one order, so that nobody waits in a ring."""
    return sorted({hash(partition) % _STRIPES for partition in partitions})
