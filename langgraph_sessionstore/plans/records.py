"""A checkpoint's record: everything of it but the elements.

Rule 1: each channel says how its value is stored: in the record itself when small, else as elements of branches.
Rule 2: the links in front of a record lead to all its elements and to its pending writes, so that one following
        read brings the whole checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

from .. import codec
from ..errors import CorruptData, Unstorable, UnsupportedFormat
from ..ops import Links, etag, split_links, with_links
from . import layout
from . import versions as channel_versions
from .layout import Slice, Tail
from .versions import Versions, are_versions, comparable

Typed: TypeAlias = tuple[str, bytes]
"""What a serializer makes of a value."""
Kind: TypeAlias = Literal["inline", "whole", "list", "dict"]
_KINDS: tuple[Kind, ...] = ("inline", "whole", "list", "dict")
_LAYOUT = 1
ITEMS = 1 << 24
"""How many elements a record may refer to. A few damaged bytes shall not send a reader after billions of them."""
DOUBLES = 16
"""How often it may refer to the same element, on average. What is small shall not become large by reading."""


class Value(NamedTuple):
    """How a channel's value is stored.

    inline   in `typed`
    whole    as the one element in `parts`
    list     each item an element, in the order of `parts`
    dict     each value an element, in the order of `parts`; the keys, as a list, are in `typed`
    """

    kind: Kind
    typed: Typed | None
    parts: tuple[Slice, ...] = ()
    tail: Tail | None = None
    """Where a writer who goes on from here adds elements."""

    @property
    def items(self) -> int:
        """How many elements it has."""
        return count(self.parts)


class Record(NamedTuple):
    """A checkpoint as it is stored."""

    ns: str
    id: str
    parent: str | None
    fields: Typed
    """The checkpoint without the parts that have a place of their own here."""
    metadata: Typed
    versions: Versions
    seen: dict[str, Versions] | None
    """`versions_seen`; None when it is among the fields."""
    values: dict[str, Value]
    """By channel; one that has a version and no value here is empty."""
    tail: Tail | None
    """Where whole values are added."""
    sends_of: str | None
    """The checkpoint whose writes hold the packets that are pending here (checkpoints before version 4)."""

    @property
    def key(self) -> bytes:
        return layout.record(self.ns, self.id)

    def parts(self) -> Iterator[Slice]:
        """All elements that the record refers to."""
        for value in self.values.values():
            yield from value.parts

    def tails(self) -> Iterator[Tail]:
        """The ends of branches with which a writer may go on from here."""
        for tail in (self.tail, *(value.tail for value in self.values.values())):
            if tail is not None:
                yield tail

    def links(self) -> Links:
        """What a following read brings along."""
        below = [layout.writes(self.ns, self.id)]
        if self.sends_of is not None:
            below.append(layout.writes(self.ns, self.sends_of))
        return Links(tuple(below), tuple(layout.run(part) for part in self.parts()))

    def pack(self) -> bytes:
        """The stored form."""
        return with_links(
            self.links(),
            codec.pack(
                [
                    _LAYOUT,
                    self.parent,
                    self.fields,
                    self.metadata,
                    channel_versions.pack(self.versions),
                    self.seen and {node: channel_versions.pack(seen) for node, seen in self.seen.items()},
                    {channel: _pack_value(value) for channel, value in self.values.items()},
                    self.tail and list(self.tail),
                    self.sends_of,
                ]
            ),
        )


class Stored(NamedTuple):
    """A record and the name of its stored form, by which a batch can expect that it still stands."""

    record: Record
    etag: str


def unpack(key: bytes, stored: bytes, thread: str) -> Stored:
    """Read a record; `CorruptData` when it is none."""
    try:
        ns, checkpoint_id = layout.record_name(key)
    except CorruptData as exc:
        raise CorruptData(f"a checkpoint of thread {thread!r} is damaged: {exc}") from exc
    place = f"checkpoint {checkpoint_id!r} of thread {thread!r}"
    try:
        _, packed = split_links(stored)
        parts = codec.unpack(packed, place)
        version, parent, fields, metadata, versions, seen, values, tail, sends_of = parts
        if version != _LAYOUT:
            raise ValueError(f"layout {version!r}")
        record = Record(
            ns,
            checkpoint_id,
            parent,
            _typed(fields),
            _typed(metadata),
            channel_versions.unpack(versions),
            seen if seen is None else {_name(node): channel_versions.unpack(of) for node, of in seen.items()},
            {_name(channel): _unpack_value(value) for channel, value in values.items()},
            _tail(tail),
            sends_of,
        )
        if not all(text is None or isinstance(text, str) for text in (parent, sends_of)):
            raise ValueError("a parent is no id")
        if count(record.parts()) > min(ITEMS, DOUBLES * count(merged(record.parts()))):
            raise ValueError("more elements than there can be")
    except UnsupportedFormat:
        raise
    except (CorruptData, TypeError, ValueError, AttributeError, IndexError) as exc:
        raise CorruptData(f"{place} is damaged: {exc}") from exc
    comparable(record.versions, *(record.seen or {}).values())
    return Stored(record, etag(stored))


def count(parts: Iterable[Slice]) -> int:
    """How many elements these are."""
    return sum(part.stop - part.first for part in parts)


def merged(parts: Iterable[Slice]) -> list[Slice]:
    """The same elements in as few slices as possible."""
    result: list[Slice] = []
    for part in sorted(set(parts)):
        last = result[-1] if result else None
        if last and last.branch == part.branch and part.first <= last.stop:
            result[-1] = Slice(part.branch, last.first, max(last.stop, part.stop))
        else:
            result.append(part)
    return result


def plain_versions(versions: Any) -> Versions:
    """The channel versions of a checkpoint, refused when they are none."""
    if not are_versions(versions):
        raise Unstorable("channel_versions has to be a dict from channel names to versions (text or numbers)")
    return dict(versions)


def plain_seen(seen: Any) -> dict[str, Versions] | None:
    """`versions_seen` when it has its usual form, else None."""
    if type(seen) is not dict or not all(type(k) is str and are_versions(of) for k, of in seen.items()):
        return None
    return {node: dict(of) for node, of in seen.items()}


def _name(given: Any) -> str:
    if not isinstance(given, str):
        raise ValueError(f"no name: {given!r:.40}")
    return given


def _typed(pair: Any) -> Typed:
    type_, data = pair
    if not isinstance(type_, str) or not isinstance(data, bytes):
        raise ValueError("no serialized value")
    return type_, data


def _tail(numbers: Any) -> Tail | None:
    if numbers is None:
        return None
    branch, size = numbers
    if not (type(branch) is type(size) is int and 0 <= branch < 1 << 64 and 0 <= size < 1 << 32):
        raise ValueError("no end of a branch")
    return Tail(branch, size)


def _pack_value(value: Value) -> list[Any]:
    return [
        _KINDS.index(value.kind),
        value.typed,
        [n for part in value.parts for n in part],
        value.tail and list(value.tail),
    ]


def _unpack_value(packed: Any) -> Value:
    kind, typed, numbers, tail = packed
    parts = tuple(Slice(*numbers[at : at + 3]) for at in range(0, len(numbers), 3))
    for branch, first, stop in parts:
        if not (
            type(branch) is type(first) is type(stop) is int and 0 <= branch < 1 << 64 and 0 <= first < stop < 1 << 32
        ):
            raise ValueError("no elements")
    value = Value(_KINDS[kind], typed and _typed(typed), parts, _tail(tail))
    if (value.kind == "whole" and value.items != 1) or (value.typed is None) != (value.kind in ("whole", "list")):
        raise ValueError("not a stored value")
    return value
