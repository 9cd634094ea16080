"""Many conversations at once: the tool agent on one event loop, the async form, LangGraph's default durability.

Rule: a turn that raises is counted, and its conversation goes on; of ours it is a failure.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks.contender import OURS, Contender
from benchmarks.race import Race, settle
from benchmarks.savers import SAVERS
from benchmarks.workload import Workload
from langchain_core.messages import HumanMessage
from support.turns import MESSAGES, agent, text

PEOPLE, QUICK = 50, 10
TURNS = 4


def run(race: Race[Contender]) -> None:
    """Some rounds of it."""
    people = race.stage.size(PEOPLE, QUICK)
    for number, contender in enumerate(race.rounds(race.stage.size(5, 1), budget=40)):
        with race.trying(contender):
            seconds, errors = asyncio.run(crowd(contender, people, number))
            race.record(contender, f"turns of {people}", (people * TURNS - len(errors)) / seconds, "/s")
            race.record(contender, f"errors of {people}", len(errors), "")
            if errors and contender.name in OURS:
                raise errors[0]
            if errors:
                race.note(contender.name, "erred", f"{type(errors[0]).__name__}: {errors[0]}"[:300])


async def crowd(contender: Contender, people: int, number: int) -> tuple[float, list[BaseException]]:
    """All conversations; how long they took, and what went wrong."""
    async with contender.aopen() as saver:
        graph = agent(saver)
        await talk(graph, f"{number} before", 1)
        settle()
        begun = time.perf_counter()
        errors = await asyncio.gather(*[talk(graph, f"{number} {person}", TURNS) for person in range(people)])
        seconds = time.perf_counter() - begun
    return seconds, [error for each in errors for error in each]


async def talk(graph: Any, thread: str, turns: int) -> list[BaseException]:
    """One conversation; what went wrong in it."""
    config = {"configurable": {"thread_id": thread}}
    errors: list[BaseException] = []
    for turn in range(1, turns + 1):
        try:
            state = await graph.ainvoke({"messages": [HumanMessage(text("question", turn))]}, config)
            if not errors and len(state["messages"]) != turn * MESSAGES:
                raise AssertionError(f"{len(state['messages'])} messages after turn {turn}")
        except Exception as error:
            errors.append(error)
    return errors


WORKLOAD = Workload("crowd", "many conversations at once on one event loop", SAVERS, run)
