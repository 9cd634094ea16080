"""Several workers on a graph's session at once.

Rule: each edit is stored once, or refused and stored not at all; whatever happened, session and graph say the same.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from sessions.test_graph_sessions import TALK, Sitting, talked, texts
from support.sittings import Form

from langgraph_sessionstore import (
    ConflictError,
    NothingToUndo,
    Session,
    SessionError,
    SessionManager,
)
from langgraph_sessionstore.plans import pruning


@pytest.fixture
def sitting(form: Form, manager: SessionManager, session: Session) -> Sitting:
    """A session in which a graph has answered twice."""
    return talked(form, manager, session)


def test_of_two_transactions_the_first_to_end_is_stored(
    sitting: Sitting, manager_on: Callable[..., SessionManager]
) -> None:
    form = sitting.form
    other = form.do(manager_on(), "get_session", sitting.session.id)
    transactions = [sitting.session.transaction(), other.transaction()]
    for text, tx in zip("xy", [form.enter(each) for each in transactions], strict=True):
        tx.replace(0, "user", text)
    form.leave(transactions[1])
    with pytest.raises(ConflictError, match="nothing was stored"):
        form.leave(transactions[0])
    sitting.agrees(["y", *TALK[1:]])

    late = sitting.session.transaction()
    form.enter(late).append("user", "late")
    sitting.run("c")
    with pytest.raises(ConflictError, match="nothing was stored"):
        form.leave(late)
    sitting.agrees(["y", *TALK[1:], "c", "re: c"])
    assert form.texts(other) == ["y", *TALK[1:], "c", "re: c"]


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("form", ["sync"], indirect=True)
@pytest.mark.parametrize("empty", [False, True])
def test_a_purge_takes_no_state_of_a_session_that_came_after(
    empty: bool, sitting: Sitting, manager_on: Callable[..., SessionManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_latest, other = pruning.keep_latest, manager_on()
    if empty:
        sitting.session.clear()

    def slowly(*args: Any) -> Any:
        assert other.delete_session(sitting.session.id)
        talked(sitting.form, other, other.create_session(sitting.session.id))
        return (yield from keep_latest(*args))

    monkeypatch.setattr(pruning, "keep_latest", slowly)
    sitting.session.clear(purge=True)
    new = other.get_session(sitting.session.id)
    assert new is not None
    assert len(list(other.checkpointer.list(new.config))) > 1
    assert sitting.form.texts(new) == TALK


def test_an_edit_in_the_middle_of_a_run_is_a_state_of_its_own(sitting: Sitting) -> None:
    """The run goes on from what it has read, as with any checkpointer; what was edited beside it is in the history."""
    sitting.meanwhile = lambda: sitting.session.replace(0, "user", "x")
    sitting.run("c", durability="sync")
    sitting.agrees([*TALK, "c", "re: c"])
    assert ["x", *TALK[1:], "c"] in [texts(state.values["messages"]) for state in sitting.history()]
    with pytest.raises(ConflictError, match="gone on"):
        sitting.do("undo")


def test_edits_of_two_workers_are_each_applied_once(
    sitting: Sitting, manager_on: Callable[..., SessionManager]
) -> None:
    form, before = sitting.form, sitting.history()
    handles = [sitting.session, form.do(manager_on(), "get_session", sitting.session.id)]
    names = [[f"{who}{number}" for number in range(8)] for who in "pq"]

    def put(tx: Any, name: str) -> None:
        tx.insert(len(tx) // 2, "user", name)

    def work(handle: Session, mine: list[str]) -> list[str]:
        stored = []
        for name in mine:
            try:
                handle.transact(partial(put, name=name), retries=2)
                stored.append(name)
            except ConflictError:
                continue
        return stored

    async def awork(handle: Session, mine: list[str]) -> list[str]:
        stored = []
        for name in mine:
            try:
                await handle.atransact(partial(put, name=name), retries=2)
                stored.append(name)
            except ConflictError:
                continue
        return stored

    async def all_at_once() -> list[list[str]]:
        return list(await asyncio.gather(*map(awork, handles, names)))

    if form.loop is not None:
        results = form.loop.run_until_complete(all_at_once())
    else:
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(work, handles, names))
    stored = [name for result in results for name in result]
    there = form.texts(sitting.session)
    assert stored
    assert sorted(there) == sorted([*TALK, *stored])
    assert [text for text in there if text in TALK] == TALK
    sitting.agrees(there)
    sitting.unchanged(before, len(stored))
    for _ in stored:
        form.do(handles[1], "undo")
    sitting.agrees(TALK)


def test_runs_and_appends_at_once_lose_nothing(sitting: Sitting, manager_on: Callable[..., SessionManager]) -> None:
    """What was appended while a run was under way may be beside it, in the history; each is stored once, or refused."""
    form, before = sitting.form, sitting.history()
    other = form.do(manager_on(), "get_session", sitting.session.id)
    said, noted = [[f"{who}{number}" for number in range(6)] for who in "pq"]

    def talk() -> None:
        for text in said:
            sitting.graph.invoke({"messages": [HumanMessage(text)]}, sitting.session.config)

    def note() -> list[str]:
        stored = []
        for text in noted:
            with suppress(ConflictError):
                other.append("user", text)
                stored.append(text)
        return stored

    async def atalk() -> None:
        for text in said:
            await sitting.graph.ainvoke({"messages": [HumanMessage(text)]}, sitting.session.config)

    async def anote() -> list[str]:
        stored = []
        for text in noted:
            with suppress(ConflictError):
                await other.aappend("user", text)
                stored.append(text)
        return stored

    async def both() -> list[str]:
        return (await asyncio.gather(anote(), atalk()))[0]

    if form.loop is not None:
        stored = form.loop.run_until_complete(both())
    else:
        with ThreadPoolExecutor(2) as pool:
            talking = pool.submit(talk)
            stored = pool.submit(note).result()
            talking.result()
    assert stored
    history = sitting.history()
    assert history[-len(before) :] == before
    seen = {text for state in history for text in texts(state.values.get("messages", []))}
    assert {*said, *stored} <= seen
    assert not seen & ({*noted} - {*stored})
    sitting.agrees(texts(history[0].values["messages"]), history[0].next)
    assert form.texts(other) == form.texts(sitting.session)


class Known:
    """A state as a model knows it: its messages, and the state before its last turn."""

    def __init__(self, texts: list[str], before: Known | None) -> None:
        self.texts, self.before = texts, before


KINDS = ("run", "append", "insert", "replace", "remove", "undo", "undo", "redo", "rewind")


@pytest.mark.parametrize("seed", range(4))
def test_random_operations_match_a_model(manager_on: Callable[..., SessionManager], form: Form, seed: int) -> None:
    chance = random.Random(seed)
    managers = [manager_on(), manager_on()]
    first = form.do(managers[0], "create_session")
    workers = [Sitting(form, managers[0], first)]
    workers.append(Sitting(form, managers[1], form.do(managers[1], "get_session", first.id)))
    workers[0].run("0")
    now = Known(["0", "re: 0"], Known([], None))
    past: list[tuple[Known, Known]] = []
    future: list[tuple[Known, Known]] = []
    for number in range(1, 40):
        on, kind, text = chance.choice(workers), chance.choice(KINDS), f"{number}"
        at = chance.randrange(len(now.texts)) if now.texts else 0
        new = list(now.texts)
        if kind == "run":
            on.run(text, durability=chance.choice(["sync", "async"]))
            now = Known([*new, text, f"re: {text}"], now)
            assert on.saw[-1] == [*new, text]
        elif kind in ("undo", "redo"):
            source, target = (past, future) if kind == "undo" else (future, past)
            to, made = (source[-1] if kind == "undo" else source[-1][::-1]) if source else (now, now)
            if not source:
                with pytest.raises(NothingToUndo):
                    on.do(kind)
            elif made is not now:
                with pytest.raises(ConflictError, match="gone on"):
                    on.do(kind)
            else:
                on.do(kind)
                target.append(source.pop())
                now = to
        elif kind == "rewind" and now.before is None:
            with pytest.raises(SessionError, match="turns"):
                on.do("rewind", 1)
        elif kind in ("append", "insert", "rewind") or new:
            if kind == "rewind":
                assert now.before is not None
                on.do("rewind", 1)
                made = Known(now.before.texts, now.before.before)
            else:
                on.do(kind, *() if kind == "append" else (at,), *() if kind == "remove" else ("user", text))
                at = len(new) if kind == "append" else at
                new[at : at + (kind in ("replace", "remove"))] = [] if kind == "remove" else [text]
                made = Known(new, now.before)
            past, future, now = [*past, (now, made)], [], made
        chance.choice(workers).agrees(now.texts)
