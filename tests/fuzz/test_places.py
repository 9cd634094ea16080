"""Database files that anybody may have written: other tables, views and triggers in the place of ours, other types."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fuzz.guard import GUARD

from langgraph_sessionstore import (
    Backend,
    DamagedStorage,
    ForeignStorage,
    SessionManager,
    SessionStoreError,
    keys,
    open_backend,
)
from langgraph_sessionstore.ops import Add, Append, Batch, Call, Count, Drop, Expire, Get, Lease, Put, Range, Touch

pytestmark = pytest.mark.long

FILE = "sessions.sqlite3"
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with open_backend(tmp_path) as backend:
        for name in ("s", "other"):
            SessionManager(backend).create_session(name, messages=["a", "b"], ttl=3600)
    return tmp_path


def written(place: Path, *statements: str) -> None:
    with closing(sqlite3.connect(place / FILE, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


SCHEMES = {
    "a trigger that never ends": [
        f"CREATE TRIGGER t BEFORE INSERT ON rows BEGIN SELECT ({ENDLESS} max(x) FROM n); END",
    ],
    "a trigger that deletes": ["CREATE TRIGGER t AFTER INSERT ON rows BEGIN DELETE FROM rows; END"],
    "a view in the place of a table": [
        "DROP TABLE rows",
        f"CREATE VIEW rows AS {ENDLESS} 1 AS partition, x'00' AS key, x'00' AS value FROM n",
    ],
    "a table with other columns": ["DROP TABLE rows", "CREATE TABLE rows(partition, key, value)"],
    "a column that is computed": [
        "DROP TABLE rows",
        "CREATE TABLE rows(partition INTEGER, key BLOB, value BLOB, x AS (hex(zeroblob(1000000000))))",
    ],
    "a further table": ["CREATE TABLE more(x)"],
    "an index that computes": ["CREATE INDEX i ON rows(hex(value))"],
    "no tables": ["DROP TABLE rows", "DROP TABLE partitions"],
}


@pytest.mark.parametrize("name", SCHEMES)
def test_a_file_with_other_tables_is_refused_as_a_whole(name: str, place: Path) -> None:
    written(place, *SCHEMES[name])
    before = (place / FILE).read_bytes()
    with GUARD.watching(), pytest.raises(ForeignStorage, match="not ours"):
        open_backend(place)
    assert (place / FILE).read_bytes() == before


def test_what_an_administrator_may_do_to_a_file_changes_nothing(place: Path) -> None:
    written(place, "ANALYZE", "VACUUM", "PRAGMA optimize", "REINDEX")
    with open_backend(place) as backend:
        assert SessionManager(backend).count_sessions() == 2


VALUES = ["5", "-1.5", "1e300", "'text'", "char(55296)", "zeroblob(0)", "x'c1ffff'"]
COLUMNS: dict[str, Callable[[str], str]] = {
    "value": lambda value: f"UPDATE rows SET value = {value} WHERE partition = 2",
    "key": lambda value: f"UPDATE OR REPLACE rows SET key = {value} WHERE partition = 2",
    "expires": lambda value: f"UPDATE partitions SET expires = {value} WHERE id = 2",
    "name": lambda value: f"UPDATE partitions SET name = {value} WHERE id = 2",
}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("column", COLUMNS)
def test_values_of_other_types_are_damage(column: str, value: str, place: Path) -> None:
    written(place, COLUMNS[column](value))
    with closing(sqlite3.connect(place / FILE)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM partitions WHERE typeof(name) = 'blob'")]
    with open_backend(place) as backend:
        for name in [*names, keys.session("new")]:
            _all_of(backend, name)
        manager = SessionManager(backend)
        for ask in (
            lambda: list(manager.list_sessions()),
            lambda: manager.get_session("s"),
            lambda: manager.data.get(("memory", "s"), "messages"),
            lambda: manager.create_session("new", exist_ok=True),
        ):
            _ours(ask)
        with closing(sqlite3.connect(place / FILE)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_batch_that_meets_a_value_of_another_type_applies_nothing(place: Path) -> None:
    partition = keys.session("s")
    with open_backend(place) as backend:
        written(place, f"UPDATE rows SET value = 5 WHERE key = x'{keys.encode('m', 1).hex()}'")
        batch = Batch(Put(keys.encode("z"), b"1"), Range(*keys.below("m")))
        (answer,) = backend.execute([Call(partition, batch)])
        assert type(answer) is DamagedStorage
        assert backend.execute([Call(partition, Batch(Get(keys.encode("z"))))]) == [[None]]


def _all_of(backend: Backend, name: bytes) -> None:
    for op in (
        *(Range(b"", None), Range(b"", b"\xff", reverse=True, follow=True), Get(keys.encode("m")), Count(b"", None)),
        *(Get(keys.INCARNATION), Add(keys.encode("m"), 1), Append(keys.encode("m"), b"x"), Lease(b"me", 1000)),
        *(Touch(b"x"), Put(b"$z\x01", b"1"), Expire(ttl=1000), Drop()),
    ):
        with GUARD.watching():
            (answer,) = backend.execute([Call(name, Batch(op))])
        assert isinstance(answer, (list, SessionStoreError)), (op, answer)


def _ours(ask: Any) -> None:
    try:
        with GUARD.watching():
            ask()
    except SessionStoreError:
        pass
