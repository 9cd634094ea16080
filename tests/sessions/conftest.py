"""Every test of sessions runs on every backend, and the shared ones in both forms, sync and async."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.savers import BACKENDS
from support.sittings import Form

from langgraph_sessionstore import Backend, Session, SessionManager, open_backend
from langgraph_sessionstore.backends.memory import MemoryBackend


@pytest.fixture(params=BACKENDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which backend."""
    return str(request.param)


@pytest.fixture
def storage(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Backend]]:
    """Opens a storage that nobody else uses; called again, it is another worker on the same one."""
    made: list[Backend] = []
    memory = MemoryBackend()
    prefix = f"test-{uuid.uuid4()}"

    def make() -> Backend:
        if kind == "memory":
            return memory
        if kind == "file":
            made.append(open_backend(tmp_path / "sessions"))
        else:
            made.append(open_backend(request.getfixturevalue(kind).url, prefix=prefix))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


@pytest.fixture(params=["sync", "async"])
def form(request: pytest.FixtureRequest) -> Iterator[Form]:
    """One of the two forms."""
    loop = asyncio.new_event_loop() if request.param == "async" else None
    yield Form(loop)
    if loop is not None:
        loop.close()


@pytest.fixture
def manager_on(storage: Callable[[], Backend], form: Form) -> Iterator[Callable[..., SessionManager]]:
    """Makes managers on the storage, each a worker of its own."""
    made: list[SessionManager] = []

    def make(**options: Any) -> SessionManager:
        made.append(SessionManager(storage(), **options))
        return made[-1]

    yield make
    if form.loop is not None:
        for manager in made:
            if not isinstance(manager.backend, MemoryBackend):
                form.do(manager.backend, "close")


@pytest.fixture
def manager(manager_on: Callable[..., SessionManager]) -> SessionManager:
    """One manager."""
    return manager_on()


@pytest.fixture
def session(manager: SessionManager, form: Form) -> Session:
    """A session without messages."""
    made: Session = form.do(manager, "create_session")
    return made
