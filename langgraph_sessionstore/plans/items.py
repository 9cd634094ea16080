"""Items of a store: where they lie, and reading them.

    partition ("store", *namespace)     the items of one namespace
        (0, 0, key)                     an item: when it was put last, and its value
        (1, 0, key)                     when it was put first
        (2,)                            there are, or were, items; see `shelves`
        (3, 0, key)                     when it ends, if it does
        (4, 0, key)                     the texts that are embedded, by their digests
        (5, 0, key)                     their vectors
        (6, moment, 0, key)             an item in the order of the ends; see `ending`
        (7,)                            a name for the state that the last write left behind
    partition ("session", id)           the items of the namespaces (SESSION_NAMESPACE, id, *rest): they go with it
        ("x", 0, *rest, 0, key)         and so on, with "x" in front and the rest before the 0

Rule: whole labels are compared, so ("foo",) never reaches what is in ("foobar",); a number is never a label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, NamedTuple

from langgraph.checkpoint.serde.base import SerializerProtocol

from .. import codec, keys
from ..errors import ConfigurationError, CorruptData
from ..keys import Segment, Span
from ..ops import Batch, Call, Calls, Delete, Entries, Expect, Get, Op, Plan, Put, Range, etag, must_all
from .ending import End, Ended, unpack_end
from .reading import load_typed
from .tools import pack_typed, unpack_typed

SESSION_NAMESPACE = "__session__"
"""The first label of what belongs to a session: `(SESSION_NAMESPACE, session_id, ...)`."""
STORE = keys.registry("store")
"""The list of all namespaces."""

VALUE, CREATED, END, TEXTS, VECTORS, HINT, VERSION = 0, 1, 3, 4, 5, 6, 7
ALL = VALUE, CREATED, END, TEXTS, VECTORS
"""The rows that an item may have."""

Namespace = tuple[str, ...]
Address = tuple[Namespace, str]
Where = tuple[Segment, ...]
"""The place of an item in its partition: `(*rest, 0, key)`."""


class Stored(NamedTuple):
    """An item as it is read. Times are microseconds since 1970."""

    namespace: Namespace
    key: str
    value: dict[str, Any]
    created: int
    updated: int
    end: End | None = None


class Hit(NamedTuple):
    """An item that a search has found, and how near it came; None: that was not asked, or it has no vectors."""

    item: Stored
    score: float | None = None


Reader = Callable[[], Stored]


class Place(NamedTuple):
    """Where the items of a namespace lie, and of those below it in the same partition."""

    partition: bytes
    base: Namespace
    """The namespace, as far as the partition stands for it; the rest is in the keys."""
    rest: Namespace
    head: tuple[str, ...]
    session_id: str | None

    def where(self, key: str) -> Where:
        """Where the item with this key lies."""
        return (*self.rest, 0, key)

    def row(self, kind: int, where: Sequence[Segment]) -> bytes:
        """The key of one of an item's rows."""
        return self.own(kind) + keys.encode(*where)

    def rows(self, kinds: Sequence[int], where: Sequence[Segment]) -> list[bytes]:
        """The keys of several of its rows."""
        rest = keys.encode(*where)
        return [self.own(kind) + rest for kind in kinds]

    def own(self, kind: int) -> bytes:
        """The key of a row that is about all items here, and how the keys of the items' rows begin."""
        return _front(self.head, kind)

    def items(self) -> Span:
        """Small rows, one of each item in the partition."""
        return keys.below(*self.head, CREATED)

    def any_item(self) -> Op:
        """What tells whether there are items in the partition."""
        return Range(*self.items(), limit=1)

    def page(self, after: Where | None, limit: int, kinds: Sequence[int] = (VALUE, CREATED, END)) -> list[Op]:
        """What reads so many items with what lies below: from the first on, or behind the last one read."""
        spans = [keys.below(*self.head, kind, *self.rest) for kind in kinds]
        if after is not None:
            spans = [(self.row(kind, after) + b"\xff", span[1]) for kind, span in zip(kinds, spans, strict=True)]
        return [Range(*span, limit=limit) for span in spans]

    def at(self, row: bytes) -> Where:
        """Where the item lies that this row is one of."""
        match keys.decode(row)[len(self.head) + 1 :]:
            case [*labels, 0, str(name)] if all(isinstance(label, str) for label in labels):
                return (*labels, 0, name)
        raise CorruptData(f"namespace {self.base!r} holds {row[:80]!r}, which is no item")

    def namespace(self, where: Where) -> Namespace:
        """The namespace of the item that lies there."""
        return (*self.base, *map(str, where[:-2]))

    def found(self, serde: SerializerProtocol, page: Sequence[Any], now: int) -> Iterator[tuple[Where, Reader | None]]:
        """The items on a page, at this moment in milliseconds: where each lies, and how to read it."""
        values, times, ends = page
        created, over = dict(times), dict(ends)
        size, first, end = len(self.own(VALUE)), self.own(CREATED), self.own(END)
        for row, value in values:
            where, rest = self.at(row), row[size:]
            yield where, self.reader(serde, where, (value, created.get(first + rest), over.get(end + rest)), now)

    def reader(self, serde: SerializerProtocol, where: Where, rows: Sequence[bytes | None], now: int) -> Reader | None:
        """How to read an item from its rows (value, creation, end); None when there is none at this moment."""
        value, created, over = rows
        if value is None:
            return None
        namespace, key = self.namespace(where), str(where[-1])
        end = unpack_end(over, f"item {key!r} of namespace {namespace!r}")
        if end is not None and end.at <= now:
            return None
        return partial(unpack_item, serde, namespace, key, value, created, end)

    def past(self, now: int, limit: int, after: bytes | None = None) -> Op:
        """What reads hints for items that have ended, or soon will; from the first on, or behind the last one read."""
        first = self.own(HINT) if after is None else after + b"\xff"
        return Range(first, self.own(HINT) + keys.encode(now + 1), limit=limit)

    def ended(self, hint: bytes, name: Op) -> Ended:
        """What a hint names; taking it away gives the state a new name."""
        where = keys.decode(hint)[len(self.head) + 2 :]
        ops = [*map(Delete, self.rows(ALL, where)), name]
        return Ended(hint, self.row(END, where), ops, lambda end: self.hint(end, where))

    def hint(self, end: End, where: Where) -> bytes:
        """The key of a hint for an item."""
        return self.own(HINT) + keys.encode(end.hint(), *where)


@lru_cache
def _front(head: tuple[str, ...], kind: int) -> bytes:
    return keys.encode(*head, kind)


def place_of(namespace: Namespace) -> Place:
    """Where the items of a namespace lie."""
    if namespace[:1] != (SESSION_NAMESPACE,):
        return Place(keys.encode("store", *namespace), namespace, (), (), None)
    if len(namespace) < 2:
        raise ConfigurationError(
            f"name the session: ({SESSION_NAMESPACE!r}, session_id, ...), not ({SESSION_NAMESPACE!r},) alone"
        )
    return Place(keys.session(namespace[1]), namespace[:2], namespace[2:], ("x",), namespace[1])


def located(address: Address) -> tuple[Place, Where]:
    """Where an item lies."""
    place = place_of(address[0])
    return place, place.where(address[1])


def namespaces_in(entries: Entries) -> list[Namespace]:
    """The namespaces that a page of the list names; other lines, whoever wrote them, hide nothing."""
    found: list[Namespace] = []
    for entry in entries.rows:
        with suppress(CorruptData):
            kind, *labels = keys.decode(entry.name) or [""]
            if kind == "store" and all(isinstance(label, str) for label in labels):
                found.append(tuple(map(str, labels)))
    return [name for name in found if name and name[0] != SESSION_NAMESPACE]  # no list has what belongs to a session


def pack_value(serde: SerializerProtocol, value: Mapping[str, Any]) -> bytes:
    """The stored form of a value."""
    return pack_typed(serde.dumps_typed(dict(value)))


def pack_item(value: bytes, updated: int) -> bytes:
    """The stored form of an item."""
    return codec.pack([updated, value])


def unpack_item(
    serde: SerializerProtocol, namespace: Namespace, key: str, stored: bytes, created: bytes | None, end: End | None
) -> Stored:
    """An item from its rows."""
    where = f"item {key!r} of namespace {namespace!r}"
    match codec.unpack(stored, where):
        case [int(updated), bytes(typed)] if 0 <= updated < 1 << 56:
            value = load_typed(serde, unpack_typed(typed, where), where)
        case _:
            raise CorruptData(f"{where} is damaged")
    begun = codec.unpack(created, where) if created is not None else updated
    if not isinstance(value, dict) or type(begun) is not int or not 0 <= begun < 1 << 56:
        raise CorruptData(f"{where} is damaged")
    return Stored(namespace, key, value, min(begun, updated), updated, end)  # clocks of two workers may differ


def fetch(
    wanted: Sequence[tuple[Place, Where]], kinds: Sequence[int] = (VALUE, CREATED, END)
) -> Plan[list[list[bytes | None]]]:
    """The rows of these items, all in one trip."""
    gets: dict[bytes, list[Op]] = {}
    for place, where in wanted:
        gets.setdefault(place.partition, []).extend(map(Get, place.rows(kinds, where)))
    outcomes = yield from must_all([Call(partition, Batch(*ops)) for partition, ops in gets.items()])
    replies = {partition: iter(outcome) for partition, outcome in zip(gets, outcomes, strict=True)}
    return [[next(replies[place.partition]) for _ in kinds] for place, _ in wanted]


def read(serde: SerializerProtocol, wanted: Sequence[Address], now: int) -> Plan[list[Stored | None]]:
    """The items at these places, all in one trip; None where there is none."""
    places = [located(address) for address in wanted]
    found: list[Stored | None] = []
    for (place, where), rows in zip(places, (yield from fetch(places)), strict=True):
        reader = place.reader(serde, where, rows, now)
        found.append(None if reader is None else reader())
    return found


def use(items: Sequence[Stored], now: int) -> Plan[None]:
    """Let items that were read live on, those that live for a time after their last use."""
    calls = {}
    for item in items:
        end = item.end and item.end.moved(now)
        if item.end is None or end is None:
            continue
        place, where = located((item.namespace, item.key))
        row, old, new = place.row(END, where), place.hint(item.end, where), place.hint(end, where)
        ops: list[Op] = [Expect(row, etag(item.end.stored)), Put(row, end.pack()), Put(new, b"")]
        calls[place.partition, row] = Call(place.partition, Batch(*ops, *([Delete(old)] if old != new else [])))
    if calls:
        yield Calls(list(calls.values()))
