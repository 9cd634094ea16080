"""The checkpointers: ours on each backend, and what a user would have in their place.

Rule: each as its documentation shows it. Sizes are what lies in the storage: of keys and values in memory, of
files with their logs, of keys in Redis (indexes of modules not counted), of tables with their indexes in PostgreSQL.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.absent import needed
from benchmarks.contender import Contender
from benchmarks.nothing import NothingSaver
from benchmarks.stage import Stage
from langgraph.checkpoint.memory import InMemorySaver
from support.raw import of_memory
from support.servers import RedisServer

from langgraph_sessionstore import SessionCheckpointer, open_backend

CONNECTIONS = 1000


class OurMemory(Contender):
    name = beside = "our memory"

    def __init__(self, stage: Stage) -> None:
        self._backend = open_backend("memory:")

    def open(self) -> AbstractContextManager[SessionCheckpointer]:
        return contextlib.nullcontext(SessionCheckpointer(self._backend))

    @asynccontextmanager
    async def aopen(self) -> AsyncIterator[SessionCheckpointer]:
        with self.open() as saver:
            yield saver

    def size(self) -> int:
        return sum(len(name) + sum(map(len, rows)) for name, rows in of_memory(self._backend).items())


class OurFile(Contender):
    name = beside = "our file"

    def __init__(self, stage: Stage) -> None:
        self._folder = stage.folder()
        self.url = str(self._folder)

    def open(self) -> SessionCheckpointer:
        return SessionCheckpointer.from_url(self.url)

    aopen = open  # one object in both forms

    def size(self) -> int:
        return of_files(self._folder)


class OurRedis(Contender):
    name = beside = "our Redis"

    def __init__(self, stage: Stage) -> None:
        self.server = stage.redis(self.name)
        self.url = self.server.url

    def open(self) -> SessionCheckpointer:
        return SessionCheckpointer.from_url(self.url)

    aopen = open  # one object in both forms

    def size(self) -> int:
        return of_keys(self.server)


class Memory(Contender):
    """LangGraph's own."""

    name, beside = "InMemorySaver", "our memory"

    def __init__(self, stage: Stage) -> None:
        self._saver: Any = InMemorySaver()

    def open(self) -> AbstractContextManager[Any]:
        return contextlib.nullcontext(self._saver)

    def aopen(self) -> AbstractAsyncContextManager[Any]:
        return contextlib.nullcontext(self._saver)

    def size(self) -> int:
        return of_values([self._saver.storage, self._saver.writes, self._saver.blobs])


class Nothing(Memory):
    """Keeps the last checkpoint as the object that it is: what the graph itself costs."""

    name = "nothing"

    def __init__(self, stage: Stage) -> None:
        self._saver = NothingSaver()

    def size(self) -> int:
        return 0


class Sqlite(Contender):
    """`SqliteSaver`, and `AsyncSqliteSaver` in the async form."""

    name, beside = "SqliteSaver", "our file"

    def __init__(self, stage: Stage) -> None:
        self._sync = needed("langgraph.checkpoint.sqlite", "langgraph-checkpoint-sqlite").SqliteSaver
        self._async = needed("langgraph.checkpoint.sqlite.aio", "langgraph-checkpoint-sqlite").AsyncSqliteSaver
        self._folder = stage.folder()

    def open(self) -> AbstractContextManager[Any]:
        saver: AbstractContextManager[Any] = self._sync.from_conn_string(str(self._folder / "checkpoints.db"))
        return saver

    def aopen(self) -> AbstractAsyncContextManager[Any]:
        saver: AbstractAsyncContextManager[Any] = self._async.from_conn_string(str(self._folder / "checkpoints.db"))
        return saver

    def size(self) -> int:
        return of_files(self._folder)


class Postgres(Contender):
    """`PostgresSaver` on a connection, and `AsyncPostgresSaver` on a pool."""

    name, beside = "PostgresSaver", "our Redis"

    def __init__(self, stage: Stage) -> None:
        package = "langgraph-checkpoint-postgres"
        self._sync = needed("langgraph.checkpoint.postgres", package).PostgresSaver
        self._async = needed("langgraph.checkpoint.postgres.aio", package).AsyncPostgresSaver
        self._psycopg = needed("psycopg", "psycopg[binary,pool]")
        self._pools = needed("psycopg_pool", "psycopg[binary,pool]")
        self._rows = needed("psycopg.rows", "psycopg[binary,pool]")
        self._url = stage.database()
        with self._sync.from_conn_string(self._url) as saver:
            saver.setup()

    def open(self) -> AbstractContextManager[Any]:
        saver: AbstractContextManager[Any] = self._sync.from_conn_string(self._url)
        return saver

    @asynccontextmanager
    async def aopen(self) -> AsyncIterator[Any]:
        options = {"autocommit": True, "prepare_threshold": 0, "row_factory": self._rows.dict_row}
        async with self._pools.AsyncConnectionPool(self._url, max_size=20, kwargs=options, open=False) as pool:
            yield self._async(pool)

    def size(self) -> int:
        with self._psycopg.connect(self._url) as connection:
            query = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = %s"
            found = connection.execute(query + "::regnamespace", ("public",)).fetchone()
        return int(found[0])


class RedisWithModules(Contender):
    """`RedisSaver` and `AsyncRedisSaver`, on a Redis with RediSearch and RedisJSON.

    As many connections as many conversations take: with its defaults it raises when they run out.
    """

    name, beside = "RedisSaver", "our Redis"

    def __init__(self, stage: Stage) -> None:
        package = "langgraph-checkpoint-redis"
        self._sync = needed("langgraph.checkpoint.redis", package).RedisSaver
        self._async = needed("langgraph.checkpoint.redis.aio", package).AsyncRedisSaver
        self._server = stage.redis_with_modules()

    @contextmanager
    def open(self) -> Iterator[Any]:
        with self._sync.from_conn_string(self._server.url) as saver:
            saver.setup()
            yield saver

    def aopen(self) -> AbstractAsyncContextManager[Any]:
        options = {"connection_args": {"max_connections": CONNECTIONS}}
        saver: AbstractAsyncContextManager[Any] = self._async.from_conn_string(self._server.url, **options)
        return saver

    def size(self) -> int:
        return of_keys(self._server)


class Valkey(Contender):
    """`ValkeySaver` and `AsyncValkeySaver`, on a plain Redis; connections as for `RedisWithModules`."""

    name, beside = "ValkeySaver", "our Redis"

    def __init__(self, stage: Stage) -> None:
        package = "langgraph-checkpoint-aws[valkey]"
        needed("valkey", package)
        savers = needed("langgraph_checkpoint_aws", package)
        self._sync, self._async = savers.ValkeySaver, savers.AsyncValkeySaver
        self._server = stage.redis(self.name)

    def open(self) -> AbstractContextManager[Any]:
        saver: AbstractContextManager[Any] = self._sync.from_conn_string(self._server.url)
        return saver

    def aopen(self) -> AbstractAsyncContextManager[Any]:
        options = {"pool_size": CONNECTIONS}
        saver: AbstractAsyncContextManager[Any] = self._async.from_conn_string(self._server.url, **options)
        return saver

    def size(self) -> int:
        return of_keys(self._server)


SAVERS: tuple[type[Contender], ...] = (
    *(OurMemory, Nothing, Memory),
    *(OurFile, Sqlite),
    *(OurRedis, Valkey, RedisWithModules, Postgres),
)

KEEPERS = tuple(kind for kind in SAVERS if kind is not Nothing)
"""Those that keep what they are given."""


def of_files(folder: Path) -> int:
    """How large all files in a folder are."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def of_keys(server: RedisServer) -> int:
    """What all keys of a server take of its memory."""
    with server.client() as client, client.pipeline(transaction=False) as pipeline:
        for key in client.scan_iter(count=10_000):
            pipeline.memory_usage(key, samples=0)
        return sum(filter(None, pipeline.execute()))


def of_values(value: Any) -> int:
    """How many bytes and characters lie in nested containers."""
    if isinstance(value, dict):
        return of_values(list(value)) + of_values(list(value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(of_values, value))
    return len(value) if isinstance(value, (bytes, str)) else 0
