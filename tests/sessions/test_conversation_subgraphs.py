"""Graphs in graphs: subgraphs of a conversation, and conversations in the nodes of other graphs.

Rule: each remembers what is its own, and nothing else.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from support.talker import NO_CONTEXT, Stage, State, Talker, asking, echo, graph, say, texts
from typing_extensions import TypedDict

from langgraph_sessionstore import SessionManager

MEMORY = pytest.mark.parametrize("kind", ["memory"], indirect=True)
ASYNC = pytest.mark.parametrize("form", ["async"], indirect=True)


class Steps(TypedDict):
    """What was done; no conversation at all."""

    done: Annotated[list[str], operator.add]


# -- graphs in graphs


def counting(checkpointer: Any) -> Any:
    """A graph that asks another one twice, which counts what it has done."""

    def count(state: Steps) -> Any:
        return {"done": [f"{len(state['done'])}"]}

    def ask(state: State) -> Any:
        return say(f"{len(inner.invoke({'done': []})['done'])}")

    inner = graph(count, state=Steps, checkpointer=checkpointer)
    builder: Any = StateGraph(State)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    builder.add_conditional_edges("ask", lambda state: "ask" if state["messages"][-2].type == "human" else END)
    return builder.compile()


@pytest.mark.skipif(NO_CONTEXT, reason="a graph in a node needs the context")
@pytest.mark.parametrize(("checkpointer", "said"), [(None, "1 1 1 1 1 1"), (True, "1 2 3 4 5 6")])
def test_subgraphs_remember_what_they_should(
    stage: Stage, manager_on: Callable[..., SessionManager], checkpointer: Any, said: str
) -> None:
    talk = stage.session.conversation(counting(checkpointer))
    stage.run(talk, "a")
    stage.run(talk, "b")
    other = stage.form.do(manager_on(), "get_session", stage.session.id)
    stage.run(other.conversation(counting(checkpointer)), "c")
    answers = [message.text for message in stage.do("messages") if message.type == "ai"]
    assert answers == said.split()
    fork = stage.form.do(talk, "fork")
    assert stage.run(fork, "d") == ("8" if checkpointer else "1")
    assert len(stage.do("messages")) == 9
    stage.others.append(fork.session)


@MEMORY
def test_a_subgraph_as_a_node(stage: Stage) -> None:
    talk = stage.session.conversation(graph(graph(echo), echo))
    assert stage.run(talk, "a") == "2: 1: a"
    assert stage.texts() == ["a", "1: a", "2: 1: a"]
    assert [chunk.text for chunk in stage.stream(talk, "b") if chunk.text] == ["4: b", "5: 4: b"]


@pytest.mark.skipif(NO_CONTEXT, reason="a graph in a node needs the context")
@pytest.mark.parametrize("passed", [True, False])
def test_a_conversation_in_a_node_of_another_graph(stage: Stage, passed: bool) -> None:
    talk = stage.session.conversation(graph(asking(Talker())))
    name = f"{stage.session.id}-outer"

    def call(state: State, config: RunnableConfig) -> Any:
        return say(talk.run(state["messages"][-1].text, config=config if passed else None).text)

    async def acall(state: State, config: RunnableConfig) -> Any:
        answer = await talk.arun(state["messages"][-1].text, config=config if passed else None)
        return say(answer.text)

    outer = graph(call if stage.form.loop is None else acall, checkpointer=stage.manager.checkpointer)
    config = {"configurable": {"thread_id": name}}
    for text in ("a", "b"):
        found = stage.form.do(outer, "invoke", {"messages": [HumanMessage(text)]}, config)
        assert found["messages"][-1].text == f"I heard {text}"
    conversation = ["a", "I heard a", "b", "I heard b"]
    assert (stage.texts(), texts(found["messages"])) == (conversation, conversation)
    mine, theirs = stage.do("messages"), found["messages"]
    assert not {message.id for message in mine} & {message.id for message in theirs}
    assert {each.config["configurable"]["checkpoint_ns"] for each in stage.checkpoints()} == {""}
    stage.line()
    assert stage.form.do(stage.manager.checkpointer, "check", name) == []
