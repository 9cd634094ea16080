"""Chat histories: one more message, and all messages, of 10, 100, 1,000 and 5,000.

Rule: each round of a short history begins a new one; a long one is filled once, and grows by what is appended. Raw is
what nobody can do without: see `raw_rows`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from typing import Any

import redis
from benchmarks.absent import needed
from benchmarks.race import Race, settle, timed
from benchmarks.raw_rows import Histories, Ours, RawDict, RawRedis, RawSqlite
from benchmarks.savers import OurFile, OurMemory, OurRedis
from benchmarks.stage import Stage
from benchmarks.workload import Workload
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, messages_to_dict

SIZES, QUICK = {10: 15, 100: 11, 1_000: 9, 5_000: 7}, {10: 1, 60: 1}
"""How many messages, and in how many rounds."""
SHORT, LOADS, FIRST, APPENDS = 100, 3, 2, 7


class InMemory(Ours):
    name = beside = "our memory"
    kind = OurMemory


class InFile(Ours):
    name = beside = "our file"
    kind = OurFile


class InRedis(Ours):
    name = beside = "our Redis"
    kind = OurRedis


class Memory(Histories):
    """LangChain's own: a list."""

    name, beside = "InMemoryChatMessageHistory", "our memory"

    @contextmanager
    def open(self) -> Iterator[Any]:
        yield defaultdict[str, Any](InMemoryChatMessageHistory).__getitem__


class Community(Histories):
    """A class of langchain-community."""

    module: str
    package = "langchain-community"

    def __init__(self, stage: Stage) -> None:
        module = needed(f"langchain_community.chat_message_histories.{self.module}", self.package)
        self._kind = getattr(module, self.name)


class File(Community):
    """Reads and writes its whole file each time."""

    name, beside = "FileChatMessageHistory", "our file"
    module = "file"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._folder = stage.folder()

    @contextmanager
    def open(self) -> Iterator[Any]:
        yield lambda name: self._kind(str(self._folder / name))

    def fill(self, history: Any, messages: list[BaseMessage]) -> None:
        """As it would itself, if it did not do so for each of them."""
        history.file_path.write_text(json.dumps(messages_to_dict(messages)))


class Sql(Community):
    """On SQLite, with one engine for all."""

    name, beside = "SQLChatMessageHistory", "our file"
    module, package = "sql", "langchain-community with sqlalchemy[asyncio]"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._engines = needed("sqlalchemy", "sqlalchemy[asyncio]")
        self._url = f"sqlite:///{stage.folder() / 'messages.db'}"

    @contextmanager
    def open(self) -> Iterator[Any]:
        engine = self._engines.create_engine(self._url)
        yield partial(self._kind, connection=engine)
        engine.dispose()


class Redis(Community):
    """A list in a plain Redis."""

    name, beside = "RedisChatMessageHistory", "our Redis"
    module = "redis"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._url = stage.redis("RedisChatMessageHistory").url

    @contextmanager
    def open(self) -> Iterator[Any]:
        yield partial(self._kind, url=self._url)


class RedisWithModules(Histories):
    """That of langchain-redis, on a Redis with RediSearch and RedisJSON."""

    name, beside = "langchain-redis", "our Redis"

    def __init__(self, stage: Stage) -> None:
        self._kind = needed("langchain_redis", "langchain-redis").RedisChatMessageHistory
        self._url = stage.redis_with_modules().url

    @contextmanager
    def open(self) -> Iterator[Any]:
        # It cannot read what a server says of an index in the protocol that redis-py 8 speaks by default.
        with redis.Redis.from_url(self._url, protocol=2) as client:
            yield partial(self._kind, redis_client=client)


def said(number: int) -> BaseMessage:
    """A message of about 400 bytes."""
    kind = AIMessage if number % 2 else HumanMessage
    return kind(f"{number}: " + "a word or two more " * 21)


def run(race: Race[Histories]) -> None:
    """Size after size: all load what they have, and add to it."""
    with ExitStack() as stack:
        opened: dict[str, Any] = {}
        for contender in list(race.there):
            with race.trying(contender):
                opened[contender.name] = stack.enter_context(contender.open())
        for size, rounds in race.stage.size(SIZES, QUICK).items():
            histories: dict[str, tuple[Any, int]] = {}
            for number, contender in enumerate(race.rounds(rounds, f"{size:,} messages", budget=8)):
                with race.trying(contender):
                    name = contender.name
                    if name not in histories or size <= SHORT:
                        histories[name] = opened[name](f"{size}-{number}"), size
                        contender.fill(histories[name][0], [said(each) for each in range(size)])
                    history, there = histories[name]
                    settle()
                    added = [timed(history.add_message, said(each))[0] for each in range(FIRST + APPENDS)]
                    if name not in RAW:  # the first after something else take longer, whoever makes them
                        race.record(contender, f"append to {size:,}", median(added[FIRST:]))
                    histories[name] = history, there + len(added)
                    load = contender.loading(history)
                    loaded = [timed(lambda load: len(load()), load) for _ in range(LOADS)]
                    race.record(contender, f"load {size:,}", median(seconds for seconds, _ in loaded))
                    assert loaded[0][1] == histories[name][1], f"{loaded[0][1]} messages, not {histories[name][1]}"


RAWS = RawDict, RawRedis, RawSqlite
RAW = {kind.name for kind in RAWS}
"""They are appended to by us."""
HISTORIES: tuple[type[Histories], ...] = (
    *(InMemory, RawDict, Memory),
    *(InFile, RawSqlite, File, Sql),
    *(InRedis, RawRedis, Redis, RedisWithModules),
)
WORKLOAD = Workload("histories", "chat histories of 10 to 5,000 messages", HISTORIES, run)
