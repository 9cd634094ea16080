"""Partitions in this process: the reference model, and the backend for tests and short lives.

Thread-safe by one lock; nothing waits inside it. Async callers are answered inline.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence

from .. import keys
from ..errors import BackendClosed, SessionStoreError
from ..forks import Lock
from ..ops import Call
from .apply import apply
from .base import Answer, Backend, not_tried, refuse_copies
from .sorted_map import SortedMap


class MemoryBackend(Backend):
    """Partitions in the memory of this process; they end with it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._closed = False
        self._partitions: dict[bytes, _Partition] = {}
        self._expiries: list[tuple[int, bytes]] = []  # a heap; holds moments that no longer count, too

    def __repr__(self) -> str:
        return "MemoryBackend()"

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        refuse_copies(calls)
        answers: list[Answer] = []
        with self._lock:
            if self._closed:
                raise BackendClosed("this memory backend is closed")
            for call in calls:
                answers.append(not_tried(ordered, answers) or self._apply(call))
        return answers

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        return self.execute(calls, ordered=ordered)

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._closed = True
            self._partitions.clear()
            self._expiries.clear()

    async def aclose(self) -> None:
        """Forget everything."""
        self.close()

    def _apply(self, call: Call) -> Answer:
        now = time.time_ns() // 1_000_000
        self._expire(now)
        name = call.partition
        partition = self._partitions.get(name) or _Partition()
        before = partition.expires
        source = None if call.source is None else self._partitions.get(call.source) or _Partition()
        try:
            answer: Answer = apply(partition, call.batch, now, source)
        except SessionStoreError as exc:
            answer = exc
        if partition.expires and partition.expires != before:
            heapq.heappush(self._expiries, (partition.expires, name))
        if len(partition):
            self._partitions[name] = partition
        else:
            self._partitions.pop(name, None)
        return answer

    def _expire(self, now: int) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            at, name = heapq.heappop(self._expiries)
            partition = self._partitions.get(name)
            if partition and partition.expires == at:
                del self._partitions[name]
        if len(self._expiries) > 2 * len(self._partitions) + 100:  # mostly moments that were moved
            self._expiries = [(p.expires, name) for name, p in self._partitions.items() if p.expires]
            heapq.heapify(self._expiries)


class _Partition(SortedMap):
    """The rows of one partition, in the form that `apply` works on."""

    expires: int | None = None

    def delete_range(self, lo: bytes, hi: bytes | None) -> int:
        doomed = list(self.keys(lo, hi))
        for key in doomed:
            self.delete(key)
        return len(doomed)

    def clear(self) -> None:
        self.expires = None
        self.delete_range(b"", None)

    def expire(self, at: int | None) -> None:
        self.expires = at

    def fill(self, source: _Partition) -> None:
        for key, value in source.range(keys.SYSTEM[1], None, None, 0, False):
            self.put(key, value)
