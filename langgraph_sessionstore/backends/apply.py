"""What a batch does to a partition: the one interpreter, for every backend whose rows Python can reach.

`redis/script.lua` says the same in Lua. The order: an operation id seen before replays; then all guards and all
counters are checked while nothing has changed; from there on nothing can fail but the storage itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgpack

from .. import keys
from ..errors import CorruptData
from ..ops import (
    COUNTER_LIMIT,
    GUARDS,
    WRITES,
    Add,
    Append,
    Batch,
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
    Outcome,
    Page,
    Put,
    PutNew,
    Range,
    Row,
    Tally,
    Touch,
    etag,
)
from . import following, registry

GENERATION_MS = 300_000  # operation ids are kept for this long at least twice


class Rows(Protocol):
    """The rows of one partition, as a backend offers them to `apply` inside one atomic step.

    `range`, `count` and `delete_range` see all rows, those of the system too; `fill` takes the others from a source.
    """

    def get(self, key: bytes) -> bytes | None: ...
    def put(self, key: bytes, value: bytes) -> None: ...
    def delete(self, key: bytes) -> bool: ...
    def range(self, lo: bytes, hi: bytes | None, limit: int | None, offset: int, reverse: bool) -> list[Row]: ...
    def count(self, lo: bytes, hi: bytes | None) -> int: ...
    def delete_range(self, lo: bytes, hi: bytes | None) -> int: ...
    def clear(self) -> None: ...
    def expire(self, at: int | None) -> None: ...
    def fill(self, source: Any) -> None: ...


RowsT = TypeVar("RowsT", bound=Rows)


def apply(rows: RowsT, batch: Batch, now: int, source: RowsT | None = None) -> Outcome:
    """Apply a batch, first copying `source` when given: the replies, or `Conflict`.

    Raises an error of the library only while nothing has changed.
    """
    once = batch.op_id is not None and (batch.writes or source is not None)
    replay = _recorded(rows, batch, now) if once else None
    if replay is None:
        failed = _check(rows, batch, now)
        if failed is None and source is not None:
            failed = _replace(rows, source)
        if failed is not None:
            return failed
    replies: list[Any] = []
    written: list[Any] = []
    begun = False
    for op in batch.ops:
        kind = type(op)
        if kind not in WRITES:
            replies.append(_READS[kind](rows, op, now) if kind in _READS else None)  # a guard was checked before
            continue
        if replay is None:
            if kind in _BEGINNING and not begun:
                _begin(rows)
            reply = _WRITES[kind](rows, op, now)
            begun = (begun or kind in _BEGINNING) and kind not in _ENDING
        else:
            reply = replay[len(written)]
        written.append(reply)
        replies.append(reply)
    if once and replay is None:
        _record(rows, batch.op_id or b"", now, written)
    return replies


def _exists(rows: Rows) -> bool:
    return rows.get(keys.INCARNATION) is not None


def _begin(rows: Rows) -> None:
    """Give a partition that does not exist yet its incarnation, and no end."""
    if not _exists(rows):
        rows.expire(None)
        rows.put(keys.INCARNATION, os.urandom(16))


def _check(rows: Rows, batch: Batch, now: int) -> Conflict | None:
    """Check guards, then counters, before anything is changed."""
    if not GUARDS.isdisjoint(batch.kinds):
        for index, op in enumerate(batch.ops):
            if type(op) in GUARDS and not _holds(rows, op, now):
                return Conflict(index)
    if _COUNTING.isdisjoint(batch.kinds):
        return None
    sums: dict[bytes, int] = {}
    for op in batch.ops:
        if isinstance(op, (Add, Append)):
            before = sums[op[0]] if op[0] in sums else _counter(rows, op[0])
            if isinstance(op, Append) and before < 0:
                raise CorruptData(f"the row at {op.prefix[:80]!r} is not a counter of records")
            sums[op[0]] = before + (op.amount if isinstance(op, Add) else 1)
            if abs(sums[op[0]]) > COUNTER_LIMIT:
                raise CorruptData(f"the counter at {op[0][:80]!r} would leave the range of 53 bits")
    return None


def _replace(rows: RowsT, source: RowsT) -> Conflict | None:
    """Make the rows a copy of the source's, without its system rows and expiry, as a new incarnation."""
    if not source.range(keys.SYSTEM[1], None, 1, 0, False):
        return Conflict(-1)
    rows.clear()
    _begin(rows)
    rows.fill(source)
    return None


def _holds(rows: Rows, op: Op, now: int) -> bool:
    if isinstance(op, ExpectEmpty):
        return not rows.range(_visible(op.lo), op.hi, 1, 0, False)
    if isinstance(op, Expect):
        value = rows.get(op.key)
        if isinstance(op.state, bool):
            return (value is not None) is op.state
        return value is not None and etag(value) in ((op.state,) if isinstance(op.state, str) else op.state)
    row = rows.get(keys.LEASE)
    if row is not None and not re.fullmatch(rb"[0-9a-f]{12}", row[:12]):
        raise CorruptData("the lease of the partition is damaged")
    owner = row[12:] if row and int(row[:12], 16) > now else b""
    if isinstance(op, ExpectLease):
        return owner == op.token
    assert isinstance(op, Lease)
    return owner in (b"", op.token)


def _range(rows: Rows, op: Range, now: int) -> Any:
    found = rows.range(_visible(op.lo), op.hi, op.limit, op.offset, op.reverse)
    return following.follow(rows, found, op.known) if op.follow else found


def _put_new(rows: Rows, op: PutNew, now: int) -> bool:
    if rows.get(op.key) is not None:
        return False
    rows.put(op.key, op.value)
    return True


def _append(rows: Rows, op: Append, now: int) -> bytes:
    number = _counter(rows, op.prefix)
    key = keys.sequence(op.prefix, number)
    rows.put(key, op.value)
    rows.put(op.prefix, b"%d" % (number + 1))
    return key


def _add(rows: Rows, op: Add, now: int) -> int:
    total = _counter(rows, op.key) + op.amount
    rows.put(op.key, b"%d" % total)
    return total


def _expire(rows: Rows, op: Expire, now: int) -> int | None:
    at = now + op.ttl if op.ttl is not None else op.at
    if not _exists(rows):
        return None
    if at is not None and at <= now:
        rows.clear()
    else:
        rows.expire(at)
    return at


def _lease(rows: Rows, op: Lease, now: int) -> int:
    if op.ttl > 0:
        _begin(rows)
        rows.put(keys.LEASE, b"%012x%b" % (now + op.ttl, op.token))
        return now + op.ttl
    rows.delete(keys.LEASE)
    return now


def _forget(rows: Rows, op: Forget, now: int) -> None:
    registry.forget(rows, op.name, op.active)


_READS: dict[type[Op], Callable[[Any, Any, int], Any]] = {
    Get: lambda rows, op, now: rows.get(op.key),
    Range: _range,
    Count: lambda rows, op, now: rows.count(_visible(op.lo), op.hi),
    Page: registry.page,
    Tally: lambda rows, op, now: registry.tally(rows, op.prefix, now),
}
_WRITES: dict[type[Op], Callable[[Any, Any, int], Any]] = {
    Put: lambda rows, op, now: rows.put(op.key, op.value),
    PutNew: _put_new,
    Delete: lambda rows, op, now: rows.delete(op.key),
    DeleteRange: lambda rows, op, now: rows.delete_range(_visible(op.lo), op.hi),
    Append: _append,
    Add: _add,
    Drop: lambda rows, op, now: rows.clear(),
    Expire: _expire,
    Lease: _lease,
    Touch: registry.touch,
    Forget: _forget,
}
_BEGINNING = frozenset({Put, PutNew, Append, Add, Touch})
"""What makes a partition begin that does not exist yet."""
_ENDING = frozenset({Drop, Expire})
"""What may leave none."""
_COUNTING = frozenset({Add, Append})


def _visible(lo: bytes) -> bytes:
    """Ranges begin above the system rows."""
    return max(lo, keys.SYSTEM[1])


def _counter(rows: Rows, key: bytes) -> int:
    value = rows.get(key)
    if value is None:
        return 0
    if not re.fullmatch(rb"-?[0-9]{1,16}", value) or abs(int(value)) > COUNTER_LIMIT:
        raise CorruptData(f"the row at {key[:80]!r} is not a counter")
    return int(value)


def _recorded(rows: Rows, batch: Batch, now: int) -> list[Any] | None:
    """What the writes of this batch replied when it was applied before, if it was."""
    generation, name = now // GENERATION_MS, (batch.op_id or b"").hex().encode()
    for back in range(3):
        record = rows.get(_operation(generation - back, name))
        if record is not None:
            writes = [op for op in batch.ops if type(op) in WRITES]
            try:
                replies: list[Any] = msgpack.unpackb(record)
                fits = len(replies) == len(writes)
            except Exception as exc:  # msgpack's errors share no root
                raise CorruptData("the record of an operation id is damaged") from exc
            if not fits or not all(map(replied, writes, replies)):
                raise CorruptData("this operation id was used for another batch")
            return replies
    return None


def replied(op: Op, reply: Any) -> bool:
    """Whether an operation that writes may have had this reply."""
    if isinstance(op, Append):
        return type(reply) is bytes
    if isinstance(op, (PutNew, Delete)):
        return type(reply) is bool
    if isinstance(op, (DeleteRange, Add, Lease)):
        return type(reply) is int
    return reply is None or (isinstance(op, Expire) and type(reply) is int)


def _record(rows: Rows, op_id: bytes, now: int, written: list[Any]) -> None:
    generation = now // GENERATION_MS
    rows.delete_range(keys.OPERATIONS, _operation(generation - 2, b""))
    rows.put(_operation(generation, op_id.hex().encode()), msgpack.packb(written))
    if not _exists(rows):  # the batch left nothing: what remembers it shall not stay for ever either
        rows.expire(now + 3 * GENERATION_MS)


def _operation(generation: int, name: bytes) -> bytes:
    return b"%b%08x%b" % (keys.OPERATIONS, generation, name)
