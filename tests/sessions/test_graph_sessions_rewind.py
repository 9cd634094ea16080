"""A graph's session that is taken back, by turns or to any checkpoint; and one that is forked.

Rule: the state is the one that it was, in LangGraph's eyes as well; nothing is lost on the way; a turn is an input of
the graph, however its runs are stored. A fork is as good as its source, and neither changes the other.
"""

from __future__ import annotations

from typing import Any

import pytest
from sessions.test_graph_sessions import TALK, Sitting, talked, texts
from support.sittings import Form

from langgraph_sessionstore import (
    ConflictError,
    NothingToUndo,
    Session,
    SessionError,
    SessionManager,
    SessionStoreError,
)


@pytest.fixture
def sitting(form: Form, manager: SessionManager, session: Session) -> Sitting:
    """A session in which a graph has answered twice."""
    return talked(form, manager, session)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_rewinding_by_turns(form: Form, manager: SessionManager, session: Session, durability: str) -> None:
    sitting = Sitting(form, manager, session)
    values = []
    for number, text in enumerate("abcd"):
        values.append(sitting.state().values)
        if number == 2:
            sitting.do("replace", 0, "user", "x")
        sitting.run(text, durability=durability)
    after = ["x", "re: a", "b", "re: b"]
    before = sitting.history()
    assert sitting.do("rewind", 1) == "Restored: before the last turn"
    sitting.agrees([*after, "c", "re: c"])
    assert sitting.state().values == values[3]
    sitting.unchanged(before, 1)
    assert sitting.do("rewind", turns=1) == "Restored: before the last turn"
    sitting.agrees(after)
    sitting.run("e", durability=durability)
    sitting.agrees([*after, "e", "re: e"])
    assert sitting.do("rewind", 2) == "Restored: before the last 2 turns"
    sitting.agrees(["a", "re: a"])
    assert sitting.state().values == values[1]
    assert sitting.do("undo") == "Restored: before rewind of 2 turns"
    sitting.agrees([*after, "e", "re: e"])
    assert sitting.do("redo") == "Restored: after rewind of 2 turns"
    sitting.run("f", durability=durability)
    sitting.agrees(["a", "re: a", "f", "re: f"])
    assert sitting.do("rewind", 2) == "Restored: before the last 2 turns"
    sitting.agrees([])
    sitting.run("g", durability=durability)
    assert sitting.saw[-1] == ["g"]
    sitting.agrees(["g", "re: g"])
    assert sitting.state().values["answers"] == 1


@pytest.mark.parametrize("durability", ["sync", "exit"])
def test_a_turn_counts_the_same_after_an_edit_was_undone(
    form: Form, manager: SessionManager, session: Session, durability: str
) -> None:
    sitting = Sitting(form, manager, session)
    for text in "abc":
        sitting.run(text, durability=durability)
    sitting.do("replace", 0, "user", "x")
    sitting.do("undo")
    sitting.do("rewind", 1)
    sitting.agrees(TALK)


def test_rewinding_to_any_checkpoint(sitting: Sitting) -> None:
    history = sitting.history()
    for past in history:
        name = past.config["configurable"]["checkpoint_id"]
        assert sitting.do("rewind", checkpoint_id=name) == f"Restored: checkpoint {name}"
        sitting.agrees(texts(past.values["messages"]), past.next)
        assert sitting.state().values == past.values
    sitting.unchanged(history, len(history))
    planned = next(past for past in history if past.next == ("answer",))
    sitting.do("rewind", checkpoint_id=planned.config["configurable"]["checkpoint_id"])
    sitting.run(None)
    sitting.agrees(TALK)
    assert sitting.saw[-1] == TALK[:3]
    with pytest.raises(ConflictError, match="gone on"):
        sitting.do("undo")


def test_turns_count_from_a_state_in_the_middle_of_one(sitting: Sitting) -> None:
    """The state right after an input belongs to the turn that the input began."""
    given = next(past for past in sitting.history() if past.metadata["source"] == "input")
    sitting.do("rewind", checkpoint_id=given.config["configurable"]["checkpoint_id"])
    sitting.run(None)
    sitting.agrees(TALK)
    sitting.do("rewind", 1)
    sitting.agrees(TALK[:2])


def test_a_state_from_before_all_turns_can_be_edited_and_undone(sitting: Sitting) -> None:
    values = sitting.state().values
    sitting.do("rewind", 2)
    sitting.agrees([])
    sitting.do("append", "user", "x")
    sitting.do("insert", 0, "system", "s")
    sitting.do("replace", 1, "user", "y")
    sitting.agrees(["s", "y"])
    with pytest.raises(SessionError, match="0 turns"):
        sitting.do("rewind", 1)
    for left in (["s", "x"], ["x"], []):
        sitting.do("undo")
        sitting.agrees(left)
    assert sitting.do("undo") == "Restored: before rewind of 2 turns"
    assert sitting.state().values == values
    for _ in range(3):
        sitting.do("redo")
    sitting.agrees(["s", "x"])
    sitting.run("c")
    assert sitting.saw[-1] == ["s", "x", "c"]
    sitting.agrees(["s", "x", "c", "re: c"])


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "one of both"),
    ({"turns": 1, "checkpoint_id": "x"}, "one of both"),
    ({"turns": 0}, "whole number"),
    ({"turns": -1}, "whole number"),
    ({"turns": True}, "whole number"),
    ({"turns": 1.0}, "whole number"),
    ({"turns": 3}, "2 turns"),
    ({"checkpoint_id": "unknown"}, "'unknown'"),
    ({"checkpoint_id": ""}, "''"),
    ({"checkpoint_id": 3}, "3"),
]


@pytest.mark.parametrize(("options", "says"), BAD, ids=[repr(options) for options, _ in BAD])
def test_a_rewind_that_cannot_be_done_changes_nothing(sitting: Sitting, options: dict[str, Any], says: str) -> None:
    before = sitting.history()
    with pytest.raises(SessionStoreError, match=says):
        sitting.do("rewind", **options)
    sitting.unchanged(before)
    sitting.agrees(TALK)
    with pytest.raises(NothingToUndo):
        sitting.do("undo")


# -- forks


def test_a_fork_and_its_source_go_separate_ways(sitting: Sitting) -> None:
    sitting.do("replace", 0, "user", "x")
    edited = ["x", *TALK[1:]]
    before = sitting.history()
    fork = Sitting(sitting.form, sitting.manager, sitting.do("fork"))
    assert fork.do("info").parent == sitting.session.id
    assert sitting.do("info").parent is None
    fork.agrees(edited)
    assert [state.values for state in fork.history()] == [state.values for state in before]

    fork.run("c")
    fork.do("remove", 0)
    sitting.unchanged(before)
    sitting.agrees(edited)
    there = fork.history()
    sitting.run("d")
    sitting.do("rewind", 2)
    sitting.agrees(["a", "re: a"])
    fork.unchanged(there)
    fork.agrees([*TALK[1:], "c", "re: c"])
    fork.run("e")
    sitting.run("f")
    assert (fork.saw[-1], sitting.saw[-1]) == ([*TALK[1:], "c", "re: c", "e"], ["a", "re: a", "f"])
    assert sitting.do("delete")
    fork.agrees([*TALK[1:], "c", "re: c", "e", "re: e"])


def test_a_fork_can_undo_what_its_source_did(sitting: Sitting) -> None:
    sitting.do("replace", 0, "user", "x")
    fork = Sitting(sitting.form, sitting.manager, sitting.do("fork"))
    assert fork.do("undo") == "Restored: before replace at 0"
    fork.agrees(TALK)
    sitting.agrees(["x", *TALK[1:]])
    fork.do("redo")
    fork.agrees(["x", *TALK[1:]])
