"""Channel values <-> elements: a new version of a list stores only what is new in it.

Rule 1: items are compared by a digest of their content, never by identity: messages are mutable.
Rule 2: the digest is keyed, never stored, and made anew in each process; two items with one digest are interchangeable.
Rule 3: sharing is worth its rows only for items of some size; other values stay whole.

A `Draft` says what to keep and what to add. It becomes a `Value` when the branch for what is new is known.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from itertools import chain
from typing import Any, NamedTuple

from langgraph.checkpoint.serde.base import SerializerProtocol

from ..serde.messages import clone, fingerprint, is_message
from ..serde.serializer import SessionSerializer
from .cache import Element
from .layout import Slice, Tail
from .records import DOUBLES, Kind, Typed, Value, count, merged

INLINE = 96  # bytes up to which a value is stored in the record itself
ITEM = 96  # bytes that items have on average before a list or dict of them is shared
SHARED = 1024  # bytes of a dict from which on it is worth sharing
SLICES = 128  # a list in more pieces than this is written anew
LONGEST = 250_000  # items of a list or dict that is shared
_KEY = os.urandom(32)
_WIDTH = 16


class Draft(NamedTuple):
    """A value before it has a place: pieces to keep and elements to add, in the order of the items."""

    kind: Kind
    typed: Typed | None
    pieces: tuple[Slice | list[Element], ...]
    tail: Tail | None
    """Where the base says that elements may be added."""
    digest: bytes

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


def draft(
    serde: SerializerProtocol, value: Any, base: Value | None = None, digest: bytes = b"", share: bool = True
) -> Draft:
    """How to store a value when the base is stored already; its `digest` is that of the base."""
    if share and type(value) is list and 0 < len(value) <= LONGEST:
        items = _items(serde, value)
        if items is not None:
            return _compared("list", None, items, base, digest)
    if share and type(value) is dict and 1 < len(value) <= LONGEST and isinstance(serde, SessionSerializer):
        typed = [serde.dumps_typed(item) for item in value.values()]
        size = sum(len(data) for _, data in typed)
        if size >= max(SHARED, ITEM * len(typed)):
            names = serde.dumps_typed(list(value))
            return _compared("dict", names, [Element(each, digest_of(each)) for each in typed], base, digest)
    whole = serde.dumps_typed(value)
    if len(whole[1]) <= INLINE:
        return Draft("inline", whole, (), None, b"")
    new = digest_of(whole)
    if base is not None and base.kind == "whole" and digest == new:
        return Draft("whole", None, base.parts, None, new)
    return Draft("whole", None, ([Element(whole, new)],), None, new)


def alike(serde: SerializerProtocol, other: SerializerProtocol) -> bool:
    """Whether each reads what the other wrote."""
    return serde is other or (isinstance(serde, SessionSerializer) and isinstance(other, SessionSerializer))


def digest_of(typed: Typed) -> bytes:
    """The digest of a value in its serialized form."""
    return _digest(typed[0].encode() + b"\0" + typed[1])


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=_WIDTH, key=_KEY).digest()


def _message_digest(message: Any) -> bytes | None:
    content = fingerprint(message)
    return content and _digest(content)


class _Lazy(Element):
    """An item of a list that is serialized only if it turns out to be new."""

    __slots__ = ("value",)

    def __init__(self, value: Any, digest: bytes) -> None:
        super().__init__(("", b""), digest)
        self.value = value

    def settle(self, serde: SerializerProtocol) -> Element:
        """Without the digest: who reads it compares with what reading makes of it, which need not look the same."""
        return Element(serde.dumps_typed(self.value))


def _items(serde: SerializerProtocol, values: list[Any]) -> Sequence[Element] | None:
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
    if is_message(value) and (digest := _message_digest(value)):
        return _Lazy(value, digest)
    typed = serde.dumps_typed(value)
    return Element(typed, digest_of(typed))


def settle(serde: SerializerProtocol, made: Draft) -> Draft:
    """Serialize what is new in a draft."""
    if not any(isinstance(piece, list) for piece in made.pieces):
        return made
    return made._replace(
        pieces=tuple(
            [item.settle(serde) if isinstance(item, _Lazy) else item for item in piece]
            if isinstance(piece, list)
            else piece
            for piece in made.pieces
        )
    )


def _compared(kind: Kind, typed: Typed | None, items: Sequence[Element], base: Value | None, known: bytes) -> Draft:
    """Keep what the base has, add the rest."""
    digests = [item.digest or b"" for item in items]
    digest = b"".join(digests)
    if base is None or base.kind != kind or len(known) != base.items * _WIDTH or not known:
        return Draft(kind, typed, (list(items),), None, digest)
    if digest.startswith(known):  # by far the most frequent: something was appended, or nothing
        new = list(items[base.items :])
        pieces: tuple[Slice | list[Element], ...] = (*base.parts, new) if new else base.parts
    else:
        pieces = _pieces(items, digests, base, known)
    kept = [piece for piece in pieces if isinstance(piece, Slice)]
    if len(pieces) > SLICES or count(kept) > DOUBLES * count(merged(kept)):
        return Draft(kind, typed, (list(items),), None, digest)
    return Draft(kind, typed, pieces, base.tail, digest)


def _pieces(
    items: Sequence[Element], digests: list[bytes], base: Value, known: bytes
) -> tuple[Slice | list[Element], ...]:
    """Any list out of pieces of the base: reordered, trimmed, edited, with doubles."""
    old = [known[at : at + _WIDTH] for at in range(0, len(known), _WIDTH)]
    slots = [(part.branch, slot) for part in base.parts for slot in range(part.first, part.stop)]
    where = dict(zip(reversed(old), range(len(old) - 1, -1, -1), strict=True))
    pieces: list[Slice | list[Element]] = []
    following = 0  # the item of the base behind the one used last
    for item, digest in zip(items, digests, strict=True):
        at = following if following < len(old) and old[following] == digest else where.get(digest)
        if at is None:
            if pieces and isinstance(pieces[-1], list):
                pieces[-1].append(item)
            else:
                pieces.append([item])
            continue
        following = at + 1
        branch, slot = slots[at]
        _join(pieces, Slice(branch, slot, slot + 1))
    return tuple(pieces)


def _join(parts: list[Any], part: Slice) -> None:
    """Add a slice, as one with the last when it goes on from there."""
    last = parts[-1] if parts else None
    if isinstance(last, Slice) and last.branch == part.branch and last.stop == part.first:
        parts[-1] = Slice(part.branch, last.first, part.stop)
    else:
        parts.append(part)


# -- reading


Found = dict[int, dict[int, Element]]
"""Elements by branch and slot."""
Place = Callable[[Slice, int], str]


def load(serde: SerializerProtocol, value: Value, found: Found) -> Any:
    """The value, the caller's own: nothing in it is shared with what is remembered."""
    if value.typed is not None and value.kind == "inline":
        return serde.loads_typed(value.typed)
    items = [_copy(serde, element) for element in _elements(value, found)]
    if value.kind == "whole":
        return items[0]
    if value.typed is None:
        return items
    return dict(zip(serde.loads_typed(value.typed), items, strict=True))


def digest(value: Value, found: Found) -> bytes:
    """The digest that a writer compares with; the elements have been loaded before."""
    messages = value.kind == "list"  # elsewhere messages are compared in their serialized form
    return b"".join([element.digest or _digest_of(element, messages) for element in _elements(value, found)])


def _elements(value: Value, found: Found) -> Iterable[Element]:
    return [found[part.branch][slot] for part in value.parts for slot in range(part.first, part.stop)]


def _copy(serde: SerializerProtocol, element: Element) -> Any:
    if element.model is not None and element.reader is serde:
        return clone(element.model)
    value = serde.loads_typed(element.typed)
    if is_message(value):
        element.model, element.reader = value, serde
        return clone(value)
    return value


def _digest_of(element: Element, messages: bool) -> bytes:
    if messages and element.model is not None:
        element.digest = _message_digest(element.model)
    element.digest = element.digest or digest_of(element.typed)
    return element.digest
