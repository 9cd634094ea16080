"""`delete_thread` of a thread of 300 turns.

Rule: each writes the thread that it deletes, once, for that takes a minute where a turn is slow; nothing of it may be
left to read. So there is one sample of each, which says of what order it is, and no more.
"""

from __future__ import annotations

from benchmarks.contender import Contender
from benchmarks.race import Race, settle, timed
from benchmarks.savers import KEEPERS
from benchmarks.workload import Workload
from support.savers import config
from support.turns import run_turns


def run(race: Race[Contender]) -> None:
    """Once."""
    turns = race.stage.size(300, 10)
    for contender in race.rounds(1, warm=False):
        with race.trying(contender), contender.open() as saver:
            run_turns(saver, "to warm up", 2)
            saver.delete_thread("to warm up")
            run_turns(saver, "thread", turns)
            settle()
            seconds, _ = timed(saver.delete_thread, "thread")
            assert saver.get_tuple(config("thread")) is None
            race.record(contender, f"delete_thread {turns}", seconds)


WORKLOAD = Workload("delete", "delete_thread of a thread of 300 turns", KEEPERS, run)
