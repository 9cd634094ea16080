"""Putting and deleting items of a store, and what goes away with that.

Rule: all that a batch changes in one partition is one step, and one partition's batch does not wait for another's. What
belongs to an item (its end, its vectors) is replaced with it, so that nothing of the old one is left beside the new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from .. import codec, keys
from ..errors import BackendError, CorruptData
from ..ops import (
    Batch,
    Call,
    Calls,
    Conflict,
    Delete,
    DeleteRange,
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
    casual,
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
    namespaces_in,
    pack_item,
    place_of,
)
from .shelves import Shelves
from .together import together

_SWEPT = 100
"""Items that are taken away at once, and namespaces that are looked at."""


class Change(NamedTuple):
    """What becomes of an item: a packed value, how long it lives in milliseconds, and what is embedded of it."""

    value: bytes | None
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
        self._past = place.past(now // 1000, TAKEN)
        self._name = Put(place.own(VERSION), scribe.shelves.new_id())
        """The new name of the state."""
        self._ops: list[Op] = []
        self._items: list[tuple[int, Where, bytes | None, End | None]] = []
        """Of each item, which reply tells when the old one ends, and the value and the end of the new one."""

    @property
    def puts(self) -> bool:
        """Whether there is something to put."""
        return any(packed is not None for _, _, packed, _ in self._items)

    @property
    def ops(self) -> list[Op]:
        """What is to be done, when there is something to put."""
        return [self._past, self._name, *self._ops]

    def erase(self, guards: Sequence[Op] = (), *, named: bool = True) -> Plan[bool | None]:
        """Do it, when there is only something to delete: whether nothing is left where something was.

        That is no reason for a partition to begin, so only a state that has a name is given a new one. None: it has
        none, and nothing was done yet.
        """
        name: list[Op] = [Expect(self._name.key, True), self._name] if named else []
        lead = [*guards, *name]
        outcome = yield from call(self.place.partition, *lead, *self._ops, self.place.any_item())
        if isinstance(outcome, Conflict) and outcome.guard == len(guards):
            return None
        if isinstance(outcome, Conflict):
            raise_refused(lead[outcome.guard], str(self.place.session_id), b"")
            return False
        *replies, rows = outcome[len(lead) :]
        yield from self._tidy([], replies)
        return not rows and (named or any(replies))

    def add(self, place: Place, key: str, change: Change) -> None:
        where = place.where(key)
        value, created, end, texts, vectors = place.rows(ALL, where)
        packed = None if change.value is None else pack_item(change.value, self._now)
        ends = None if change.ttl is None else End(change.ttl, self._now // 1000 + change.ttl)
        self._items.append((len(self._ops), where, packed, ends))
        self._ops.append(Get(end))
        if packed is None:
            self._ops += [Delete(row) for row in (value, created, end, texts, vectors)]
            return
        self._ops += [PutNew(created, codec.pack(self._now)), Put(value, packed)]
        self._ops += [Delete(end)] if ends is None else [Put(end, ends.pack()), Put(place.hint(ends, where), b"")]
        for row, stored in ((texts, change.texts), (vectors, change.vectors)):
            self._ops.append(Put(row, stored) if stored else Delete(row))

    def tidy(self, replies: Sequence[Any]) -> Plan[bool]:
        """What the replies to `ops` say is to be done: whether nothing is left then."""
        hints, _, *others = replies
        return (yield from self._tidy(hints, others))

    def _tidy(self, hints: Sequence[Any], replies: Sequence[Any]) -> Plan[bool]:
        """An item that had ended begins anew; hints of the ends that were replaced go, and others that have ended.

        It is done as far as it can be done: what was written is there, and who comes later tidies up as well.
        """
        place, now, born = self.place, self._now // 1000, codec.pack(self._now)
        batches = []
        for at, where, packed, end in self._items:
            old = replies[at] and end_of(replies[at])
            if old and packed is not None and old.at <= now:
                same = Expect(place.row(VALUE, where), etag(packed))
                batches.append(Batch(same, Put(place.row(CREATED, where), born)))
            if old and (end is None or end.hint() != old.hint()):
                same = Expect(place.row(END, where), False if end is None else etag(end.pack()))
                batches.append(Batch(same, Delete(place.hint(old, where))))
        with suppress(BackendError):
            if batches:
                yield Calls([Call(place.partition, batch) for batch in batches], casual=True)
            if hints and (yield from casual(_take(place, hints, now, self._name))):
                (rows,) = yield from must(place.partition, place.any_item())
                return not rows
        return False


def _take(place: Place, hints: Sequence[Any], now: int, name: Op) -> Plan[int]:
    """Take away the items whose hints these are, if they have ended; and give the state a new name."""
    ended = []
    for hint, _ in hints:
        with suppress(CorruptData):  # it names nothing
            ended.append(place.ended(hint, name))
    return (yield from take(place.partition, ended, now))


def write(scribe: Scribe, changes: Mapping[Address, Change]) -> Plan[None]:
    """Put these items, and delete those without a value: all in one trip, those of each session in one of their own."""
    now = scribe.now()
    own: dict[bytes, _Sheet] = {}
    sessions: dict[bytes, _Sheet] = {}
    for (namespace, key), change in changes.items():
        place = place_of(namespace)
        sheets = own if place.session_id is None else sessions
        if place.partition not in sheets:
            sheets[place.partition] = _Sheet(place, scribe, now)
        sheets[place.partition].add(place, key, change)
    plans = [_write_own(scribe.shelves, own)] if own else []
    plans += [_write_session(scribe, sheet) for sheet in sessions.values()]
    for number, plan in enumerate(plans):
        yield from plan if number == 0 else afterwards(plan)


def _write_session(scribe: Scribe, sheet: _Sheet) -> Plan[None]:
    incarnation = scribe.writer.incarnation
    if sheet.puts:
        entry = Entry(scribe.writer, str(sheet.place.session_id), exclusive=False)
        outcome = yield from entry.send((), sheet.ops, op_id=scribe.shelves.new_id())
        empty: bool | None = yield from sheet.tidy(outcome)  # without guards of its own there is no conflict
    else:
        same: list[Op] = []
        if incarnation is not None:
            same = [Expect(keys.TOMBSTONE, False), Expect(keys.INCARNATION, etag(incarnation))]
        empty = yield from sheet.erase(same)
        if empty is None:
            empty = yield from sheet.erase(same, named=False)
    if empty:
        yield from afterwards(_end(scribe.shelves, [sheet.place]))


def _write_own(shelves: Shelves, own: Mapping[bytes, _Sheet]) -> Plan[None]:
    """Write into namespaces' own partitions; one that has lost its last item is gone."""
    put = {name: sheet for name, sheet in own.items() if sheet.puts}
    erased = [sheet for sheet in own.values() if not sheet.puts]
    replies, *ends = yield from together(
        [shelves.write({name: sheet.ops for name, sheet in put.items()}), *[sheet.erase() for sheet in erased]]
    )
    unnamed = [sheet for sheet, end in zip(erased, ends, strict=True) if end is None]
    if unnamed:
        again = together(sheet.erase(named=False) for sheet in unnamed)
        ends += yield from (again if len(unnamed) == len(own) else afterwards(again))
    ends += yield from together(sheet.tidy(reply) for sheet, reply in zip(put.values(), replies, strict=True))
    emptied = [sheet.place for sheet, end in zip([*erased, *unnamed, *put.values()], ends, strict=True) if end]
    if emptied:
        yield from afterwards(_end(shelves, emptied))


def _end(shelves: Shelves, emptied: Sequence[Place]) -> Plan[None]:
    """Take away what is left where the last item is gone: a namespace's partition, or a part of a session's."""
    for place in emptied:
        if place.session_id is not None:
            empty = ExpectEmpty(*place.items()), DeleteRange(*keys.below(*place.head))
            yield from call(place.partition, *empty)
    names = [place.partition for place in emptied if place.session_id is None]
    yield from shelves.drop(names, ExpectEmpty(*keys.below(CREATED)))


def sweep(shelves: Shelves, place: Place, now: int) -> Plan[int]:
    """Take away the items of a namespace that have ended; how many. The last one takes the namespace along."""
    taken, after = 0, None
    while True:
        hints, rows = yield from must(place.partition, place.past(now, _SWEPT, after), place.any_item())
        if not rows:
            yield from _end(shelves, [place])
            return taken
        if not hints:
            return taken
        taken += yield from _take(place, hints, now, Put(place.own(VERSION), shelves.new_id()))
        after = hints[-1][0]


def sweep_all(shelves: Shelves, now: int) -> Plan[int]:
    """Take away what has ended in all namespaces, but for those of sessions; how many items."""
    taken, cursor = 0, b""
    while True:
        (page,) = yield from must(STORE, Page("name", after=cursor, limit=_SWEPT))
        entries: Entries = page
        places = [place_of(name) for name in namespaces_in(entries)]
        looks = [Batch(place.past(now, 1), place.any_item()) for place in places]
        found = yield from must_all(list(map(Call, [place.partition for place in places], looks)))
        for place, (hints, rows) in zip(places, found, strict=True):
            if hints or not rows:
                taken += yield from sweep(shelves, place, now)
        if not (cursor := entries.cursor):
            return taken
