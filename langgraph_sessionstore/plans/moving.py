"""A session on its way to another storage and back: all its rows, without those of the system.

Rule 1: it leaves as it is at one moment: a copy on the server is read in pieces, however large the session is.
Rule 2: it arrives at one moment: its rows are gathered in a place of their own, and become the session in one step.
        Both places have an end of their own, should nobody come back to take them away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from .. import keys
from ..errors import BackendUnavailable, CorruptData, SessionNotFound, SessionStoreError
from ..ops import (
    Batch,
    Call,
    Calls,
    Conflict,
    Count,
    Drop,
    Expect,
    ExpectEmpty,
    Expire,
    Get,
    Op,
    Plan,
    Put,
    PutNew,
    Range,
    Row,
    Touch,
    call,
    casual,
    etag,
    must,
)
from . import layout, order, pruning, records, sessions
from .desk import Desk
from .details import pack_born, unpack_born, unpack_details, unpack_summary
from .editing import unpack_step
from .entry import FOREVER, unpack_life
from .items import STORE
from .places import BORN, LIFE
from .tools import unpack_typed

CHUNK = 500  # rows of a piece, at the most
PIECE = 1 << 20  # bytes of a piece, about
_HOUR = 3_600_000
_KINDS = frozenset("abcdeghilmnorsuvwx")  # the first segments of a session's keys


def place(chance_id: bytes) -> bytes:
    """A partition to gather rows in."""
    return keys.encode("moving", chance_id.hex())


class Left(NamedTuple):
    """A session that has left: how many rows it has, and what only the list and the storage know of it."""

    rows: int
    created: int = 0
    active: int = 0
    """When it was used last."""
    ends: int | None = None
    """When it ends; None: never. All in milliseconds since 1970."""


def leave(desk: Desk, at: bytes) -> Plan[Left]:
    """Make a copy to read from."""
    wanted = desk.writer.incarnation
    there, tombstone = yield from must(desk.partition, Get(keys.INCARNATION), Get(keys.TOMBSTONE))
    desk.check(there, tombstone)
    found = yield from sessions.describe(desk.tools, desk.session_id)
    created = [PutNew(BORN, pack_born(found.born))] if found else []  # a graph leaves it to the list to know
    batch = Batch(Expire(ttl=_HOUR), *created, Count(b"", None))
    (outcome,) = yield Calls([Call(at, batch, source=desk.partition)])
    if found is None or isinstance(outcome, Conflict):
        if wanted is None:
            return Left(0)
        raise SessionNotFound(f"session {desk.session_id!r} is no longer there: it has expired, or was deleted")
    info = found.info
    ends = None if info.expires_at is None else _moment(info.expires_at)
    return Left(outcome[-1], found.born.created, _moment(info.updated_at), ends)


class Reader:
    """Reads what has left, in pieces of about the same size, whether its rows are large or small.

    With a `total` that is how many rows it has to be; fewer: the storage has lost some of them.
    """

    def __init__(self, at: bytes, total: int | None = None) -> None:
        self.rows = 0
        """So many were read."""
        self._at = at
        self._total = total
        self._after = b""
        self._limit = min(CHUNK, 8)

    def piece(self) -> Plan[list[Row]]:
        """The next piece; an empty one at the end."""
        rows: list[Row]
        (rows,) = yield from must(self._at, Range(self._after, None, limit=self._limit))
        if rows:
            size = sum(len(value) for _, value in rows)
            self.rows += len(rows)
            self._after = rows[-1][0] + keys.END
            self._limit = max(1, min(CHUNK, self._limit * 4, len(rows) * PIECE // max(1, size)))
        elif self._total not in (None, self.rows):
            raise _lost()
        return rows


class Gathering:
    """What arrives, gathered in a place of its own.

    Rule: each piece expects those before it, and who takes it all expects the last one. So a storage that has gone back
    to an earlier state meanwhile, as after a crash, never makes a part of something pass for the whole.
    """

    def __init__(self, at: bytes, new_id: Callable[[], bytes]) -> None:
        self.at = at
        self._new_id = new_id
        self._pieces = 0

    @property
    def whole(self) -> Op:
        """The guard: all pieces are there."""
        return Expect(keys.PIECES, etag(b"%d" % self._pieces) if self._pieces else False)

    def add(self, rows: Sequence[Row]) -> Plan[None]:
        """Add rows."""
        before = self.whole
        self._pieces += 1
        ops: list[Op] = [Put(keys.PIECES, b"%d" % self._pieces), *(Put(key, value) for key, value in rows)]
        outcome = yield from casual(call(self.at, before, *ops, Expire(ttl=24 * _HOUR), op_id=self._new_id()))
        if isinstance(outcome, Conflict):
            raise _lost()


def _lost() -> BackendUnavailable:
    return BackendUnavailable(
        "the storage has lost what was on its way, as after a crash: nothing was brought, try again"
    )


def check(desk: Desk, rows: Sequence[Row]) -> None:
    """Refuse what are no rows of a session, or would make it unreadable."""
    for key, value in rows:
        check_row(desk, key, value)


def check_row(desk: Desk, key: bytes, value: bytes) -> None:
    """Refuse what would make the session unreadable as a whole: rows that its plans rely on, and cannot read."""
    name = desk.session_id
    match keys.decode(key):
        case ["a"]:
            unpack_born(value, name)
        case ["d"]:
            unpack_details(desk.tools, value, name)
        case ["l"]:
            unpack_life(value, name)
        case ["s"]:
            unpack_summary(value, name)
        case ["o"]:
            order.unpack(value, name)
        case ["m"]:
            order.size_of(value, name)
        case ["m", int(number)]:
            unpack_typed(value, f"message {number} of session {name!r}")
        case ["u" | "r", int()]:
            unpack_step(value, name)
        case ["c", *_]:
            records.unpack(key, value, name)
        case [str(kind), *_] if kind in _KINDS:
            pass
        case _:
            raise CorruptData(f"no row of a session: {key[:80]!r}")


def _moment(iso: str) -> int:
    return round(datetime.fromisoformat(iso).timestamp() * 1000)


def drop(at: bytes) -> Plan[None]:
    """Take the place away. It would go by itself some day, so it is no matter if that fails."""
    with suppress(SessionStoreError):
        yield from casual(must(at, Drop()))


def arrive(desk: Desk, gathered: Gathering, left: Left | None = None) -> Plan[bytes | None]:
    """Let what was gathered become the session: its incarnation; None: there are no rows.

    Its life is counted anew; or goes on as that of the session that has `left`, as if it were used there and then.
    """
    whole, row, found = yield from must(gathered.at, Get(keys.PIECES), Get(LIFE), Range(*layout.RECORDS))
    life, runs = unpack_life(row, desk.session_id), pruning.runs_of(desk.tools, desk.session_id, found)
    if whole is None:
        return None
    times = None if left is None else pruning.Times(left.created, left.active, left.ends)
    done = yield from pruning.copy(
        desk.tools,
        gathered.at,
        desk.session_id,
        life,
        (),
        desk.chance.new_id(),
        lift=True,
        same=[gathered.whole],
        runs=runs,
        times=times,
    )
    yield from drop(gathered.at)
    if done is None:
        raise _lost()
    return done


# -- a namespace of the store


def leave_items(partition: bytes, at: bytes) -> Plan[Left]:
    """Make a copy of a namespace to read from."""
    (outcome,) = yield Calls([Call(at, Batch(Expire(ttl=_HOUR), Count(b"", None)), source=partition)])
    return Left(0 if isinstance(outcome, Conflict) else outcome[-1])


def arrive_items(partition: bytes, gathered: Gathering) -> Plan[bool]:
    """Let what was gathered become the namespace; False when there is one meanwhile. See `shelves` for the list."""
    tell = Call(STORE, Batch(Touch(partition)))
    become = Call(partition, Batch(ExpectEmpty(b"", None)), source=gathered.at)
    look = Call(gathered.at, Batch(gathered.whole))
    whole, _, outcome, _ = yield Calls([look, tell, become, tell], ordered=True)
    yield from drop(gathered.at)
    if isinstance(whole, Conflict) or outcome == Conflict(-1):
        raise _lost()
    return not isinstance(outcome, Conflict)


def telling(rows: Sequence[Row]) -> list[Row]:
    """Rows by which one sees whether two are the same: a session without an end may say so, or say nothing."""
    return [row for row in rows if row != (LIFE, FOREVER.pack())]
