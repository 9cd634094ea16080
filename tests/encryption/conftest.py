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


@pytest.fixture(params=["memory-sync", "file-async", "redis7-sync", "redis7-async", "cluster-async"])
def place(request: pytest.FixtureRequest) -> list[str]:
    """A backend, and the form in which it is used."""
    return str(request.param).split("-")


@pytest.fixture
def open_storage(place: list[str], request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the storage: `open_storage()` plain, `open_storage(KEY)` encrypted; each time another worker."""
    made: list[Backend] = []
    memory = _Shared()
    prefix, kind = f"sealed-{uuid.uuid4()}", place[0]

    def make(encryption: Any = None) -> Backend:
        if kind == "memory":
            backend: Backend = memory
        elif kind == "file":
            backend = open_backend(tmp_path / "sessions")
        else:
            backend = open_backend(request.getfixturevalue(kind).url, prefix=prefix)
        made.append(backend if encryption is None else EncryptedBackend(backend, encryption))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


@pytest.fixture
def form(place: list[str], open_storage: Open) -> Iterator[Form]:
    """One of the two forms."""
    loop = asyncio.new_event_loop() if place[1] == "async" else None
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
