"""What a process knows of a stored value, to tell which parts of a new version of it are stored already.

Rule 1: items are compared by their content, never by identity: messages are mutable.
Rule 2: a digest is keyed, never stored, and made anew in each process; two items with one digest are interchangeable.
Rule 3: by far the most frequent is that a list of messages has grown. That is told from the bytes of all its messages,
        made in one go; digests of single items are made when it is something else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from ..serde.messages import Mold, fingerprint, fingerprints
from .records import Typed

_KEY = os.urandom(32)
_WIDTH = 16
_CHUNKS = 32  # in which the bytes of a list lie before they are joined


class Element:
    """One element: its stored form, and what was found out about it."""

    __slots__ = ("digest", "mold", "reader", "typed")

    def __init__(self, typed: Typed, digest: bytes | None = None) -> None:
        self.typed = typed
        self.digest = digest
        self.mold: Mold | None = None
        """Of a message that was decoded: what copies of it are cast from."""
        self.reader: Any = None
        """The serializer that decoded it."""


class Known:
    """The items of a value, in order."""

    __slots__ = ("_chunks", "as_read", "items", "size")

    def __init__(self, items: Sequence[Element], chunks: tuple[bytes, ...] | None = (), as_read: bool = True) -> None:
        self.items = items
        self._chunks = chunks
        """The fingerprints of all items, one after the other; empty: they are not at hand, None: not made yet."""
        self.as_read = as_read
        """Whether what is read has the same digests as what was given to be stored."""
        self.size = 8 * len(items) + sum(map(len, [item.typed[1] for item in items] if chunks is None else chunks))
        """Bytes that this takes, or may take, beside the elements."""

    def smaller(self) -> Known:
        """The same without the fingerprints."""
        return Known(self.items, (), self.as_read) if self._chunks != () else self

    def begins(self, values: Sequence[Any]) -> bool:
        """Whether these values are, or begin with, the messages that are known; False also when that is not known."""
        if self._chunks is None:
            made = fingerprints([item.mold.obj for item in self.items if item.mold])
            self._chunks = (made,) if made else ()
        if not self._chunks or len(values) < len(self.items):
            return False
        packed = fingerprints(values[: len(self.items)])
        if packed is None:
            return False
        at = 0
        for chunk in self._chunks:
            if not packed.startswith(chunk, at):
                return False
            at += len(chunk)
        return at == len(packed)

    def grown(self, more: Known) -> Known:
        """With these items behind those that are known."""
        chunks = (*self._chunks, *more._chunks) if self._chunks and more._chunks else ()
        if len(chunks) > _CHUNKS:
            chunks = (b"".join(chunks),)
        return Known([*self.items, *more.items], chunks, self.as_read and more.as_read)

    def digests(self, messages: bool) -> list[bytes]:
        """The digest of each item; `messages`: of the items of a list, where messages have digests of their own."""
        return [item.digest or _made(item, messages) for item in self.items]


def digest_of(typed: Typed) -> bytes:
    """The digest of a value in its serialized form."""
    return digest(typed[0].encode() + b"\0" + typed[1])


def digest(content: bytes) -> bytes:
    """What tells this content from any other."""
    return blake2b(content, digest_size=_WIDTH, key=_KEY).digest()


def _made(item: Element, messages: bool) -> bytes:
    content = fingerprint(item.mold.obj) if messages and item.mold else None
    item.digest = digest_of(item.typed) if content is None else digest(content)
    return item.digest
