"""Every test here leaves nothing behind: no thread, no descriptor, nothing that warns when it is collected."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.leftovers import nothing_left, options
from support.savers import BACKENDS

from langgraph_sessionstore import SessionManager


@pytest.fixture(params=BACKENDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which backend."""
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A storage that nobody else uses."""
    if kind == "memory":
        return "memory:"
    if kind == "file":
        return f"file:{tmp_path}/s"
    server: Any = request.getfixturevalue(kind)
    return f"{server.url}?prefix=test-{uuid.uuid4()}"


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nothing is left; servers of the tests are there before."""
    for name in {"url", "redis7"} & {*request.fixturenames}:
        request.getfixturevalue(name)
    with nothing_left():
        yield


@pytest.fixture
def manager(url: str) -> Iterator[SessionManager]:
    """A manager on it."""
    with SessionManager.from_url(url, **options()) as manager:
        yield manager
