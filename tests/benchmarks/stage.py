"""What contenders stand on: servers of their own, folders of their own, all gone at the end.

Rule: a server starts when somebody first asks for it, and none is used that was there before.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from benchmarks.absent import Absent, needed
from support.binaries import RedisNotFound, find_binary
from support.postgres import PostgresNotFound, PostgresServer
from support.process import ServerProcess, ServerStartError
from support.servers import RedisServer, with_modules

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
P = TypeVar("P", bound=ServerProcess)


class Stage:
    """The servers that run, and how large everything is."""

    def __init__(self, *, quick: bool = False) -> None:
        self.quick = quick
        self.versions: dict[str, str] = {}
        """Of the servers that were started."""
        self._stack = ExitStack()
        self._servers: dict[tuple[str, str], ServerProcess | Absent] = {}
        self._databases = 0

    def __enter__(self) -> Self:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="sessionstore-benchmarks-")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def size(self, full: T, quick: T) -> T:
        """The one of the two that is asked for."""
        return quick if self.quick else full

    def folder(self) -> Path:
        """A new one."""
        return Path(tempfile.mkdtemp(dir=self._folder))

    def redis(self, whose: str) -> RedisServer:
        """A plain Redis, for one contender alone; emptied."""
        return self._emptied(self._started("Redis", lambda: RedisServer(find_binary("7")), whose))

    def redis_with_modules(self) -> RedisServer:
        """A Redis with RediSearch and RedisJSON; emptied."""
        return self._emptied(self._started("Redis with RediSearch and RedisJSON", with_modules))

    def database(self) -> str:
        """The URL of a new database in PostgreSQL."""
        psycopg = needed("psycopg", "psycopg[binary,pool]")
        server = self._started("PostgreSQL", PostgresServer)
        self._databases += 1
        name = f"benchmark{self._databases}"
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return server.url(name)

    def _emptied(self, server: RedisServer) -> RedisServer:
        server.ask("FLUSHALL")
        return server

    def _started(self, kind: str, make: Callable[[], P], whose: str = "") -> P:
        if (kind, whose) not in self._servers:
            try:
                server = self._stack.enter_context(make())
                self.versions[kind] = server.binary.version
                self._servers[kind, whose] = server
            except (RedisNotFound, PostgresNotFound, ServerStartError) as error:
                self._servers[kind, whose] = Absent(f"no {kind}: {error}")
        found = self._servers[kind, whose]
        if isinstance(found, Absent):
            raise found
        return found  # type: ignore[return-value]  # the name says which kind it is
