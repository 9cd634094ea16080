"""A session on its way to another storage and back: all its rows, without those of the system.

Rule 1: it leaves as it is at one moment: a copy on the server is read in pieces, however large the session is.
Rule 2: it arrives at one moment: its rows are gathered in a place of their own, and become the session in one step.
        Both places have an end of their own, should nobody come back to take them away.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from .. import keys
from ..errors import CorruptData, SessionNotFound, SessionStoreError
from ..ops import (
    Batch,
    Call,
    Calls,
    Conflict,
    Count,
    Drop,
    ExpectEmpty,
    Expire,
    Get,
    Plan,
    Put,
    PutNew,
    Range,
    Row,
    Touch,
    casual,
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


def leave(desk: Desk, at: bytes) -> Plan[int]:
    """Make a copy to read from; how many rows it has."""
    wanted = desk.writer.incarnation
    there, tombstone = yield from must(desk.partition, Get(keys.INCARNATION), Get(keys.TOMBSTONE))
    desk.check(there, tombstone)
    found = yield from sessions.describe(desk.tools, desk.session_id)
    created = [PutNew(BORN, pack_born(found.born))] if found else []  # a graph leaves it to the list to know
    batch = Batch(Expire(ttl=_HOUR), *created, Count(b"", None))
    (outcome,) = yield Calls([Call(at, batch, source=desk.partition)])
    if isinstance(outcome, Conflict):
        if wanted is None:
            return 0
        raise SessionNotFound(f"session {desk.session_id!r} is no longer there: it has expired, or was deleted")
    total: int = outcome[-1]
    return total


class Reader:
    """Reads what was gathered, in pieces of about the same size, whether its rows are large or small."""

    def __init__(self, at: bytes) -> None:
        self.rows = 0
        """So many were read."""
        self._at = at
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
        return rows


def gather(at: bytes, rows: Sequence[Row]) -> Plan[None]:
    """Add rows of what arrives."""
    yield from must(at, *(Put(key, value) for key, value in rows), Expire(ttl=24 * _HOUR))


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


def drop(at: bytes) -> Plan[None]:
    """Take the place away. It would go by itself some day, so it is no matter if that fails."""
    with suppress(SessionStoreError):
        yield from casual(must(at, Drop()))


def arrive(desk: Desk, at: bytes) -> Plan[bytes | None]:
    """Let what was gathered become the session."""
    row, found = yield from must(at, Get(LIFE), Range(*layout.RECORDS))
    life, runs = unpack_life(row, desk.session_id), pruning.runs_of(desk.tools, desk.session_id, found)
    op_id = desk.chance.new_id()
    done = yield from pruning.copy(desk.tools, at, desk.session_id, life, (), op_id, lift=True, runs=runs)
    yield from drop(at)
    return done


# -- a namespace of the store


def leave_items(partition: bytes, at: bytes) -> Plan[int]:
    """Make a copy of a namespace to read from; how many rows it has."""
    (outcome,) = yield Calls([Call(at, Batch(Expire(ttl=_HOUR), Count(b"", None)), source=partition)])
    return 0 if isinstance(outcome, Conflict) else int(outcome[-1])


def arrive_items(partition: bytes, at: bytes) -> Plan[bool]:
    """Let what was gathered become the namespace; False when there is one meanwhile. See `shelves` for the list."""
    tell = Call(STORE, Batch(Touch(partition)))
    become = Call(partition, Batch(ExpectEmpty(b"", None)), source=at)
    _, outcome, _ = yield Calls([tell, become, tell], ordered=True)
    yield from drop(at)
    return not isinstance(outcome, Conflict)


def telling(rows: Sequence[Row]) -> list[Row]:
    """Rows by which one sees whether two are the same: a session without an end may say so, or say nothing."""
    return [row for row in rows if row != (LIFE, FOREVER.pack())]
