"""One conversation that grows: a tool agent, four messages of 400 bytes a turn, `durability="sync"`.

Rule: all take each turn in turn. The time at turn n is that of the last turns before it. After turn 300 the worker is
restarted several times: a new object with a connection, and nothing in its memory, reads the thread; another one takes
the next turn. Who has spent its time after that, or stores too much, stops where it is.
"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks.contender import Contender
from benchmarks.race import Race, settle, timed
from benchmarks.savers import SAVERS, Nothing
from benchmarks.workload import Workload
from langchain_core.messages import HumanMessage
from support.savers import config
from support.turns import MESSAGES, agent, run_turns, text

TURNS = (10, 25, 50, 100, 200, 300, 500, 700, 1000)
QUICK = (5, 10, 25)
WINDOW = 11
RESTARTS = 5
BUDGET = 30.0
STORED = 2**30
THREAD = config("conversation")


class Talk:
    """The conversation of one contender."""

    def __init__(self, saver: Any) -> None:
        self.graph = agent(saver)
        self.last: deque[float] = deque(maxlen=WINDOW)
        self.spent = 0.0
        self.turns = 0

    def turn(self, graph: Any) -> float:
        """Take a turn with this graph; how long it took."""
        self.turns += 1
        question = {"messages": [HumanMessage(text("question", self.turns))]}
        seconds, state = timed(partial(graph.invoke, question, THREAD, durability="sync"))
        self.check(state)
        self.spent += seconds
        return seconds

    def check(self, state: Any) -> None:
        """All messages have to be there."""
        assert len(state["messages"]) == MESSAGES * self.turns, f"{len(state['messages'])} after {self.turns} turns"


def run(race: Race[Contender]) -> None:
    """All of it."""
    points, everybody = race.stage.size((TURNS, 300), (QUICK, 10))  # the turn that everybody has to reach
    with ExitStack() as stack:
        talks: dict[Contender, Talk] = {}
        for contender in list(race.there):
            with race.trying(contender):
                saver = stack.enter_context(contender.open())
                run_turns(saver, "to warm up", 3)
                saver.delete_thread("to warm up")
                talks[contender] = Talk(saver)
        settle()
        for number in range(1, points[-1] + 1):
            for contender in race.rotated(number):
                with race.trying(contender):
                    talk = talks[contender]
                    talk.last.append(talk.turn(talk.graph))
                    if number in points:
                        reached(race, contender, talk, number)
            if number in points:
                race.say(f"turn {number} of {points[-1]}")
            if number == everybody:
                restart(race, talks, number)
                settle()
            if everybody <= number < points[-1] and number in points:
                stop(race, talks, number)
        above_nothing(race, points)


def reached(race: Race[Contender], contender: Contender, talk: Talk, number: int) -> None:
    """Note the figures at this turn."""
    for seconds in talk.last:
        race.record(contender, f"turn {number}", seconds)
    size = contender.size()
    if not isinstance(contender, Nothing):
        race.record(contender, f"storage {number}", size, "B")


def restart(race: Race[Contender], talks: dict[Contender, Talk], number: int) -> None:
    """New workers go on after this turn."""
    for contender in race.rounds(race.stage.size(RESTARTS, 2), "new workers", warm=False):
        with race.trying(contender):
            talk = talks[contender]
            with contender.open() as saver:
                saver.get_tuple(config("of nobody"))  # it is connected
                seconds, found = timed(saver.get_tuple, THREAD)
                talk.check(found.checkpoint["channel_values"])
                race.record(contender, f"cold read {number}", seconds)
            with contender.open() as saver:
                saver.get_tuple(config("of nobody"))
                race.record(contender, f"cold turn {number}", talk.turn(agent(saver)))


def stop(race: Race[Contender], talks: dict[Contender, Talk], number: int) -> None:
    """Whoever has had enough goes no further."""
    for contender in list(race.there):
        spent, size = talks[contender].spent, contender.size()
        if spent > BUDGET or size > STORED:
            race.note(contender.name, "stopped", f"after {number} turns: {spent:.0f} s, {size / 2**20:,.0f} MiB")
            race.there.remove(contender)


def above_nothing(race: Race[Contender], points: tuple[int, ...]) -> None:
    """What each adds to what the graph itself costs; where that is little, it is noise, and may be negative."""
    for number in points:
        graph = race.figures.median(race.workload, f"turn {number}", Nothing.name)
        for name in list(race.figures.beside):
            turn = race.figures.median(race.workload, f"turn {number}", name)
            if graph is not None and turn is not None and name != Nothing.name:
                race.figures.record(race.workload, f"added {number}", name, turn - graph)


WORKLOAD = Workload("growth", "one conversation of a tool agent, to 1,000 turns", SAVERS, run)
