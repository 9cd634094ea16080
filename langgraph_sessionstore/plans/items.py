"""Items of a store: where they lie, reading and writing them.

    partition ("store", *namespace)     the items of one namespace
        (0, 0, key)                     an item: when it was put last, and its value
        (1, 0, key)                     when it was put first
        (2,)                            there are, or were, items; see `shelves`
    partition ("session", id)           the items of the namespaces (SESSION_NAMESPACE, id, *rest): they go with it
        ("x", 0, *rest, 0, key)
        ("x", 1, *rest, 0, key)

Rule: whole labels are compared, so ("foo",) never reaches what is in ("foobar",); a number is never a label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from langgraph.checkpoint.serde.base import SerializerProtocol

from .. import codec, keys
from ..errors import ConfigurationError, CorruptData
from ..keys import Segment
from ..ops import (
    Batch,
    Call,
    Calls,
    Conflict,
    Delete,
    Drop,
    ExpectEmpty,
    Get,
    Op,
    Plan,
    Put,
    PutNew,
    Range,
    must,
    must_all,
)
from .entry import Entry, Writer, afterwards
from .reading import load_typed
from .shelves import Shelves
from .tools import pack_typed, unpack_typed

SESSION_NAMESPACE = "__session__"
"""The first label of what belongs to a session: `(SESSION_NAMESPACE, session_id, ...)`."""
STORE = keys.registry("store")
"""The list of all namespaces."""

ANY_ROW = Range(*keys.below(1), limit=1)
"""A small row of a namespace that has items."""

Namespace = tuple[str, ...]
Address = tuple[Namespace, str]


class Stored(NamedTuple):
    """An item as it is read. Times are microseconds since 1970."""

    namespace: Namespace
    key: str
    value: dict[str, Any]
    created: int
    updated: int


Item = tuple[Sequence[Segment], Callable[[], Stored]]
"""Where an item lies in its partition, and how to read it."""


class Place(NamedTuple):
    """Where the items of a namespace lie, and of those below it in the same partition."""

    partition: bytes
    base: Namespace
    """The namespace, as far as the partition stands for it; the rest is in the keys."""
    rest: Namespace
    head: tuple[str, ...]
    session_id: str | None

    def rows(self, key: str) -> tuple[bytes, bytes]:
        """The keys of an item: of its value, and of when it was put first."""
        return keys.encode(*self.head, 0, *self.rest, 0, key), keys.encode(*self.head, 1, *self.rest, 0, key)

    def page(self, after: Sequence[Segment] | None, limit: int) -> list[Op]:
        """What reads so many items with what lies below: from the first on, or behind the last one read."""
        spans = [keys.below(*self.head, kind, *self.rest) for kind in (0, 1)]
        if after is not None:
            spans = [(keys.encode(*self.head, kind, *after) + b"\xff", spans[kind][1]) for kind in (0, 1)]
        return [Range(*span, limit=limit) for span in spans]

    def items(
        self, serde: SerializerProtocol, page: Sequence[Any]
    ) -> Iterator[tuple[Sequence[Segment], Callable[[], Stored]]]:
        """The items on a page: where each lies, and how to read it."""
        values, times = page
        created = dict(times)
        for key, value in values:
            match keys.decode(key)[len(self.head) :]:
                case [0, *labels, 0, str(name)] if all(isinstance(label, str) for label in labels):
                    namespace = (*self.base, *map(str, labels))
                    begun = created.get(keys.encode(*self.head, 1, *labels, 0, name))
                    yield (*labels, 0, name), partial(unpack_item, serde, namespace, name, value, begun)
                case _:
                    raise CorruptData(f"namespace {self.base!r} holds {key[:80]!r}, which is no item")


def place_of(namespace: Namespace) -> Place:
    """Where the items of a namespace lie."""
    if namespace[:1] != (SESSION_NAMESPACE,):
        return Place(keys.encode("store", *namespace), namespace, (), (), None)
    if len(namespace) < 2:
        raise ConfigurationError(
            f"name the session: ({SESSION_NAMESPACE!r}, session_id, ...), not ({SESSION_NAMESPACE!r},) alone"
        )
    return Place(keys.session(namespace[1]), namespace[:2], namespace[2:], ("x",), namespace[1])


def pack_item(serde: SerializerProtocol, value: Mapping[str, Any], updated: int) -> bytes:
    """The stored form of an item."""
    return codec.pack([updated, pack_typed(serde.dumps_typed(dict(value)))])


def unpack_item(
    serde: SerializerProtocol, namespace: Namespace, key: str, stored: bytes, created: bytes | None
) -> Stored:
    """An item from its two rows."""
    where = f"item {key!r} of namespace {namespace!r}"
    match codec.unpack(stored, where):
        case [int(updated), bytes(typed)] if 0 <= updated < 1 << 56:
            value = load_typed(serde, unpack_typed(typed, where), where)
        case _:
            raise CorruptData(f"{where} is damaged")
    begun = codec.unpack(created, where) if created is not None else updated
    if not isinstance(value, dict) or type(begun) is not int or not 0 <= begun < 1 << 56:
        raise CorruptData(f"{where} is damaged")
    return Stored(namespace, key, value, begun, updated)


# -- reading


def read(serde: SerializerProtocol, wanted: Sequence[Address]) -> Plan[list[Stored | None]]:
    """The items at these places, all in one trip; None where there is none."""
    gets: dict[bytes, list[Op]] = {}
    places = [place_of(namespace) for namespace, _ in wanted]
    for place, (_, key) in zip(places, wanted, strict=True):
        gets.setdefault(place.partition, []).extend(map(Get, place.rows(key)))
    outcomes = yield from must_all([Call(partition, Batch(*ops)) for partition, ops in gets.items()])
    replies = {partition: iter(outcome) for partition, outcome in zip(gets, outcomes, strict=True)}
    found: list[Stored | None] = []
    for place, (namespace, key) in zip(places, wanted, strict=True):
        stored, created = next(replies[place.partition]), next(replies[place.partition])
        found.append(None if stored is None else unpack_item(serde, namespace, key, stored, created))
    return found


# -- writing


class Scribe(NamedTuple):
    """Who writes items: what is known of sessions and of namespaces, and the time in microseconds."""

    writer: Writer
    shelves: Shelves
    now: Callable[[], int]


def write(serde: SerializerProtocol, scribe: Scribe, changes: Mapping[Address, Mapping[str, Any] | None]) -> Plan[None]:
    """Put these items, and delete those without a value: all in one trip, those of each session in one of their own."""
    now = scribe.now()
    own: dict[bytes, list[Op]] = {}
    sessions: dict[str, list[Op]] = {}
    for (namespace, key), value in changes.items():
        place = place_of(namespace)
        row, created = place.rows(key)
        if value is None:
            ops: list[Op] = [Delete(row), Delete(created)]
        else:
            ops = [PutNew(created, codec.pack(now)), Put(row, pack_item(serde, value, now))]
        if place.session_id is None:
            own.setdefault(place.partition, []).extend(ops)
        else:
            sessions.setdefault(place.session_id, []).extend(ops)
    plans = [_write_own(scribe.shelves, own)] if own else []
    plans += [_write_session(scribe, session_id, ops) for session_id, ops in sessions.items()]
    for number, plan in enumerate(plans):
        yield from plan if number == 0 else afterwards(plan)


def _write_session(scribe: Scribe, session_id: str, ops: Sequence[Op]) -> Plan[None]:
    if _puts(ops):
        yield from Entry(scribe.writer, session_id, exclusive=False).send((), ops, op_id=scribe.shelves.new_id())
    else:  # which is no reason to begin a session
        yield from must(keys.session(session_id), *ops)


def _puts(ops: Sequence[Op]) -> bool:
    return any(isinstance(op, Put) for op in ops)


def _write_own(shelves: Shelves, own: Mapping[bytes, Sequence[Op]]) -> Plan[None]:
    """Write into namespaces' own partitions; one that has lost its last item is gone."""
    batches = {name: ops if _puts(ops) else [*ops, ANY_ROW] for name, ops in own.items()}
    replies = yield from shelves.write(batches)
    emptied = [
        name
        for (name, ops), (mark, *_, rest) in zip(own.items(), replies, strict=True)
        if not _puts(ops) and mark is not None and not rest
    ]
    if emptied:
        yield from afterwards(_end(shelves, emptied))


def _end(shelves: Shelves, emptied: Sequence[bytes]) -> Plan[None]:
    """Take namespaces away that have lost their last item."""
    drops = yield Calls([Call(name, Batch(ExpectEmpty(*keys.below(1)), Drop())) for name in emptied])
    gone = [name for name, drop in zip(emptied, drops, strict=True) if not isinstance(drop, Conflict)]
    yield from shelves.unlist(gone)
