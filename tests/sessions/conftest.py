"""Every test of sessions runs on every backend, and the shared ones in both forms, sync and async."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import raw
from support.encryption import unsealed, unwrapped, wrapped
from support.graphs import NO_CONTEXT
from support.lifetimes import Clock, Look
from support.meanings import Stores, index
from support.proxy import Proxy
from support.savers import BACKENDS
from support.servers import RedisServer
from support.sittings import Form
from support.talker import Stage

from langgraph_sessionstore import Backend, Session, SessionManager, SessionStore, open_backend
from langgraph_sessionstore.adapters import store
from langgraph_sessionstore.backends.memory import MemoryBackend


@pytest.fixture(params=BACKENDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which backend."""
    return str(request.param)


@pytest.fixture
def storage(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Backend]]:
    """Opens a storage that nobody else uses; called again, it is another worker on the same one."""
    made: list[Backend] = []
    memory = wrapped(MemoryBackend())
    prefix = f"test-{uuid.uuid4()}"

    def make() -> Backend:
        if kind == "memory":
            return memory
        if kind == "file":
            made.append(wrapped(open_backend(tmp_path / "sessions")))
        else:
            made.append(wrapped(open_backend(request.getfixturevalue(kind).url, prefix=prefix)))
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
            if not isinstance(unwrapped(manager.backend), MemoryBackend):
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


@pytest.fixture
def look(kind: str, storage: Callable[[], Backend], request: pytest.FixtureRequest, tmp_path: Path) -> Look:
    """Everything that lies in the storage."""
    backend: Any = unwrapped(storage())
    if kind == "memory":
        return lambda: unsealed(raw.of_memory(backend))
    if kind == "file":
        return lambda: unsealed(raw.of_directory(tmp_path / "sessions"))
    server = request.getfixturevalue(kind)
    urls = [f"redis://{node.host}:{node.port}" for node in server.nodes] if kind == "cluster" else [server.url]
    return lambda: unsealed(raw.of_redis(urls, backend._prefix))


@pytest.fixture
def proxy(redis7: RedisServer) -> Iterator[Proxy]:
    """What counts the round trips and the bytes to a Redis."""
    with Proxy(redis7.host, redis7.port) as proxy:
        yield proxy


# -- of conversations


@pytest.fixture
def stage(form: Form, manager: SessionManager, session: Session, look: Look) -> Iterator[Stage]:
    """Where agents and graphs talk; what they leave in the storage has to be sound."""
    stage = Stage(form, manager, session, look)
    yield stage
    stage.sound()


@pytest.fixture
def interrupts(form: Form) -> None:
    """For tests of graphs that ask."""
    if NO_CONTEXT and form.loop is not None:
        pytest.skip("without context LangGraph has no async interrupts")


# -- of stores


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of stores, which stands until a test moves it."""
    clock = Clock()
    monkeypatch.setattr(store, "_now", lambda: clock.now)
    return clock


@pytest.fixture
def contents(look: Look) -> Look:
    """What lies in the storage and belongs to items."""

    def look_() -> raw.Rows:
        found = look()
        rows = {name: sorted(row for row in part if not row.startswith(b"\x02")) for name, part in found.items()}
        return {name: part for name, part in rows.items() if part}

    return look_


@pytest.fixture
def backend(storage: Callable[[], Backend], form: Form) -> Iterator[Backend]:
    """What the stores of a test stand on."""
    backend = storage()
    yield backend
    if form.loop is not None and not isinstance(unwrapped(backend), MemoryBackend):
        form.do(backend, "close")


@pytest.fixture
def store_on(backend: Backend) -> Stores:
    """Makes stores on the storage that remember nothing of each other."""

    def make(embed: Any = None, **options: Any) -> SessionStore:
        return SessionStore(backend, index=index(embed), **options)

    return make
