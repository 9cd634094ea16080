"""Graphs that wait for an answer: `Interrupted` is no failure, what was done is stored, and any worker goes on.

Rule: while a turn waits, the same given again says so again, and adds nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel
from support.talker import NO_CONTEXT, Stage, State, Talker, asking, echo, graph, kinds, say, waits

from langgraph_sessionstore import Conversation, Interrupted, Session, SessionManager

pytestmark = pytest.mark.usefixtures("interrupts")
MEMORY = pytest.mark.parametrize("kind", ["memory"], indirect=True)


class Number(BaseModel):
    """A number."""

    value: int


def ask(state: State) -> Any:
    """A node that waits for a word."""
    return say(f"{state['messages'][-1].text}: {interrupt('which?')}")


def ask_twice(state: State) -> Any:
    """A node that waits twice."""
    return say(f"{interrupt('first')} {interrupt('second')}")


@tool
def consult(of: str) -> str:
    """Ask the user."""
    return f"{of} is {interrupt({'what is': of})}"


# -- in nodes


def test_a_turn_waits_until_it_is_answered(stage: Stage) -> None:
    talk = stage.session.conversation(graph(asking(Talker()), ask), wait=0)
    waits(stage, talk, "a", "which?")
    assert (stage.texts(), stage.calls()) == (["a", "I heard a"], {"speak": 1})
    before = stage.kept()
    for _ in range(2):
        waits(stage, talk, "a", "which?")
        assert stage.kept() == before
    assert stage.run(talk, Command(resume="this")) == "I heard a: this"
    assert stage.texts() == ["a", "I heard a", "I heard a: this"]
    assert stage.values()["messages"] == stage.do("messages")
    waits(stage, talk, "b", "which?")
    assert stage.run(talk, Command(resume="that")) == "I heard b: that"
    assert len(stage.do("messages")) == 6
    stage.line()


def test_another_worker_goes_on(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    given = HumanMessage("a", id="mine")
    waits(stage, stage.session.conversation(graph(ask)), given, "which?")
    other = stage.form.do(manager_on(), "get_session", stage.session.id).conversation(graph(ask))
    before = stage.kept()
    waits(stage, other, given, "which?")
    assert stage.kept() == before
    assert stage.run(other, Command(resume="this")) == "a: this"
    third = stage.form.do(manager_on(), "get_session", stage.session.id).conversation(graph(ask))
    assert stage.run(third, given) == "a: this"  # it has its answer now
    assert stage.texts() == ["a", "a: this"]


@MEMORY
def test_two_questions_in_one_node(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    talk = stage.session.conversation(graph(ask_twice))
    waits(stage, talk, "a", "first")
    waits(stage, talk, Command(resume="one"), "second")
    assert stage.run(talk, Command(resume="two")) == "one two"
    assert stage.texts() == ["a", "one two"]


@MEMORY
def test_two_questions_and_two_workers(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    waits(stage, stage.session.conversation(graph(ask_twice)), "a", "first")
    talks = [
        stage.form.do(manager_on(), "get_session", stage.session.id).conversation(graph(ask_twice)) for _ in range(2)
    ]
    waits(stage, talks[0], Command(resume="one"), "second")
    assert stage.run(talks[1], Command(resume="two")) == "one two"
    assert stage.texts() == ["a", "one two"]


@MEMORY
def test_questions_of_two_nodes_at_once(stage: Stage) -> None:
    def left(state: State) -> Any:
        return say(f"left {interrupt('left?')}")

    def right(state: State) -> Any:
        return say(f"right {interrupt('right?')}")

    builder: Any = StateGraph(State)
    for node in (left, right):
        builder.add_node(node.__name__, node)
        builder.add_edge(START, node.__name__)
    talk = stage.session.conversation(builder.compile())
    with pytest.raises(Interrupted) as error:
        stage.run(talk, "a")
    ids = {each.value: each.id for each in error.value.interrupts}
    assert sorted(ids) == ["left?", "right?"]
    with pytest.raises(Interrupted) as error:
        stage.run(talk, Command(resume={ids["left?"]: "l"}))
    assert [each.value for each in error.value.interrupts] == ["right?"]
    other = stage.session.conversation(builder.compile())
    stage.run(other, Command(resume={ids["right?"]: "r"}))
    assert stage.texts() == ["a", "left l", "right r"]


@pytest.mark.parametrize("kind", ["memory", "file"], indirect=True)
def test_a_question_in_a_subgraph(stage: Stage) -> None:
    talk = stage.session.conversation(graph(graph(echo, ask), echo))
    waits(stage, talk, "a", "which?")


@pytest.mark.parametrize("kind", ["memory", "file"], indirect=True)
@pytest.mark.parametrize("checkpointer", [None, True])
def test_a_subgraph_goes_on(stage: Stage, manager_on: Callable[..., SessionManager], checkpointer: Any) -> None:
    def talking(session: Session) -> Conversation:
        return session.conversation(graph(graph(echo, ask, checkpointer=checkpointer), echo))

    with pytest.raises(Interrupted) as error:
        stage.run(talking(stage.session), "a")
    assert {each.value for each in error.value.interrupts} == {"which?"}
    other = talking(stage.form.do(manager_on(), "get_session", stage.session.id))
    assert stage.run(other, Command(resume="this")) == "3: 1: a: this"
    assert stage.texts() == ["a", "1: a", "1: a: this", "3: 1: a: this"]


# -- agents, pieces, data


def test_a_tool_that_asks(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    agent = stage.session.conversation(Talker(), tools=[consult], system="S")
    waits(stage, agent, "consult:x", {"what is": "x"})
    messages = stage.do("messages")
    assert (kinds(messages), stage.calls(), stage.do("system")) == ("ha", {"chat": 1}, "S")
    waits(stage, agent, "consult:x", {"what is": "x"})
    other = stage.form.do(manager_on(), "get_session", stage.session.id)
    agent = other.conversation(Talker(), tools=[consult])
    assert stage.run(agent, Command(resume="y")) == "I heard x is y"
    assert stage.texts() == ["consult:x", "consult", "x is y", "I heard x is y"]
    assert stage.calls() == {"chat": 2}
    stage.line()


@pytest.mark.parametrize("kind", ["memory", "redis7"], indirect=True)
def test_pieces_until_it_waits(stage: Stage) -> None:
    talk = stage.session.conversation(graph(asking(Talker()), consult_node))
    heard: list[str] = []

    def listen() -> None:
        heard.extend(chunk.text for chunk in talk.stream("a"))

    async def alisten() -> None:
        async for chunk in talk.astream("a"):
            heard.append(chunk.text)

    with pytest.raises(Interrupted) as error:
        listen() if stage.form.loop is None else stage.form.loop.run_until_complete(alisten())
    assert error.value.interrupts[0].value == "sure?"
    assert "".join(heard) == "I heard a"
    assert stage.texts() == ["a", "I heard a"]
    chunks = stage.stream(talk, Command(resume="yes"))
    assert "".join(chunk.text for chunk in chunks) == "yes"
    assert stage.texts() == ["a", "I heard a", "yes"]


def consult_node(state: State) -> Any:
    """A node that waits for a yes."""
    return say(interrupt("sure?"))


@MEMORY
def test_an_answer_that_fails_leaves_it_waiting(stage: Stage) -> None:
    faults = [ValueError("no")]

    def fails(state: State) -> Any:
        answer = interrupt("which?")
        if faults:
            raise faults.pop()
        return say(answer)

    talk = stage.session.conversation(graph(fails), wait=0)
    waits(stage, talk, "a", "which?")
    before = stage.kept()
    with pytest.raises(ValueError, match="no"):
        stage.run(talk, Command(resume="this"))
    assert stage.kept() == before
    waits(stage, talk, "a", "which?")
    assert stage.run(talk, Command(resume="that")) == "that"


@MEMORY
def test_something_else_is_said_while_it_waits(stage: Stage) -> None:
    talk = stage.session.conversation(graph(ask))
    waits(stage, talk, "a", "which?")
    waits(stage, talk, "b", "which?")
    assert stage.texts() == ["a", "b"]
    assert stage.run(talk, Command(resume="this")) == "b: this"
    assert stage.texts() == ["a", "b", "b: this"]


@MEMORY
def test_data_after_a_question(stage: Stage) -> None:
    def number(state: State) -> Any:
        return say(f'{{"value": {interrupt("which?")}}}')

    talk = stage.session.conversation(graph(number))
    with pytest.raises(Interrupted):
        stage.form.do(talk, "json", "a", Number)
    assert stage.form.do(talk, "json", Command(resume="7"), Number) == Number(value=7)


@MEMORY
@pytest.mark.skipif(NO_CONTEXT, reason="a graph in a node needs the context")
def test_an_answer_for_the_outer_graph_is_none_for_this_one(stage: Stage) -> None:
    talk = stage.session.conversation(graph(ask))

    def call(state: State) -> Any:
        outer = interrupt("outer")
        try:
            talk.run("a")
        except Interrupted as exc:
            return say(f"{outer}, and {exc.interrupts[0].value}")
        raise AssertionError("it has not waited")

    outer = graph(call, checkpointer=stage.manager.checkpointer)
    config: Any = {"configurable": {"thread_id": "outer"}}
    outer.invoke({"messages": [HumanMessage("o")]}, config)
    found = outer.invoke(Command(resume="x"), config)
    assert found["messages"][-1].text == "x, and which?"
    assert stage.run(talk, Command(resume="y")) == "a: y"


@MEMORY
def test_time_passes_and_loops_change(stage: Stage) -> None:
    talk = stage.session.conversation(graph(ask))
    waits(stage, talk, "a", "which?")
    if not NO_CONTEXT:
        assert asyncio.run(talk.arun(Command(resume="x"))).text == "a: x"
        assert stage.texts() == ["a", "a: x"]
