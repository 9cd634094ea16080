"""A graph's session, steered from outside while real graphs run on it.

Rule: whatever the session says of the conversation LangGraph says too, after every step: in `get_state`, in
`get_state_history`, which loses nothing, and in what the nodes see when the graph runs again.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from support.graphs import NO_CONTEXT
from support.sittings import Form
from typing_extensions import TypedDict

from langgraph_sessionstore import (
    ConflictError,
    MessagesElsewhere,
    Session,
    SessionError,
    SessionManager,
)

TALK = ["a", "re: a", "b", "re: b"]


class State(TypedDict):
    """A conversation, and how many answers there were."""

    messages: Annotated[list[AnyMessage], add_messages]
    answers: Annotated[int, operator.add]


class Steps(TypedDict):
    """No conversation at all."""

    done: Annotated[list[str], operator.add]


class Chat(TypedDict):
    """A conversation in a channel of another name."""

    chat: Annotated[list[AnyMessage], add_messages]


class Sitting:
    """A session with a graph on it, both driven in one form."""

    def __init__(self, form: Form, manager: SessionManager, session: Session, channel: str = "messages") -> None:
        self.form, self.manager, self.session, self.channel = form, manager, session, channel
        self.saw: list[list[str]] = []
        """What each run of the node has seen."""
        self.meanwhile: Callable[[], Any] = lambda: None
        """What somebody else does while the node runs."""
        self.graph = self.compiled()

    def compiled(self, **options: Any) -> Any:
        """A graph with one node that answers the last message."""
        schema: Any = Chat if self.channel == "chat" else State
        builder: Any = StateGraph(schema)
        builder.add_node("answer", self.answer)
        builder.add_edge(START, "answer")
        return builder.compile(checkpointer=self.manager.checkpointer, **options)

    def answer(self, state: Any) -> Any:
        seen = texts(state[self.channel])
        self.saw.append(seen)
        self.meanwhile()
        more = {} if self.channel == "chat" else {"answers": 1}
        return {self.channel: [AIMessage(f"re: {seen[-1]}")], **more}

    def run(self, given: Any, **options: Any) -> Any:
        """Run the graph; a text is what the user says."""
        value = {self.channel: [HumanMessage(given)]} if isinstance(given, str) else given
        if NO_CONTEXT:
            return self.graph.invoke(value, self.session.config, **options)
        return self.form.do(self.graph, "invoke", value, self.session.config, **options)

    def do(self, name: str, *args: Any, **options: Any) -> Any:
        return self.form.do(self.session, name, *args, **options)

    def state(self) -> Any:
        return self.form.do(self.graph, "get_state", self.session.config)

    def history(self) -> list[Any]:
        """All states, the newest first."""
        if self.form.loop is None:
            return list(self.graph.get_state_history(self.session.config))

        async def gather() -> list[Any]:
            return [state async for state in self.graph.aget_state_history(self.session.config)]

        return self.form.loop.run_until_complete(gather())

    def agrees(self, expected: Sequence[str], then: tuple[str, ...] = ()) -> None:
        """Session and graph say the same, and what is stored is whole."""
        state, history = self.state(), self.history()
        assert self.form.texts(self.session) == texts(state.values.get(self.channel, [])) == list(expected)
        assert self.do("messages") == state.values.get(self.channel, [])
        assert self.do("len") == len(expected)
        assert state.next == history[0].next == then
        assert history[0].config == state.config
        assert history[0].values == state.values
        assert self.form.do(self.manager.checkpointer, "check", self.session.id) == []

    def unchanged(self, before: list[Any], more: int = 0) -> None:
        """So many states are new; all that there were are as they were."""
        assert self.history()[more:] == before


def texts(messages: Sequence[Any]) -> list[str]:
    return [message.text for message in messages]


def talked(form: Form, manager: SessionManager, session: Session) -> Sitting:
    """Two turns of a conversation, the messages of which are `TALK`."""
    sitting = Sitting(form, manager, session)
    sitting.run("a")
    sitting.run("b")
    return sitting


@pytest.fixture
def sitting(form: Form, manager: SessionManager, session: Session) -> Sitting:
    """A session in which a graph has answered twice."""
    return talked(form, manager, session)


# -- graphs that keep their messages elsewhere, or none


def test_a_channel_of_another_name(manager_on: Callable[..., SessionManager], form: Form) -> None:
    manager = manager_on(channel="chat")
    sitting = Sitting(form, manager, form.do(manager, "create_session"), "chat")
    sitting.run("a")
    sitting.do("replace", 0, "user", "x")
    sitting.run("b")
    assert sitting.saw[-1] == ["x", "re: a", "b"]
    before = sitting.history()
    sitting.do("append", "user", "n")
    sitting.agrees(["x", "re: a", "b", "re: b", "n"])
    sitting.do("undo")
    sitting.do("rewind", 2)
    sitting.agrees([])
    sitting.unchanged(before, 3)
    sitting.run("c")
    sitting.agrees(["c", "re: c"])


def test_a_graph_without_messages_leaves_the_log_to_the_session(
    form: Form, manager: SessionManager, session: Session
) -> None:
    builder: Any = StateGraph(Steps)
    builder.add_node("step", lambda state: {"done": [f"{len(state['done'])}"]})
    builder.add_edge(START, "step")
    graph = builder.compile(checkpointer=manager.checkpointer)

    def done() -> Any:
        return form.do(graph, "get_state", session.config).values.get("done", [])

    form.do(graph, "invoke", {"done": []}, session.config)
    form.do(session, "extend", ["a", ("assistant", "b")])
    form.do(graph, "invoke", {"done": ["+"]}, session.config)
    form.do(session, "extend", ["c", ("assistant", "d")])
    form.do(session, "replace", 0, "user", "x")
    assert (form.texts(session), done()) == (["x", "b", "c", "d"], ["0", "+", "2"])
    with pytest.raises(SessionError, match="2 turns"):
        form.do(session, "rewind", 3)
    form.do(session, "rewind", 1)
    assert (form.texts(session), done()) == (["x", "b"], ["0"])
    assert form.do(session, "undo") == "Restored: before rewind of 1 turn"
    assert (form.texts(session), done()) == (["x", "b", "c", "d"], ["0", "+", "2"])
    assert form.do(session, "undo") == "Restored: before replace at 0"
    form.do(graph, "invoke", {"done": []}, session.config)
    assert (form.texts(session), done()) == (["a", "b", "c", "d"], ["0", "+", "2", "3"])
    with pytest.raises(SessionError, match="has 2 turns, and not 3"):
        form.do(session, "rewind", 3)
    fork = form.do(session, "fork")
    form.do(fork, "clear")
    form.do(graph, "invoke", {"done": ["fork"]}, fork.config)
    assert (form.texts(session), done()) == (["a", "b", "c", "d"], ["0", "+", "2", "3"])
    assert form.do(manager.checkpointer, "check", session.id) == []


def test_a_graph_cannot_bring_its_messages_into_a_session_with_a_log(
    form: Form, manager: SessionManager, session: Session
) -> None:
    sitting = Sitting(form, manager, session)
    sitting.do("append", "user", "log")
    for _ in range(2):
        with pytest.raises(MessagesElsewhere, match=r"'messages'.*clear"):
            sitting.run("a")
        assert sitting.history() == []
        assert form.texts(session) == ["log"]
    assert sitting.do("undo") == "Restored: before append of 1 message"
    sitting.run("a")
    sitting.agrees(["a", "re: a"])


@pytest.mark.parametrize("step", ["undo", "redo"])
def test_a_log_does_not_come_back_under_a_graph(
    form: Form, manager: SessionManager, session: Session, step: str
) -> None:
    sitting = Sitting(form, manager, session)
    sitting.do("append", "user", "log")
    sitting.do("clear" if step == "undo" else "undo")
    sitting.run("a")
    before = sitting.history()
    with pytest.raises(ConflictError):
        sitting.do(step)
    sitting.unchanged(before)
    sitting.agrees(["a", "re: a"])


# -- graphs in graphs


class Counting(Sitting):
    """A graph whose node asks another graph, which counts how often it was asked, and remembers."""

    def compiled(self, **options: Any) -> Any:
        builder: Any = StateGraph(Steps)
        builder.add_node("count", lambda state: {"done": ["again"]})
        builder.add_edge(START, "count")
        self.inner = builder.compile(checkpointer=True)
        return super().compiled(**options)

    def answer(self, state: Any) -> Any:
        self.saw.append(texts(state["messages"]))
        return {"messages": [AIMessage(f"{len(self.inner.invoke({'done': []})['done'])}")]}

    def kept(self) -> list[Any]:
        """The checkpoints of the inner graph."""
        found = self.manager.checkpointer.list({"configurable": {"thread_id": self.session.id}})
        named = [each for each in found if each.config["configurable"]["checkpoint_ns"]]
        return [(each.config["configurable"]["checkpoint_id"], each.checkpoint["channel_values"]) for each in named]


def test_inner_graphs_stay_with_the_session_and_come_along_with_forks(
    form: Form, manager: SessionManager, session: Session
) -> None:
    sitting = Counting(form, manager, session)
    sitting.run("a")
    sitting.run("b")
    kept = sitting.kept()
    assert len(kept) >= 2
    sitting.do("replace", 0, "user", "x")
    sitting.do("undo")
    sitting.do("redo")
    sitting.do("rewind", 1)
    sitting.do("undo")
    sitting.agrees(["x", "1", "b", "2"])
    assert sitting.kept() == kept
    fork = Counting(form, manager, sitting.do("fork"))
    assert fork.kept() == kept
    with pytest.raises(SessionError, match="no checkpoint"):
        sitting.do("rewind", checkpoint_id=kept[0][0])  # of the inner graph
    fork.run("c")
    fork.agrees(["x", "1", "b", "2", "c", "3"])
    assert sitting.kept() == kept
    sitting.run("d")
    sitting.run("e")
    sitting.agrees(["x", "1", "b", "2", "d", "3", "e", "4"])
    there = fork.kept()
    sitting.do("delete")
    assert (sitting.kept(), fork.kept()) == ([], there)
    fork.run("f")
    fork.agrees(["x", "1", "b", "2", "c", "3", "f", "4"])
