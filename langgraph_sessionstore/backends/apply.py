"""What a batch does to a partition: the one interpreter, for every backend whose rows Python can reach.

`redis/script.lua` says the same in Lua. The order: an operation id seen before replays; then all guards and all
counters are checked while nothing has changed; from there on nothing can fail but the storage itself.
"""

from __future__ import annotations

import os
import re
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
        failed = _check(rows, batch.ops, now)
        if failed is None and source is not None:
            failed = _replace(rows, source)
        if failed is not None:
            return failed
    replies: list[Any] = []
    written: list[Any] = []
    for op in batch.ops:
        if type(op) not in WRITES:
            replies.append(_read(rows, op, now))
            continue
        reply = _write(rows, op, now) if replay is None else replay[len(written)]
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


def _check(rows: Rows, ops: tuple[Op, ...], now: int) -> Conflict | None:
    """Check guards, then counters, before anything is changed."""
    for index, op in enumerate(ops):
        if type(op) in GUARDS and not _holds(rows, op, now):
            return Conflict(index)
    sums: dict[bytes, int] = {}
    for op in ops:
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


def _read(rows: Rows, op: Op, now: int) -> Any:
    match op:
        case Get(key):
            return rows.get(key)
        case Range(lo, hi, limit, offset, reverse, follow, known):
            found = rows.range(_visible(lo), hi, limit, offset, reverse)
            return following.follow(rows, found, known) if follow else found
        case Count(lo, hi):
            return rows.count(_visible(lo), hi)
        case Page():
            return registry.page(rows, op, now)
        case Tally(prefix):
            return registry.tally(rows, prefix, now)
    return None  # a guard, checked before


def _write(rows: Rows, op: Op, now: int) -> Any:
    if isinstance(op, (Put, PutNew, Append, Add, Touch)) or (isinstance(op, Lease) and op.ttl > 0):
        _begin(rows)
    match op:
        case Put(key, value):
            rows.put(key, value)
        case PutNew(key, value):
            if rows.get(key) is not None:
                return False
            rows.put(key, value)
            return True
        case Delete(key):
            return rows.delete(key)
        case DeleteRange(lo, hi):
            return rows.delete_range(_visible(lo), hi)
        case Append(prefix, value):
            number = _counter(rows, prefix)
            key = keys.sequence(prefix, number)
            rows.put(key, value)
            rows.put(prefix, b"%d" % (number + 1))
            return key
        case Add(key, amount):
            total = _counter(rows, key) + amount
            rows.put(key, b"%d" % total)
            return total
        case Drop():
            rows.clear()
        case Expire(at, ttl):
            at = now + ttl if ttl is not None else at
            if not _exists(rows):
                return None
            if at is not None and at <= now:
                rows.clear()
            else:
                rows.expire(at)
            return at
        case Lease(token, ttl):
            return _lease(rows, token, ttl, now)
        case Touch():
            registry.touch(rows, op, now)
        case Forget(name, active):
            registry.forget(rows, name, active)
    return None


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


def _lease(rows: Rows, token: bytes, ttl: int, now: int) -> int:
    if ttl > 0:
        rows.put(keys.LEASE, b"%012x%b" % (now + ttl, token))
        return now + ttl
    rows.delete(keys.LEASE)
    return now


def _recorded(rows: Rows, batch: Batch, now: int) -> list[Any] | None:
    """What the writes of this batch replied when it was applied before, if it was."""
    generation = now // GENERATION_MS
    for back in range(3):
        record = rows.get(_operation(generation - back, batch.op_id or b""))
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
    rows.put(_operation(generation, op_id), msgpack.packb(written))
    if not _exists(rows):  # the batch left nothing: what remembers it shall not stay for ever either
        rows.expire(now + 3 * GENERATION_MS)


def _operation(generation: int, op_id: bytes) -> bytes:
    return b"%b%08x%b" % (keys.OPERATIONS, generation, op_id.hex().encode())
