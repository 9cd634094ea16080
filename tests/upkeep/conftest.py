"""Upkeep is tested on memory, files and Redis, each in one form: its plans are the same everywhere.

A cluster is left out: each of its nodes is a Redis.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sessions.conftest import look, manager, manager_on, session, storage
from support.savers import BACKENDS
from support.sittings import Form
from upkeep.care import Care

from langgraph_sessionstore import SessionManager

__all__ = ["look", "manager", "manager_on", "session", "storage"]

HERE = Path(__file__).parent
FORMS = {"memory": "async", "file": "sync", "redis7": "async"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """None of it depends on the releases of other packages."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.long)


@pytest.fixture(params=[name for name in BACKENDS if name in FORMS])
def kind(request: pytest.FixtureRequest) -> str:
    """Which backend."""
    return str(request.param)


@pytest.fixture
def form(kind: str) -> Iterator[Form]:
    """The form that is used on this backend."""
    loop = asyncio.new_event_loop() if FORMS[kind] == "async" else None
    yield Form(loop)
    if loop is not None:
        loop.close()


@pytest.fixture
def care(form: Form, manager_on: Callable[..., SessionManager]) -> Care:
    """A storage whose rows are damaged, and which is looked after."""
    return Care(form, manager_on)
