"""The vocabulary between logic and storage: operations, batches, calls and what comes back.

Rule 1: a batch touches one partition, and is applied as a whole or not at all.
Rule 2: its guards (`Expect`, `ExpectLease`, a `Lease` held by another) are checked against the state before
        the batch; the first that fails gives `Conflict(guard)` and nothing is changed.
Rule 3: the other operations then happen in their order, each seeing what those before it did; the reply
        is a list with one entry for each operation.
Rule 4: keys are bytes without NUL, as `keys.encode` makes them. Values are any bytes.

Times are milliseconds since 1970 by the clock of the server, where there is one.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Sequence
from hashlib import sha1
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from .errors import ConflictError, CorruptData

Row: TypeAlias = tuple[bytes, bytes]
COUNTER_LIMIT = 2**53 - 1
"""Counters lie between -COUNTER_LIMIT and COUNTER_LIMIT: Redis scripts calculate in doubles."""
FOLLOW_BYTES = 64 * 1024
"""A following range may stop bringing linked rows beyond this many bytes."""


# -- reading ------------------------------------------------------------------------------------------


class Get(NamedTuple):
    """The value at `key`, or None."""

    key: bytes


class Range(NamedTuple):
    """The rows from `lo` up to but without `hi` (None: to the end), as a list of (key, value).

    With `follow`, the reply is `Linked`: beside the rows, the rows that their values link to (`links`),
    read in the same atomic step.
    """

    lo: bytes
    hi: bytes | None
    limit: int | None = None
    offset: int = 0
    reverse: bool = False
    follow: bool = False


class Count(NamedTuple):
    """How many rows lie from `lo` up to but without `hi`."""

    lo: bytes
    hi: bytes | None


# -- writing ------------------------------------------------------------------------------------------


class Put(NamedTuple):
    """Set `key` to `value`. Replies None."""

    key: bytes
    value: bytes


class PutNew(NamedTuple):
    """Set `key` unless it exists; an existing one stays as it is. Replies whether it was set."""

    key: bytes
    value: bytes


class Delete(NamedTuple):
    """Remove `key`. Replies whether it existed."""

    key: bytes


class DeleteRange(NamedTuple):
    """Remove the rows from `lo` up to but without `hi`. Replies how many."""

    lo: bytes
    hi: bytes | None


class Append(NamedTuple):
    """Store `value` at the next number below `prefix`. Replies its key, `keys.sequence(prefix, n)`.

    Numbers start at 0, have no gaps and are not used again, also when records are deleted. The next
    number stands at the key `prefix` itself, where only `Append` writes.
    """

    prefix: bytes
    value: bytes


class Add(NamedTuple):
    """Add `amount` to the whole number at `key` (0 when missing). Replies the sum."""

    key: bytes
    amount: int


class Drop(NamedTuple):
    """Remove the whole partition: rows, lease, expiry. What follows in the batch begins a new one."""


class Expire(NamedTuple):
    """Let the partition be gone from `at` on, or `ttl` milliseconds from now; neither: never.

    Replies the moment, or None for never and for a partition that does not exist.
    """

    at: int | None = None
    ttl: int | None = None


# -- guards -------------------------------------------------------------------------------------------


class Expect(NamedTuple):
    """Go on only if `key` is present (True), absent (False), or holds the value with this `etag`."""

    key: bytes
    state: bool | str


class ExpectLease(NamedTuple):
    """Go on only if the partition's live lease has this token; an empty token: if there is none."""

    token: bytes


class Lease(NamedTuple):
    """Take or renew the partition's lease for `ttl` milliseconds; 0 gives it back.

    A guard too: it fails while another token holds a live lease. Replies when the lease ends.
    """

    token: bytes
    ttl: int


# -- the registry: operations for partitions that list other partitions ------------------------------------


class Touch(NamedTuple):
    """List the partition `name`, or note that it was active. Replies None.

    `at` is the moment (None: now). `expires` is the moment it expires (0: never, None: as it was);
    `ttl` says the same in milliseconds from now. `runs` are run ids by which it shall be found.
    """

    name: bytes
    at: int | None = None
    expires: int | None = None
    ttl: int | None = None
    runs: tuple[bytes, ...] = ()


class Forget(NamedTuple):
    """Take `name` from the list with all that was noted of it. Replies None."""

    name: bytes


class Page(NamedTuple):
    """A page of the list, `Entries`: by creation, last activity, name (with a prefix), or run id (in `prefix`).

    `after` is the cursor of the page before. Expired partitions are passed over and taken from the
    list, a bounded number at a time; a page may therefore be short and still have a cursor.
    """

    by: Literal["created", "active", "name", "run"] = "created"
    prefix: bytes = b""
    after: bytes = b""
    limit: int = 50
    reverse: bool = False


class Tally(NamedTuple):
    """How many partitions are listed whose name begins with `prefix`, without the expired."""

    prefix: bytes = b""


Op: TypeAlias = (
    Get | Range | Count | Put | PutNew | Delete | DeleteRange | Append | Add | Drop | Expire
    | Expect | ExpectLease | Lease | Touch | Forget | Page | Tally
)  # fmt: skip
GUARDS = frozenset({Expect, ExpectLease, Lease})
WRITES = frozenset({Put, PutNew, Delete, DeleteRange, Append, Add, Drop, Expire, Lease, Touch, Forget})
REPEATABLE = frozenset({Get, Range, Count, Put, Drop, Expire, Touch, Forget, Page, Tally})


# -- replies ------------------------------------------------------------------------------------------


class Linked(NamedTuple):
    """What a following range brings: its rows, and the rows they link to, in key order, each once.

    When the links lead to more than FOLLOW_BYTES, a backend may give up: `complete` is then False, and the
    reader asks for the linked spans itself, with a guard on what it has read.
    """

    rows: list[Row]
    linked: list[Row]
    complete: bool


class Entry(NamedTuple):
    """One line of the registry. `expires` is 0 for never."""

    name: bytes
    created: int
    active: int
    expires: int


class Entries(NamedTuple):
    """A page of the registry; an empty cursor means that nothing follows."""

    rows: list[Entry]
    cursor: bytes


class Conflict(NamedTuple):
    """The operation at this index of the batch is a guard that failed: nothing was changed.

    -1: there was nothing to copy.
    """

    guard: int


# -- batches and plans --------------------------------------------------------------------------------


class Batch:
    """Operations that are applied to one partition as a whole or not at all.

    A batch with an `op_id` (up to 64 random bytes, never used for another batch) is applied at most once:
    given again within ten minutes, it replays the replies of its writes.
    """

    __slots__ = ("op_id", "ops", "repeatable", "writes")

    def __init__(self, *ops: Op, op_id: bytes | None = None) -> None:
        kinds = {type(op) for op in ops}
        self.ops = ops
        self.op_id = op_id
        self.writes = not WRITES.isdisjoint(kinds)
        self.repeatable = op_id is not None or not self.writes or kinds <= REPEATABLE
        """Whether sending it twice ends in the same state and the same replies as sending it once."""
        if op_id is not None and not 0 < len(op_id) <= 64:
            raise ValueError("an op_id has 1 to 64 bytes")
        _check(ops, kinds)

    def __repr__(self) -> str:
        return f"Batch({', '.join(map(repr, self.ops))}{f', op_id={self.op_id!r}' if self.op_id else ''})"


def _check(ops: tuple[Op, ...], kinds: set[type[Op]]) -> None:
    """Refuse what no backend could apply as a whole, before any of them begins."""
    for op in ops:
        for key in _keys(op):
            if b"\0" in key:
                raise ValueError(f"a key holds no NUL byte: {key!r}")
    if not kinds.isdisjoint({Add, Append}):
        added = {op.key for op in ops if isinstance(op, Add)}
        appended = {op.prefix for op in ops if isinstance(op, Append)}
        if added & appended or any(isinstance(op, (Put, PutNew)) and op.key in added | appended for op in ops):
            raise ValueError("a batch cannot both set and count on one key, nor add and append to it")
        if any(isinstance(op, Add) and abs(op.amount) > COUNTER_LIMIT for op in ops):
            raise ValueError(f"an amount lies between -{COUNTER_LIMIT} and {COUNTER_LIMIT}")


def _keys(op: Op) -> tuple[bytes, ...]:
    """The keys in an operation; refuses numbers that cannot be."""
    match op:
        case Expire(at, ttl) | Touch(at=at, ttl=ttl) if _is_no_time(at) or _is_no_time(ttl):
            raise ValueError("a time is in milliseconds, not negative, and before the year 4200")
        case Lease(ttl=ttl) | Touch(expires=ttl) if _is_no_time(ttl):
            raise ValueError("a time is in milliseconds, not negative, and before the year 4200")
        case Drop() | Expire() | Lease() | ExpectLease():
            return ()
        case Range(limit=limit, offset=offset) if offset < 0 or (limit is not None and limit < 0):
            raise ValueError("the limit and the offset of a range are not negative")
        case Page(limit=limit) if limit < 1:
            raise ValueError("a page has at least one line")
        case Range(lo, hi) | Count(lo, hi) | DeleteRange(lo, hi):
            return (lo, hi or b"")
        case Touch(name, runs=runs):
            return (name, *runs)
        case Page(prefix=prefix, after=after):
            return (prefix, after)
    return (op[0],)


def _is_no_time(time: int | None) -> bool:
    return time is not None and not 0 <= time < 1 << 46


class Call(NamedTuple):
    """A batch and the partition it is for."""

    partition: bytes
    batch: Batch


class Calls(NamedTuple):
    """A plan's request: several calls in one trip, each atomic by itself.

    `ordered`: a call begins after those before it have ended, and not at all when one of them could not be
    done. That costs a cluster one trip for each change of node, and the others nothing.
    """

    calls: Sequence[Call]
    ordered: bool = False


class Copy(NamedTuple):
    """A plan's request: make `target` a copy of `source`, then apply the batch, in one atomic step.

    The guards see the target as it was before. Rows of the source come along, its lease, tombstone, expiry
    and incarnation do not. What the target held is gone. A source that does not exist gives `Conflict(-1)`.
    """

    source: bytes
    target: bytes
    batch: Batch


Outcome: TypeAlias = list[Any] | Conflict
T = TypeVar("T")
Plan: TypeAlias = Generator[Calls | Copy, list[Outcome], T]
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


def etag(value: bytes) -> str:
    """The short name of a value that `Expect` compares."""
    return sha1(value, usedforsecurity=False).hexdigest()


# -- links: spans of keys in front of a value, which a following range brings along ---------------------------

_MARK = b"\xc1"  # never the first byte of a packed value


def with_links(spans: Sequence[tuple[bytes, bytes]], value: bytes) -> bytes:
    """Put links to these spans in front of a value. The server can read them; they hold keys only."""
    parts = [_MARK, struct.pack(">H", len(spans))]
    for lo, hi in spans:
        parts += [struct.pack(">H", len(lo)), lo, struct.pack(">H", len(hi)), hi]
    return b"".join([*parts, value])


def split_links(stored: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Take the links from in front of a value: (spans, value). A value without links has none."""
    if stored[:1] != _MARK:
        return [], stored
    try:
        (count,), at = struct.unpack_from(">H", stored, 1), 3
        ends = []
        for _ in range(2 * count):
            (size,) = struct.unpack_from(">H", stored, at)
            ends.append(stored[at + 2 : at + 2 + size])
            at += 2 + size
    except struct.error as exc:
        raise CorruptData("the links in front of a stored value end early") from exc
    if at > len(stored):
        raise CorruptData("the links in front of a stored value end early")
    return list(zip(ends[::2], ends[1::2], strict=True)), stored[at:]
