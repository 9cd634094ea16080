"""What a process knows of a stored value, to tell which items of a new version of it are stored already.

Rule 1: items are compared by their content, never by identity: messages are mutable.
Rule 2: the content of a message in a list is its fingerprint, that of anything else its serialized form. Two items with
        one content are interchangeable.
Rule 3: by far the most frequent is that a list of messages has grown. That is told from the fingerprints of many
        messages, made in one go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from ..serde.messages import Mold, fingerprints
from .records import Typed

Content: TypeAlias = bytes | Typed
_BLOCK = 64
"""Messages that are compared in one go: some ten kilobytes, for which memory is at hand, and warm. The system is asked
for larger pieces each time, page by page, which costs more than the work itself."""


class Element:
    """One element: its stored form, and the message that it is, once somebody has decoded it."""

    __slots__ = ("content", "decoded", "typed")

    def __init__(self, typed: Typed) -> None:
        self.typed = typed
        self.content: bytes | None = None
        """The fingerprint of the message that is read, once it is known."""
        self.decoded: tuple[Any, Mold | None] | None = None
        """Which serializer decoded it last; and what copies of a message are cast from, once it has done so twice."""


class Known:
    """The items of a value, in order, and the content of each."""

    __slots__ = ("as_read", "contents", "items")

    def __init__(self, items: Sequence[Element], contents: list[Content], as_read: bool = True) -> None:
        self.items = items
        self.contents = contents
        self.as_read = as_read
        """Whether what is read has the same contents as what was given to be stored."""

    def begins(self, values: Sequence[Any]) -> bool:
        """Whether these values are, or begin with, the items, all of which are messages with fingerprints."""
        size = len(self.items)
        if len(values) < size:
            return False
        contents: list[Any] = self.contents
        for at in range(0, size, _BLOCK):
            end = min(at + _BLOCK, size)
            try:
                block = b"".join(contents[at:end])
            except TypeError:  # not only fingerprints
                return False
            if fingerprints(values[at:end]) != block:
                return False
        return True

    def grown(self, items: Sequence[Element], contents: list[Content], as_read: bool) -> Known:
        """With these items behind those that are known."""
        return Known([*self.items, *items], [*self.contents, *contents], self.as_read and as_read)
