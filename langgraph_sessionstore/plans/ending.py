"""Rows that live for a time: when they end, and taking away what has ended.

Rule 1: what has ended is not there for a reader, whether or not it was taken away.
Rule 2: a hint beside it lies in the order of the ends, or a little before. There may be one too many, of an end that
        was moved since, and never one too few; so what a hint names is looked at first.
Rule 3: whoever writes takes along some of what has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .. import codec
from ..errors import CorruptData, DataError
from ..ops import Batch, Call, Calls, Conflict, Delete, Expect, Get, Op, Plan, etag, must

TAKEN = 20
"""So much of what has ended does a write take along."""


class End(NamedTuple):
    """How long something lives after its last use, and when that is over, in milliseconds."""

    ttl: int
    at: int
    stored: bytes = b""
    """As it was read."""

    def pack(self) -> bytes:
        return codec.pack([self.ttl, self.at])

    def hint(self) -> int:
        """A moment at or soon before the end, which those share that are used again and again."""
        return self.at - self.at % max(1, self.ttl // 64)

    def moved(self, now: int) -> End | None:
        """The end after a use; None while it is late enough as it is. A little late, so that not every use writes."""
        return End(self.ttl, now + self.ttl + self.ttl // 16) if self.at < now + self.ttl else None


def unpack_end(stored: bytes | None, where: str) -> End | None:
    """When something ends, from its row; None: never."""
    if stored is None:
        return None
    match codec.unpack(stored, where):
        case [int(ttl), int(at)] if 0 < ttl < 1 << 46 and 0 <= at < 1 << 47:
            return End(ttl, at, stored)
    raise CorruptData(f"the end of {where} is damaged")


def end_of(stored: bytes) -> End | None:
    """The same for those who tidy up: what cannot be read (None) is left for those who read it."""
    try:
        return unpack_end(stored, "something")
    except DataError:
        return None


class Ended(NamedTuple):
    """What a hint names: the row that tells its end, what takes it away, and where the hint for an end belongs."""

    hint: bytes
    row: bytes
    ops: Sequence[Op]
    hint_of: Callable[[End], bytes]


def take(
    partition: bytes, ended: Sequence[Ended], now: int, end_of: Callable[[bytes], End | None] = end_of
) -> Plan[int]:
    """Take away what has ended, and hints that are out of date; how much has ended."""
    stored = yield from must(partition, *[Get(each.row) for each in ended])
    calls, over = [], []
    for each, value in zip(ended, stored, strict=True):
        end = None if value is None else end_of(value)
        is_over = end is not None and end.at <= now
        if not is_over and value is not None and (end is None or each.hint_of(end) == each.hint):
            continue  # it is still needed
        same = Expect(each.row, False if value is None else etag(value))
        calls.append(Call(partition, Batch(same, *(each.ops if is_over else ()), Delete(each.hint))))
        over.append(is_over)
    outcomes = (yield Calls(calls)) if calls else ()
    return sum(one and not isinstance(outcome, Conflict) for one, outcome in zip(over, outcomes, strict=True))
