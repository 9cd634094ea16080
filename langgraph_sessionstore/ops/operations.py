"""The operations, and what they reply. A batch of them is in `batches`.

Times are milliseconds since 1970 by the clock of the server, where there is one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from .links import Run

Row: TypeAlias = tuple[bytes, bytes]
COUNTER_LIMIT = 2**53 - 1
"""Counters lie between -COUNTER_LIMIT and COUNTER_LIMIT: Redis scripts calculate in doubles."""
FOLLOW_BYTES = 64 * 1024
"""A following range may stop bringing linked rows beyond this many bytes read."""
FOLLOW_SPANS = 1024
"""A following range stops bringing linked rows beyond this many prefixes and runs, joined where they overlap."""
KNOWN_RUNS = 1024
"""A following range may be told so many runs that the reader knows."""


# -- reading ------------------------------------------------------------------------------------------


class Get(NamedTuple):
    """The value at `key`, or None."""

    key: bytes


class Range(NamedTuple):
    """The rows from `lo` up to but without `hi` (None: to the end), as a list of (key, value).

    With `follow`, the reply is `Linked`: beside the rows, the rows that their values link to (`links`),
    read in the same atomic step. It leaves out the records in `known`: up to KNOWN_RUNS runs of what never changes
    and the reader has already. Linked records beyond them are brought; the rows of the range itself always are.
    """

    lo: bytes
    hi: bytes | None
    limit: int | None = None
    offset: int = 0
    reverse: bool = False
    follow: bool = False
    known: tuple[Run, ...] = ()


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
    """Go on only if `key` is present (True), absent (False), or holds a value with this `etag`, or one of these."""

    key: bytes
    state: bool | str | tuple[str, ...]


class ExpectLease(NamedTuple):
    """Go on only if the partition's live lease has this token; an empty token: if there is none."""

    token: bytes


class ExpectEmpty(NamedTuple):
    """Go on only if no row lies from `lo` up to but without `hi`."""

    lo: bytes
    hi: bytes | None


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
    `ttl` says the same in milliseconds from now. `runs` are run ids by which it shall be found, beside those by which
    the partition `like` is found. With `new`, one that is listed stays as it is.
    """

    name: bytes
    at: int | None = None
    expires: int | None = None
    ttl: int | None = None
    runs: tuple[bytes, ...] = ()
    new: bool = False
    like: bytes | None = None


class Forget(NamedTuple):
    """Take `name` from the list with all that was noted of it. Replies None.

    With `active`, if that was its last activity: one that is touched meanwhile stays.
    """

    name: bytes
    active: int | None = None


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
    | Expect | ExpectLease | ExpectEmpty | Lease | Touch | Forget | Page | Tally
)  # fmt: skip
GUARDS = frozenset({Expect, ExpectLease, ExpectEmpty, Lease})
WRITES = frozenset({Put, PutNew, Delete, DeleteRange, Append, Add, Drop, Expire, Lease, Touch, Forget})
REPEATABLE = frozenset({Get, Range, Count, Expect, ExpectLease, ExpectEmpty, Page, Tally, Touch})
"""What a batch may consist of to be sent again blindly: what changes nothing, and notes of activity."""


# -- replies ------------------------------------------------------------------------------------------


class Linked(NamedTuple):
    """What a following range brings: its rows, and the rows they link to, in key order, each once.

    A run brings its records and nothing that lies below them. What is known to the reader, what does not exist, the
    system's rows, and what damaged links would lead to is not among `linked`.

    When following means to read more than FOLLOW_BYTES or FOLLOW_SPANS, a backend may give up: `complete` is then
    False and `linked` empty, and the reader asks for the linked rows itself, with a guard on what it has read. Runs
    that overlap or touch count as one, and what is known of them does not count.
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

    -1: there was nothing to copy, or, in ordered calls, one before it met a conflict.
    """

    guard: int
