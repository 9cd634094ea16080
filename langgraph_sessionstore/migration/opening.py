"""The checkpointers and stores of others, opened by a URL.

    sqlite:PATH                                    SqliteSaver, SqliteStore
    postgresql://user:password@host/database       PostgresSaver, PostgresStore (postgres:// too)
    redis-stack://host:port/db                     RedisSaver, RedisStore, on a Redis with modules (rediss-stack: TLS)

Rule 1: a source is not changed by being opened: its tables or indexes are there, or it is none. Only what is to be
        written to is set up (`create=True`).
Rule 2: no error shows a password.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote, unquote

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore

from ..errors import BackendUnavailable, ConfigurationError, MissingExtra, SessionStoreError

PATIENCE = 10
"""Seconds to wait for a PostgreSQL that does not answer."""


class NothingThere(ConfigurationError):
    """A place holds nothing at all of a checkpointer, or of a store."""


class _Peer(NamedTuple):
    """A class of others, and what tells that its storage is one of its own."""

    module: str
    kind: str
    package: str
    names: tuple[str, ...]
    """Of its tables or indexes."""
    versions: str = ""
    """The table that says which version the tables are of."""
    options: Mapping[str, Any] = MappingProxyType({})

    @property
    def store(self) -> bool:
        """Whether it is a store."""
        return self.module.startswith("langgraph.store")

    def load(self) -> Any:
        """The class."""
        return getattr(_load(self.module, self.package), self.kind)

    def check(self, kind: Any, place: str, there: Collection[str], ask: Callable[[str], Any]) -> None:
        """Refuse as a source what is none of its own."""
        wanted = {name for name in (*self.names, self.versions) if name}
        missing = wanted.difference(there)
        named = ", ".join(sorted(missing))
        if missing == wanted:
            raise NothingThere(f"{place} holds nothing of {self.kind}: there is no {named}")
        if missing:
            raise ConfigurationError(f"{place} does not hold all of {self.kind}: there is no {named}")
        if self.versions and (ask(f"SELECT max(v) FROM {self.versions}") or 0) < len(kind.MIGRATIONS) - 1:
            raise ConfigurationError(
                f"{place} was written by an older {self.package}: call setup() of the installed {self.kind} first"
            )


_SQLITE, _POSTGRES, _REDIS = (f"langgraph-checkpoint-{each}" for each in ("sqlite", "postgres", "redis"))
_TTL = {"ttl": {"omit_expired": True, "refresh_on_read": False}}
"""What has ended shall not begin anew in another store."""
_SAVERS = {
    "sqlite": _Peer("langgraph.checkpoint.sqlite", "SqliteSaver", _SQLITE, ("checkpoints", "writes")),
    "postgresql": _Peer(
        "langgraph.checkpoint.postgres",
        "PostgresSaver",
        _POSTGRES,
        ("checkpoints", "checkpoint_blobs", "checkpoint_writes"),
        "checkpoint_migrations",
    ),
    "redis-stack": _Peer("langgraph.checkpoint.redis", "RedisSaver", _REDIS, ("checkpoint", "checkpoint_write")),
}
_STORES = {
    "sqlite": _Peer("langgraph.store.sqlite", "SqliteStore", _SQLITE, ("store",), "store_migrations", _TTL),
    "postgresql": _Peer("langgraph.store.postgres", "PostgresStore", _POSTGRES, ("store",), "store_migrations", _TTL),
    "redis-stack": _Peer("langgraph.store.redis", "RedisStore", _REDIS, ("store",)),
}
PEER_SCHEMES = ("sqlite", "postgresql", "postgres", "redis-stack", "rediss-stack")
"""What the URLs of others begin with."""


def open_saver(url: str, *, create: bool = False) -> AbstractContextManager[BaseCheckpointSaver[Any]]:
    """Open somebody else's checkpointer: to read from it, or, with `create`, to write to it."""
    return _open(_SAVERS, url, create)


def open_store(url: str, *, create: bool = False) -> AbstractContextManager[BaseStore]:
    """Open somebody else's store: to read from it, or, with `create`, to write to it."""
    return _open(_STORES, url, create)


@contextmanager
def _open(peers: dict[str, _Peer], url: str, create: bool) -> Iterator[Any]:
    scheme, _, rest = url.partition(":") if isinstance(url, str) else ("", "", "")
    scheme = scheme.lower()
    if scheme not in PEER_SCHEMES:
        there = ", ".join(f"{each}:" for each in PEER_SCHEMES)
        raise ConfigurationError(f"this is no URL of somebody else's storage; there are: {there}")
    with ExitStack() as stack:
        if scheme == "sqlite":
            opened = _sqlite(peers["sqlite"], rest, create, stack)
        elif scheme.startswith("postgres"):
            opened = _postgres(peers["postgresql"], f"postgresql:{rest}", create, stack)
        else:
            opened = _redis(peers["redis-stack"], f"{scheme.partition('-')[0]}:{rest}", create, stack)
        yield opened


def _sqlite(peer: _Peer, rest: str, create: bool, stack: ExitStack) -> Any:
    kind = peer.load()
    path = Path(re.sub("^//", "", unquote(rest)))
    place = f"the file {str(path)!r}"
    if not path.name or path.is_dir() or not (path.parent.is_dir() if create else path.is_file()):
        where = "a file in a directory that is there" if create else "a file that is there"
        raise ConfigurationError(f"sqlite:PATH names {where}, and {str(path)!r} is none")
    address = f"file:{quote(str(path))}?mode={'rwc' if create else 'ro'}"
    try:
        # a store of theirs begins its transactions itself
        isolation: Any = None if peer.store else ""
        connection = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=isolation)
        stack.enter_context(closing(connection))
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        opened = kind(connection, **peer.options)
        if create:
            opened.setup()
        else:
            peer.check(kind, place, there, lambda query: connection.execute(query).fetchone()[0])
            ((mode,),) = connection.execute("PRAGMA journal_mode")
            opened.is_setup = mode != "wal"  # what its setup does to others would change them
        return opened
    except sqlite3.Error as exc:
        raise ConfigurationError(f"{place} cannot be opened by {peer.kind}: {exc}") from exc


def _postgres(peer: _Peer, url: str, create: bool, stack: ExitStack) -> Any:
    psycopg, rows = _load("psycopg", "psycopg[binary]"), _load("psycopg.rows", "psycopg[binary]")
    kind = peer.load()
    if not url.startswith("postgresql://"):  # it could be anything, and would be quoted
        raise ConfigurationError("this is no URL of a PostgreSQL: postgresql://user:password@host/database")
    patience = {} if "connect_timeout" in url else {"connect_timeout": PATIENCE}
    try:
        options: Any = {"autocommit": True, "prepare_threshold": 0, "row_factory": rows.dict_row, **patience}
        connection = stack.enter_context(psycopg.connect(url, **options))
        opened = kind(connection, **peer.options)
        if create:
            opened.setup()
        else:
            query = (
                "SELECT c.relname AS name FROM pg_class c WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid)"
            )
            there = {row["name"] for row in connection.execute(query)}
            peer.check(
                kind, "the database", there, lambda query: next(iter(connection.execute(query).fetchone().values()))
            )
        return opened
    except psycopg.OperationalError as exc:
        _refuse(BackendUnavailable, "PostgreSQL cannot be reached, or refuses", exc, url)
    except (psycopg.Error, UnicodeError) as exc:
        _refuse(ConfigurationError, f"{peer.kind} cannot be opened with this URL", exc, url)


def _redis(peer: _Peer, url: str, create: bool, stack: ExitStack) -> Any:
    redis = _load("redis", "redis")
    kind = peer.load()
    try:
        try:
            client = stack.enter_context(redis.Redis.from_url(url, protocol=2))  # which is what redisvl speaks
            there = {name.decode() for name in client.execute_command("FT._LIST")}
        except (TypeError, ValueError) as exc:  # of options that are none, too
            _refuse(ConfigurationError, "this is no URL of a Redis: redis-stack://user:password@host:port/db", exc, url)
        if not create:
            peer.check(kind, "this Redis", there, lambda query: None)
        opened = kind(client) if peer.store else kind(redis_client=client)
        opened.setup()  # of a source, all of it is there
        return opened
    except (redis.ConnectionError, redis.TimeoutError) as exc:
        _refuse(BackendUnavailable, "Redis cannot be reached, or refuses", exc, url)
    except redis.ResponseError as exc:
        _refuse(ConfigurationError, f"{peer.kind} needs a Redis with the modules RediSearch and RedisJSON", exc, url)
    except redis.RedisError as exc:
        _refuse(ConfigurationError, f"{peer.kind} cannot be opened with this URL", exc, url)


def _load(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as exc:
        raise MissingExtra(f'this needs the package {package}: python -m pip install "{package}"') from exc


def _refuse(kind: type[SessionStoreError], sentence: str, exc: Exception, url: str) -> NoReturn:
    """Say what went wrong, with the first line of what they say, without the password and its parts."""
    said = str(exc)
    for secret in sorted(_secrets(url), key=len, reverse=True):
        said = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", said)
    told = kind(f"{sentence}: {' '.join(said.splitlines()[:1])[:300]}")
    raise told from (exc if said == str(exc) else None)  # a traceback shows the cause as it is


def _secrets(url: str) -> set[str]:
    """The passwords of a URL, and their parts: what follows a "/" in one is taken for a database, and quoted."""
    found = [*re.findall("^[^:]*://[^:/@]*:(.*)@", url), *re.findall(r"[?&]\w*password=([^&]*)", url)]
    whole = {*found, *map(unquote, found)}
    return {part for each in whole for part in (each, *re.split(r"\W+", each)) if part}
