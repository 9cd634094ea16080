"""The threads that work for async callers of the filesystem backend.

Rule: a worker takes all that waits as one group. A caller that is cancelled does not stop its calls.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple, TypeAlias

from ..errors import BackendClosed
from ..ops import Call
from .base import Answer
from .retries import Retries

GROUP = 256  # so many callers share a transaction at most


class Unit(NamedTuple):
    """The calls of one caller, to be answered together."""

    calls: Sequence[Call]
    ordered: bool
    retries: Retries | None
    """Where it is counted how often they are tried again."""

    @property
    def writes(self) -> bool:
        """Whether they may change something."""
        return any(call.batch.writes or call.source is not None for call in self.calls)


Result: TypeAlias = list[Answer] | Exception
"""What came of a unit: its answers, or what its caller did wrong."""


class _Waiting(NamedTuple):
    unit: Unit
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Answer]]


class Worker:
    """One thread, begun when it is first needed."""

    def __init__(self, name: str, work: Callable[[list[Unit]], list[Result]]) -> None:
        self._name = name
        self._work = work
        self._lock = threading.Lock()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()

    async def do(self, unit: Unit) -> list[Answer]:
        """Have a unit done, and wait for its answers."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(unit, loop, loop.create_future())
        with self._lock:
            if self._closed:
                raise BackendClosed("this backend is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._queue.put(waiting)
        return await waiting.future

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
            if thread:
                self._queue.put(None)
        if thread:
            thread.join()

    def _run(self) -> None:
        while self._group():
            pass

    def _group(self) -> bool:
        """Wait for the next group, and do it; whether there will be another one. In between nothing of it is kept."""
        group = [self._queue.get()]
        with suppress(Empty):
            while len(group) < GROUP and group[-1] is not None:
                group.append(self._queue.get_nowait())
        waiting = [item for item in group if item]
        if waiting:
            try:
                results = self._work([item.unit for item in waiting])
            except Exception as exc:
                results = [exc] * len(waiting)
            _deliver(waiting, results)
        return group[-1] is not None


def _deliver(waiting: list[_Waiting], results: list[Result]) -> None:
    """Give every caller its answers, with one wake-up for each event loop."""
    shares: dict[asyncio.AbstractEventLoop, list[tuple[_Waiting, Result]]] = {}
    for item, result in zip(waiting, results, strict=True):
        shares.setdefault(item.loop, []).append((item, result))
    for loop, share in shares.items():
        with suppress(RuntimeError):  # that loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(_resolve, share)


def _resolve(share: list[tuple[_Waiting, Result]]) -> None:
    for item, result in share:
        if item.future.done():
            continue  # cancelled meanwhile
        if isinstance(result, Exception):
            item.future.set_exception(result)
        else:
            item.future.set_result(result)
