"""Edits of a graph's session: each is one state that the graph goes on from, and costs what it changes.

Rule: nothing that there was before an edit changes; the newest state is the edited one, and the graph goes on from it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from sessions.test_graph_sessions import TALK, Sitting, talked, texts
from support.proxy import Proxy
from support.sittings import Form

from langgraph_sessionstore import (
    Backend,
    ConflictError,
    NothingToUndo,
    Session,
    SessionError,
    SessionManager,
    keys,
    open_backend,
    run,
)
from langgraph_sessionstore.ops import Range, must


@pytest.fixture
def sitting(form: Form, manager: SessionManager, session: Session) -> Sitting:
    """A session in which a graph has answered twice."""
    return talked(form, manager, session)


def transact(sitting: Sitting) -> None:
    """Two changes at once, and a summary beside them."""
    transaction = sitting.session.transaction()
    tx = sitting.form.enter(transaction)
    tx.remove(1)
    tx.append("assistant", "t")
    tx.summary = "S"
    sitting.form.leave(transaction)


Edit = Callable[[Sitting], Any]
EDITS: list[tuple[str, Edit, list[str]]] = [
    ("append of 1 message", lambda on: on.do("append", "user", "n"), [*TALK, "n"]),
    ("append of 2 messages", lambda on: on.do("extend", ["n", "m"]), [*TALK, "n", "m"]),
    ("insert at 1", lambda on: on.do("insert", 1, "user", "n"), ["a", "n", *TALK[1:]]),
    ("replace at 0", lambda on: on.do("replace", 0, "user", "n"), ["n", *TALK[1:]]),
    ("remove at -2", lambda on: on.do("remove", -2), ["a", "re: a", "re: b"]),
    ("prune of 1 exchange", lambda on: on.do("prune", 1), ["a", "re: a"]),
    ("truncate to 1 and 1", lambda on: on.do("truncate", 1, 1), ["a", "re: b"]),
    ("set_messages of 2 messages", lambda on: on.do("set_messages", ["n", ("assistant", "m")]), ["n", "m"]),
    ("clear", lambda on: on.do("clear"), []),
    ("transaction of 3 changes", transact, ["a", "b", "re: b", "t"]),
]


@pytest.mark.parametrize(("label", "edit", "after"), EDITS, ids=[label for label, _, _ in EDITS])
def test_each_edit_is_the_graphs_newest_state_and_can_be_undone(
    sitting: Sitting, label: str, edit: Edit, after: list[str]
) -> None:
    before = sitting.history()
    kept = sitting.do("messages")
    edit(sitting)
    sitting.agrees(after)
    sitting.unchanged(before, 1)
    assert sitting.state().parent_config == before[0].config
    assert sitting.state().values["answers"] == 2
    steps = [each.metadata["step"] for each in sitting.history()[:2]]
    assert (sitting.state().metadata["source"], steps[0]) == ("update", steps[1] + 1)

    edited = sitting.state().values
    assert sitting.do("undo") == f"Restored: before {label}"
    sitting.agrees(TALK)
    assert sitting.do("messages") == kept
    with pytest.raises(NothingToUndo):
        sitting.do("undo")
    assert sitting.do("redo") == f"Restored: after {label}"
    sitting.agrees(after)
    assert sitting.state().values == edited
    with pytest.raises(NothingToUndo):
        sitting.do("redo")
    sitting.unchanged(before, 3)

    sitting.run("c")
    assert sitting.saw[2:] == [[*after, "c"]]
    sitting.agrees([*after, "c", "re: c"])
    assert sitting.state().values["answers"] == 3
    now = sitting.history()
    with pytest.raises(ConflictError, match="gone on"):
        sitting.do("undo")
    sitting.unchanged(now)


def test_edits_on_edits_are_undone_one_by_one(sitting: Sitting) -> None:
    states = [sitting.do("messages")]
    for _, edit, _ in EDITS[:6]:
        edit(sitting)
        states.append(sitting.do("messages"))
    for (label, _, _), state in zip(EDITS[5::-1], states[-2::-1], strict=True):
        assert sitting.do("undo") == f"Restored: before {label}"
        assert sitting.do("messages") == state
        sitting.agrees(texts(state))
    with pytest.raises(NothingToUndo):
        sitting.do("undo")
    for (label, _, _), state in zip(EDITS[:6], states[1:], strict=True):
        assert sitting.do("redo") == f"Restored: after {label}"
        sitting.agrees(texts(state))
    sitting.do("undo")
    sitting.do("append", "user", "n")
    with pytest.raises(NothingToUndo):
        sitting.do("redo")
    sitting.run("c")
    assert sitting.saw[-1] == [*texts(states[-2]), "n", "c"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_runs_of_any_durability_go_on_from_edits(
    form: Form, manager: SessionManager, session: Session, durability: Any
) -> None:
    sitting = Sitting(form, manager, session)
    sitting.run("a", durability=durability)
    sitting.do("replace", 0, "user", "x")
    sitting.agrees(["x", "re: a"])
    sitting.run("b", durability=durability)
    before = sitting.history()
    sitting.do("remove", 1)
    sitting.do("undo")
    sitting.do("redo")
    sitting.agrees(["x", "b", "re: b"])
    sitting.unchanged(before, 3)
    sitting.run("c", durability=durability)
    assert sitting.saw == [["a"], ["x", "re: a", "b"], ["x", "b", "re: b", "c"]]
    sitting.agrees(["x", "b", "re: b", "c", "re: c"])


def test_messages_keep_their_ids_and_a_graph_may_change_what_was_put_in(sitting: Sitting) -> None:
    first, *others = sitting.do("messages")
    sitting.do("replace", 0, HumanMessage("x", id=first.id))
    sitting.do("append", "assistant", "n")
    now = sitting.do("messages")
    assert now[1:-1] == others
    assert len({message.id for message in now} - {None}) == len(now)
    changed = [HumanMessage("y", id=first.id), AIMessage("m", id=now[-1].id)]
    sitting.form.do(sitting.graph, "update_state", sitting.session.config, {"messages": changed}, as_node="answer")
    sitting.agrees(["y", *TALK[1:], "m"])


def test_purging_leaves_one_state_of_the_graph_and_nothing_of_the_messages(
    sitting: Sitting, storage: Callable[[], Backend]
) -> None:
    sitting.do("replace", 0, "user", "x")
    earlier = sitting.history()[-1].config["configurable"]["checkpoint_id"]
    sitting.do("clear", purge=True)
    sitting.agrees([])
    assert len(sitting.history()) == 1
    (rows,) = run(storage(), must(keys.session(sitting.session.id), Range(b"", None)))
    assert not [key for key, value in rows if b"re: a" in value or b"human" in value]
    with pytest.raises(SessionError, match="no checkpoint"):
        sitting.do("rewind", checkpoint_id=earlier)
    with pytest.raises(NothingToUndo):
        sitting.do("undo")
    sitting.run("c")
    assert sitting.saw[-1] == ["c"]
    sitting.agrees(["c", "re: c"])


def test_an_edit_that_fails_leaves_no_state(sitting: Sitting) -> None:
    before = sitting.history()
    with pytest.raises(IndexError, match="4 messages"):
        sitting.do("replace", 4, "user", "x")
    transaction = sitting.session.transaction()
    sitting.form.enter(transaction).clear()
    sitting.form.leave(transaction, ValueError("no"))
    sitting.do("truncate", 2, 2)
    sitting.do("extend", [])
    sitting.unchanged(before)
    sitting.agrees(TALK)


def test_a_summary_is_no_state_of_the_graph_and_is_undone_whatever_the_graph_does(sitting: Sitting) -> None:
    sitting.do("replace", 0, "user", "x")
    before = sitting.history()
    sitting.do("set_summary", "S")
    sitting.do("update", title="T")
    sitting.unchanged(before)
    sitting.run("c")
    now = sitting.history()
    assert sitting.do("undo") == "Restored: before title"
    assert sitting.do("undo") == "Restored: before summary"
    assert (sitting.do("summary"), sitting.do("info").title) == (None, None)
    with pytest.raises(ConflictError, match="gone on since the replace at 0"):
        sitting.do("undo")
    sitting.unchanged(now)
    assert sitting.do("redo") == "Restored: after summary"
    assert sitting.do("summary") == "S"


def test_states_that_were_pruned_are_no_longer_restored(sitting: Sitting) -> None:
    sitting.do("replace", 0, "user", "x")
    name = sitting.history()[1].config["configurable"]["checkpoint_id"]
    sitting.form.do(sitting.manager.checkpointer, "prune", [sitting.session.id])
    before = sitting.history()
    assert len(before) == 1
    for error, steps in ((ConflictError, ("undo",)), (ConflictError, ("rewind", 1)), (SessionError, ("rewind", None))):
        with pytest.raises(error):
            sitting.do(*steps, **({"checkpoint_id": name} if None in steps else {}))
    sitting.unchanged(before)
    sitting.do("remove", 1)
    sitting.do("undo")
    sitting.agrees(["x", *TALK[1:]])
    sitting.run("c")
    assert sitting.do("rewind", 1) == "Restored: before the last turn"
    sitting.agrees(["x", *TALK[1:]])


@pytest.mark.parametrize("depth", [0, 2])
def test_so_many_edits_can_be_undone(manager_on: Callable[..., SessionManager], form: Form, depth: int) -> None:
    manager = manager_on(undo=depth)
    sitting = talked(form, manager, form.do(manager, "create_session"))
    for text in "vwxy":
        sitting.do("replace", 0, "user", text)
    for text in "xw"[:depth]:
        assert sitting.do("undo") == "Restored: before replace at 0"
        sitting.agrees([text, *TALK[1:]])
    before = sitting.history()
    with pytest.raises(NothingToUndo):
        sitting.do("undo")
    sitting.unchanged(before)


# -- what it costs

LONG = 1000


def said(number: int) -> Any:
    """400 bytes of text."""
    text = f"{number:08}" * 50
    return AIMessage(text, id=f"m{number}") if number % 2 else HumanMessage(text, id=f"m{number}")


CHEAP: list[tuple[str, Edit]] = [
    ("replace", lambda on: on.do("replace", LONG // 2, "user", "n")),
    ("undo", lambda on: on.do("undo")),
    ("redo", lambda on: on.do("redo")),
    ("append", lambda on: on.do("append", "user", "n")),
    ("insert", lambda on: on.do("insert", 0, "user", "n")),
    ("remove", lambda on: on.do("remove", 10)),
    ("truncate", lambda on: on.do("truncate", 400, 400)),
    ("prune", lambda on: on.do("prune", 3)),
    ("rewind", lambda on: on.do("rewind", 1)),
]


def test_an_edit_stores_what_it_changes(sitting: Sitting) -> None:
    def size() -> int:
        (rows,) = run(sitting.manager.backend, must(keys.session(sitting.session.id), Range(b"", None)))
        return sum(len(key) + len(value) for key, value in rows)

    sitting.run({"messages": [said(number) for number in range(LONG)]})
    sitting.run("c")
    assert size() > 400 * LONG
    for name, edit in CHEAP:
        before = size()
        edit(sitting)
        assert size() - before < 4000, name
    sitting.agrees(texts(sitting.state().values["messages"]))


@pytest.fixture
def managers(proxy: Proxy, form: Form) -> Iterator[list[SessionManager]]:
    """Two workers behind the proxy."""
    url, prefix = f"redis://{proxy.host}:{proxy.port}/0", f"test-{uuid.uuid4()}"
    made = [SessionManager(open_backend(url, prefix=prefix)) for _ in range(2)]
    yield made
    for manager in made:
        form.do(manager.backend, "close")


def test_an_edit_sends_what_it_changes(form: Form, proxy: Proxy, managers: list[SessionManager]) -> None:
    """Also when another worker wrote all that there is, and this one has only read it."""
    sitting = Sitting(form, managers[0], form.do(managers[0], "create_session"))
    sitting.run({"messages": [said(number) for number in range(LONG)]})
    sitting.run("c")
    other = Sitting(form, managers[1], form.do(managers[1], "get_session", sitting.session.id))
    for name, edit in CHEAP:
        for each in (sitting, other):
            each.do("messages")
            proxy.reset()
            edit(each)
            assert 0 < proxy.bytes_up < 6500, name
            if name not in ("undo", "redo", "replace"):
                each.do("undo")
