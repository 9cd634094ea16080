"""Stores: `put`, `get`, `search` and `list_namespaces`, among 1,000 items in 20 namespaces.

Rule: a sample is the median of a round's calls. What is read is looked at: who does not bring all of it fails.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from statistics import median
from typing import Any, ClassVar

from benchmarks.absent import needed
from benchmarks.contender import Contender
from benchmarks.race import Race, settle, timed
from benchmarks.savers import OurFile, OurMemory, OurRedis
from benchmarks.stage import Stage
from benchmarks.workload import Workload
from langgraph.store.base import BaseStore, PutOp
from langgraph.store.memory import InMemoryStore

from langgraph_sessionstore import SessionStore

NAMESPACES, ITEMS, WANTED = 20, 50, 10


class Ours(Contender):
    """On one of our backends."""

    kind: ClassVar[type[Contender]]

    def __init__(self, stage: Stage) -> None:
        self._under: Any = self.kind(stage)

    @contextmanager
    def open(self) -> Iterator[BaseStore]:
        with self._under.open() as saver:
            yield SessionStore(saver.backend)


class InMemory(Ours):
    name = beside = "our memory"
    kind = OurMemory


class InFile(Ours):
    name = beside = "our file"
    kind = OurFile


class InRedis(Ours):
    name = beside = "our Redis"
    kind = OurRedis


class Memory(Contender):
    """LangGraph's own."""

    name, beside = "InMemoryStore", "our memory"

    def __init__(self, stage: Stage) -> None:
        self._store = InMemoryStore()

    def open(self) -> AbstractContextManager[BaseStore]:
        return contextlib.nullcontext(self._store)


class Others(Contender):
    """Somebody else's, on a connection and set up, as their documentation shows it."""

    module: str
    package: str

    def __init__(self, stage: Stage) -> None:
        self._kind = getattr(needed(self.module, self.package), self.name)
        self._place = self.place(stage)

    def place(self, stage: Stage) -> str:
        """Where it keeps what it is given."""
        raise NotImplementedError

    @contextmanager
    def open(self) -> Iterator[BaseStore]:
        with self._kind.from_conn_string(self._place) as store:
            store.setup()
            yield store


class Sqlite(Others):
    name, beside = "SqliteStore", "our file"
    module, package = "langgraph.store.sqlite", "langgraph-checkpoint-sqlite"

    def place(self, stage: Stage) -> str:
        return str(stage.folder() / "store.db")


class Postgres(Others):
    name, beside = "PostgresStore", "our Redis"
    module, package = "langgraph.store.postgres", "langgraph-checkpoint-postgres"

    def place(self, stage: Stage) -> str:
        needed("psycopg", "psycopg[binary,pool]")
        return stage.database()


class RedisWithModules(Others):
    """On a Redis with RediSearch and RedisJSON."""

    name, beside = "RedisStore", "our Redis"
    module, package = "langgraph.store.redis", "langgraph-checkpoint-redis"

    def place(self, stage: Stage) -> str:
        return stage.redis_with_modules().url


def namespace(number: int) -> tuple[str, ...]:
    return ("users", f"user{number}")


def value(number: int) -> dict[str, Any]:
    """What an item holds."""
    return {"likes": f"noodles {number}", "since": 2000 + number % 20, "text": "x" * 200}


def run(race: Race[Contender]) -> None:
    """The same calls to each of them, on what was put there before."""
    calls = race.stage.size(50, 5)
    with ExitStack() as stack:
        stores: dict[str, BaseStore] = {}
        for contender in list(race.there):
            with race.trying(contender):
                race.say(f"{NAMESPACES * ITEMS:,} items of {contender.name}")
                store = stores[contender.name] = stack.enter_context(contender.open())
                for number in range(NAMESPACES):
                    store.batch([PutOp(namespace(number), f"item{each}", value(each)) for each in range(ITEMS)])
        for number, contender in enumerate(race.rounds(race.stage.size(11, 1), budget=20)):
            with race.trying(contender):
                store = stores[contender.name]
                settle()
                for name, act in acts(store, number).items():
                    race.record(contender, name, median(timed(act, each)[0] for each in range(calls)))
                for each in range(calls):  # there are as many again for the next round
                    store.delete(namespace(each % NAMESPACES), f"new{number} {each}")


def acts(store: BaseStore, number: int) -> dict[str, Callable[[int], None]]:
    """The calls, each given a number."""

    def get(each: int) -> None:
        found = store.get(namespace(each % NAMESPACES), f"item{each % ITEMS}")
        assert getattr(found, "value", None) == value(each % ITEMS), f"get of item {each} brought {found}"

    def search(each: int) -> None:
        assert len(store.search(namespace(each % NAMESPACES), limit=WANTED)) == WANTED

    def choose(each: int) -> None:
        (found,) = store.search(namespace(each % NAMESPACES), filter={"likes": "noodles 30"}, limit=1)
        assert found.value == value(30)

    def names(each: int) -> None:
        assert len(store.list_namespaces(prefix=("users",))) == NAMESPACES

    return {
        "put": lambda each: store.put(namespace(each % NAMESPACES), f"new{number} {each}", value(each)),
        "put again": lambda each: store.put(namespace(each % NAMESPACES), f"item{each % ITEMS}", value(each % ITEMS)),
        "get": get,
        f"search {WANTED} of {ITEMS}": search,
        f"search 1 of {ITEMS} by a filter": choose,
        f"list_namespaces of {NAMESPACES}": names,
    }


STORES: tuple[type[Contender], ...] = (
    *(InMemory, Memory),
    *(InFile, Sqlite),
    *(InRedis, RedisWithModules, Postgres),
)
WORKLOAD = Workload("stores", "calls of stores with 1,000 items", STORES, run)
