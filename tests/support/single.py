"""One real Redis server.

Rule: it persists nothing unless a test asks for the append-only file, and every option a test does not
name has Redis's own default. The (initially empty) configuration file is there so that what Redis rewrites
at run time, such as a role given by a sentinel, survives a restart as it does in production.
"""

from __future__ import annotations

from collections.abc import Sequence

import redis
from support.binaries import RedisBinary, find_stack
from support.process import ServerProcess

# A replica is in step within milliseconds this way, instead of seconds.
QUICK_REPLICATION = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")


class RedisServer(ServerProcess):
    """A single server; with `aof=True` what was acknowledged survives `kill()` and `restart()`."""

    def __init__(
        self,
        binary: RedisBinary,
        *,
        port: int | None = None,
        args: Sequence[str] = (),
        aof: bool = False,
        password: str | None = None,
    ) -> None:
        """Prepare a server with extra command line `args`; nothing is started yet."""
        super().__init__(binary, port=port, password=password)
        self._args = tuple(args)
        self._aof = aof

    @property
    def url(self) -> str:
        """The server's address as a client takes it."""
        login = f":{self.password}@" if self.password is not None else ""
        return f"redis://{login}{self.host}:{self.port}/0"

    def client(self) -> redis.Redis:
        """Return a plain client of redis-py with its defaults; the caller closes it."""
        return redis.Redis(host=self.host, port=self.port, password=self.password)

    def role(self) -> str:
        """Return the server's own idea of its role: "master" or "slave"."""
        return str(self.ask("ROLE")[0])

    def _arguments(self) -> Sequence[str]:
        config = self.folder / "redis.conf"
        config.touch()
        login = ("--requirepass", self.password, "--masterauth", self.password) if self.password else ()
        return (
            str(config),
            *("--port", str(self.port), "--bind", self.host, "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "yes" if self._aof else "no"),
            *login,
            *self._args,
        )


def with_modules() -> RedisServer:
    """A server with RediSearch and RedisJSON, which others need and this library does not."""
    binary = find_stack()
    files = [str(binary.path.with_name(f"{module}.so")) for module in ("redisearch", "rejson")]
    return RedisServer(binary, args=[word for file in files for word in ("--loadmodule", file)])
