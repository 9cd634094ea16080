"""The SQLite side of the filesystem backend: the database file, and one partition's rows in it.

    partitions   id, name, expires           one line for each partition
    rows         partition, key, value       ordered by (partition, key), so a partition is one range

Rule: a file that is not ours, or no longer whole, is reported and left as it is.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .. import keys
from ..errors import BackendError, BackendUnavailable, DamagedStorage, ForeignStorage, UnsupportedFormat
from ..ops import Row

APPLICATION = 0x4C475353  # "LGSS", in the header of the file
SCHEMA = 1
_MAGIC = b"SQLite format 3\0"
_TABLES = f"""
CREATE TABLE partitions(id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, expires INTEGER);
CREATE INDEX partitions_expiry ON partitions(expires) WHERE expires IS NOT NULL;
CREATE TABLE rows(partition INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
                  PRIMARY KEY(partition, key)) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {SCHEMA}
"""


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
            if expires is not None and expires <= now:
                if writing:
                    self.clear()
                self._id = None

    def get(self, key: bytes) -> bytes | None:
        found = self._run("SELECT value FROM rows WHERE partition = ? AND key = ?", (self._id, key)).fetchone()
        return found[0] if found else None

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
        return self._run(
            f"SELECT key, value FROM rows WHERE {span} ORDER BY key {order} LIMIT ? OFFSET ?",
            (*values, -1 if limit is None else limit, offset),
        ).fetchall()

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


def sweep(db: sqlite3.Connection, now: int, most: int = 16) -> None:
    """Remove the rows of some expired partitions; inside a writing transaction."""
    found = db.execute("SELECT id FROM partitions WHERE expires <= ? LIMIT ?", (now, most)).fetchall()
    for (number,) in found:
        _remove(db.execute, number)


def _remove(run, number: int) -> None:  # type: ignore[no-untyped-def]
    run("DELETE FROM rows WHERE partition = ?", (number,))
    run("DELETE FROM partitions WHERE id = ?", (number,))


def prepare(directory: Path) -> Path:
    """The database file in this directory, which is made when missing; refuses what is not ours."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as exc:
        raise ForeignStorage(f"{directory} is not a directory; nothing was changed") from exc
    except OSError as exc:
        raise BackendUnavailable(f"cannot make the directory {directory}: {exc.strerror}") from exc
    file = directory / "sessions.sqlite3"
    try:
        with file.open("rb") as opened:
            head = opened.read(100)
    except FileNotFoundError:
        return file
    except OSError as exc:
        raise BackendUnavailable(f"cannot read {file}: {exc.strerror}") from exc
    if head and (len(head) < 100 or not head.startswith(_MAGIC)):
        raise DamagedStorage(f"{file} is no SQLite database: damaged, or not ours. It was left as it is")
    if head and int.from_bytes(head[68:72], "big") != APPLICATION:
        raise ForeignStorage(f"{file} is a SQLite database of another program. It was left as it is")
    if head and int.from_bytes(head[60:64], "big") > SCHEMA:
        raise UnsupportedFormat(f"{file} was written by a newer version: upgrade langgraph-sessionstore")
    return file


def connect(file: Path, durability: str) -> sqlite3.Connection:
    """A connection to the file, which gets its tables when it is empty. May raise "locked": try again."""
    db = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            db.execute("BEGIN EXCLUSIVE")
            if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                for statement in _TABLES.split(";"):
                    db.execute(statement)
            db.execute("COMMIT")
        mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise BackendError(f"SQLite cannot keep a write-ahead log at {file}: is this a local disk?")
        db.execute(f"PRAGMA synchronous = {durability}")
        db.execute("PRAGMA journal_size_limit = 67108864")
    except BaseException:
        db.close()
        raise
    return db
