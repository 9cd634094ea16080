"""A map in key order: a dict beside its keys in sorted runs, so that an insert moves few of them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from ..ops import Row

RUN = 1024  # a run that grows beyond twice this is split


class SortedMap:
    """What a partition of the memory backend is made of; not thread-safe by itself."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._runs: list[list[bytes]] = []
        self._firsts: list[bytes] = []  # the first key of every run

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: bytes) -> bytes | None:
        """The value at `key`, or None."""
        return self._values.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value at `key`."""
        if key not in self._values:
            at = self._run_of(key)
            if at < 0:
                self._runs.insert(0, [key])
                self._firsts.insert(0, key)
            else:
                run = self._runs[at]
                insort(run, key)
                if len(run) > 2 * RUN:
                    self._runs.insert(at + 1, run[RUN:])
                    self._firsts.insert(at + 1, run[RUN])
                    del run[RUN:]
        self._values[key] = value

    def delete(self, key: bytes) -> bool:
        """Remove `key`; whether it existed."""
        if key not in self._values:
            return False
        del self._values[key]
        at = self._run_of(key)
        run = self._runs[at]
        del run[bisect_left(run, key)]
        if run:
            self._firsts[at] = run[0]
        else:
            del self._runs[at], self._firsts[at]
        return True

    def keys(self, lo: bytes, hi: bytes | None, reverse: bool = False) -> Iterator[bytes]:
        """The keys from `lo` up to but without `hi`, in order; the map must not change meanwhile."""
        for run, begin, end in self._spans(lo, hi, reverse):
            yield from reversed(run[begin:end]) if reverse else run[begin:end]

    def count(self, lo: bytes, hi: bytes | None) -> int:
        """How many keys lie from `lo` up to but without `hi`."""
        return sum(max(end - begin, 0) for _, begin, end in self._spans(lo, hi, False))

    def range(self, lo: bytes, hi: bytes | None, limit: int | None, offset: int, reverse: bool) -> list[Row]:
        """The rows from `lo` up to but without `hi`, in order: so many of them, behind the first `offset`."""
        found: list[Row] = []
        for run, begin, end in self._spans(lo, hi, reverse):
            size = max(end - begin, 0)
            skipped = min(offset, size)
            taken = size - skipped if limit is None else min(size - skipped, limit - len(found))
            offset -= skipped
            if reverse:
                keys = run[end - skipped - taken : end - skipped][::-1]
            else:
                keys = run[begin + skipped : begin + skipped + taken]
            found += zip(keys, map(self._values.__getitem__, keys), strict=True)
            if len(found) == limit:
                break
        return found

    def _spans(self, lo: bytes, hi: bytes | None, reverse: bool) -> Iterator[tuple[list[bytes], int, int]]:
        """The runs between two keys, each with where the keys begin and end in it."""
        first = max(self._run_of(lo), 0)
        last = len(self._runs) if hi is None else bisect_left(self._firsts, hi)
        for at in range(last - 1, first - 1, -1) if reverse else range(first, last):
            run = self._runs[at]
            begin = bisect_left(run, lo) if at == first else 0
            yield run, begin, bisect_left(run, hi) if hi is not None and at == last - 1 else len(run)

    def _run_of(self, key: bytes) -> int:
        """The run that holds `key` or would; -1 when it sorts before all."""
        at = bisect_left(self._firsts, key)
        return at if at < len(self._firsts) and self._firsts[at] == key else at - 1
