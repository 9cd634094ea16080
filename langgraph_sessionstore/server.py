"""LangGraph's server with its threads and its store on one storage. Its `langgraph.json` names both:

    "checkpointer": {"path": "langgraph_sessionstore.server.checkpointer"},
    "store": {"path": "langgraph_sessionstore.server.store"}

What they are told stands in the environment:

    SESSIONSTORE_URL               where all of it lies, see `open_backend`; this one is needed
    SESSIONSTORE_ENCRYPTION_KEYS   encrypts it: one key or more, see `Keyring.from_environment`
    SESSIONSTORE_TTL               how many seconds a thread's state lives after its last use; unset: for ever
    SESSIONSTORE_STORE_TTL         how many minutes an item of the store lives after its last use; unset: for ever
    SESSIONSTORE_ALLOW             more types that may be stored, `module:Type` with commas between them; see `allow`

Rule 1: whoever is told the same stands on the same `SessionManager`, in whichever thread or event loop. It is closed
        by the last one who leaves.
Rule 2: a thread of the server is a session. The server deletes it as a whole, so its session goes as a whole.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.store.base import TTLConfig

from .adapters.checkpointer import SessionCheckpointer
from .adapters.store import SessionStore, checked_ttl
from .backends.keyring import VARIABLE, Keyring
from .errors import ConfigurationError
from .manager import SessionManager
from .ops import Plan
from .plans import sessions
from .plans.given import Duration, as_milliseconds
from .session.common import CHANCE

T = TypeVar("T")


@asynccontextmanager
async def checkpointer() -> AsyncIterator[SessionCheckpointer]:
    """The checkpointer of a server. When the server deletes a thread, nothing of its session stays."""
    async with manager() as shared:
        yield _ServerCheckpointer(shared)


@asynccontextmanager
async def store() -> AsyncIterator[SessionStore]:
    """The store of a server. What is put below `(SESSION_NAMESPACE, thread_id)` goes with the thread."""
    async with manager() as shared:
        yield shared.store


@asynccontextmanager
async def manager() -> AsyncIterator[SessionManager]:
    """The manager that both stand on, for nodes and routes of the server that want more of a session."""
    # Opening looks at files, which would block the event loop. Who is cancelled meanwhile leaves when it is done.
    entering = asyncio.get_running_loop().run_in_executor(None, _enter)
    try:
        settings, shared = await asyncio.shield(entering)
    except asyncio.CancelledError:
        entering.add_done_callback(_leave)
        raise
    try:
        yield shared
    finally:
        if _is_last(settings):
            await shared.aclose()


class _ServerCheckpointer(SessionCheckpointer):
    """A manager's checkpointer, for which a thread that is deleted is a session that is deleted."""

    def __init__(self, manager: SessionManager) -> None:
        super().__init__(manager.backend, serde=manager.checkpointer.serde)
        self.writer = manager.checkpointer.writer
        self._cache = manager.checkpointer._cache

    def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: Any = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """As any checkpointer; `before` may also be what a client of the server names a checkpoint by."""
        if before and "configurable" not in before:
            before = {"configurable": before}
        return super().alist(config, filter=filter, before=before, limit=limit)

    def _delete(self, thread: str) -> Plan[None]:
        # Without a tombstone, since the server may begin a thread with this id again and would not say so.
        yield from sessions.delete(CHANCE, thread, 0)

    def _prune(self, thread_ids: Sequence[str], strategy: str, older_than: Duration | datetime | None) -> Plan[None]:
        strategy = "delete" if strategy == "delete_all" else strategy  # as servers call it
        return super()._prune(thread_ids, strategy, older_than)


# -- what the environment says


class _Settings(NamedTuple):
    """Plain values, so that they can be compared."""

    url: str
    keys: str | None
    ttl: float | None
    store_ttl: float | None
    allow: tuple[tuple[str, str], ...]


def _settings() -> _Settings:
    url = os.environ.get("SESSIONSTORE_URL", "").strip()
    if not url:
        raise ConfigurationError(
            "the environment variable SESSIONSTORE_URL says where threads and items are kept: a directory such as "
            "./sessions, redis://host:6379, or memory:"
        )
    return _Settings(
        url,
        os.environ.get(VARIABLE),
        _read("SESSIONSTORE_TTL", _seconds),
        _read("SESSIONSTORE_STORE_TTL", _minutes),
        _read("SESSIONSTORE_ALLOW", _types) or (),
    )


def _read(name: str, read: Callable[[str], T]) -> T | None:
    text = os.environ.get(name, "").strip()
    try:
        return read(text) if text else None
    except ValueError as exc:  # which a ConfigurationError is, too
        raise ConfigurationError(f"the environment variable {name} cannot be {text!r:.80}: {exc}") from exc


def _seconds(text: str) -> float:
    if not as_milliseconds(float(text), "it"):
        raise ValueError("it is more than 0 seconds")
    return float(text)


def _minutes(text: str) -> float:
    checked_ttl(TTLConfig(default_ttl=float(text)))
    return float(text)


def _types(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [part.strip().partition(":") for part in text.split(",") if part.strip()]
    if not all(module and name for module, _, name in pairs):
        raise ValueError("it holds names such as my_app.state:Person, with commas between them")
    return tuple((module, name) for module, _, name in pairs)


# -- the managers that are open


class _Shared:
    """A manager, and how many use it."""

    def __init__(self, manager: SessionManager) -> None:
        self.manager = manager
        self.users = 0


_lock = threading.Lock()
_open: dict[_Settings, _Shared] = {}


def _enter() -> tuple[_Settings, SessionManager]:
    settings = _settings()
    with _lock:
        if settings not in _open:
            _open[settings] = _Shared(_opened(settings))
        shared = _open[settings]
        shared.users += 1
    return settings, shared.manager


def _leave(entering: asyncio.Future[tuple[_Settings, SessionManager]]) -> None:
    """Leave what nobody waited for."""
    if entering.cancelled() or entering.exception() is not None:
        return
    settings, shared = entering.result()
    if _is_last(settings):
        shared.close()


def _is_last(settings: _Settings) -> bool:
    """Leave; whether nobody is left, so that it has to be closed."""
    with _lock:
        shared = _open[settings]
        shared.users -= 1
        if shared.users:
            return False
        del _open[settings]
        return True


def _opened(settings: _Settings) -> SessionManager:
    encryption = None if settings.keys is None else Keyring.from_environment()
    store_ttl = None if settings.store_ttl is None else TTLConfig(default_ttl=settings.store_ttl, refresh_on_read=True)
    try:
        manager = SessionManager.from_url(
            settings.url, encryption=encryption, ttl=settings.ttl, store_ttl=store_ttl, allow=settings.allow
        )
    except ConfigurationError as exc:
        raise ConfigurationError(f"the environment variable SESSIONSTORE_URL cannot work: {exc}") from exc
    if store_ttl is not None:  # servers leave that to a store that is not their own
        try:
            manager.store.start_ttl_sweeper()
        except BaseException:
            manager.close()
            raise
    return manager
