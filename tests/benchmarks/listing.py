"""A thread of 500 checkpoints looked through: `get_state_history` of all of them, and `list` of the newest ten.

Rule: who does not bring all of them fails.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from benchmarks.contender import Contender
from benchmarks.race import Race, settle, timed
from benchmarks.savers import KEEPERS
from benchmarks.workload import Workload
from support.savers import config
from support.turns import CHECKPOINTS, agent, run_turns

THREAD = config("thread")
TURNS, QUICK = 100, 10
NEWEST = 10


def run(race: Race[Contender]) -> None:
    """Each reads what it has written."""
    turns = race.stage.size(TURNS, QUICK)
    with ExitStack() as stack:
        savers: dict[str, Any] = {}
        for contender in list(race.there):
            with race.trying(contender):
                race.say(f"{turns} turns of {contender.name}")
                savers[contender.name] = stack.enter_context(contender.open())
                run_turns(savers[contender.name], "thread", turns)
        settle()
        many = turns * CHECKPOINTS
        for contender in race.rounds(race.stage.size(5, 2), budget=20):
            with race.trying(contender):
                saver = savers[contender.name]
                graph = agent(saver)
                seconds, found = timed(lambda graph: list(graph.get_state_history(THREAD)), graph)
                race.record(contender, f"history of {many}", seconds)
                seconds, newest = timed(lambda saver: list(saver.list(THREAD, limit=NEWEST)), saver)
                race.record(contender, f"list {NEWEST} of {many}", seconds)
                assert (len(found), len(newest)) == (many, NEWEST), f"{len(found)} and {len(newest)} checkpoints"


WORKLOAD = Workload("listing", "a thread of 500 checkpoints looked through", KEEPERS, run)
