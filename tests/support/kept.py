"""Sessions with something of everything, for what looks at them and moves them."""

from __future__ import annotations

from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

from langgraph_sessionstore import Session, SessionManager


class Mood(BaseModel):
    """A type of the application's own."""

    mood: str


class State(TypedDict, total=False):
    """What the graph keeps."""

    messages: Annotated[list[AnyMessage], add_messages]
    mood: Mood
    files: dict[str, str]


def answer(state: State) -> State:
    """Say how many messages there were; ask when that is what the user wants."""
    last = state["messages"][-1].text
    if last == "ask":
        last = interrupt("Secret question?")
    return {
        "messages": [AIMessage(f"secret answer {len(state['messages'])} to {last}")],
        "mood": Mood(mood="secretly glad"),
        "files": {"notes": "secret " * len(state["messages"])},
    }


def graph_on(checkpointer: Any) -> Any:
    """The graph."""
    return StateGraph(State).add_node("answer", answer).add_edge(START, "answer").compile(checkpointer=checkpointer)


def said(text: str) -> State:
    """What a user says."""
    return {"messages": [HumanMessage(text)]}


def with_log(manager: SessionManager, session_id: str = "log", **more: Any) -> Session:
    """A session with messages of its own, a summary, usage, and operations that can be undone."""
    session = manager.create_session(
        session_id,
        title="A trip",
        system="secret prompt",
        messages=[("user", "secret one"), ("assistant", "secret two")],
        summary="secret summary",
        **{"metadata": {"user": "ann"}, **more},
    )
    session.append("user", "secret three")
    session.record_usage("chat", "some-model", input_tokens=10, output_tokens=5, cost=0.25)
    session.store.put(("notes",), "budget", {"euros": "secret 900"})
    return session


def with_graph(manager: SessionManager, session_id: str = "graph") -> Session:
    """A session of a graph with two turns, and a branch of the second one."""
    session = manager.create_session(session_id, metadata={"user": "bob"})
    graph = graph_on(manager.checkpointer)
    graph.invoke(said("secret Tokyo"), session.config)
    first = graph.get_state(session.config).config
    graph.invoke(said("secret Kyoto"), session.config)
    graph.invoke(said("secret Osaka"), first)
    return session
