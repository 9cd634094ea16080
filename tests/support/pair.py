"""A real master and its replica, which can be kept from confirming anything, and what the two know of each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from support.binaries import RedisBinary
from support.lifecycle import Startable
from support.process import close_all
from support.single import QUICK_REPLICATION, RedisServer
from support.waiting import wait_until

from langgraph_sessionstore import NotReplicated, OutcomeUnknown
from langgraph_sessionstore.backends.base import Answer

SOON: dict[str, Any] = {"wait_replicas": 1, "wait_timeout": 0.1}
LATER: dict[str, Any] = {"wait_replicas": 1, "wait_timeout": 8}
"""How a backend is opened that finds out soon, or that has patience."""


class Pair(Startable):
    """A master and its replica."""

    def __init__(self, binary: RedisBinary) -> None:
        """Prepare both; nothing is started yet."""
        self.master, self.replica = (RedisServer(binary, args=QUICK_REPLICATION) for _ in range(2))

    def start(self) -> None:
        """Start both; returns when the replica follows."""
        self.master.start()
        self.replica.start()
        self.replica.ask("REPLICAOF", self.master.host, self.master.port)
        wait_until(lambda: ",state=online," in self.master.ask("INFO", "replication"), "the replica follows")

    def close(self) -> None:
        """Stop both and remove their directories."""
        close_all([self.replica, self.master])

    def waits(self) -> int:
        """How many times the master was asked to wait for replicas."""
        found = re.search(r"cmdstat_wait:calls=(\d+)", self.master.ask("INFO", "commandstats"))
        return int(found[1]) if found else 0

    def changes(self) -> int:
        """How many times the master has changed something, which its replicas hear of."""
        found = re.search(r"rdb_changes_since_last_save:(\d+)", self.master.ask("INFO", "persistence"))
        assert found
        return int(found[1])


def doubted(answers: Sequence[Answer]) -> list[Any]:
    """What came of calls, and that all of it is in doubt."""
    results = []
    for answer in answers:
        assert isinstance(answer, NotReplicated), answer
        assert not isinstance(answer, OutcomeUnknown)
        assert "was applied, but 0 of 1 replicas have confirmed it within 0.1 s" in str(answer)
        results.append(answer.result)
    return results
