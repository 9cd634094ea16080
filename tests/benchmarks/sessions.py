"""Lists of sessions: the first page of 50, by creation and by last activity, of 100 sessions and of 100,000.

Rule: each of ours has both storages side by side, so that nothing but the number of sessions tells them apart.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from uuid import uuid4

from benchmarks.contender import Contender
from benchmarks.race import Race, settle, timed
from benchmarks.stage import Stage
from benchmarks.workload import Workload

from langgraph_sessionstore import SessionManager
from langgraph_sessionstore.drive import run as run_plan
from langgraph_sessionstore.plans.details import Details
from langgraph_sessionstore.plans.entry import Life
from langgraph_sessionstore.plans.together import together

FEW, MANY, QUICK, PAGE = 100, 100_000, 150, 50
AT_ONCE = 50
"""Sessions that are begun in one trip."""


class Storages(Contender):
    """Several storages of one kind."""

    def url(self, sessions: int) -> str:
        """The one with so many sessions."""
        raise NotImplementedError


class InMemory(Storages):
    name = beside = "our memory"

    def url(self, sessions: int) -> str:
        return "memory:"


class InFile(Storages):
    name = beside = "our file"

    def __init__(self, stage: Stage) -> None:
        self._folder = stage.folder()

    def url(self, sessions: int) -> str:
        return str(self._folder / str(sessions))


class InRedis(Storages):
    name = beside = "our Redis"

    def __init__(self, stage: Stage) -> None:
        self._server = stage.redis(self.name)

    def url(self, sessions: int) -> str:
        return f"{self._server.url}?prefix=with-{sessions}"


def run(race: Race[Storages]) -> None:
    """Few and many in turn."""
    sizes = FEW, race.stage.size(MANY, QUICK)
    with ExitStack() as stack:
        managers: dict[tuple[str, int], SessionManager] = {}
        for contender in list(race.there):
            with race.trying(contender):
                for size in sizes:
                    manager = stack.enter_context(SessionManager.from_url(contender.url(size)))
                    managers[contender.name, size] = manager
                    seconds, _ = timed(fill, manager, size)
                    race.say(f"{size:,} sessions of {contender.name} in {seconds:.1f} s")
        settle()
        for contender in race.rounds(race.stage.size(31, 2)):
            with race.trying(contender):
                for size in sizes:
                    manager = managers[contender.name, size]
                    seconds, page = timed(lambda manager: manager.list_sessions(limit=PAGE), manager)
                    race.record(contender, f"created of {size:,}", seconds)
                    assert [info.metadata["number"] for info in page] == list(range(PAGE))
                    seconds, page = timed(newest, manager)
                    race.record(contender, f"updated of {size:,}", seconds)
                    assert len({info.id for info in page}) == PAGE


def newest(manager: SessionManager) -> list[object]:
    """The page of those that were used last."""
    return list(manager.list_sessions(by="updated", descending=True, limit=PAGE))


def fill(manager: SessionManager, size: int) -> None:
    """Begin so many sessions: the first page of them one after the other, so that their order is known."""
    for number in range(PAGE):
        manager.create_session(title=f"Session {number}", metadata={"number": number})
        time.sleep(0.001)  # those of one millisecond are in the order of their ids
    for first in range(PAGE, size, AT_ONCE):
        some = [Details(f"Session {number}", None, {"number": number}) for number in range(first, first + AT_ONCE)]
        run_plan(
            manager.backend, together(manager._create(str(uuid4()), each, [], None, Life(), False) for each in some)
        )


WORKLOAD = Workload("sessions", "a page of 50 sessions of 100, and of 100,000", (InMemory, InFile, InRedis), run)
