"""A session with 1,000 checkpoints forked, and its thread copied.

Rule: what it is measured by is a bare COPY of the session's key, on a Redis that holds the same.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks.contender import Contender
from benchmarks.race import Race, settle, timed
from benchmarks.savers import OurFile, OurMemory, OurRedis
from benchmarks.workload import Workload
from support.turns import CHECKPOINTS, MESSAGES, run_turns

from langgraph_sessionstore import SessionManager

TURNS, QUICK = 200, 10


class BareCopy(OurRedis):
    """Redis's own command in our place."""

    name, beside = "bare COPY", "our Redis"


def run(race: Race[Contender]) -> None:
    """Forks are deleted again, so that none is in the way of the next."""
    turns = race.stage.size(TURNS, QUICK)
    many = f"{turns * CHECKPOINTS:,}"
    with ExitStack() as stack:
        savers: dict[str, Any] = {}
        for contender in list(race.there):
            with race.trying(contender):
                savers[contender.name] = stack.enter_context(contender.open())
                run_turns(savers[contender.name], "session", turns)
        for contender in race.rounds(race.stage.size(20, 3)):
            with race.trying(contender):
                settle()
                if isinstance(contender, BareCopy):
                    race.record(contender, f"fork {many}", copied(contender))
                    continue
                saver = savers[contender.name]
                with SessionManager(saver.backend) as manager:
                    session = manager.get_session("session")
                    assert session is not None
                    seconds, fork = timed(session.fork)
                    race.record(contender, f"fork {many}", seconds)
                    assert len(fork) == turns * MESSAGES
                    fork.delete()
                seconds, _ = timed(partial(saver.copy_thread, "session", "copy"))
                race.record(contender, f"copy_thread {many}", seconds)
                saver.delete_thread("copy")


def copied(contender: OurRedis) -> float:
    """How long it takes Redis to copy the largest key that it has."""
    with contender.server.client() as client:
        key = max(client.scan_iter(), key=client.memory_usage)
        seconds, done = timed(client.copy, key, b"copy")
        assert done
        client.delete(b"copy")
    return seconds


WORKLOAD = Workload("fork", "a session with 1,000 checkpoints forked", (OurMemory, OurFile, OurRedis, BareCopy), run)
