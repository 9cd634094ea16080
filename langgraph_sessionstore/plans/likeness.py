"""What a process knows of a stored value, to tell which parts of a new version of it are stored already.

Rule 1: items are compared by their content, never by identity: messages are mutable.
Rule 2: a digest is keyed, never stored, and made anew in each process; two items with one digest are interchangeable.
Rule 3: by far the most frequent is that a list of messages has grown. That is told from the bytes of many
        messages in one go; digests of single items are made when it is something else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from ..serde.messages import Mold, fingerprint, fingerprints
from .records import Typed

_KEY = os.urandom(32)
_WIDTH = 16
_BLOCK = 64
"""Messages that are compared in one go: some ten kilobytes, for which memory is at hand, and warm. The system is asked
for larger pieces each time, page by page, which costs more than the work itself."""


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

    __slots__ = ("_blocks", "as_read", "items", "size")

    def __init__(self, items: Sequence[Element], blocks: list[bytes] | None = None, as_read: bool = True) -> None:
        self.items = items
        self._blocks = blocks
        """The fingerprints of all items, which are messages; None: not made yet, empty: they are not at hand."""
        self.as_read = as_read
        """Whether what is read has the same digests as what was given to be stored."""
        sizes = [item.typed[1] for item in items if item.mold] if blocks is None else blocks
        self.size = 8 * len(items) + sum(map(len, sizes))
        """Bytes that this takes, or may take, beside the elements."""

    def smaller(self) -> Known:
        """The same without the fingerprints."""
        return Known(self.items, [], self.as_read) if self._blocks != [] else self

    def begins(self, values: Sequence[Any]) -> bool:
        """Whether these values are, or begin with, the messages that are known; False also when that is not known."""
        size = len(self.items)
        if self._blocks is None:
            messages = [item.mold.obj for item in self.items if item.mold]
            made = [fingerprints(messages[at : at + _BLOCK]) for at in range(0, size, _BLOCK)]
            self._blocks = [block for block in made if block] if len(messages) == size and all(made) else []
        if not self._blocks or len(values) < size:
            return False
        return all(
            fingerprints(values[at : min(at + _BLOCK, size)]) == block
            for at, block in zip(range(0, size, _BLOCK), self._blocks, strict=True)
        )

    def grown(self, items: Sequence[Element], prints: Sequence[bytes] | None, as_read: bool) -> Known:
        """With these items behind those that are known, and their fingerprints if all have one."""
        blocks = in_blocks(prints, self._blocks, len(self.items)) if prints and self._blocks else []
        return Known([*self.items, *items], blocks, self.as_read and as_read)

    def digests(self, messages: bool) -> list[bytes]:
        """The digest of each item; `messages`: of the items of a list, where messages have digests of their own."""
        return [item.digest or _made(item, messages) for item in self.items]


def in_blocks(prints: Iterable[bytes], before: Sequence[bytes] = (), size: int = 0) -> list[bytes]:
    """Fingerprints in blocks, behind the `size` that are in blocks already."""
    blocks = [*before]
    for number, each in enumerate(prints, size):
        if number % _BLOCK:
            blocks[-1] += each
        else:
            blocks.append(each)
    return blocks


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
