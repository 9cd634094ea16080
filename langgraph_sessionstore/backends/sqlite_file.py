"""The database file of the filesystem backend: made, examined, connected to.

Rule 1: a file that is not ours, or no longer whole, is reported and left as it is.
Rule 2: nobody but SQLite opens the file. Closing any other descriptor of it would take away the locks that SQLite holds
        in this process, and with them what other processes believe.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import BackendError, BackendUnavailable, DamagedStorage, ForeignStorage, UnsupportedFormat

NAME = "sessions.sqlite3"  # never made from an id
APPLICATION = 0x4C475353  # "LGSS", in the header of the file
SCHEMA = 1
SMALLEST = 512  # the size of SQLite's smallest page
_TABLES = f"""
CREATE TABLE partitions(id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, expires INTEGER);
CREATE INDEX partitions_expiry ON partitions(expires) WHERE expires IS NOT NULL;
CREATE TABLE rows(partition INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
                  PRIMARY KEY(partition, key)) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {SCHEMA}
"""


def prepare(directory: Path) -> Path:
    """The database file in this directory, which is made when missing; refuses what is not ours."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as exc:
        raise ForeignStorage(f"{directory} is not a directory; nothing was changed") from exc
    except OSError as exc:
        raise BackendUnavailable(f"cannot make the directory {directory}: {exc.strerror}") from exc
    file = directory / NAME
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        return file
    except OSError as exc:
        raise BackendUnavailable(f"cannot look at {file}: {exc.strerror}") from exc
    if 0 < size < SMALLEST:
        raise DamagedStorage(f"{file} is too short for a SQLite database: damaged, or not ours. It was left as it is")
    if size:
        _examine(file)
    return file


def connect(file: Path, durability: str) -> sqlite3.Connection:
    """A connection to the file, which gets its tables when it is empty. May raise "locked": try again."""
    db = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        db.text_factory = bytes  # text is never stored; where damage makes some, it must not raise
        version = _number(db, "user_version")
        if version == 0:
            db.execute("BEGIN EXCLUSIVE")
            if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                for statement in _TABLES.split(";"):
                    db.execute(statement)
            db.execute("COMMIT")
        _refuse_newer(file, version)
        db.execute("PRAGMA trusted_schema = OFF")
        if {row for row in _schema(db) if not row[1].startswith("sqlite_stat")} != _ours():  # those are ANALYZE's
            raise ForeignStorage(f"{file} holds tables, views or triggers that are not ours. It was left as it is")
        if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != b"wal":
            raise BackendError(f"SQLite cannot keep a write-ahead log at {file}: is this a local disk?")
        db.execute(f"PRAGMA synchronous = {durability}")
        db.execute("PRAGMA journal_size_limit = 67108864")
    except BaseException:
        db.close()
        raise
    return db


def _schema(db: sqlite3.Connection) -> set[tuple[Any, ...]]:
    """All tables, indexes, views and triggers: a view in the place of a table, or a trigger, would run what it says."""
    found = db.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return {
        tuple(part.decode("utf-8", "replace") if isinstance(part, bytes) else part for part in row) for row in found
    }


@cache
def _ours() -> frozenset[tuple[Any, ...]]:
    with closing(sqlite3.connect(":memory:")) as db:
        for statement in _TABLES.split(";"):
            db.execute(statement)
        return frozenset(_schema(db))


def _examine(file: Path) -> None:
    """Look into a file without leaving a trace at it or beside it."""
    try:
        db = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            db.execute("PRAGMA writable_schema = ON")  # or it minds pages that still stand in the log only
            application, version = _number(db, "application_id"), _number(db, "user_version")
        finally:
            db.close()
    except sqlite3.DatabaseError as exc:
        if "unable to open" in str(exc):
            raise BackendUnavailable(f"cannot read {file}: {exc}") from exc
        raise DamagedStorage(f"{file} is no SQLite database: damaged, or not ours. It was left as it is") from exc
    if application != APPLICATION:
        raise ForeignStorage(f"{file} is a SQLite database of another program. It was left as it is")
    _refuse_newer(file, version)


def _refuse_newer(file: Path, version: int) -> None:
    if version > SCHEMA:
        raise UnsupportedFormat(f"{file} was written by a newer version: upgrade langgraph-sessionstore")


def _number(db: sqlite3.Connection, pragma: str) -> int:
    number: int = db.execute(f"PRAGMA {pragma}").fetchone()[0]
    return number
