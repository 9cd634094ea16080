"""Workers on one storage: each a manager with a memory of its own, whose calls can be cut, or met by somebody else's.

Rule: faults and meetings are there for one operation; at all other times a worker's calls go straight to its backend.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from support.savers import Saver
from support.sittings import Form

from langgraph_sessionstore import Backend, Session, SessionManager, open_backend
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.ops import Call
from langgraph_sessionstore.testing import Fault, FaultyBackend

Wrap = Callable[[Backend], Backend]


class Storage:
    """A storage of its own: `open` opens it, as a new process would; memory has no new processes."""

    def __init__(self, url: str, directory: Path, wrap: Wrap) -> None:
        self._name = str(uuid.uuid4())
        self._wrap = wrap
        self._memory = MemoryBackend() if url == "memory:" else None
        self._url = f"{directory / self._name}" if url == "file:" else url
        self._options: dict[str, Any] = {} if url in ("memory:", "file:") else {"prefix": self._name}

    def open(self) -> Backend:
        return self._wrap(self._memory or open_backend(self._url, **self._options))

    def shut(self, backend: Backend, loop: asyncio.AbstractEventLoop) -> None:
        if self._memory is None:
            loop.run_until_complete(backend.aclose())
            backend.close()


class Meeting(FaultyBackend):
    """Lets something else happen before the call with this number."""

    def __init__(self, inner: Backend, at: int, meanwhile: Callable[[], None]) -> None:
        super().__init__(inner, {})
        self._at, self._meanwhile = at, meanwhile

    def _next(self) -> Fault | None:
        fault = super()._next()
        if self.calls == self._at:
            self._meanwhile()
        return fault


class Stage(Backend):
    """What a manager stands on; `inner` but for one operation."""

    def __init__(self, inner: Backend) -> None:
        self.inner = self.now = inner

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        return self.now.execute(calls, ordered=ordered)

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        return await self.now.aexecute(calls, ordered=ordered)

    def close(self) -> None:
        self.inner.close()

    async def aclose(self) -> None:
        await self.inner.aclose()

    @contextmanager
    def through(self, other: Backend) -> Iterator[None]:
        """All calls go through this one."""
        self.now = other
        try:
            yield
        finally:
            self.now = self.inner


class Live(NamedTuple):
    """A checkpoint in a worker's hands: its name, and the very objects that it has put or read."""

    parent: str
    values: dict[str, Any]
    versions: dict[str, Any]


class Worker:
    """One process."""

    def __init__(self, storage: Storage, loop: asyncio.AbstractEventLoop) -> None:
        self._storage, self._loop = storage, loop
        self.sync, self.asynchronous = Form(None), Form(loop)
        self._begin()

    def _begin(self) -> None:
        self.stage = Stage(self._storage.open())
        self.manager = SessionManager(self.stage)
        self.handles: dict[str, tuple[Session, int]] = {}
        """The handle that was got last of each session, and which of its lives it means."""
        self.live: dict[tuple[str, str], Live] = {}

    def restart(self) -> None:
        """Be a new process, which remembers nothing."""
        self.close()
        self._begin()

    def close(self) -> None:
        self._storage.shut(self.stage, self._loop)

    def saver(self, form: Form) -> Saver:
        return Saver(self.manager.checkpointer, form.loop)
