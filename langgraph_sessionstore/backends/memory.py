"""Partitions in this process: the reference model, and the backend for tests and short lives.

Thread-safe by one lock; nothing waits inside it. Async callers are answered inline.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Sequence
from itertools import islice

from .. import keys
from ..errors import BackendClosed, SessionStoreError
from ..ops import Batch, Call, Outcome, Row
from .apply import apply
from .base import Answer, Backend, refuse_copy
from .sorted_map import SortedMap


class MemoryBackend(Backend):
    """Partitions in the memory of this process; they end with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._partitions: dict[bytes, _Partition] = {}
        self._expiries: list[tuple[int, bytes]] = []  # a heap; holds moments that no longer count, too

    def __repr__(self) -> str:
        return "MemoryBackend()"

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        with self._lock:
            return [self._apply(partition, batch) for partition, batch in calls]

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        return self.execute(calls, ordered=ordered)

    def copy(self, source: bytes, target: bytes, batch: Batch) -> Outcome:
        """See `Backend.copy`."""
        refuse_copy(source, target, batch)
        with self._lock:
            answer = self._apply(target, batch, source)
        if isinstance(answer, SessionStoreError):
            raise answer
        return answer

    async def acopy(self, source: bytes, target: bytes, batch: Batch) -> Outcome:
        """See `Backend.copy`."""
        return self.copy(source, target, batch)

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._closed = True
            self._partitions.clear()

    async def aclose(self) -> None:
        """Forget everything."""
        self.close()

    def _apply(self, name: bytes, batch: Batch, source: bytes | None = None) -> Answer:
        if self._closed:
            raise BackendClosed("this memory backend is closed")
        now = time.time_ns() // 1_000_000
        self._expire(now)
        partition = self._partitions.get(name) or _Partition()
        before = partition.expires
        origin = None if source is None else self._partitions.get(source) or _Partition()
        try:
            answer: Answer = apply(partition, batch, now, origin)
        except SessionStoreError as exc:
            answer = exc
        if batch.writes or source is not None:
            if partition.expires and partition.expires != before:
                heapq.heappush(self._expiries, (partition.expires, name))
            if partition.exists():
                self._partitions[name] = partition
            else:
                self._partitions.pop(name, None)
            self._expire(now)
        return answer

    def _expire(self, now: int) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            at, name = heapq.heappop(self._expiries)
            partition = self._partitions.get(name)
            if partition and partition.expires == at:
                del self._partitions[name]


class _Partition(SortedMap):
    """The rows of one partition, in the form that `apply` works on."""

    expires: int | None = None

    def range(self, lo: bytes, hi: bytes | None, limit: int | None, offset: int, reverse: bool) -> list[Row]:
        return list(islice(self.rows(lo, hi, reverse), offset, None if limit is None else offset + limit))

    def delete_range(self, lo: bytes, hi: bytes | None) -> int:
        doomed = list(self.keys(lo, hi))
        for key in doomed:
            self.delete(key)
        return len(doomed)

    def exists(self) -> bool:
        return len(self) > 0

    def clear(self) -> None:
        self.expires = None
        self.delete_range(b"", None)

    def expire(self, at: int | None) -> None:
        self.expires = at

    def fill(self, source: _Partition) -> None:
        for key, value in source.rows(keys.SYSTEM[1], None):
            self.put(key, value)
