"""A storage on every backend that is opened plain, or with any keys; and everything that a user can put into one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from encryption.filled import Open
from support.sittings import Form

from langgraph_sessionstore import Backend, EncryptedBackend, SessionManager, open_backend
from langgraph_sessionstore.backends.memory import MemoryBackend


class _Shared(MemoryBackend):
    """Stays open when one of its users closes it."""

    def close(self) -> None:
        pass


@pytest.fixture(params=["memory", "file", "redis7", "cluster"])
def open_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the storage: `open_storage()` plain, `open_storage(KEY)` encrypted; each time another worker."""
    made: list[Backend] = []
    memory = _Shared()
    prefix = f"sealed-{uuid.uuid4()}"

    def make(encryption: Any = None) -> Backend:
        if request.param == "memory":
            backend: Backend = memory
        elif request.param == "file":
            backend = open_backend(tmp_path / "sessions")
        else:
            backend = open_backend(request.getfixturevalue(request.param).url, prefix=prefix)
        made.append(backend if encryption is None else EncryptedBackend(backend, encryption))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


@pytest.fixture(params=["sync", "async"])
def form(request: pytest.FixtureRequest, open_storage: Open) -> Iterator[Form]:
    """One of the two forms."""
    loop = asyncio.new_event_loop() if request.param == "async" else None
    yield Form(loop)
    if loop is not None:
        loop.close()


@pytest.fixture
def manager_on(open_storage: Open, form: Form) -> Iterator[Callable[..., SessionManager]]:
    """Makes managers on the storage: `manager_on(KEY)`, each a worker of its own."""
    made: list[SessionManager] = []

    def make(encryption: Any = None, **options: Any) -> SessionManager:
        made.append(SessionManager(open_storage(encryption), **options))
        return made[-1]

    yield make
    for manager in made:
        form.do(manager.backend, "close")
