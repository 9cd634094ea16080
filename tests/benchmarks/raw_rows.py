"""What nobody can do without to load a chat history: its rows read by a dict, sqlite3 or redis-py, and `loads` of each.

Rule: same rows, same bytes, same serializer; nothing of our reading, no order, no checks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgpack
from benchmarks.contender import Contender
from benchmarks.savers import OurFile, OurMemory, OurRedis
from benchmarks.stage import Stage
from langchain_core.messages import BaseMessage
from support.raw import of_memory

from langgraph_sessionstore import SessionManager, keys
from langgraph_sessionstore.backends.redis.commands import partition_key
from langgraph_sessionstore.backends.sqlite_file import NAME
from langgraph_sessionstore.serde import SessionSerializer

LO, HI = keys.below("m")
"""Between these lie the messages of a session."""


class Histories(Contender):
    """Chat histories: `open` gives what makes one of a name."""

    def fill(self, history: Any, messages: list[BaseMessage]) -> None:
        """Put these into an empty one, in one go."""
        history.add_messages(messages)

    def loading(self, history: Any) -> Callable[[], list[Any]]:
        """What loads all of its messages."""
        return lambda: history.messages


class Ours(Histories):
    """On one of our backends."""

    kind: ClassVar[type[Contender]]

    def __init__(self, stage: Stage) -> None:
        self._under: Any = self.kind(stage)

    @contextmanager
    def open(self) -> Iterator[Any]:
        with self._under.open() as saver, SessionManager(saver.backend) as manager:
            yield manager.history


class Raw(Ours):
    """Histories that we have written, read without us."""

    def reading(self, partition: bytes) -> Callable[[], list[bytes]]:
        """What reads the rows of a history."""
        raise NotImplementedError

    def loading(self, history: Any) -> Callable[[], list[Any]]:
        read, loads = self.reading(keys.session(history.session.id)), SessionSerializer().loads_typed
        return lambda: [loads(msgpack.unpackb(row[1:])) for row in read()]


class RawDict(Raw):
    name, beside = "raw dict", "our memory"
    kind = OurMemory

    def reading(self, partition: bytes) -> Callable[[], list[bytes]]:
        members = [row.partition(b"\0") for row in of_memory(self._under._backend)[partition]]
        rows = {key: value for key, _, value in members if LO <= key < HI}
        return lambda: list(rows.values())


class RawSqlite(Raw):
    name, beside = "raw sqlite3", "our file"
    kind = OurFile

    @contextmanager
    def open(self) -> Iterator[Any]:
        with super().open() as histories, closing(sqlite3.connect(Path(self._under.url) / NAME)) as self._db:
            yield histories

    def reading(self, partition: bytes) -> Callable[[], list[bytes]]:
        of_it = "partition = (SELECT id FROM partitions WHERE name = ?)"
        query = f"SELECT value FROM rows WHERE {of_it} AND key >= ? AND key < ? ORDER BY key"
        return lambda: [value for (value,) in self._db.execute(query, (partition, LO, HI))]


class RawRedis(Raw):
    name, beside = "raw redis-py", "our Redis"
    kind = OurRedis

    @contextmanager
    def open(self) -> Iterator[Any]:
        with super().open() as histories, self._under.server.client() as self._client:
            yield histories

    def reading(self, partition: bytes) -> Callable[[], list[bytes]]:
        key = partition_key(b"sessionstore", partition)
        span = key, b"[" + LO, b"(" + HI
        return lambda: [member.partition(b"\0")[2] for member in self._client.zrangebylex(*span)]
