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

from ..serde.messages import Mold, fingerprint, fingerprints
from .records import Kind, Typed

Content: TypeAlias = bytes | Typed
_BLOCK = 64
"""Messages that are compared in one go: some ten kilobytes, for which memory is at hand, and warm. The system is asked
for larger pieces each time, page by page, which costs more than the work itself."""


class Element:
    """One element: its stored form, and the message that it is, once somebody has decoded it."""

    __slots__ = ("mold", "reader", "typed")

    def __init__(self, typed: Typed) -> None:
        self.typed = typed
        self.mold: Mold | None = None
        """What copies of the message are cast from."""
        self.reader: Any = None
        """The serializer that decoded it."""


class Known:
    """The items of a value, in order."""

    __slots__ = ("_contents", "_kind", "as_read", "items")

    def __init__(
        self, kind: Kind, items: Sequence[Element], contents: list[Content] | None = None, as_read: bool = True
    ) -> None:
        self._kind = kind
        self.items = items
        self._contents = contents
        """None: not made yet; the items have been decoded."""
        self.as_read = as_read
        """Whether what is read has the same contents as what was given to be stored."""

    def contents(self) -> list[Content]:
        """The content of each item."""
        if self._contents is None:
            messages = self._kind == "list"
            self._contents = [
                (fingerprint(item.mold.obj) if messages and item.mold else None) or item.typed for item in self.items
            ]
        return self._contents

    def begins(self, values: Sequence[Any]) -> bool:
        """Whether these values are, or begin with, the items, all of which are messages with fingerprints."""
        size = len(self.items)
        if len(values) < size:
            return False
        contents: list[Any] = self.contents()
        for at in range(0, size, _BLOCK):
            end = min(at + _BLOCK, size)
            try:
                block = b"".join(contents[at:end])
            except TypeError:  # not only fingerprints
                return False
            if fingerprints(values[at:end]) != block:
                return False
        return True

    @property
    def size(self) -> int:
        """Bytes that this takes; elements, and contents that versions share, are not among them."""
        return 16 * len(self.items)

    def grown(self, items: Sequence[Element], contents: list[Content], as_read: bool) -> Known:
        """With these items behind those that are known."""
        more = [*self.contents(), *contents]
        return Known(self._kind, [*self.items, *items], more, self.as_read and as_read)
