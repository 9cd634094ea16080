"""One conversation that grows: a tool agent, four messages of 400 bytes a turn, `durability="sync"`.

Rule: all take each turn in turn. The time at turn n is that of the last turns before it. After turn 300 the worker is
restarted several times: a new object with a connection, and nothing in its memory, reads the thread; another one takes
the next turn. Who has spent its time after that, or stores too much, stops where it is.
"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from typing import Any

from benchmarks.contender import Contender
from benchmarks.race import Race, settle, timed
from benchmarks.savers import SAVERS, Nothing
from benchmarks.workload import Workload
from langchain_core.messages import HumanMessage
from support.turns import agent, text

TURNS = (10, 25, 50, 100, 200, 300, 500, 700, 1000)
QUICK = (5, 10, 25)
WINDOW = 11
RESTARTS = 5
BUDGET = 60.0
STORED = 2**30
THREAD: Any = {"configurable": {"thread_id": "conversation"}}
UNKEPT: Any = {"configurable": {"thread_id": "of nobody"}}


class Talk:
    """The conversation of one contender."""

    def __init__(self, contender: Contender, saver: Any) -> None:
        self.contender = contender
        self.last: deque[float] = deque(maxlen=WINDOW)
        self.spent = 0.0
        self._graph = agent(saver)

    def turn(self, number: int) -> float:
        """Take a turn; how long it took."""
        question = {"messages": [HumanMessage(text("question", number))]}
        seconds = timed(lambda: self._graph.invoke(question, THREAD, durability="sync"))
        self.last.append(seconds)
        self.spent += seconds
        return seconds


def run(race: Race[Contender]) -> None:
    """All of it."""
    points = race.stage.size(TURNS, QUICK)
    with ExitStack() as stack:
        talks = {}
        for contender in list(race.there):
            with race.trying(contender):
                talks[contender] = Talk(contender, stack.enter_context(contender.open()))
        settle()
        for number in range(1, points[-1] + 1):
            for contender in race.rotated(number):
                with race.trying(contender):
                    talks[contender].turn(number)
                    if number in points:
                        reached(race, talks[contender], number, points)
            if number in points:
                race.say(f"turn {number} of {points[-1]}")
            if number == cold_after(points):
                restart(race, number)
                settle()


def cold_after(points: tuple[int, ...]) -> int:
    """The turn after which workers are restarted."""
    return 300 if 300 in points else points[-2]


def reached(race: Race[Contender], talk: Talk, number: int, points: tuple[int, ...]) -> None:
    """Note the figures of this turn, and whether that was enough."""
    contender = talk.contender
    for seconds in talk.last:
        race.record(contender, f"turn {number}", seconds)
    size = contender.size()
    if contender.name != Nothing.name:
        race.record(contender, f"storage {number}", size, "B")
    if number >= cold_after(points) and number < points[-1] and (talk.spent > BUDGET or size > STORED):
        race.note(contender.name, "stopped", f"after {number} turns: {talk.spent:.0f} s, {size / 2**20:.0f} MiB")
        race.there.remove(contender)


def restart(race: Race[Contender], number: int) -> None:
    """New workers go on after this turn."""
    for contender in race.rounds(race.stage.size(RESTARTS, 2), "new workers", warm=False):
        with race.trying(contender):
            with contender.open() as saver:
                saver.get_tuple(UNKEPT)  # it is connected
                race.record(contender, f"cold read {number}", timed(saver.get_tuple, THREAD))
            with contender.open() as saver:
                saver.get_tuple(UNKEPT)
                race.record(contender, f"cold turn {number}", Talk(contender, saver).turn(number))


WORKLOAD = Workload("growth", "one conversation of a tool agent, to 1,000 turns", SAVERS, run)
