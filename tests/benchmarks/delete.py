"""`delete_thread` of a thread of 300 turns.

Rule: a thread is written for each time, by who deletes it; nothing of it may be left to read.
"""

from __future__ import annotations

from benchmarks.contender import Contender
from benchmarks.race import Race, settle, timed
from benchmarks.savers import KEEPERS
from benchmarks.workload import Workload
from support.savers import config
from support.turns import run_turns


def run(race: Race[Contender]) -> None:
    """As often as the time allows."""
    turns = race.stage.size(300, 10)
    for contender in race.rounds(3, warm=False, budget=4):
        with race.trying(contender), contender.open() as saver:
            run_turns(saver, "to warm up", 2)
            saver.delete_thread("to warm up")
            run_turns(saver, "thread", turns)
            settle()
            seconds, _ = timed(saver.delete_thread, "thread")
            assert saver.get_tuple(config("thread")) is None
            race.record(contender, f"delete_thread {turns}", seconds)


WORKLOAD = Workload("delete", "delete_thread of a thread of 300 turns", KEEPERS, run)
