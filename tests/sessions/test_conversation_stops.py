"""Graphs that stop where they were told to, before or after a node: they wait as well, and any worker goes on.

Rule: while a turn waits, the same given again says so again, and adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langgraph.types import Command, interrupt
from support.lifetimes import Look
from support.sittings import Form
from support.talker import NO_CONTEXT, Stage, State, echo, graph, say, waits

from langgraph_sessionstore import Session, SessionManager

MEMORY = pytest.mark.parametrize("kind", ["memory"], indirect=True)


@pytest.fixture
def stage(form: Form, manager: SessionManager, session: Session, look: Look) -> Iterator[Stage]:
    if NO_CONTEXT and form.loop is not None:
        pytest.skip("without context LangGraph has no async interrupts")
    stage = Stage(form, manager, session, look)
    yield stage
    stage.sound()


def ask(state: State) -> Any:
    """A node that waits for a word."""
    return say(f"{state['messages'][-1].text}: {interrupt('which?')}")


# -- where it was told to


@MEMORY
@pytest.mark.parametrize("at_call", [True, False])
def test_a_stop_before_a_node(stage: Stage, manager_on: Callable[..., SessionManager], at_call: bool) -> None:
    stops = {"interrupt_before": ["answer"]}

    def answer(state: State) -> Any:
        return echo(state)

    compiled = graph(echo, answer, **({} if at_call else stops))
    talk = stage.session.conversation(compiled)
    waits(stage, talk, "a", **(stops if at_call else {}))
    assert stage.texts() == ["a", "1: a"]
    other = stage.form.do(manager_on(), "get_session", stage.session.id).conversation(compiled)
    assert stage.run(other, Command(resume=True)) == "2: 1: a"
    assert stage.texts() == ["a", "1: a", "2: 1: a"]
    stage.line()


@MEMORY
@pytest.mark.parametrize("stop", ["interrupt_before", "interrupt_after"])
def test_a_stop_given_again_still_waits(stage: Stage, stop: str) -> None:
    def answer(state: State) -> Any:
        return echo(state)

    talk = stage.session.conversation(graph(echo, answer, **{stop: ["answer" if stop.endswith("before") else "echo"]}))
    waits(stage, talk, "a")
    before = stage.kept()
    # BUG: given again, it is either answered with what was said before the stop, or stored once more, which fails.
    waits(stage, talk, "a")
    assert stage.kept() == before
    assert stage.run(talk, Command(resume=True)) == "2: 1: a"


@MEMORY
def test_a_stop_before_the_first_node_given_again_still_waits(stage: Stage) -> None:
    talk = stage.session.conversation(graph(echo, interrupt_before=["echo"]))
    waits(stage, talk, "a")
    before = stage.kept()
    # BUG: OutcomeUnknown, "this operation id was used for another batch".
    waits(stage, talk, "a")
    assert stage.kept() == before
    assert stage.run(talk, Command(resume=True)) == "1: a"


@MEMORY
def test_a_stop_in_a_subgraph(stage: Stage) -> None:
    talk = stage.session.conversation(graph(echo, graph(ask, interrupt_before=["ask"]), checkpointer=None))
    # BUG: nobody says that it waits: the answer of the node before is given as that of the turn.
    waits(stage, talk, "a")


@MEMORY
def test_a_stop_in_a_subgraph_before_anything_was_said(stage: Stage) -> None:
    talk = stage.session.conversation(graph(graph(echo, interrupt_before=["echo"])))
    # BUG: InvalidAnswer instead of Interrupted, and nothing is stored.
    waits(stage, talk, "a")
    assert stage.run(talk, Command(resume=True)) == "1: a"
