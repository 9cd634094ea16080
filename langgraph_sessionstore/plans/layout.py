"""Where a thread's checkpoints lie in the partition of its session.

    ("c", ns, checkpoint_id)              a checkpoint's record, see `records`
    ("i", checkpoint_id, ns)              empty; for records outside the root namespace, so that all can be listed by id
    ("w", ns, checkpoint_id, task, idx)   one pending write; a special one (error, interrupt, resume ...) has idx 0-3
    ("e", branch, n)                      an element: one message of a list, or one large value
    ("b", branch)                         how many elements the branch has ever had; `CLOSED`: nobody knows, so no
                                          writer adds to it any more
    ("g",) ("h",)                         what the session's messages have to do with it, see `places`
    ("v",)                                counts the changes to the records

Rule 1: an element is written once. Its slot is not used again, also when garbage collection has taken it.
Rule 2: a record and the elements that it adds are written in one batch, which expects that the records whose elements
        it shares still stand. So an element that no record refers to now is never referred to again: what is dead
        stays dead, and may be deleted at any later time.
"""

from __future__ import annotations

from typing import NamedTuple

from .. import keys
from ..errors import CorruptData
from ..ops import COUNTER_LIMIT, Run

VERSION = keys.encode("v")
AREA = tuple(keys.within(kind) for kind in ("b", "c", "e", "g", "h", "i", "v", "w"))
"""Every span of rows that belongs to checkpoints."""
BRANCHES = keys.below("b")
ELEMENTS = keys.below("e")
RECORDS = keys.below("c")
INDEX = keys.below("i")
WRITES = keys.below("w")
CLOSED = COUNTER_LIMIT
"""More elements than a branch ever has: no writer remembers it as a size, so none goes on from there."""
SPECIAL = 4  # the special channels have the indices -4 to -1; keys hold no negative numbers


class Slice(NamedTuple):
    """The elements from slot `first` up to but without `stop` of a branch."""

    branch: int
    first: int
    stop: int


class Tail(NamedTuple):
    """Where a branch goes on: the number of elements that it has ever had."""

    branch: int
    size: int


def record(ns: str, checkpoint_id: str) -> bytes:
    """The key of a checkpoint's record."""
    return keys.encode("c", ns, checkpoint_id)


def only(key: bytes) -> keys.Span:
    """The span that holds this key and no other."""
    return key, key + keys.END


def record_name(key: bytes) -> tuple[str, str]:
    """The (ns, checkpoint_id) of a record's key."""
    match keys.decode(key):
        case [_, str(ns), str(checkpoint_id)]:
            return ns, checkpoint_id
    raise CorruptData(f"a checkpoint has a namespace and an id, not {key[:80]!r}")


def branch_of(key: bytes, stored: bytes) -> tuple[int, int]:
    """The number of a branch, and how many elements it has ever had, from its row."""
    match keys.decode(key):
        case [_, int(number)] if stored.isdigit() and len(stored) <= 16:
            return number, int(stored)
    raise CorruptData(f"the branch at {key[:80]!r} does not know its size")


def index(ns: str, checkpoint_id: str) -> bytes:
    """The key by which a record outside the root namespace is found by its id."""
    return keys.encode("i", checkpoint_id, ns)


def writes(ns: str, checkpoint_id: str) -> bytes:
    """The prefix of a checkpoint's pending writes."""
    return keys.encode("w", ns, checkpoint_id)


def write(ns: str, checkpoint_id: str, task_id: str, index: int) -> bytes:
    """The key of one pending write."""
    return keys.encode("w", ns, checkpoint_id, task_id, index + SPECIAL)


def branch(number: int) -> bytes:
    """The key that counts the elements of a branch."""
    return keys.encode("b", number)


def elements(number: int) -> bytes:
    """The prefix of a branch's elements: the n-th is at `keys.sequence(prefix, n)`."""
    return keys.encode("e", number)


def element(number: int, slot: int) -> bytes:
    """The key of one element."""
    return keys.encode("e", number, slot)


def run(part: Slice) -> Run:
    """The link that leads to these elements."""
    return Run(elements(part.branch), part.first, part.stop)
