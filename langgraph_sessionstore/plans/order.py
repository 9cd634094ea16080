"""The order of a log's messages: runs of numbers, then all numbers from `upto` on.

Rule: messages are written once, at numbers that the storage gives; only their order is ever edited. So an append needs
to know nothing, and what was removed is still there for undo.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .. import codec
from ..errors import CorruptData
from .records import ITEMS


class Order(NamedTuple):
    """An order; without runs it is that of the numbers."""

    runs: tuple[tuple[int, int], ...] = ()
    """From the first number up to but without the second."""
    upto: int = 0

    def numbers(self, size: int) -> list[int]:
        """The numbers of the messages, in order, of a log that has had `size` messages."""
        listed = [number for first, stop in self.runs for number in range(first, stop)]
        return listed + list(range(self.upto, size))

    def pack(self) -> bytes:
        """The stored form."""
        return codec.pack([self.upto, *(number for run in self.runs for number in run)])


def of(numbers: Iterable[int], size: int) -> Order:
    """The order in which these are the messages, of a log that has had `size` messages; appends come behind them."""
    return of_runs(closed(numbers, size).runs, size)


def of_runs(runs: Iterable[tuple[int, int]], size: int) -> Order:
    """The same, from runs of them."""
    order = _closed(runs, size)
    return Order() if order.runs in ((), ((0, size),)) and (order.runs or not size) else order


def closed(numbers: Iterable[int], size: int) -> Order:
    """The same, with all of them listed, as it is kept for undo."""
    return _closed(((number, number + 1) for number in numbers), size)


def _closed(parts: Iterable[tuple[int, int]], size: int) -> Order:
    runs: list[tuple[int, int]] = []
    for first, stop in parts:
        if runs and runs[-1][1] == first:
            runs[-1] = runs[-1][0], stop
        else:
            runs.append((first, stop))
    return Order(tuple(runs), size)


def unpack(stored: bytes | None, session_id: str) -> Order:
    """The order from its stored form; that of the numbers when there is none."""
    if stored is None:
        return Order()
    place = f"the order of messages in session {session_id!r}"
    numbers = codec.unpack(stored, place)
    if not (
        isinstance(numbers, list) and len(numbers) % 2 and all(type(n) is int and 0 <= n < 1 << 53 for n in numbers)
    ):
        raise CorruptData(f"{place} is damaged")
    runs = tuple(zip(numbers[1::2], numbers[2::2], strict=True))
    if any(not first < stop <= numbers[0] for first, stop in runs) or sum(b - a for a, b in runs) > ITEMS:
        raise CorruptData(f"{place} is damaged")
    return Order(runs, numbers[0])


def size_of(stored: bytes | None, session_id: str) -> int:
    """How many messages the log has ever had, from its counter."""
    if stored is None:
        return 0
    if not stored.isdigit() or len(stored) > 16:
        raise CorruptData(f"the log of session {session_id!r} is damaged: it does not know its size")
    if int(stored) > ITEMS:
        raise CorruptData(
            f"the log of session {session_id!r} is damaged: it says that it has had {int(stored)} messages"
        )
    return int(stored)


def length(stored: bytes | None, counter: bytes | None, session_id: str) -> int:
    """How many messages there are."""
    order, size = unpack(stored, session_id), size_of(counter, session_id)
    return sum(stop - first for first, stop in order.runs) + max(0, size - order.upto)
