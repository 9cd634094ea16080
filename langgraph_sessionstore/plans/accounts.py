"""What a session has used: sums that many writers add to at once, by phase and model.

Rule 1: sums are whole numbers, added to by the storage: tokens, calls, microseconds, billionths of the currency. So
        nothing is lost to concurrent writers, and nothing is rounded twice.
Rule 2: what was spent is spent, whoever's turn it is: a lease keeps no usage out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .. import codec, keys
from ..errors import CorruptData, Unstorable
from ..ops import Add, Conflict, Get, Op, Plan, Put, Range, Row, must
from ..usage import Metrics, Usage
from .desk import Desk
from .places import LAST_USAGE, USAGE

_SUMS = ("calls", "input", "output", "cached", "micros", "nanos")


class Spent(NamedTuple):
    """What one or more calls of a model have used, in whole numbers."""

    calls: int
    input: int
    output: int
    cached: int
    micros: int
    nanos: int

    def usage(self) -> Usage:
        return Usage(self.calls, self.input, self.output, self.cached, self.micros / 1e6, self.nanos / 1e9)


def record(desk: Desk, phase: str, model: str, spent: Spent) -> Plan[None]:
    """Add to the sums of a phase and a model."""
    sums = [Add(keys.encode("n", phase, model, name), getattr(spent, name)) for name in _SUMS]
    last = Put(LAST_USAGE, codec.pack([phase, model, *spent]))
    ops: list[Op] = [*(each for each in sums if each.amount), last]
    try:
        outcome = yield from desk.entry(exclusive=False).send((), ops, op_id=desk.chance.new_id())
    except CorruptData as exc:
        raise Unstorable(f"the usage of session {desk.session_id!r} cannot be added to: {exc}") from exc
    assert not isinstance(outcome, Conflict)


def read(desk: Desk) -> Plan[tuple[Metrics, Usage | None]]:
    """All sums, and what was recorded last."""
    tombstone, incarnation, rows, last = yield from must(
        desk.partition, Get(keys.TOMBSTONE), Get(keys.INCARNATION), Range(*USAGE), Get(LAST_USAGE)
    )
    desk.check(incarnation, tombstone)
    return metrics(desk, rows), _last(desk, last)


def metrics(desk: Desk, rows: Sequence[Row]) -> Metrics:
    """What the rows of sums say."""
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for key, value in rows:
        place = f"the usage at {key!r} in session {desk.session_id!r}"
        match keys.decode(key):
            case [_, str(phase), str(model), str(name)] if name in _SUMS and _is_number(value):
                sums.setdefault((phase, model), {})[name] = int(value)
            case _:
                raise CorruptData(f"{place} is damaged")
    parts = {place: Spent(*(counts.get(name, 0) for name in _SUMS)).usage() for place, counts in sums.items()}
    return Metrics(parts)


def _last(desk: Desk, stored: bytes | None) -> Usage | None:
    if stored is None:
        return None
    place = f"the last usage of session {desk.session_id!r}"
    match codec.unpack(stored, place):
        case [str(), str(), *numbers] if len(numbers) == len(_SUMS) and all(type(n) is int for n in numbers):
            return Spent(*numbers).usage()
    raise CorruptData(f"{place} is damaged")


def _is_number(value: bytes) -> bool:
    return value.isdigit() and len(value) <= 16
