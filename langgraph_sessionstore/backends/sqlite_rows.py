"""One partition's rows in the SQLite database of the filesystem backend.

partitions   id, name, expires           one line for each partition
rows         partition, key, value       ordered by (partition, key), so a partition is one range
"""

from __future__ import annotations

import sqlite3
from typing import Any

from .. import keys
from ..ops import Row


class WriteNeeded(Exception):
    """A read met something to clean up; run it again inside a writing transaction."""


class Partition:
    """The rows of one partition inside the running transaction, in the form that `apply` works on."""

    def __init__(self, db: sqlite3.Connection, name: bytes, now: int, writing: bool) -> None:
        self._run = db.execute
        self._name = name
        self._writing = writing
        self._id: int | None = None
        found = self._run("SELECT id, expires FROM partitions WHERE name = ?", (name,)).fetchone()
        if found:
            self._id, expires = found
            if type(expires) not in (int, type(None)):
                raise sqlite3.DatabaseError(f"malformed end of partition {name[:80]!r}")
            if expires is not None and expires <= now:
                if writing:
                    self.clear()
                self._id = None

    def get(self, key: bytes) -> bytes | None:
        found = self._run("SELECT value FROM rows WHERE partition = ? AND key = ?", (self._id, key)).fetchone()
        return _whole(key, found[0]) if found else None

    def put(self, key: bytes, value: bytes) -> None:
        if not self._writing:
            raise WriteNeeded
        if self._id is None:
            self._id = self._run("INSERT INTO partitions(name) VALUES (?)", (self._name,)).lastrowid
        self._run("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", (self._id, key, value))

    def delete(self, key: bytes) -> bool:
        if not self._writing:
            raise WriteNeeded
        return self._run("DELETE FROM rows WHERE partition = ? AND key = ?", (self._id, key)).rowcount > 0

    def range(self, lo: bytes, hi: bytes | None, limit: int | None, offset: int, reverse: bool) -> list[Row]:
        span, values = self._span(lo, hi)
        order = "DESC" if reverse else "ASC"
        found: list[Row] = self._run(
            f"SELECT key, value FROM rows WHERE {span} ORDER BY key {order} LIMIT ? OFFSET ?",
            (*values, -1 if limit is None else limit, offset),
        ).fetchall()
        for key, value in found:
            if type(value) is not bytes:
                _whole(key, value)
        return found

    def count(self, lo: bytes, hi: bytes | None) -> int:
        span, values = self._span(lo, hi)
        total: int = self._run(f"SELECT count(*) FROM rows WHERE {span}", values).fetchone()[0]
        return total

    def delete_range(self, lo: bytes, hi: bytes | None) -> int:
        if not self._writing:
            raise WriteNeeded
        span, values = self._span(lo, hi)
        return self._run(f"DELETE FROM rows WHERE {span}", values).rowcount

    def clear(self) -> None:
        if self._id is not None:
            _remove(self._run, self._id)
            self._id = None

    def expire(self, at: int | None) -> None:
        if not self._writing:
            raise WriteNeeded
        self._run("UPDATE partitions SET expires = ? WHERE id = ?", (at, self._id))

    def fill(self, source: Partition) -> None:
        self._run(
            "INSERT INTO rows SELECT ?, key, value FROM rows WHERE partition = ? AND key >= ?",
            (self._id, source._id, keys.SYSTEM[1]),
        )

    def _span(self, lo: bytes, hi: bytes | None) -> tuple[str, tuple[int | bytes | None, ...]]:
        if hi is None:
            return "partition = ? AND key >= ?", (self._id, lo)
        return "partition = ? AND key >= ? AND key < ?", (self._id, lo, hi)


def _whole(key: bytes, value: Any) -> bytes:
    """A value, if it is one: SQLite takes numbers where bytes are declared. Like other damage it fails the batch."""
    if type(value) is not bytes:
        raise sqlite3.DatabaseError(f"malformed row at {key[:80]!r}: it holds no bytes")
    return value


def sweep(db: sqlite3.Connection, now: int, most: int = 16) -> None:
    """Remove the rows of some expired partitions; inside a writing transaction."""
    found = db.execute("SELECT id FROM partitions WHERE expires <= ? LIMIT ?", (now, most)).fetchall()
    for (number,) in found:
        _remove(db.execute, number)


def _remove(run, number: int) -> None:  # type: ignore[no-untyped-def]
    run("DELETE FROM rows WHERE partition = ?", (number,))
    run("DELETE FROM partitions WHERE id = ?", (number,))
