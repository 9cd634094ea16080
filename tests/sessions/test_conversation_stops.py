"""Graphs that stop where they were told to, before or after a node: they wait as well, and any worker goes on.

Rule: while a turn has stopped, the same given again says so again, and adds nothing; nothing given lets it go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.types import Command, interrupt
from support.talker import TOOLS, Stage, State, Talker, echo, graph, say, waits

from langgraph_sessionstore import Conversation, Interrupted, SessionError, SessionManager

pytestmark = pytest.mark.usefixtures("interrupts")
MEMORY = pytest.mark.parametrize("kind", ["memory"], indirect=True)
GOES_ON = pytest.mark.parametrize("on", [None, Command(resume=True)])


def answer(state: State) -> Any:
    """A node that echoes, behind another one."""
    return echo(state)


def ask(state: State) -> Any:
    """A node that waits for a word."""
    return say(f"{state['messages'][-1].text}: {interrupt('which?')}")


def stops(stage: Stage, conversation: Conversation, given: Any, **options: Any) -> None:
    """This given, it stops where it was told to."""
    with pytest.raises(Interrupted, match=r"has stopped before its end: run\(None\) goes on") as error:
        stage.run(conversation, given, **options)
    assert error.value.interrupts == ()


# -- where it was told to


@GOES_ON
@pytest.mark.parametrize("at_call", [True, False])
def test_a_stop_before_a_node(stage: Stage, manager_on: Callable[..., SessionManager], at_call: bool, on: Any) -> None:
    told = {"interrupt_before": ["answer"]}
    compiled = graph(echo, answer, **({} if at_call else told))
    talk = stage.session.conversation(compiled)
    stops(stage, talk, "a", **(told if at_call else {}))
    assert stage.texts() == ["a", "1: a"]
    other = stage.form.do(manager_on(), "get_session", stage.session.id).conversation(compiled)
    assert stage.run(other, on) == "2: 1: a"
    assert stage.texts() == ["a", "1: a", "2: 1: a"]
    stage.line()
    before = stage.kept()
    with pytest.raises(SessionError, match="waits for nothing"):
        stage.run(talk, on)
    assert stage.kept() == before


@MEMORY
@GOES_ON
@pytest.mark.parametrize("stop", ["interrupt_before", "interrupt_after"])
def test_a_stop_given_again_still_waits(stage: Stage, stop: str, on: Any) -> None:
    talk = stage.session.conversation(graph(echo, answer, **{stop: ["answer" if stop.endswith("before") else "echo"]}))
    stops(stage, talk, "a")
    before = stage.kept()
    stops(stage, talk, "a")
    assert stage.kept() == before
    assert stage.run(talk, on) == "2: 1: a"
    stops(stage, talk, "a")  # the same text, and another turn
    assert stage.texts() == ["a", "1: a", "2: 1: a", "a", "4: a"]


@MEMORY
@GOES_ON
def test_a_stop_before_the_first_node_given_again_still_waits(stage: Stage, on: Any) -> None:
    talk = stage.session.conversation(graph(echo, interrupt_before=["echo"]))
    stops(stage, talk, "a")
    before = stage.kept()
    stops(stage, talk, "a")
    assert stage.kept() == before
    assert stage.run(talk, on) == "1: a"


@MEMORY
def test_one_stop_after_the_other(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    def last(state: State) -> Any:
        return echo(state)

    compiled = graph(echo, answer, last, interrupt_before=["answer", "last"])
    stops(stage, stage.session.conversation(compiled), "a")
    stops(stage, stage.session.conversation(compiled), None)
    assert stage.texts() == ["a", "1: a", "2: 1: a"]
    other = stage.form.do(manager_on(), "get_session", stage.session.id).conversation(compiled)
    assert stage.run(other, None) == "3: 2: 1: a"
    assert stage.texts() == ["a", "1: a", "2: 1: a", "3: 2: 1: a"]


@MEMORY
def test_going_on_in_pieces(stage: Stage) -> None:
    talk = stage.session.conversation(graph(echo, answer, interrupt_before=["answer"]))
    stops(stage, talk, HumanMessage("a", id="mine"))
    assert "".join(chunk.text for chunk in stage.stream(talk, None)) == "2: 1: a"
    assert stage.texts() == ["a", "1: a", "2: 1: a"]
    assert stage.run(talk, HumanMessage("a", id="mine")) == "2: 1: a"


@MEMORY
def test_going_on_that_fails_leaves_it_where_it_was(stage: Stage) -> None:
    faults = [ValueError("no")]

    def fails(state: State) -> Any:
        if faults:
            raise faults.pop()
        return echo(state)

    talk = stage.session.conversation(graph(echo, fails, interrupt_before=["fails"]), wait=0)
    stops(stage, talk, "a")
    before = stage.kept()
    with pytest.raises(ValueError, match="no"):
        stage.run(talk, None)
    assert stage.kept() == before
    assert stage.run(talk, None) == "2: 1: a"


@MEMORY
def test_something_else_is_said_to_one_that_has_stopped(stage: Stage) -> None:
    talk = stage.session.conversation(graph(echo, answer, interrupt_before=["answer"]))
    stops(stage, talk, "a")
    stops(stage, talk, "b")  # from its beginning
    assert stage.texts() == ["a", "1: a", "b", "3: b"]
    assert stage.run(talk, None) == "4: 3: b"


@MEMORY
def test_going_on_where_nothing_has_stopped(stage: Stage) -> None:
    for talk in (stage.session.conversation(graph(echo)), stage.session.conversation(Talker(), tools=TOOLS)):
        for _ in range(2):  # before the first turn, and after it
            before = stage.everything()
            with pytest.raises(SessionError, match="waits for nothing"):
                stage.run(talk, None)
            assert stage.everything() == before
            stage.run(talk, "a")


@MEMORY
def test_a_stop_in_a_subgraph(stage: Stage) -> None:
    talk = stage.session.conversation(graph(echo, graph(ask, interrupt_before=["ask"]), checkpointer=None))
    stops(stage, talk, "a")
    waits(stage, talk, None, "which?")
    assert stage.run(talk, Command(resume="this")) == "1: a: this"


@MEMORY
@GOES_ON
def test_a_stop_in_a_subgraph_before_anything_was_said(stage: Stage, on: Any) -> None:
    talk = stage.session.conversation(graph(graph(echo, interrupt_before=["echo"])))
    stops(stage, talk, "a")
    assert stage.run(talk, on) == "1: a"
