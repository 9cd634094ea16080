"""The fixtures of these tests; see `places`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filesystem.places import (
    HOME,
    NAME,
    Ask,
    Database,
    Gate,
)

from langgraph_sessionstore import (
    Backend,
)
from langgraph_sessionstore.backends import sqlite_file
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import (
    Batch,
    Call,
    Op,
)


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Do one batch by one of the two forms, and give back its answer."""

    def execute(backend: Backend, *ops: Op, name: bytes = NAME) -> Answer:
        calls = [Call(name, Batch(*ops))]
        return (backend.execute(calls) if request.param == "sync" else asyncio.run(backend.aexecute(calls)))[0]

    return execute


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set how many pages the database may have, for its connections and those that are opened later."""
    opened: list[sqlite3.Connection] = []
    now = [2**31 - 2]

    def connect(file: Path, durability: str) -> sqlite3.Connection:
        opened.append(sqlite_file.connect(file, durability))
        opened[-1].execute(f"PRAGMA max_page_count = {now[0]}")
        return opened[-1]

    def change(pages: int) -> None:
        now[0] = pages
        for db in opened:
            db.execute(f"PRAGMA max_page_count = {pages}")

    monkeypatch.setattr(f"{HOME}.connect", connect)
    return change


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> type[Database]:
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: real(*args, factory=Database, **options))
    monkeypatch.setattr(Database, "commits", 0)
    monkeypatch.setattr(Database, "fail", None)
    return Database


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setattr(f"{HOME}.apply", gate)
    yield gate
    gate.open.set()
