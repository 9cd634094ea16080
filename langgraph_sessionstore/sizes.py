"""What sessions, and a whole storage, take: in rows and bytes.

Rule: bytes are those of keys and values as they are without encryption and compression. What a storage needs beside
them, for its indexes and lists, is its own affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

KINDS = (
    "messages",
    "checkpoints",
    "values",
    "writes",
    "summary",
    "details",
    "usage",
    "undo",
    "items",
    "system",
)
"""What rows there are.

messages       the log of messages, and their order
checkpoints    records, their index, and the rows that writers guard themselves with
values         elements of lists and dicts, and other large values of channels
writes         what tasks wrote before the next checkpoint had it
summary, details, usage
undo           what can be undone and redone
items          those of `session.store`, with their vectors
system         whose turn it is and the like; and rows that are none of the others
"""


class Amount(NamedTuple):
    """So much of something."""

    rows: int = 0
    bytes: int = 0

    def plus(self, other: Amount) -> Amount:
        """Both together."""
        return Amount(self.rows + other.rows, self.bytes + other.bytes)


class _Summed:
    """What is known by kind of row, and in sum."""

    kinds: Mapping[str, Amount]

    @property
    def rows(self) -> int:
        """How many rows that are."""
        return sum(amount.rows for amount in self.kinds.values())

    @property
    def bytes(self) -> int:
        """How many bytes these take."""
        return sum(amount.bytes for amount in self.kinds.values())


@dataclass(frozen=True)
class SessionSize(_Summed):
    """What a session takes."""

    id: str
    kinds: Mapping[str, Amount]
    """By kind of row, see `KINDS`."""
    checkpoints: int
    saved: int
    """So many bytes more it would take if each version of a shared list or dict was stored in full.

    Below 0 when sharing does not pay: elements have keys of their own.
    """


@dataclass(frozen=True)
class StorageStats(_Summed):
    """What a storage holds, as far as its lists name it."""

    sessions: int
    kinds: Mapping[str, Amount]
    """Of all sessions, by kind of row, see `KINDS`."""
    checkpoints: int
    saved: int
    """See `SessionSize`."""
    largest: tuple[tuple[str, int], ...]
    """The largest sessions, with their bytes."""
    unreadable: tuple[str, ...]
    """Sessions that could not be read, and are counted nowhere else."""
    namespaces: int
    """Of the store, without those of sessions."""
    items: int
    """In these; those that have ended count until they are taken away."""
    store_bytes: int
    cache_bytes: int
    unreadable_namespaces: tuple[tuple[str, ...], ...]
    """Of the store and of caches."""
