"""One batch that counts at a time on a partition, among those of this process.

Such a batch expects a counter as it was last seen here. Without turns, many at once would all expect the same, and all
but one would be done again; others in other processes still can come in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from weakref import WeakKeyDictionary

from ...forks import Lock

_STRIPES = 256  # partitions share turns, so that there are only so many


class Turns:
    """Turns of threads, and of the tasks of each event loop."""

    def __init__(self) -> None:
        self._threads = [Lock() for _ in range(_STRIPES)]
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, asyncio.Lock]] = WeakKeyDictionary()

    @contextmanager
    def take(self, partitions: Iterable[bytes]) -> Iterator[None]:
        """Wait for the turn on these partitions, as a thread."""
        with ExitStack() as stack:
            for stripe in _stripes(partitions):
                stack.enter_context(self._threads[stripe])
            yield

    @asynccontextmanager
    async def atake(self, partitions: Iterable[bytes]) -> AsyncIterator[None]:
        """Wait for the turn on these partitions, as a task."""
        locks = self._loops.setdefault(asyncio.get_running_loop(), {})
        async with AsyncExitStack() as stack:
            for stripe in _stripes(partitions):
                await stack.enter_async_context(locks.setdefault(stripe, asyncio.Lock()))
            yield


def _stripes(partitions: Iterable[bytes]) -> list[int]:
    """In one order, so that nobody waits in a ring."""
    return sorted({hash(partition) % _STRIPES for partition in partitions})
