"""What is given to a graph of the user's with a turn: other parts of its input, its options, and a limit of steps.

Rule: the graph is given what it is given alone, but for what a turn sets itself; that is said at once.
"""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, StateGraph
from support.talker import Stage, State, echo, graph, say

from langgraph_sessionstore import ConfigurationError

MEMORY = pytest.mark.parametrize("kind", ["memory"], indirect=True)


class User(State, total=False):
    """A conversation with somebody."""

    user: str


def test_other_parts_of_the_input(stage: Stage) -> None:
    def greet(state: User) -> Any:
        return say(f"{state.get('user')} said {state['messages'][-1].text}")

    talk = stage.session.conversation(graph(greet, state=User))
    assert stage.run(talk, {"messages": [HumanMessage("a")], "user": "ann"}) == "ann said a"
    assert stage.run(talk, {"messages": [("user", "b"), ("user", "c")]}) == "ann said c"
    assert stage.run(talk, "d") == "ann said d"
    chunks = stage.stream(talk, {"messages": ["e"], "user": "eve"})
    assert "".join(chunk.text for chunk in chunks) == "eve said e"
    assert stage.texts()[:5] == ["a", "ann said a", "b", "c", "ann said c"]
    assert (len(stage.do("messages")), stage.values()["user"]) == (9, "eve")
    stage.line()


def steps(limit: int) -> Any:
    """A graph that takes so many steps."""

    def again(state: Any) -> Any:
        return say("again")

    builder: Any = StateGraph(State)
    builder.add_node("again", again)
    builder.add_edge(START, "again")
    builder.add_conditional_edges("again", lambda state: "again" if len(state["messages"]) <= limit else END)
    return builder.compile()


@MEMORY
@pytest.mark.parametrize("limit", [None, 20, 100])
def test_as_many_steps_as_the_graph_takes_alone(stage: Stage, limit: int | None) -> None:
    compiled = steps(40) if limit is None else steps(40).with_config(recursion_limit=limit)
    talk, before = stage.session.conversation(compiled, wait=0), stage.kept()
    try:
        alone = len(stage.form.do(compiled, "invoke", {"messages": [HumanMessage("a")]})["messages"])
    except GraphRecursionError:
        with pytest.raises(GraphRecursionError):
            stage.run(talk, "a")
        assert stage.kept() == before
    else:
        assert (stage.run(talk, "a"), len(stage.do("messages"))) == ("again", alone)
        stage.do("clear")
        assert (len(stage.stream(talk, "a")) > 0, len(stage.do("messages"))) == (True, alone)
    before = stage.kept()
    with pytest.raises(GraphRecursionError):
        stage.run(stage.session.conversation(steps(100), wait=0), "b", config={"recursion_limit": 5})
    assert stage.kept() == before
    assert stage.run(stage.session.conversation(steps(100)), "b", config={"recursion_limit": 200}) == "again"


@MEMORY
@pytest.mark.parametrize(
    "option", [{"durability": "sync"}, {"stream_mode": "values"}, {"subgraphs": True}, {"version": "v2"}]
)
def test_options_that_a_turn_sets_itself(stage: Stage, option: dict[str, Any]) -> None:
    talk, before = stage.session.conversation(graph(echo), wait=0), stage.everything()
    for say_ in (stage.run, stage.stream):
        with pytest.raises(ConfigurationError, match=next(iter(option))):
            say_(talk, "a", **option)
    assert stage.everything() == before
    assert stage.run(talk, "a") == "1: a"


@MEMORY
def test_a_channel_of_deltas(stage: Stage) -> None:
    delta = pytest.importorskip("langgraph.channels.delta")
    kept: Any = delta.DeltaChannel(lambda state, writes: [*state, *(one for each in writes for one in each)])

    state = type("Deltas", (dict,), {"__annotations__": {"messages": Annotated[list[Any], kept]}})
    with pytest.raises(ConfigurationError, match="DeltaChannel"):
        stage.session.conversation(graph(echo, state=state))


@MEMORY
def test_a_limit_of_steps(stage: Stage) -> None:
    def again(state: Any) -> Any:
        return say("again")

    builder: Any = StateGraph(State)
    builder.add_node("again", again)
    builder.add_edge(START, "again")
    builder.add_conditional_edges("again", lambda state: "again" if len(state["messages"]) < 6 else END)
    talk, before = stage.session.conversation(builder.compile(), wait=0), stage.kept()
    with pytest.raises(GraphRecursionError):
        stage.run(talk, "a", config={"recursion_limit": 3})
    assert stage.kept() == before
    assert stage.run(talk, "a", config={"recursion_limit": 9}) == "again"
    assert len(stage.do("messages")) == 6
