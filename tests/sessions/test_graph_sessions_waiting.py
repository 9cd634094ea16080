"""A graph's session that is edited while the graph waits: for somebody to go on, or for an answer.

Rule: an edit triggers nothing and skips nothing: what was next is next, and it sees the messages as they are now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from sessions.test_graph_sessions import Sitting, State, texts
from support.sittings import Form

from langgraph_sessionstore import Session, SessionManager


def go_back(sitting: Sitting) -> None:
    """Edit, and take the state from before it."""
    name = sitting.history()[0].config["configurable"]["checkpoint_id"]
    sitting.do("replace", 0, "user", "x")
    sitting.do("rewind", checkpoint_id=name)


EDITS: list[tuple[str, Callable[[Sitting], Any], list[str]]] = [
    ("replace", lambda on: on.do("replace", 0, "user", "x"), ["x", "re: a", "b"]),
    ("append", lambda on: on.do("append", "user", "x"), ["a", "re: a", "b", "x"]),
    ("remove", lambda on: on.do("remove", -1), ["a", "re: a"]),
    ("set_messages", lambda on: on.do("set_messages", ["x"]), ["x"]),
    ("undo", lambda on: (on.do("replace", 0, "user", "x"), on.do("undo")), ["a", "re: a", "b"]),
    ("redo", lambda on: (on.do("remove", 0), on.do("undo"), on.do("redo")), ["re: a", "b"]),
    ("rewind", go_back, ["a", "re: a", "b"]),
]


@pytest.mark.parametrize(("edit", "after"), [each[1:] for each in EDITS], ids=[each[0] for each in EDITS])
def test_a_run_that_stops_before_a_node_goes_on_from_an_edit(
    form: Form, manager: SessionManager, session: Session, edit: Callable[[Sitting], Any], after: list[str]
) -> None:
    sitting = Sitting(form, manager, session)
    sitting.graph = sitting.compiled(interrupt_before=["answer"])
    sitting.run("a")
    sitting.agrees(["a"], ("answer",))
    sitting.run(None)
    sitting.run("b")
    before = sitting.history()
    edit(sitting)
    sitting.agrees(after, ("answer",))
    sitting.unchanged(before, len(sitting.history()) - len(before))
    sitting.run(None)
    assert sitting.saw == [["a"], after]
    sitting.agrees([*after, f"re: {after[-1]}"])


def test_a_node_that_failed_is_tried_again_on_what_was_put_right(
    form: Form, manager: SessionManager, session: Session
) -> None:
    sitting = Sitting(form, manager, session)
    sitting.run("a")

    def fail() -> None:
        if "bad" in sitting.saw[-1]:
            raise ValueError("a bad message")

    sitting.meanwhile = fail
    with pytest.raises(ValueError, match="a bad message"):
        sitting.run("bad", durability="sync")
    sitting.agrees(["a", "re: a", "bad"], ("answer",))
    sitting.do("replace", -1, "user", "good")
    sitting.agrees(["a", "re: a", "good"], ("answer",))
    sitting.run(None)
    sitting.agrees(["a", "re: a", "good", "re: good"])
    assert len(sitting.saw) == 3


class Asking(Sitting):
    """A graph that asks before it answers, and closes with a word."""

    def compiled(self, **options: Any) -> Any:
        builder: Any = StateGraph(State)
        builder.add_node("ask", self.ask)
        builder.add_node("answer", self.answer)
        builder.add_node("close", lambda state: {"messages": [AIMessage("bye")]})
        builder.add_edge(START, "ask")
        builder.add_edge("ask", "answer")
        builder.add_edge("answer", "close")
        return builder.compile(**{"checkpointer": self.manager.checkpointer, **options})

    def ask(self, state: Any) -> Any:
        said = interrupt(texts(state["messages"]))
        return {"messages": [HumanMessage(f"{said}")]}

    def asked(self) -> list[Any]:
        return [each.value for each in self.state().interrupts]


@pytest.mark.parametrize("undone", [False, True])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_an_interrupt_is_asked_anew_after_an_edit(
    form: Form, manager: SessionManager, session: Session, durability: str, undone: bool
) -> None:
    sitting = Asking(form, manager, session)
    sitting.run("a", durability=durability)
    assert sitting.asked() == [["a"]]
    sitting.agrees(["a"], ("ask",))
    before, expected = sitting.history(), ["x"]
    sitting.do("replace", 0, "user", "x")
    if undone:
        sitting.do("undo")
        expected = ["a"]
    assert sitting.asked() == []
    sitting.agrees(expected, ("ask",))
    sitting.unchanged(before, 1 + undone)
    sitting.run(None, durability=durability)
    assert sitting.asked() == [expected]
    sitting.agrees(expected, ("ask",))
    sitting.run(Command(resume="yes"), durability=durability)
    assert sitting.saw == [[*expected, "yes"]]
    sitting.agrees([*expected, "yes", "re: yes", "bye"])


def test_an_answer_that_comes_right_after_an_edit_is_taken(
    form: Form, manager: SessionManager, session: Session
) -> None:
    """LangGraph gives it to the node that would ask, as after `update_state`."""
    sitting = Asking(form, manager, session)
    sitting.run("a")
    sitting.do("replace", 0, "user", "x")
    sitting.run(Command(resume="yes"))
    assert sitting.saw == [["x", "yes"]]
    sitting.agrees(["x", "yes", "re: yes", "bye"])


@pytest.mark.parametrize("durability", ["sync", "exit"])
def test_an_answer_to_an_interrupt_begins_no_turn(
    form: Form, manager: SessionManager, session: Session, durability: str
) -> None:
    sitting = Asking(form, manager, session)
    for text in "ab":
        sitting.run(text, durability=durability)
        sitting.run(Command(resume="yes"), durability=durability)
    talk = ["a", "yes", "re: yes", "bye"]
    sitting.agrees([*talk, "b", "yes", "re: yes", "bye"])
    sitting.do("rewind", 1)
    sitting.agrees(talk)


class Beside(Asking):
    """A graph in which a node answers while another one asks."""

    def compiled(self, **options: Any) -> Any:
        return self.on(self.manager.checkpointer)

    def on(self, saver: Any) -> Any:
        builder: Any = StateGraph(State)
        builder.add_node("ask", self.ask)
        builder.add_node("answer", self.answer)
        builder.add_edge(START, "ask")
        builder.add_edge(START, "answer")
        return builder.compile(checkpointer=saver)


def test_an_edit_beside_a_node_that_has_finished_does_what_update_state_does(
    form: Form, manager: SessionManager, session: Session
) -> None:
    ours, peer = Beside(form, manager, session), Beside(form, manager, session)
    peer.graph = peer.on(InMemorySaver())
    for sitting in (ours, peer):
        sitting.run("a")
        assert (sitting.state().next, sitting.saw) == (("ask",), [["a"]])
    assert ours.do("messages") == ours.history()[0].values["messages"]
    added = {"messages": [HumanMessage("x")]}
    ours.do("append", "user", "x")
    form.do(peer.graph, "update_state", session.config, added)
    for sitting in (ours, peer):
        assert texts(sitting.state().values["messages"]) == ["a", "x"]
        assert set(sitting.state().next) == {"ask", "answer"}
        sitting.run(Command(resume="yes"))
    assert ours.saw == peer.saw == [["a"], ["a", "x"]]
    ours.agrees(texts(peer.state().values["messages"]))


class Nested(Asking):
    """A graph that asks, inside another one."""

    def compiled(self, **options: Any) -> Any:
        builder: Any = StateGraph(State)
        builder.add_node("inner", super().compiled(**options, checkpointer=None))
        builder.add_edge(START, "inner")
        return builder.compile(checkpointer=self.manager.checkpointer)


def test_an_inner_graph_that_waits_begins_anew_after_an_edit(
    form: Form, manager: SessionManager, session: Session
) -> None:
    sitting = Nested(form, manager, session)
    sitting.run("a")
    assert sitting.asked() == [["a"]]
    sitting.do("replace", 0, "user", "x")
    sitting.agrees(["x"], ("inner",))
    sitting.run(None)
    assert sitting.asked() == [["x"]]
    sitting.run(Command(resume="yes"))
    sitting.agrees(["x", "yes", "re: yes", "bye"])


def test_a_question_is_asked_again_when_its_answer_was_rewound(
    form: Form, manager: SessionManager, session: Session
) -> None:
    sitting = Asking(form, manager, session)
    sitting.run("a")
    name = sitting.state().config["configurable"]["checkpoint_id"]
    sitting.run(Command(resume="yes"))
    sitting.do("rewind", checkpoint_id=name)
    sitting.agrees(["a"], ("ask",))
    sitting.run(None)
    assert sitting.asked() == [["a"]]
    sitting.run(Command(resume="no"))
    sitting.agrees(["a", "no", "re: no", "bye"])


def test_a_fork_of_a_session_that_waits_is_answered_by_itself(
    form: Form, manager: SessionManager, session: Session
) -> None:
    sitting = Asking(form, manager, session)
    sitting.run("a")
    fork = Asking(form, manager, sitting.do("fork"))
    assert fork.asked() == sitting.asked() == [["a"]]
    fork.run(Command(resume="yes"))
    assert sitting.asked() == [["a"]]
    sitting.run(Command(resume="no"))
    fork.agrees(["a", "yes", "re: yes", "bye"])
    sitting.agrees(["a", "no", "re: no", "bye"])
