"""The fixtures of these tests; see `crowd`."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from filesystem_processes.crowd import (
    MEMBERS,
    be_a_member,
    finish,
    start,
)

from langgraph_sessionstore.backends.sqlite_file import connect


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory into which eight processes have written at once, half of them by the async form."""
    directory = tmp_path_factory.mktemp("crowd") / "store"
    finish(*[start(be_a_member, directory, member) for member in range(MEMBERS)])
    return directory


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every attempt to begin a writing transaction."""
    begun: list[str] = []

    def traced(file: Path, durability: str) -> sqlite3.Connection:
        db = connect(file, durability)
        db.set_trace_callback(lambda statement: begun.append(statement) if "IMMEDIATE" in statement else None)
        return db

    monkeypatch.setattr("langgraph_sessionstore.backends.filesystem.connect", traced)
    return begun
