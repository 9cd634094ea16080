"""Undo, redo, transactions: exactly one operation each, whoever made it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from support.sittings import Form

from langgraph_sessionstore import (
    ConflictError,
    NothingToUndo,
    Session,
    SessionError,
    SessionManager,
    SessionStoreError,
    keys,
    run,
)
from langgraph_sessionstore.ops import Range, must
from langgraph_sessionstore.plans import editing, layout, order, places


def state(session: Session) -> Any:
    """All that undo covers."""
    return [message.text for message in session.messages], session.summary, session.title, session.metadata


OPERATIONS: list[tuple[str, Callable[[Form, Session], Any]]] = [
    ("append of 1 message", lambda form, session: form.do(session, "append", "user", "n")),
    ("append of 2 messages", lambda form, session: form.do(session, "extend", ["n", "m"])),
    ("insert at 1", lambda form, session: form.do(session, "insert", 1, "user", "n")),
    ("replace at -1", lambda form, session: form.do(session, "replace", -1, "user", "n")),
    ("remove at 0", lambda form, session: form.do(session, "remove", 0)),
    ("prune of 1 exchange", lambda form, session: form.do(session, "prune", 1)),
    ("truncate to 1 and 1", lambda form, session: form.do(session, "truncate", 1, 1)),
    ("set_messages of 2 messages", lambda form, session: form.do(session, "set_messages", ["c", "x"])),
    ("clear", lambda form, session: form.do(session, "clear")),
    ("summary", lambda form, session: form.do(session, "set_summary", "S")),
    ("title", lambda form, session: form.do(session, "update", title="T")),
    ("metadata", lambda form, session: form.do(session, "update", metadata={"k": 1})),
    ("rewind of 1 turn", lambda form, session: form.do(session, "rewind", 1)),
]


def test_each_operation_is_undone_and_redone_by_another_worker(
    manager_on: Callable[..., SessionManager], form: Form
) -> None:
    session = form.do(manager_on(), "create_session", "undo", messages=["a", "b", "c"])
    states = [state(session)]
    for _, operation in OPERATIONS:
        if not session.messages:
            form.do(session, "extend", ["a", "b", "c"])
            states.append(state(session))
        operation(form, session)
        states.append(state(session))
    other = form.do(manager_on(), "get_session", "undo")
    labels = []
    for before in reversed(states[:-1]):
        labels.append(form.do(other, "undo"))
        assert state(session) == before
    assert [label for label in reversed(labels) if "3 messages" not in label] == [
        f"Restored: before {label}" for label, _ in OPERATIONS
    ]
    with pytest.raises(NothingToUndo):
        form.do(session, "undo")
    for after in states[1:]:
        assert form.do(session, "redo").startswith("Restored: after ")
        assert state(other) == after
    with pytest.raises(NothingToUndo):
        form.do(other, "redo")


def test_a_new_operation_ends_what_can_be_redone(session: Session, form: Form) -> None:
    form.do(session, "append", "user", "a")
    form.do(session, "set_summary", "S")
    form.do(session, "undo")
    form.do(session, "append", "user", "b")
    with pytest.raises(NothingToUndo):
        form.do(session, "redo")
    assert form.do(session, "undo") == "Restored: before append of 1 message"
    assert form.texts(session) == ["a"]


@pytest.mark.parametrize("depth", [0, 3, 50])
def test_undo_goes_so_deep(manager_on: Callable[..., SessionManager], form: Form, depth: int) -> None:
    session = form.do(manager_on(undo=depth), "create_session")
    for number in range(70):
        form.do(session, "append", "user", f"{number}")
    form.do(session, "replace", 0, "user", "x")
    form.do(session, "replace", 0, "user", "y")
    for _ in range(depth):
        form.do(session, "undo")
    with pytest.raises(NothingToUndo):
        form.do(session, "undo")
    assert form.do(session, "len") == 70 - max(0, depth - 2)
    clean(session)


def test_appends_alone_do_not_pile_up(manager_on: Callable[..., SessionManager], form: Form) -> None:
    manager = manager_on(undo=5)
    session = form.do(manager, "create_session")
    for number in range(100):
        form.do(session, "append", "user", f"{number}")
    (rows,) = run(manager.backend, must(keys.session(session.id), Range(*places.UNDONE)))
    assert len(rows) <= 5 + editing.TRIM
    assert form.do(session, "len") == 100


def test_transactions_are_one_operation(session: Session, form: Form) -> None:
    form.do(session, "append", "user", "a")
    before = state(session)
    transaction = session.transaction()
    tx = form.enter(transaction)
    tx.append("assistant", "b")
    tx.insert(0, "system", "s")
    tx.summary, tx.title, tx.metadata = "S", "T", {"k": [1]}
    assert [message.text for message in tx.messages] == ["s", "a", "b"]
    assert (len(tx), tx.at(0).text, tx.summary, tx.title, tx.metadata) == (3, "s", "S", "T", {"k": [1]})
    assert state(session) == before
    form.leave(transaction)
    after = (["s", "a", "b"], "S", "T", {"k": [1]})
    assert state(session) == after
    assert form.do(session, "undo") == "Restored: before transaction of 5 changes"
    assert state(session) == before
    form.do(session, "redo")
    assert state(session) == after


def test_a_transaction_that_fails_leaves_no_trace(session: Session, form: Form) -> None:
    form.do(session, "append", "user", "a")
    transaction = session.transaction()
    tx = form.enter(transaction)
    tx.clear()
    tx.summary = "S"
    form.leave(transaction, ValueError("the model is not reachable"))
    assert (form.texts(session), form.do(session, "summary")) == (["a"], None)
    assert form.do(session, "undo") == "Restored: before append of 1 message"


def test_a_transaction_conflicts_with_whoever_was_faster(session: Session, form: Form) -> None:
    form.do(session, "extend", ["a", "b"])
    transaction = session.transaction()
    tx = form.enter(transaction)
    assert len(tx.messages) == 2
    tx.remove(0)
    form.do(session, "append", "user", "c")
    with pytest.raises(ConflictError, match="nothing was stored"):
        form.leave(transaction)
    assert form.texts(session) == ["a", "b", "c"]

    blind = session.transaction()
    tx = form.enter(blind)
    tx.append("user", "e")
    form.do(session, "append", "user", "d")
    form.leave(blind)
    assert form.texts(session) == ["a", "b", "c", "d", "e"]
    assert form.do(session, "undo") == "Restored: before append of 1 message"

    tries = []

    def change(tx: Any) -> int:
        tries.append(len(tx))
        if len(tries) < 3:
            session.append("user", "again")
        tx.append("user", f"after {len(tx)}")
        return len(tx)

    assert form.do(session, "transact", change, retries=5) == 7
    assert tries == [4, 5, 6]

    def always_late(tx: Any) -> None:
        tx.clear()
        session.append("user", "x")

    with pytest.raises(ConflictError):
        form.do(session, "transact", always_late, retries=1)
    assert form.texts(session)[-2:] == ["x", "x"]


def test_a_transaction_is_used_once_at_a_time(session: Session, form: Form) -> None:
    transaction = session.transaction()
    form.enter(transaction)
    with pytest.raises(SessionStoreError, match="under way"):
        form.enter(transaction)
    form.leave(transaction)


def test_rewinding_a_log(session: Session, form: Form) -> None:
    form.do(session, "extend", [("system", "s"), "a", ("assistant", "b"), "c", ("assistant", "d"), ("assistant", "e")])
    with pytest.raises(SessionError, match="2 turns"):
        form.do(session, "rewind", 3)
    with pytest.raises(SessionError, match="no checkpoint"):
        form.do(session, "rewind", checkpoint_id="none")
    assert form.do(session, "rewind", 1) == "Restored: before the last turn"
    assert form.texts(session) == ["s", "a", "b"]
    form.do(session, "undo")
    assert form.do(session, "rewind", 2) == "Restored: before the last 2 turns"
    assert form.texts(session) == ["s"]


def clean(session: Session, edited: bool = True) -> None:
    """No message lacks that the order or what can be undone or redone needs; after an edit there are no others."""
    asked = Range(*places.MESSAGES), Range(*places.UNDONE), Range(*places.REDO), Range(*layout.only(places.ORDER))
    messages, undone, redo, view = run(session._common.backend, must(keys.session(session.id), *asked))
    stored = {int(keys.decode(key)[1]) for key, _ in messages}
    needed: set[int] = set()
    for _, row in [*undone, *redo]:
        step = editing.unpack_step(row, session.id)
        for rows in (step.before, step.after):
            if rows.get(places.ORDER) is not None:
                for first, stop in order.unpack(rows[places.ORDER], session.id).runs:
                    needed |= set(range(first, stop))
    now = order.unpack(view[0][1] if view else None, session.id)
    needed |= {number for first, stop in now.runs for number in range(first, stop)}
    if not view:
        needed |= stored
    assert needed <= stored
    assert not edited or {number for number in stored - needed if number < now.upto} == set()


KINDS = ("append", "extend", "insert", "replace", "remove", "set", "truncate", "prune", "undo", "redo")


@pytest.mark.parametrize("seed", range(6))
def test_random_operations_match_a_list(manager_on: Callable[..., SessionManager], form: Form, seed: int) -> None:
    chance = random.Random(seed)
    depth = chance.choice([2, 5, 50])
    managers = [manager_on(undo=depth), manager_on(undo=depth)]
    first = form.do(managers[0], "create_session")
    handles = [first, form.do(managers[1], "get_session", first.id)]
    model: list[str] = []
    past: list[list[str]] = []
    future: list[list[str]] = []
    for number in range(60):
        session = chance.choice(handles)
        new = list(model)
        at = chance.randrange(len(model)) if model else 0
        kind = chance.choice(KINDS)
        if kind == "append":
            form.do(session, kind, "user", f"{number}")
            new.append(f"{number}")
        elif kind == "extend":
            form.do(session, kind, [f"{number}", f"{number}b"])
            new += [f"{number}", f"{number}b"]
        elif kind == "insert":
            form.do(session, kind, at, "user", f"{number}")
            new.insert(at, f"{number}")
        elif kind in ("replace", "remove") and model:
            form.do(session, kind, at, *(("user", f"{number}") if kind == "replace" else ()))
            new[at : at + 1] = [f"{number}"] if kind == "replace" else []
        elif kind == "set":
            new = [*chance.sample(model, len(model) // 2), f"{number}"]
            form.do(session, "set_messages", new)
        elif kind == "truncate" and len(model) > 3:
            form.do(session, kind, 2, 1)
            new = [*model[:2], model[-1]]
        elif kind == "prune" and model:
            form.do(session, kind, 1)
            new = model[:-1]
        elif kind == "undo" and past:
            form.do(session, kind)
            future.append(model)
            model = past.pop()
            new = model
        elif kind == "redo" and future:
            form.do(session, kind)
            past.append(model)
            model = future.pop()
            new = model
        if new is not model and new != model:
            past, future = [*past, model][-depth:], []
            model = new
        assert form.texts(chance.choice(handles)) == model
        clean(first, edited=False)
    form.do(first, "insert", 0, "user", "the end")
    clean(first)
