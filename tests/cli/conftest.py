"""Commands as people give them: on files and on a real Redis, in this process and in others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from langgraph_sessionstore import SessionManager
from langgraph_sessionstore.cli.app import perform


class Result(NamedTuple):
    """How a command has ended, and what it has printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """The lines, at their tabs."""
        return [line.split("\t") for line in self.out.splitlines()]


Command = Callable[..., Result]


@pytest.fixture(params=["file", "redis7"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A storage that nobody else uses."""
    if request.param == "file":
        return str(tmp_path / "sessions")
    return f"{request.getfixturevalue('redis7').url}?prefix=test-{uuid.uuid4()}"


@pytest.fixture
def manager(url: str) -> Iterator[SessionManager]:
    """What an application has in the storage."""
    with SessionManager.from_url(url) as manager:
        yield manager


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is set by whoever runs the tests."""
    for name in ("SESSIONSTORE_URL", "SESSIONSTORE_ENCRYPTION_KEYS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def command(url: str, manager: SessionManager, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    """Gives a command on the storage, in this process."""
    monkeypatch.setenv("SESSIONSTORE_URL", url)

    def give(*arguments: str) -> Result:
        capsys.readouterr()
        code = perform(arguments)
        return Result(code, *capsys.readouterr())

    return give


def in_a_process(
    *arguments: str, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Gives a command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "langgraph_sessionstore", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **(env or {})},
        **options,
    )
