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


class Call(NamedTuple):
    """What was spent, in which phase, on which model."""

    phase: str
    model: str
    spent: Spent


def adding(calls: Sequence[Call]) -> list[Op]:
    """What adds these calls to the sums of their phases and models."""
    if not calls:
        return []
    sums: dict[tuple[str, str], list[Spent]] = {}
    for call in calls:
        sums.setdefault((call.phase, call.model), []).append(call.spent)
    ops: list[Op] = []
    for place, parts in sums.items():
        for name, parts_of in zip(_SUMS, zip(*parts, strict=True), strict=True):
            if any(parts_of):
                ops.append(Add(keys.encode("n", *place, name), sum(parts_of)))
    last = calls[-1]
    return [*ops, Put(LAST_USAGE, codec.pack([last.phase, last.model, *last.spent]))]


def record(desk: Desk, calls: Sequence[Call]) -> Plan[None]:
    """Add calls to the sums of their phases and models."""
    ops = adding(calls)
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
    return metrics(desk, rows), last_usage(desk, last)


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


def last_usage(desk: Desk, stored: bytes | None) -> Usage | None:
    """What was recorded last, from its row."""
    if stored is None:
        return None
    place = f"the last usage of session {desk.session_id!r}"
    match codec.unpack(stored, place):
        case [str(), str(), *numbers] if len(numbers) == len(_SUMS) and all(type(n) is int for n in numbers):
            return Spent(*numbers).usage()
    raise CorruptData(f"{place} is damaged")


def _is_number(value: bytes) -> bool:
    return value.isdigit() and len(value) <= 16
