"""What sessions take, and what a whole storage does.

Rule 1: a partition is read in pieces, so that no more than one of them is in memory. They are not read at one moment:
        what is written meanwhile may be counted or not.
Rule 2: what cannot be read stops nothing; it is named.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from heapq import heappush, heappushpop, nlargest
from typing import TypeVar

from .. import keys
from ..errors import CorruptData, DataError, ForeignStorage
from ..ops import Entries, Get, Page, Plan, Row, Tally, must
from ..sizes import KINDS, Amount, SessionSize, StorageStats
from . import records
from .caching import CACHE
from .items import SESSION_NAMESPACE, STORE, VALUE
from .layout import Slice
from .moving import Reader
from .places import REGISTRY, session_named
from .records import merged
from .together import together
from .versions import Version

N = TypeVar("N")
T = TypeVar("T")
_LETTERS = {
    "messages": "mo",
    "checkpoints": "bcghiv",
    "values": "e",
    "writes": "w",
    "summary": "s",
    "details": "adl",
    "usage": "n",
    "undo": "ru",
    "items": "x",
}
_KIND_OF = {keys.encode(letter): kind for kind, letters in _LETTERS.items() for letter in letters}
_FRONT = len(keys.encode("m"))
_RECORD = keys.encode("c")
_SYSTEM = (keys.INCARNATION, keys.TOMBSTONE, keys.LEASE)
_PAGE = 96
"""Lines of a list that are read at once."""
_AT_ONCE = 8
"""Partitions that are read side by side."""


class _Branch:
    """The elements of a branch: where each is, and how many bytes those before it take."""

    def __init__(self) -> None:
        self._slots = array("Q")
        self._values = array("Q", [0])
        self._rows = array("Q", [0])

    def add(self, slot: int, key: int, value: int) -> None:
        self._slots.append(slot)
        self._values.append(self._values[-1] + value)
        self._rows.append(self._rows[-1] + key + value)

    def values(self, part: Slice) -> int:
        return self._between(part, self._values)

    def rows(self, part: Slice) -> int:
        return self._between(part, self._rows)

    def _between(self, part: Slice, sums: array[int]) -> int:
        return sums[bisect_left(self._slots, part.stop)] - sums[bisect_left(self._slots, part.first)]


class _Session:
    """What was seen of a session so far."""

    def __init__(self, session_id: str) -> None:
        self._id = session_id
        self._rows = dict.fromkeys(KINDS, 0)
        self._bytes = dict.fromkeys(KINDS, 0)
        self._checkpoints = 0
        self._versions: set[tuple[str, str, Version]] = set()
        self._parts: Counter[Slice] = Counter()
        """The elements of all versions, and in how many of these they are."""
        self._branches: dict[int, _Branch] = {}

    def take(self, rows: Sequence[Row]) -> None:
        for key, value in rows:
            kind = _KIND_OF.get(key[:_FRONT], "system")
            self._rows[kind] += 1
            self._bytes[kind] += len(key) + len(value)
            if key.startswith(_RECORD):
                self._record(key, value)
            elif kind == "values":
                self._element(key, len(value))

    def _record(self, key: bytes, stored: bytes) -> None:
        self._checkpoints += 1
        record = records.unpack(key, stored, self._id).record
        for channel, value in record.values.items():
            version = (record.ns, channel, record.versions.get(channel, ""))
            if value.kind in ("list", "dict") and value.parts and version not in self._versions:
                self._versions.add(version)
                self._parts.update(value.parts)

    def _element(self, key: bytes, size: int) -> None:
        match keys.decode(key):
            case [_, int(branch), int(slot)]:
                self._branches.setdefault(branch, _Branch()).add(slot, len(key), size)

    def size(self) -> SessionSize:
        there = [part for part in self._parts if part.branch in self._branches]
        full = sum(self._branches[part.branch].values(part) * self._parts[part] for part in there)
        taken = sum(self._branches[part.branch].rows(part) for part in merged(there))
        kinds = {kind: Amount(self._rows[kind], self._bytes[kind]) for kind in KINDS}
        return SessionSize(self._id, kinds, self._checkpoints, full - taken)


def session_size(session_id: str, incarnation: bytes | None = None) -> Plan[SessionSize | None]:
    """What a session takes; None: there is none, or not this one."""
    seen = _Session(session_id)
    there = yield from _read(keys.session(session_id), seen.take)
    return seen.size() if there is not None and incarnation in (None, there) else None


def _read(partition: bytes, take: Callable[[Sequence[Row]], None]) -> Plan[bytes | None]:
    """Read a partition in pieces: its incarnation; None: there is none, or only what is left of one."""
    found = yield from must(partition, *map(Get, _SYSTEM))
    incarnation: bytes | None = found[0]
    if incarnation is None or found[1] is not None:
        return None
    take([(key, value) for key, value in zip(_SYSTEM, found, strict=True) if value is not None])
    reader = Reader(partition)
    while rows := (yield from reader.piece()):
        take(rows)
    return incarnation


def storage_stats(largest: int, progress: Callable[[int, int], None] | None) -> Plan[StorageStats]:
    """What a storage holds, as far as its lists name it."""
    kinds = dict.fromkeys(KINDS, Amount())
    heap: list[tuple[int, str]] = []
    unreadable: list[str] = []
    count = checkpoints = saved = done = 0
    (total,) = yield from must(REGISTRY, Tally())
    cursor: bytes | None = b""
    while cursor is not None:
        entries, cursor = yield from _page(REGISTRY, cursor)
        names = [name for entry in entries.rows if (name := session_named(entry.name)) is not None]
        for at in range(0, len(names), _AT_ONCE):
            some = names[at : at + _AT_ONCE]
            for name, size in zip(some, (yield from _all(session_size, some)), strict=True):
                if isinstance(size, Exception):
                    unreadable.append(name)
                elif size is not None:
                    count, checkpoints, saved = count + 1, checkpoints + size.checkpoints, saved + size.saved
                    kinds = {kind: amount.plus(size.kinds[kind]) for kind, amount in kinds.items()}
                    (heappush if len(heap) < largest else heappushpop)(heap, (size.bytes, name))
            done += len(some)
            if progress is not None:
                progress(done, max(done, total))
    store, cache = (yield from _shelf(STORE, "store")), (yield from _shelf(CACHE, "cache"))
    return StorageStats(
        sessions=count,
        kinds=kinds,
        checkpoints=checkpoints,
        saved=saved,
        largest=tuple((name, size) for size, name in nlargest(largest, heap)),
        unreadable=tuple(unreadable),
        namespaces=store.namespaces,
        items=store.items,
        store_bytes=store.bytes,
        cache_bytes=cache.bytes,
        unreadable_namespaces=(*store.unreadable, *cache.unreadable),
    )


class _Shelf:
    """What lies in the partitions of one list."""

    def __init__(self) -> None:
        self.namespaces = self.items = self.bytes = 0
        self.unreadable: list[tuple[str, ...]] = []


def _shelf(registry: bytes, kind: str) -> Plan[_Shelf]:
    seen, mine, sessions = _Shelf(), keys.encode(kind), keys.encode(kind, SESSION_NAMESPACE)
    cursor: bytes | None = b""
    while cursor is not None:
        entries, cursor = yield from _page(registry, cursor)
        names = [entry.name for entry in entries.rows if entry.name.startswith(mine)]
        names = [name for name in names if not name.startswith(sessions)]  # no list has what belongs to a session
        for at in range(0, len(names), _AT_ONCE):
            some = names[at : at + _AT_ONCE]
            for name, found in zip(some, (yield from _all(_items, some)), strict=True):
                if isinstance(found, Exception):
                    seen.unreadable.append(_labels(name))
                else:
                    seen.namespaces += bool(found.rows)
                    seen.items += found.rows
                    seen.bytes += found.bytes
    return seen


def _items(partition: bytes) -> Plan[Amount]:
    """How many values lie in a namespace, and the bytes of all its rows."""
    items = size = 0
    value = keys.encode(VALUE)

    def take(rows: Sequence[Row]) -> None:
        nonlocal items, size
        items += sum(key.startswith(value) for key, _ in rows)
        size += sum(len(key) + len(stored) for key, stored in rows)

    yield from _read(partition, take)
    return Amount(items, size)


def _labels(partition: bytes) -> tuple[str, ...]:
    try:
        return tuple(map(str, keys.decode(partition)[1:]))
    except CorruptData:
        return (repr(partition[:80]),)


def _page(registry: bytes, cursor: bytes) -> Plan[tuple[Entries, bytes | None]]:
    """A page of a list, and where the next one begins."""
    (found,) = yield from must(registry, Page("name", after=cursor, limit=_PAGE))
    entries: Entries = found
    return entries, entries.cursor or None


def _all(plan: Callable[[N], Plan[T]], names: Sequence[N]) -> Plan[list[T | Exception]]:
    """The same plan for all of these side by side; for one that cannot be read, why."""
    try:
        return (yield from together(map(plan, names)))
    except (DataError, ForeignStorage) as exc:
        if len(names) == 1:
            return [exc]
    found: list[T | Exception] = []
    for name in names:
        found += yield from _all(plan, [name])
    return found
