"""The checkpointers and stores of others, each on an empty storage of its own.

Rule: their packages are imported when a test asks for them; the oldest supported releases of ours do not go with them.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from support.servers import RedisServer

from langgraph_sessionstore import SessionCheckpointer, SessionStore
from langgraph_sessionstore.migration import open_saver, open_store

PEERS = ("sqlite", "postgres", "redis")
OURS = ("memory", "file", "redis7")


class Peer:
    """One of the others, on an empty storage."""

    def __init__(self, name: str, place: Path, postgres: Callable[[], str], stack: Callable[[], RedisServer]) -> None:
        self.name = name
        if name == "sqlite":
            self.plain = str(place / f"{uuid.uuid4()}.db")
            self.url = f"sqlite:{self.plain}"
        elif name == "postgres":
            self.url = self.plain = new_database(postgres())
        else:
            server = stack()
            server.ask("FLUSHALL")
            self.plain = server.url
            self.url = self.plain.replace("redis:", "redis-stack:", 1)

    def saver(self) -> Any:
        """Its checkpointer, set up: a context manager."""
        return open_saver(self.url, create=True)

    def store(self) -> Any:
        """Its store, set up: a context manager."""
        return open_store(self.url, create=True)

    @asynccontextmanager
    async def asaver(self) -> AsyncIterator[Any]:
        """Its checkpointer in the async form."""
        kind = getattr(import_module(f"langgraph.checkpoint.{self.name}.aio"), f"Async{self.name.title()}Saver")
        async with kind.from_conn_string(self.plain) as saver:
            await (saver.asetup() if self.name == "redis" else saver.setup())
            yield saver

    @asynccontextmanager
    async def astore(self) -> AsyncIterator[Any]:
        """Its store in the async form. AsyncRedisStore does not begin with the releases of redisvl that there are."""
        if self.name == "redis":
            with self.store() as store:
                yield store
            return
        kind = getattr(import_module(f"langgraph.store.{self.name}.aio"), f"Async{self.name.title()}Store")
        async with kind.from_conn_string(self.plain) as store:
            await store.setup()
            yield store


def new_database(server: str) -> str:
    """The URL of an empty database."""
    psycopg = import_module("psycopg")
    name = f"d{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.rpartition("/")[0] + f"/{name}"


class Form:
    """Copies in one of the two forms, and opens what fits to it."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._stack = ExitStack()
        self._async_stack = AsyncExitStack()

    @property
    def blocks(self) -> bool:
        """Whether it is the sync form."""
        return self._loop is None

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What comes of a coroutine."""
        assert self._loop is not None
        return self._loop.run_until_complete(work)

    def saver(self, peer: Peer) -> Any:
        """The peer's checkpointer."""
        if self._loop is None:
            return self._stack.enter_context(peer.saver())
        return self.wait(self._async_stack.enter_async_context(peer.asaver()))

    def store(self, peer: Peer) -> Any:
        """The peer's store."""
        if self._loop is None:
            return self._stack.enter_context(peer.store())
        return self.wait(self._async_stack.enter_async_context(peer.astore()))

    def our_saver(self, url: str) -> Any:
        """Ours."""
        return self._entered(SessionCheckpointer.from_url(url))

    def our_store(self, url: str, **options: Any) -> Any:
        """Ours."""
        return self._entered(SessionStore.from_url(url, **options))

    def _entered(self, ours: Any) -> Any:
        if self._loop is None:
            return self._stack.enter_context(ours)
        return self.wait(self._async_stack.enter_async_context(ours))

    def do(self, of: Any, name: str, *args: Any, **options: Any) -> Any:
        """Call a method, or a function of a module, in this form."""
        if self._loop is None:
            return getattr(of, name)(*args, **options)
        return self.wait(getattr(of, f"a{name}")(*args, **options))

    def tuples(self, saver: Any, config: Any = None, **options: Any) -> list[Any]:
        """What a checkpointer lists."""
        if self._loop is None:
            return list(saver.list(config, **options))

        async def gather() -> list[Any]:
            return [found async for found in saver.alist(config, **options)]

        found: list[Any] = self.wait(gather())
        return found

    def close(self) -> None:
        """Close what was opened."""
        self._stack.close()
        if self._loop is not None:
            self.wait(self._async_stack.aclose())
            self._loop.close()


@contextmanager
def forms(name: str) -> Iterator[Form]:
    """One of the two forms, closed at the end."""
    form = Form(asyncio.new_event_loop() if name == "async" else None)
    try:
        yield form
    finally:
        form.close()
