"""Every test of the checkpointer runs on every backend, and the shared ones in both forms, sync and async."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.encryption import wrapped
from support.savers import BACKENDS, Saver

from langgraph_sessionstore import Backend, open_backend
from langgraph_sessionstore.adapters.checkpointer import SessionCheckpointer
from langgraph_sessionstore.backends.memory import MemoryBackend


@pytest.fixture(params=BACKENDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which backend."""
    return str(request.param)


@pytest.fixture
def storage(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Backend]]:
    """Opens the storage; called again, it is another worker on the same storage. All are closed at the end."""
    made: list[Backend] = []
    memory = wrapped(MemoryBackend())

    def make() -> Backend:
        if kind == "memory":
            return memory
        url = f"file:{tmp_path}/sessions" if kind == "file" else request.getfixturevalue(kind).url
        made.append(wrapped(open_backend(url)))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


@pytest.fixture(params=["sync", "async"])
def saver_on(storage: Callable[[], Backend], request: pytest.FixtureRequest) -> Iterator[Callable[..., Saver]]:
    """Makes checkpointers on the storage, each a worker with a memory of its own, driven in one of the two forms."""
    loop = asyncio.new_event_loop() if request.param == "async" else None
    made: list[Saver] = []

    def make(**options: Any) -> Saver:
        made.append(Saver(SessionCheckpointer(storage(), **options), loop))
        return made[-1]

    yield make
    for saver in made:
        saver.close()
    if loop is not None:
        loop.close()


@pytest.fixture
def saver(saver_on: Callable[..., Saver]) -> Saver:
    """One checkpointer."""
    return saver_on()


@pytest.fixture
def thread() -> str:
    """The id of a thread that nobody has used."""
    return f"thread-{uuid.uuid4()}"
