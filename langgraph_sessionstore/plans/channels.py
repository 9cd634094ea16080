"""Channel values <-> elements: a new version of a list stores only what is new in it, see `likeness`.

Sharing is worth its rows only for items of some size; other values stay whole.

A `Draft` says what to keep and what to add. It becomes a `Value` when the branch for what is new is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from langgraph.checkpoint.serde.base import SerializerProtocol

from ..serde.messages import cast, fingerprint, is_as_read, is_message, mold
from ..serde.serializer import SessionSerializer
from .layout import Slice, Tail
from .likeness import Content, Element, Known
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
        contents = _contents(serde, value)
        if contents is not None:
            return _compared(serde, "list", None, value, contents, base)
    if share and type(value) is dict and 1 < len(value) <= LONGEST and isinstance(serde, SessionSerializer):
        values = list(value.values())
        items = [serde.dumps_typed(item) for item in values]
        size = sum(len(data) for _, data in items)
        if size >= max(SHARED, ITEM * len(items)):
            return _compared(serde, "dict", serde.dumps_typed(list(value)), values, [*items], base)
    whole = serde.dumps_typed(value)
    if len(whole[1]) <= INLINE:
        return Draft("inline", whole, (), None, None)
    return _compared(serde, "whole", None, [value], [whole], base)


def alike(serde: SerializerProtocol, other: SerializerProtocol) -> bool:
    """Whether each reads what the other wrote."""
    return serde is other or (isinstance(serde, SessionSerializer) and isinstance(other, SessionSerializer))


def _contents(serde: SerializerProtocol, values: list[Any]) -> list[Content] | None:
    """The contents of a list's items when it is worth sharing."""
    own = isinstance(serde, SessionSerializer)
    if is_message(values[0]) and (own or all(map(is_message, values))):
        return [_content(serde, value) for value in values]
    if not own:
        return None  # what another serializer makes of equal items may differ each time
    size = 0
    contents: list[Content] = []
    for number, value in enumerate(values, 1):
        contents.append(content := _content(serde, value))
        size += ITEM * 2 if isinstance(content, bytes) else len(content[1])
        if number == 64 and size < ITEM * number:
            return None  # numbers and short words, by the looks of it
    return contents if size >= ITEM * len(contents) else None


def _content(serde: SerializerProtocol, value: Any) -> Content:
    return (fingerprint(value) if is_message(value) else None) or serde.dumps_typed(value)


def _new(serde: SerializerProtocol, value: Any, content: Content) -> Element:
    if not isinstance(content, bytes):
        return Element(content)
    element = Element(serde.dumps_typed(value))
    if isinstance(serde, SessionSerializer) and is_as_read(value):
        element.content = content
    return element


def _as_read(items: Sequence[Element], values: Sequence[Any]) -> bool:
    """Whether all items of a list have the same contents when they are read."""
    return all(item.content is not None or not is_message(value) for item, value in zip(items, values, strict=True))


def _grown(serde: SerializerProtocol, values: list[Any], base: _Base) -> Draft | None:
    """The draft of a list of messages that begins with the base; None when it is something else."""
    parts, size = base.value.parts, len(base.known.items)
    if base.value.kind != "list" or not _sound((*parts, [])) or not base.known.begins(values):
        return None
    rest = values[size:]
    if not rest:
        return Draft("list", None, parts, base.value.tail, base.known)
    if not isinstance(serde, SessionSerializer) and not all(map(is_message, rest)):
        return None
    contents = [_content(serde, value) for value in rest]
    items = [_new(serde, *each) for each in zip(rest, contents, strict=True)]
    known = base.known.grown(items, contents, _as_read(items, rest))
    return Draft("list", None, (*parts, items), base.value.tail, known)


def _compared(
    serde: SerializerProtocol,
    kind: Kind,
    typed: Typed | None,
    values: list[Any],
    contents: list[Content],
    base: _Base | None,
) -> Draft:
    """Keep what the base has, add the rest."""
    places: list[int | None] = [None] * len(values)
    pieces: Sequence[Slice | list[int]] = [list(range(len(values)))]
    if base is not None and base.value.kind == kind:
        found = _places(contents, base.known.contents)
        cut = _pieces(found, base.value.parts)
        base, places, pieces = (base, found, cut) if _sound(cut) else (None, places, pieces)
    else:
        base = None
    items, kept = [], []
    for at, value, content in zip(places, values, contents, strict=True):
        if base is None or at is None:
            items.append(_new(serde, value, content))
            kept.append(content)
        else:  # the very objects, so that many versions take no more room than one
            items.append(base.known.items[at])
            kept.append(base.known.contents[at])
    as_read = kind != "list" or ((base is None or base.known.as_read) and _as_read(items, values))
    placed = tuple(piece if isinstance(piece, Slice) else [items[number] for number in piece] for piece in pieces)
    return Draft(kind, typed, placed, base.value.tail if base else None, Known(items, kept, as_read))


def _places(contents: list[Content], old: list[Content]) -> list[int | None]:
    """Where in the base each item stands, if it does: reordered, trimmed, edited, with doubles."""
    where: dict[Content, int] = {}
    places: list[int | None] = []
    following = 0  # the item of the base behind the one used last
    for content in contents:
        if following < len(old) and old[following] == content:
            at: int | None = following
        else:
            where = where or dict(zip(reversed(old), range(len(old) - 1, -1, -1), strict=True))
            at = where.get(content)
        places.append(at)
        following = following if at is None else at + 1
    return places


def _pieces(places: list[int | None], parts: Sequence[Slice]) -> list[Slice | list[int]]:
    """The places as pieces of the base, and between them the numbers of what is new."""
    slots = [(part.branch, slot) for part in parts for slot in range(part.first, part.stop)]
    pieces: list[Slice | list[int]] = []
    for number, at in enumerate(places):
        if at is not None:
            branch, slot = slots[at]
            _join(pieces, Slice(branch, slot, slot + 1))
        elif pieces and isinstance(pieces[-1], list):
            pieces[-1].append(number)
        else:
            pieces.append([number])
    return pieces


def _sound(pieces: Sequence[Slice | list[Any]]) -> bool:
    """Whether these are not so many, or so often the same, that the value is better written anew."""
    kept = [piece for piece in pieces if isinstance(piece, Slice)]
    return len(pieces) <= SLICES and count(kept) <= DOUBLES * count(merged(kept))


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


def load(serde: SerializerProtocol, value: Value, found: Found) -> Any:
    """The value, the caller's own: nothing in it is shared with what is remembered."""
    if value.typed is not None and value.kind == "inline":
        return serde.loads_typed(value.typed)
    items = [
        cast(last[1]) if (last := element.decoded) and last[0] is serde and last[1] else _decoded(serde, element)
        for element in _elements(value, found)
    ]
    if value.kind == "whole":
        return items[0]
    if value.typed is None:
        return items
    return dict(zip(serde.loads_typed(value.typed), items, strict=True))


def known(value: Value, found: Found, loaded: Any) -> Known:
    """What a writer compares with; the value that was loaded has not been handed out yet."""
    items = _elements(value, found)
    if value.kind != "list":
        return Known(items, [item.typed for item in items])
    for item, each in zip(items, loaded, strict=True):
        if item.content is None and is_message(each):
            item.content = fingerprint(each)
    return Known(items, [item.content or item.typed for item in items])


def _elements(value: Value, found: Found) -> list[Element]:
    return [found[part.branch][slot] for part in value.parts for slot in range(part.first, part.stop)]


def _decoded(serde: SerializerProtocol, element: Element) -> Any:
    """The value of an element. A message that is asked for again is remembered, and copies of it are handed out."""
    value = serde.loads_typed(element.typed)
    if not is_message(value):
        return value
    last = element.decoded
    if last is None or last[0] is not serde:
        element.decoded = serde, None
        return value
    form = mold(value)
    try:
        copy = cast(form)
    except Exception:  # it holds something that cannot be copied: then it is decoded each time
        return value
    element.decoded = serde, form
    return copy
