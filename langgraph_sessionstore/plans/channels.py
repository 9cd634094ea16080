"""Channel values <-> elements: a new version of a list stores only what is new in it, see `likeness`.

Sharing is worth its rows only for items of some size; other values stay whole.

A `Draft` says what to keep and what to add. It becomes a `Value` when the branch for what is new is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from langgraph.checkpoint.serde.base import SerializerProtocol

from ..serde.messages import cast, fingerprint, is_message, mold
from ..serde.serializer import SessionSerializer
from .layout import Slice, Tail
from .likeness import Element, Known, digest, digest_of, in_blocks
from .records import DOUBLES, Kind, Typed, Value, count, merged

INLINE = 96  # bytes up to which a value is stored in the record itself
ITEM = 96  # bytes that items have on average before a list or dict of them is shared
SHARED = 1024  # bytes of a dict from which on it is worth sharing
SLICES = 128  # a list in more pieces than this is written anew
LONGEST = 250_000  # items of a list or dict that is shared


class Draft(NamedTuple):
    """A value before it has a place: pieces to keep and elements to add, in the order of the items."""

    kind: Kind
    typed: Typed | None
    pieces: tuple[Slice | list[Element], ...]
    tail: Tail | None
    """Where the base says that elements may be added."""
    known: Known | None
    """To compare the next version with."""

    def added(self) -> list[Element]:
        """The elements to add."""
        return list(chain.from_iterable(piece for piece in self.pieces if isinstance(piece, list)))

    def keeps(self) -> bool:
        """Whether it relies on elements that are stored already."""
        return any(isinstance(piece, Slice) for piece in self.pieces)

    def place(self, tail: Tail) -> tuple[Value, Tail]:
        """The value, when its new elements go to this tail; and the tail after them."""
        parts: list[Slice] = []
        branch, size = tail
        for piece in self.pieces:
            if isinstance(piece, list):
                part = Slice(branch, size, size + len(piece))
                size = part.stop
            else:
                part = piece
            _join(parts, part)
        return Value(self.kind, self.typed, tuple(parts), Tail(branch, size)), Tail(branch, size)


class _Base(NamedTuple):
    """Another version that is stored already, and what is known of it."""

    value: Value
    known: Known


def draft(
    serde: SerializerProtocol, value: Any, stored: Value | None = None, known: Known | None = None, share: bool = True
) -> Draft:
    """How to store a value, when that version of it is stored already."""
    base = _Base(stored, known) if stored and known and len(known.items) == stored.items else None
    if share and type(value) is list and 0 < len(value) <= LONGEST:
        if base is not None and (grown := _grown(serde, value, base)) is not None:
            return grown
        items = _items(serde, value)
        if items is not None:
            return _compared(serde, "list", None, items, base)
    if share and type(value) is dict and 1 < len(value) <= LONGEST and isinstance(serde, SessionSerializer):
        typed = [serde.dumps_typed(item) for item in value.values()]
        size = sum(len(data) for _, data in typed)
        if size >= max(SHARED, ITEM * len(typed)):
            names = serde.dumps_typed(list(value))
            return _compared(serde, "dict", names, [Element(each, digest_of(each)) for each in typed], base)
    whole = serde.dumps_typed(value)
    if len(whole[1]) <= INLINE:
        return Draft("inline", whole, (), None, None)
    return _compared(serde, "whole", None, [Element(whole, digest_of(whole))], base)


def alike(serde: SerializerProtocol, other: SerializerProtocol) -> bool:
    """Whether each reads what the other wrote."""
    return serde is other or (isinstance(serde, SessionSerializer) and isinstance(other, SessionSerializer))


class _Given(Element):
    """A message that is serialized only if it turns out to be new."""

    __slots__ = ("fingerprint", "value")

    def __init__(self, value: Any, fingerprint: bytes) -> None:
        super().__init__(("", b""), digest(fingerprint))
        self.value = value
        self.fingerprint: bytes | None = fingerprint
        """Until it is settled."""

    def settle(self, serde: SerializerProtocol) -> Element:
        """Take the stored form. Replies what to compare with: this, if what is read will look the same."""
        self.typed = serde.dumps_typed(self.value)
        known: Element = self
        if not isinstance(serde, SessionSerializer) or fingerprint(_decode(serde, self)) != self.fingerprint:
            known, self.digest = Element(("", b""), self.digest), None
        self.value = self.fingerprint = None
        return known


def _items(serde: SerializerProtocol, values: list[Any]) -> list[Element] | None:
    """The items as elements when the list is worth sharing."""
    own = isinstance(serde, SessionSerializer)
    if is_message(values[0]) and (own or all(map(is_message, values))):
        return [_item(serde, value) for value in values]
    if not own:
        return None  # what another serializer makes of equal items may differ each time
    size = 0
    items: list[Element] = []
    for number, value in enumerate(values, 1):
        items.append(element := _item(serde, value))
        size += len(element.typed[1]) or ITEM * 2
        if number == 64 and size < ITEM * number:
            return None  # numbers and short words, by the looks of it
    return items if size >= ITEM * len(items) else None


def _item(serde: SerializerProtocol, value: Any) -> Element:
    if is_message(value) and (content := fingerprint(value)):
        return _Given(value, content)
    typed = serde.dumps_typed(value)
    return Element(typed, digest_of(typed))


def _settled(
    serde: SerializerProtocol, items: list[Element], order: list[Element]
) -> tuple[list[Element], list[bytes] | None, bool]:
    """Serialize what is new of these items; `order` holds them as they are known, those of the base among them.

    What to compare with: items, their fingerprints if all have one, and whether what is read will look the same.
    """
    prints = [item.fingerprint for item in items if isinstance(item, _Given) and item.fingerprint]
    known = [item.settle(serde) if isinstance(item, _Given) and item.fingerprint else item for item in order]
    same = all(left is right for left, right in zip(known, order, strict=True))
    return known, prints if len(prints) == len(items) else None, same


def _grown(serde: SerializerProtocol, values: list[Any], base: _Base) -> Draft | None:
    """The draft of a list of messages that begins with the base; None when it is something else."""
    parts, size = base.value.parts, len(base.known.items)
    if base.value.kind != "list" or not base.known.begins(values) or not _sound((*parts, [])):
        return None
    rest = values[size:]
    if not rest:
        return Draft("list", None, parts, base.value.tail, base.known)
    if not isinstance(serde, SessionSerializer) and not all(map(is_message, rest)):
        return None
    items = [_item(serde, value) for value in rest]
    known = base.known.grown(*_settled(serde, items, items))
    return Draft("list", None, (*parts, items), base.value.tail, known)


def _known(serde: SerializerProtocol, items: list[Element], order: list[Element], as_read: bool = True) -> Known:
    known, prints, same = _settled(serde, items, order)
    return Known(known, in_blocks(prints or ()), as_read and same)


def _compared(
    serde: SerializerProtocol, kind: Kind, typed: Typed | None, items: list[Element], base: _Base | None
) -> Draft:
    """Keep what the base has, add the rest."""
    if base is not None and base.value.kind == kind:
        pieces, order = _pieces(items, base)
        if _sound(pieces):
            return Draft(kind, typed, pieces, base.value.tail, _known(serde, items, order, base.known.as_read))
    return Draft(kind, typed, (items,), None, _known(serde, items, items))


def _sound(pieces: Sequence[Slice | list[Element]]) -> bool:
    """Whether these are not so many, or so often the same, that the value is better written anew."""
    kept = [piece for piece in pieces if isinstance(piece, Slice)]
    return len(pieces) <= SLICES and count(kept) <= DOUBLES * count(merged(kept))


def _pieces(items: list[Element], base: _Base) -> tuple[tuple[Slice | list[Element], ...], list[Element]]:
    """Any list out of pieces of the base: reordered, trimmed, edited, with doubles. And the items as they are known."""
    old, parts = base.known.digests(base.value.kind == "list"), base.value.parts
    digests = [item.digest or b"" for item in items]
    if digests[: len(old)] == old:  # something was appended, or nothing
        new = items[len(old) :]
        return ((*parts, new) if new else parts), [*base.known.items, *new]
    slots = [(part.branch, slot) for part in parts for slot in range(part.first, part.stop)]
    where = dict(zip(reversed(old), range(len(old) - 1, -1, -1), strict=True))
    pieces: list[Slice | list[Element]] = []
    order: list[Element] = []
    following = 0  # the item of the base behind the one used last
    for item, own in zip(items, digests, strict=True):
        at = following if following < len(old) and old[following] == own else where.get(own)
        if at is None:
            order.append(item)
            if pieces and isinstance(pieces[-1], list):
                pieces[-1].append(item)
            else:
                pieces.append([item])
            continue
        order.append(base.known.items[at])
        following = at + 1
        branch, slot = slots[at]
        _join(pieces, Slice(branch, slot, slot + 1))
    return tuple(pieces), order


def _join(parts: list[Any], part: Slice) -> None:
    """Add a slice, as one with the last when it goes on from there."""
    last = parts[-1] if parts else None
    if isinstance(last, Slice) and last.branch == part.branch and last.stop == part.first:
        parts[-1] = Slice(part.branch, last.first, part.stop)
    else:
        parts.append(part)


# -- reading


Found = dict[int, Mapping[int, Element]]
"""Elements by branch and slot."""
Place = Callable[[Slice, int], str]


def load(serde: SerializerProtocol, value: Value, found: Found) -> Any:
    """The value, the caller's own: nothing in it is shared with what is remembered."""
    if value.typed is not None and value.kind == "inline":
        return serde.loads_typed(value.typed)
    items = [
        cast(element.mold) if element.mold and element.reader is serde else _decoded(serde, element)
        for element in _elements(value, found)
    ]
    if value.kind == "whole":
        return items[0]
    if value.typed is None:
        return items
    return dict(zip(serde.loads_typed(value.typed), items, strict=True))


def known(value: Value, found: Found) -> Known:
    """What a writer compares with; the elements have been loaded before."""
    return Known(_elements(value, found), None if value.kind == "list" else [])


def _elements(value: Value, found: Found) -> list[Element]:
    return [found[part.branch][slot] for part in value.parts for slot in range(part.first, part.stop)]


def _decoded(serde: SerializerProtocol, element: Element) -> Any:
    """The value of an element. A message is remembered, and a copy of it handed out."""
    value = _decode(serde, element)
    return cast(element.mold) if is_message(value) and element.mold else value


def _decode(serde: SerializerProtocol, element: Element) -> Any:
    value = serde.loads_typed(element.typed)
    if is_message(value):
        element.mold, element.reader = mold(value), serde
    return value
