"""Batches, calls, plans.

Rule 1: a batch touches one partition, and is applied as a whole or not at all.
Rule 2: its guards (`Expect`, `ExpectLease`, `ExpectEmpty`, a `Lease` held by another) are checked against the state
        before the batch; the first that fails gives `Conflict(guard)` and nothing is changed.
Rule 3: the other operations then happen in their order, each seeing what those before it did; the reply is a list
        with one entry for each operation.
Rule 4: what no backend could apply as a whole is refused when the batch is made.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from .. import keys
from ..errors import ConflictError
from .links import is_run
from .operations import (
    COUNTER_LIMIT,
    KNOWN_RUNS,
    REPEATABLE,
    WRITES,
    Add,
    Append,
    Conflict,
    Count,
    Delete,
    DeleteRange,
    Drop,
    Expect,
    ExpectEmpty,
    ExpectLease,
    Expire,
    Forget,
    Get,
    Lease,
    Op,
    Page,
    Put,
    PutNew,
    Range,
    Tally,
    Touch,
)


class Batch:
    """Operations that are applied to one partition as a whole or not at all.

    With an `op_id` (up to 64 random bytes, never used for another batch) it is applied at most once: given again
    within ten minutes, it replays the replies of its writes (its reads see the state of that moment).

    `repeatable` says that it may be sent again although it may have been applied, when a connection breaks. So it is
    with an `op_id`, and when it writes nothing. Say it for others only if applying it twice, with somebody else's write
    in between, does no harm: rows that are written once under a key of their own, for example.
    """

    __slots__ = ("kinds", "op_id", "ops", "repeatable", "writes")

    def __init__(self, *ops: Op, op_id: bytes | None = None, repeatable: bool = False) -> None:
        self.ops = ops
        self.kinds = kinds = {*map(type, ops)}
        self.writes = not WRITES.isdisjoint(kinds)
        self.op_id = op_id
        self.repeatable = repeatable or op_id is not None or kinds <= REPEATABLE
        if op_id is not None and not 0 < len(op_id) <= 64:
            raise ValueError("an op_id has 1 to 64 bytes")
        for op in ops:
            for fits, value in zip(_FITS[type(op)], op):  # noqa: B905 - an operation has all its fields
                if not fits(value):
                    _refuse(op)
        if not kinds.isdisjoint(_COUNTING):
            _check_counters(ops, kinds)
        if Page in kinds and any(isinstance(op, Page) and op.prefix and op.by in ("created", "active") for op in ops):
            raise ValueError("a page has a prefix only by name or by run")
        if Range in kinds and any(isinstance(op, Range) and op.known and not op.follow for op in ops):
            raise ValueError("a range that does not follow has no use for what is known")

    def __repr__(self) -> str:
        return f"Batch({', '.join(map(repr, self.ops))}{f', op_id={self.op_id!r}' if self.op_id else ''})"


def _refuse(op: Op) -> None:
    """Say what is wrong with an operation."""
    for (fits, wanted), value in zip(_SHAPES[type(op)], op, strict=True):
        if not fits(value):
            raise ValueError(f"{type(op).__name__} takes {wanted}, not {value!r:.80}")


def _check_counters(ops: tuple[Op, ...], kinds: set[type[Op]]) -> None:
    """Counters are checked before a batch begins, so nothing in it may change them on the way."""
    added = {op[0] for op in ops if type(op) is Add}
    appended = {op[0] for op in ops if type(op) is Append}
    counters = added | appended
    if added & appended or not counters.isdisjoint([op[0] for op in ops if type(op) is Put or type(op) is PutNew]):
        raise ValueError("a batch cannot both set and count on one key, nor add and append to it")
    for prefix in appended:
        records = prefix + b"#"
        if any(counter.startswith(records) for counter in counters):
            raise ValueError("a batch cannot count on a key that it may append")
    if not kinds.isdisjoint(_LISTING):
        raise ValueError("a batch cannot both count and keep a registry")


class Call(NamedTuple):
    """A batch for a partition. With a `source`, the partition is first made a copy of that one, in the same step.

    The guards see the partition as it was before. The rows of the source come along; its lease, tombstone, expiry and
    incarnation do not. What the partition held is gone. A source that does not exist gives `Conflict(-1)`.
    """

    partition: bytes
    batch: Batch
    source: bytes | None = None

    @property
    def writes(self) -> bool:
        """Whether it changes anything when it is applied."""
        return self.batch.writes or self.source is not None


class Calls(NamedTuple):
    """A plan's request: several calls in one trip, each atomic by itself.

    `ordered`: a call begins only when those before it were applied. After a conflict the others are not tried and
    are `Conflict(-1)`; after an error they are not tried and are `BackendUnavailable`. That costs a cluster one trip
    for each call, and the others nothing.

    `casual`: what this writes may be lost without harm. Nobody has to hear that replicas have not confirmed it.
    """

    calls: Sequence[Call]
    ordered: bool = False
    casual: bool = False


Outcome: TypeAlias = list[Any] | Conflict
T = TypeVar("T")
Plan: TypeAlias = Generator[Calls, list[Outcome], T]
"""Logic without I/O: yields requests, receives the outcomes, returns its result. See `drive`."""


def call(partition: bytes, *ops: Op, op_id: bytes | None = None) -> Plan[Outcome]:
    """A plan of one batch: `replies = yield from call(partition, Get(key))`."""
    (outcome,) = yield Calls((Call(partition, Batch(*ops, op_id=op_id)),))
    return outcome


def must(partition: bytes, *ops: Op, op_id: bytes | None = None) -> Plan[list[Any]]:
    """A plan of one batch whose guards have to hold: `ConflictError` when one does not."""
    outcome = yield from call(partition, *ops, op_id=op_id)
    if isinstance(outcome, Conflict):
        raise ConflictError(f"somebody else changed what this relied on: {ops[outcome.guard]!r}")
    return outcome


def must_all(calls: Sequence[Call], *, ordered: bool = False) -> Plan[list[list[Any]]]:
    """A plan of several batches whose guards have to hold, in one trip: `ConflictError` when one does not."""
    replies = []
    for made, outcome in zip(calls, (yield Calls(calls, ordered=ordered)) if calls else (), strict=True):
        if isinstance(outcome, Conflict):
            raise ConflictError(f"somebody else changed what this relied on: {made.batch.ops[outcome.guard]!r}")
        replies.append(outcome)
    return replies


def through(plan: Plan[T], change: Callable[[Calls], Calls]) -> Plan[T]:
    """The same plan, with each of its requests changed."""
    step: Callable[[], Calls] = partial(next, plan)
    while True:
        try:
            request = step()
        except StopIteration as stop:
            result: T = stop.value
            return result
        try:
            step = partial(plan.send, (yield change(request)))
        except BaseException as exc:
            step = partial(plan.throw, exc)


def casual(plan: Plan[T]) -> Plan[T]:
    """The same plan, whose writes may be lost without harm; see `Calls`."""
    return through(plan, lambda request: request._replace(casual=True))


# -- what an operation may hold, field by field: a test, and the words for it

_Shape: TypeAlias = tuple[Callable[[Any], bool], str]


def _is_key(value: Any) -> bool:
    return type(value) is bytes and b"\0" not in value


def _is_number(value: Any, limit: int) -> bool:
    return type(value) is int and 0 <= value < limit


def _or_none(shape: _Shape) -> _Shape:
    fits, wanted = shape
    return lambda value: value is None or fits(value), f"{wanted} or None"


_ANY_KEY: _Shape = (_is_key, "a key (bytes without NUL)")
_SET_BY_PLANS = (keys.TOMBSTONE, keys.PIECES)
_ROW_KEY: _Shape = (
    lambda value: (
        type(value) is bytes
        and b"\0" not in value
        and (value >= keys.SYSTEM[1] or value < keys.SYSTEM[0] or value in _SET_BY_PLANS)
    ),
    "a key (bytes without NUL, and not one of the system's rows)",
)
_BYTES: _Shape = (lambda value: type(value) is bytes, "bytes")
_TOKEN: _Shape = (lambda value: type(value) is bytes and value != b"", "a token (bytes, not empty)")
_SIZE: _Shape = (lambda value: _is_number(value, 1 << 31), "a size (from 0 to 2**31)")
_LINES: _Shape = (lambda value: _is_number(value, 1 << 31) and value > 0, "a number of lines (at least 1)")
_TIME: _Shape = (lambda value: _is_number(value, 1 << 46), "milliseconds (not negative, before the year 4200)")
_AMOUNT: _Shape = (lambda value: type(value) is int and abs(value) <= COUNTER_LIMIT, "a whole number of up to 53 bits")
_FLAG: _Shape = (lambda value: type(value) is bool, "True or False")
_STATE: _Shape = (
    lambda value: type(value) in (bool, str) or (type(value) is tuple and all(type(one) is str for one in value)),
    "True, False, an etag or a tuple of etags",
)
_KEYS: _Shape = (lambda value: type(value) is tuple and all(map(_is_key, value)), "a tuple of keys")
_ORDER: _Shape = (lambda value: value in ("created", "active", "name", "run"), "created, active, name or run")
_RUNS: _Shape = (
    lambda value: type(value) is tuple and len(value) <= KNOWN_RUNS and all(map(is_run, value)),
    f"a tuple of up to {KNOWN_RUNS} runs",
)
_SPAN = (_ANY_KEY, _or_none(_ANY_KEY))
_WHEN = (_or_none(_TIME), _or_none(_TIME))

_SHAPES: dict[type[Op], tuple[_Shape, ...]] = {
    Get: (_ANY_KEY,),
    Range: (*_SPAN, _or_none(_SIZE), _SIZE, _FLAG, _FLAG, _RUNS),
    Count: _SPAN,
    Put: (_ROW_KEY, _BYTES),
    PutNew: (_ROW_KEY, _BYTES),
    Delete: (_ROW_KEY,),
    DeleteRange: _SPAN,
    Append: (_ROW_KEY, _BYTES),
    Add: (_ROW_KEY, _AMOUNT),
    Drop: (),
    Expire: _WHEN,
    Expect: (_ANY_KEY, _STATE),
    ExpectLease: (_BYTES,),
    ExpectEmpty: _SPAN,
    Lease: (_TOKEN, _TIME),
    Touch: (_ANY_KEY, _or_none(_TIME), *_WHEN, _KEYS, _FLAG, _or_none(_ANY_KEY)),
    Forget: (_ANY_KEY, _or_none(_TIME)),
    Page: (_ORDER, _ANY_KEY, _ANY_KEY, _LINES, _FLAG),
    Tally: (_ANY_KEY,),
}
_FITS = {kind: tuple([fits for fits, _ in shapes]) for kind, shapes in _SHAPES.items()}
_COUNTING = frozenset({Add, Append})
_LISTING = frozenset({Touch, Forget})
