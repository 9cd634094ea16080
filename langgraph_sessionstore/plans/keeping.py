"""Putting and deleting items of a store, and what goes away with that.

Rule: all that a batch changes in one partition is one step, and one partition's batch does not wait for another's. What
belongs to an item (its end, its vectors) is replaced with it, so that nothing of the old one is left beside the new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from langgraph.checkpoint.serde.base import SerializerProtocol

from .. import codec, keys
from ..errors import BackendError
from ..ops import (
    Batch,
    Call,
    Calls,
    Conflict,
    Delete,
    DeleteRange,
    Drop,
    Entries,
    Expect,
    ExpectEmpty,
    Get,
    Op,
    Page,
    Plan,
    Put,
    PutNew,
    call,
    etag,
    must,
    must_all,
)
from .ending import TAKEN, End, end_of, take
from .entry import Entry, Writer, afterwards, raise_refused
from .items import (
    ALL,
    CREATED,
    END,
    STORE,
    VALUE,
    VERSION,
    Address,
    Place,
    Where,
    namespace_of,
    pack_item,
    place_of,
)
from .shelves import Shelves
from .together import together

_SWEPT = 100
"""Items that are taken away at once, and namespaces that are looked at."""


class Change(NamedTuple):
    """What becomes of an item: a value, how long it lives in milliseconds, and what is embedded of it."""

    value: Mapping[str, Any] | None
    """None: the item is deleted."""
    ttl: int | None = None
    texts: bytes = b""
    vectors: bytes = b""


class Scribe(NamedTuple):
    """Who writes items: what is known of sessions and of namespaces, and the time in microseconds."""

    writer: Writer
    shelves: Shelves
    now: Callable[[], int]


class _Sheet:
    """What is written into one partition."""

    def __init__(self, place: Place, scribe: Scribe, now: int) -> None:
        self.place = place
        self._now = now
        self._lead: list[Op] = [place.past(now // 1000, TAKEN), Put(place.own(VERSION), scribe.shelves.new_id())]
        self._ops: list[Op] = []
        self._items: list[tuple[int, Where, bytes | None]] = []
        """Of each item, which reply tells when the old one ends, and the new value's row."""

    @property
    def puts(self) -> bool:
        """Whether there is something to put."""
        return any(row is not None for _, _, row in self._items)

    @property
    def ops(self) -> list[Op]:
        """What is to be done. What is only deleted is no reason for more."""
        return [*self._lead, *self._ops] if self.puts else self._ops

    def add(self, serde: SerializerProtocol, place: Place, key: str, change: Change) -> None:
        where = place.where(key)
        value, created, end, texts, vectors = (place.row(kind, where) for kind in ALL)
        packed = None if change.value is None else pack_item(serde, change.value, self._now)
        self._items.append((len(self._ops), where, packed))
        self._ops.append(Get(end))
        if packed is None:
            self._ops += [Delete(row) for row in (value, created, end, texts, vectors)]
            return
        self._ops += [PutNew(created, codec.pack(self._now)), Put(value, packed)]
        if change.ttl is None:
            self._ops.append(Delete(end))
        else:
            ends = End(change.ttl, self._now // 1000 + change.ttl)
            self._ops += [Put(end, ends.pack()), Put(place.hint(ends, where), b"")]
        for row, stored in ((texts, change.texts), (vectors, change.vectors)):
            self._ops.append(Put(row, stored) if stored else Delete(row))

    def tidy(self, replies: Sequence[Any]) -> Plan[None]:
        """What the replies say is to be done: an item that had ended begins anew, and others that have ended go.

        It is done as far as it can be done: what was written is there, and the next write tidies up as well.
        """
        place, now, born = self.place, self._now // 1000, codec.pack(self._now)
        hints = replies[0] if self.puts else []
        replies = replies[len(self._lead) :] if self.puts else replies
        batches = []
        for at, where, packed in self._items:
            old = replies[at] and end_of(replies[at])
            if old and packed is None:
                batches.append(Batch(Expect(place.row(END, where), False), Delete(place.hint(old, where))))
            elif old and packed is not None and old.at <= now:
                same = Expect(place.row(VALUE, where), etag(packed))
                batches.append(Batch(same, Put(place.row(CREATED, where), born)))
        with suppress(BackendError):
            if batches:
                yield Calls([Call(place.partition, batch) for batch in batches])
            if hints:
                yield from take(place.partition, [place.ended(hint) for hint, _ in hints], now)


def write(serde: SerializerProtocol, scribe: Scribe, changes: Mapping[Address, Change]) -> Plan[None]:
    """Put these items, and delete those without a value: all in one trip, those of each session in one of their own."""
    now = scribe.now()
    own: dict[bytes, _Sheet] = {}
    sessions: dict[bytes, _Sheet] = {}
    for (namespace, key), change in changes.items():
        place = place_of(namespace)
        sheets = own if place.session_id is None else sessions
        if place.partition not in sheets:
            sheets[place.partition] = _Sheet(place, scribe, now)
        sheets[place.partition].add(serde, place, key, change)
    plans = [_write_own(scribe.shelves, own)] if own else []
    plans += [_write_session(scribe, sheet) for sheet in sessions.values()]
    for number, plan in enumerate(plans):
        yield from plan if number == 0 else afterwards(plan)


def _write_session(scribe: Scribe, sheet: _Sheet) -> Plan[None]:
    session_id, incarnation = str(sheet.place.session_id), scribe.writer.incarnation
    guards: list[Op] = []
    if sheet.puts:
        entry = Entry(scribe.writer, session_id, exclusive=False)
        outcome = yield from entry.send((), sheet.ops, op_id=scribe.shelves.new_id())
    else:  # deleting is no reason to begin a session
        guards = [] if incarnation is None else [Expect(keys.INCARNATION, etag(incarnation))]
        outcome = yield from call(sheet.place.partition, *guards, *sheet.ops, sheet.place.any_item())
    if isinstance(outcome, Conflict):
        raise_refused(guards[outcome.guard], session_id, b"")
        return
    yield from sheet.tidy(outcome[len(guards) :])
    if not sheet.puts and not outcome[-1] and any(outcome[len(guards) :]):  # so that nothing is left of items
        empty = ExpectEmpty(*sheet.place.items()), DeleteRange(*keys.below(*sheet.place.head))
        yield from afterwards(call(sheet.place.partition, *empty))


def _write_own(shelves: Shelves, own: Mapping[bytes, _Sheet]) -> Plan[None]:
    """Write into namespaces' own partitions; one that has lost its last item is gone."""
    batches = {name: sheet.ops if sheet.puts else [*sheet.ops, sheet.place.any_item()] for name, sheet in own.items()}
    replies = yield from shelves.write(batches)
    emptied, tidies = [], []
    for sheet, (mark, *rest) in zip(own.values(), replies, strict=True):
        if not sheet.puts and mark is not None and not rest[-1]:
            emptied.append(sheet.place)
        else:
            tidies.append(sheet.tidy(rest))
    yield from together(tidies)
    if emptied:
        yield from afterwards(_end(shelves, emptied))


def _end(shelves: Shelves, emptied: Sequence[Place]) -> Plan[None]:
    """Take namespaces away that have lost their last item."""
    batches = [Batch(ExpectEmpty(*place.items()), Drop()) for place in emptied]
    names = [place.partition for place in emptied]
    drops = yield Calls(list(map(Call, names, batches)))
    yield from shelves.unlist([name for name, drop in zip(names, drops, strict=True) if not isinstance(drop, Conflict)])


def sweep(shelves: Shelves, place: Place, now: int) -> Plan[int]:
    """Take away the items of a namespace that have ended; how many. The last one takes the namespace along."""
    taken, ended = 0, 0
    while True:
        hints, rows = yield from must(place.partition, place.past(now, _SWEPT), place.any_item())
        if not hints:
            if ended and not rows:
                yield from _end(shelves, [place])
            return taken
        ended += len(hints)
        taken += yield from take(place.partition, [place.ended(hint) for hint, _ in hints], now)


def sweep_all(shelves: Shelves, now: int) -> Plan[int]:
    """Take away what has ended in all namespaces, but for those of sessions; how many items."""
    taken, cursor = 0, b""
    while True:
        (page,) = yield from must(STORE, Page("name", after=cursor, limit=_SWEPT))
        entries: Entries = page
        places = [place_of(namespace_of(entry.name)) for entry in entries.rows]
        looks = yield from must_all([Call(place.partition, Batch(place.past(now, 1))) for place in places])
        for place, (ended,) in zip(places, looks, strict=True):
            if ended:
                taken += yield from sweep(shelves, place, now)
        if not (cursor := entries.cursor):
            return taken
