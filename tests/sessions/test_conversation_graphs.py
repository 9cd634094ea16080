"""Graphs of the user's on sessions: any graph with messages, with what it is given, its subgraphs, and in other graphs.

Rule: the graph behaves as LangGraph says; the session shows its messages.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import StateGraph
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime
from pydantic import BaseModel
from support.talker import Stage, State, Talker, asking, echo, graph, remove_all, say, texts
from typing_extensions import TypedDict

from langgraph_sessionstore import ConfigurationError, InvalidAnswer, SessionManager

MEMORY = pytest.mark.parametrize("kind", ["memory"], indirect=True)
ASYNC = pytest.mark.parametrize("form", ["async"], indirect=True)


class Number(BaseModel):
    """A number."""

    value: int


class Steps(TypedDict):
    """What was done; no conversation at all."""

    done: Annotated[list[str], operator.add]


class Talk(TypedDict):
    """A conversation in a channel of another name."""

    talk: Annotated[list[AnyMessage], add_messages]


class More(State, total=False):
    """A conversation, and an answer that is data."""

    structured_response: Any
    done: list[str]


class Outcome(TypedDict):
    """What a graph gives back: no messages."""

    done: list[str]


# -- graphs that do, and those that do not


@pytest.mark.parametrize("own", [True, False])
def test_a_graph_talks_on_a_session(stage: Stage, manager_on: Callable[..., SessionManager], own: bool) -> None:
    checkpointer = stage.manager.checkpointer if own else None
    talk = stage.session.conversation(graph(echo, checkpointer=checkpointer))
    assert [stage.run(talk, text) for text in ("a", HumanMessage("b"))] == ["1: a", "3: b"]
    other = stage.form.do(manager_on(), "get_session", stage.session.id)
    assert stage.run(other.conversation(graph(echo)), [("user", "c"), ("user", "d")]) == "6: d"
    assert stage.texts() == ["a", "1: a", "b", "3: b", "c", "d", "6: d"]
    assert stage.values()["messages"] == stage.do("messages")
    stage.line()
    stage.do("rewind", turns=2)
    assert stage.run(talk, "e") == "3: e"
    stage.do("replace", 0, "user", "x")
    assert stage.texts() == ["x", "1: a", "e", "3: e"]
    assert stage.run(talk, "f") == "5: f"


@MEMORY
def test_what_cannot_work_is_said_at_once(stage: Stage) -> None:
    session = stage.session
    with pytest.raises(ConfigurationError, match="elsewhere"):
        session.conversation(graph(echo, checkpointer=InMemorySaver()))
    with pytest.raises(ConfigurationError, match="no channel 'messages'"):
        session.conversation(graph(lambda state: {"done": []}, state=Steps))
    for option in ({"system": "S"}, {"tools": [print]}, {"strategy": lambda messages: messages}):
        with pytest.raises(ConfigurationError, match=next(iter(option))):
            session.conversation(graph(echo), **option)
    with pytest.raises(ConfigurationError, match="model is"):
        session.conversation(StateGraph(State))  # type: ignore[arg-type]


@MEMORY
def test_a_channel_of_another_name(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    def answer(state: Talk) -> Any:
        return {"talk": [AIMessage(f"{len(state['talk'])}")]}

    session = stage.form.do(manager_on(channel="talk"), "create_session")
    talk = session.conversation(graph(answer, state=Talk))
    assert [stage.run(talk, text) for text in ("a", "b")] == ["1", "3"]
    assert stage.form.texts(session) == ["a", "1", "b", "3"]
    with pytest.raises(ConfigurationError, match="talk"):
        session.conversation(graph(echo))
    with pytest.raises(ConfigurationError, match="'talk'"):
        stage.run(stage.form.do(stage.manager, "get_session", session.id).conversation(graph(echo)), "c")
    assert stage.form.texts(session) == ["a", "1", "b", "3"]


@MEMORY
def test_an_output_without_messages(stage: Stage) -> None:
    def work(state: Any) -> Any:
        return say("done", done=["work"])

    talk = stage.session.conversation(graph(work, state=More, output_schema=Outcome))
    assert stage.run(talk, "a") == "done"
    assert "".join(chunk.text for chunk in stage.stream(talk, "b")) == "done"
    assert (stage.texts(), stage.values()["done"]) == (["a", "done", "b", "done"], ["work"])


def test_a_graph_that_does_not_answer(stage: Stage) -> None:
    def ask_back(state: Any) -> Any:
        return {"messages": [HumanMessage("what?")]}

    def silent(state: Any) -> Any:
        return {}

    stage.run(stage.session.conversation(graph(echo)), "a")
    before = stage.kept()
    for node in (ask_back, remove_all, silent):
        with pytest.raises(InvalidAnswer):
            stage.run(stage.session.conversation(graph(node), wait=0), "b")
        assert stage.kept() == before


# -- what is given for a call


@MEMORY
def test_what_nodes_are_given(stage: Stage) -> None:
    class Context(TypedDict):
        name: str

    seen: list[Any] = []

    def look(state: State, config: RunnableConfig, runtime: Runtime[Context]) -> Any:
        configurable = config["configurable"]
        assert runtime.store is None
        seen.append([runtime.context, configurable["user"], configurable["thread_id"], config["metadata"]["kind"]])
        return say("seen")

    talk = stage.session.conversation(graph(look, context_schema=Context))
    config = {"configurable": {"user": "u", "thread_id": "other"}, "metadata": {"kind": "k"}}
    stage.run(talk, "a", config=config, context={"name": "n"})
    stage.stream(talk, "b", config=config, context={"name": "m"})
    assert seen == [[{"name": name}, "u", stage.session.id, "k"] for name in "nm"]
    assert stage.form.do(stage.manager.checkpointer, "get_tuple", {"configurable": {"thread_id": "other"}}) is None


@pytest.mark.parametrize("streams", [True, False])
def test_pieces_of_models_in_nodes(stage: Stage, streams: bool) -> None:
    talk = stage.session.conversation(graph(asking(Talker(disable_streaming=not streams)), state=State))
    chunks = stage.stream(talk, "a")
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert [chunk.text for chunk in chunks if chunk.text] == (["I ", "heard ", "a"] if streams else ["I heard a"])
    assert (stage.texts(), stage.calls()) == (["a", "I heard a"], {"speak": 1})
    before = stage.kept()
    for most in range(1, len(chunks) + 1):
        stage.stream(talk, "b", most)
        assert stage.kept() == before
    talk = stage.session.conversation(talk.model, wait=0, phase="think")
    assert stage.run(talk, "b") == "I heard b"
    assert stage.calls()["think"] == 1


@MEMORY
@ASYNC
def test_events(stage: Stage) -> None:
    talk = stage.session.conversation(graph(asking(Talker())))

    async def gather() -> list[Any]:
        return [event async for event in talk.astream_events("a", version="v2")]

    assert stage.form.loop is not None
    events = stage.form.loop.run_until_complete(gather())
    tokens = [event["data"]["chunk"].text for event in events if event["event"] == "on_chat_model_stream"]
    assert "".join(tokens) == "I heard a"
    assert events[-1]["event"] == "on_chain_end"
    assert stage.texts() == ["a", "I heard a"]


# -- data


@MEMORY
def test_data_of_graphs(stage: Stage) -> None:
    def answer(state: More) -> Any:
        text = state["messages"][-1].text
        kind, _, value = text.partition(" ")
        if kind == "state":
            return say("in the state", structured_response={"value": value})
        if kind == "same":
            return say("no class", structured_response=Number(value=int(value)).model_dump())
        return say(f'{{"value": {value}}}' if kind == "text" else "words")

    talk = stage.session.conversation(graph(answer, state=More))

    def data(text: str) -> int:
        return int(stage.form.do(talk, "json", text, Number).value)

    assert [data(text) for text in ("text 1", "state 2", "text 3", "same 2", "same 2")] == [1, 2, 3, 2, 2]
    assert stage.texts()[:4] == ["text 1", '{"value": 1}', "state 2", "in the state"]
    before = stage.kept()
    for text in ("words", "text none", "state none"):  # and what an earlier turn has left is no answer
        with pytest.raises(InvalidAnswer):
            data(text)
        assert stage.kept() == before
    assert stage.run(talk, "words") == "words"


# -- sessions that had a log


def test_a_log_moves_to_a_graph(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    stage.do("extend", [("user", f"{number}") for number in range(40)])
    stage.do("truncate", 0, 3)
    other = stage.form.do(manager_on(), "get_session", stage.session.id)
    assert stage.run(other.conversation(graph(echo)), "a") == "4: a"
    assert stage.texts() == ["37", "38", "39", "a", "4: a"]
    assert stage.values()["messages"] == stage.do("messages")
    assert stage.run(stage.session.conversation(Talker()), "b") == "I heard b"
    assert stage.run(stage.session.conversation(graph(echo)), "c") == "8: c"
    stage.line()


@MEMORY
@ASYNC
def test_a_batch_is_one_turn_after_the_other(stage: Stage) -> None:
    talk = stage.session.conversation(graph(echo))
    assert stage.form.loop is not None
    answers = stage.form.loop.run_until_complete(talk.abatch(["a", "b"]))
    assert texts(answers) == ["1: a", "3: b"]
    assert asyncio.run(talk.abatch(["c"]))[0].text == "5: c"
