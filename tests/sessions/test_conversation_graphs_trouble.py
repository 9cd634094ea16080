"""Graphs and agents in trouble: what fails leaves nothing, what is repeated is stored once, and turns wait for turns.

Rule: after each failure the session is as it was, and the next turn begins at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support.talker import (
    TOOLS,
    Stage,
    State,
    Talker,
    Thing,
    echo,
    graph,
    remembering,
    say,
    texts,
)

from langgraph_sessionstore import (
    Backend,
    ConflictError,
    OutcomeUnknown,
    SessionManager,
    SessionStoreError,
    Unstorable,
)
from langgraph_sessionstore.session import line
from langgraph_sessionstore.testing import Fault, FaultyBackend

MEMORY = pytest.mark.parametrize("kind", ["memory"], indirect=True)
ASYNC = pytest.mark.parametrize("form", ["async"], indirect=True)


def fails(state: State) -> Any:
    raise RuntimeError("on purpose")


def lock(state: State) -> Any:
    return say("locked", thing=threading.Lock())


# -- failures


def test_a_node_that_fails_leaves_nothing_at_all(stage: Stage) -> None:
    before = stage.everything()
    for node, error in ((fails, RuntimeError), (lock, Unstorable)):
        with pytest.raises(error):
            stage.run(stage.session.conversation(graph(echo, node, state=Thing), wait=0), "a")
        assert stage.everything() == before
    assert stage.run(stage.session.conversation(graph(echo, state=Thing), wait=0), "a") == "1: a"
    before, kept = stage.everything(), stage.kept()
    for node, error in ((fails, RuntimeError), (lock, Unstorable)):
        for say_ in (stage.run, stage.stream):
            with pytest.raises(error):
                say_(stage.session.conversation(graph(echo, node, state=Thing), wait=0), "b")
            assert (stage.everything(), stage.kept()) == (before, kept)
    assert stage.run(stage.session.conversation(graph(echo, state=Thing), wait=0), "c") == "3: c"


@MEMORY
@pytest.mark.parametrize("node", [fails, lock])
def test_a_subgraph_does_not_remember_what_failed(stage: Stage, node: Any) -> None:
    talk = stage.session.conversation(remembering(echo), wait=0)
    stage.run(talk, "a")
    before = stage.kept()
    with pytest.raises((RuntimeError, Unstorable)):
        stage.run(stage.session.conversation(remembering(node)), "b")
    assert stage.kept() == before


@MEMORY
def test_a_retry_stores_once(stage: Stage) -> None:
    faults = [ValueError("second"), ValueError("first")]

    def unsure(state: State) -> Any:
        if faults:
            raise faults.pop()
        return echo(state)

    retrying = stage.session.conversation(graph(unsure)).with_retry(
        retry_if_exception_type=(ValueError,), wait_exponential_jitter=False
    )
    assert stage.form.do(retrying, "invoke", "a").text == "1: a"
    assert stage.texts() == ["a", "1: a"]
    stage.line()


@ASYNC
@pytest.mark.parametrize("streams", [True, False])
def test_a_turn_that_is_cancelled_leaves_nothing(stage: Stage, streams: bool) -> None:
    begun = asyncio.Event()

    async def hangs(state: State) -> Any:
        begun.set()
        await asyncio.Event().wait()

    async def cancelled() -> None:
        talk = stage.session.conversation(graph(echo, hangs))

        async def listen() -> None:
            if not streams:
                await talk.arun("b")
            async for _ in talk.astream("b"):
                pass

        task = asyncio.create_task(listen())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    talk = stage.session.conversation(graph(echo), wait=0)
    stage.run(talk, "a")
    before = stage.kept()
    assert stage.form.loop is not None
    stage.form.loop.run_until_complete(cancelled())
    assert stage.kept() == before
    assert stage.run(talk, "b") == "3: b"


# -- faults of the storage


@pytest.mark.parametrize("fault", [Fault.FAIL, Fault.CUT_BEFORE, Fault.CUT_AFTER])
@pytest.mark.parametrize("moves", [False, True])
@MEMORY
def test_the_same_turn_given_again_is_stored_once(
    stage: Stage, storage: Callable[[], Backend], monkeypatch: pytest.MonkeyPatch, fault: Fault, moves: bool
) -> None:
    monkeypatch.setattr(line, "_TTL", 0.1)  # a place whose end was not heard of is free soon
    faulty = FaultyBackend(storage(), {})
    manager, form, number, done = SessionManager(faulty), stage.form, 0, False
    while not done:
        number += 1
        model = Talker()
        session = form.do(manager, "create_session", f"{number}", messages=["x", ("assistant", "y")])
        talk = session.conversation(model, tools=TOOLS)
        if not moves:
            stage.run(talk, "double:1")
        start = texts(form.do(session, "messages"))
        faulty.calls, faulty.faults = 0, {number: fault}
        after = [*start, "double:3", "double", "6", "I heard 6"]
        try:
            stage.run(talk, "double:3")
        except SessionStoreError:
            faulty.faults = {}
            assert texts(form.do(session, "messages")) in (start, after)
            assert stage.run(talk, "double:3") == "I heard 6"
        done, faulty.faults = faulty.calls < number, {}
        assert texts(form.do(session, "messages")) == after
        at = Stage(form, manager, session, dict)
        assert texts(at.values()["messages"]) == after
        assert at.calls()["chat"] <= len(model.sent)
        at.line()
        at.sound()
    assert number > 4


@MEMORY
def test_after_a_lost_turn_others_and_the_same_go_on(
    stage: Stage, storage: Callable[[], Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "_TTL", 0.1)
    faulty, number, lost = FaultyBackend(storage(), {}), 0, 0
    manager = SessionManager(faulty)
    while faulty.calls >= number:
        number += 1
        session = stage.form.do(manager, "create_session")
        other = stage.form.do(stage.manager, "get_session", session.id).conversation(graph(echo))
        talk = session.conversation(graph(echo))
        faulty.calls, faulty.faults = 0, {number: Fault.CUT_BEFORE}
        try:
            stage.run(talk, "a")
        except OutcomeUnknown:
            lost += 1
            assert stage.run(other, "b") == "1: b"
            try:
                answer = stage.run(talk, "a")
            except ConflictError:
                answer = stage.run(talk, "a")
            assert answer == "3: a"
            assert stage.form.texts(session) == ["b", "1: b", "a", "3: a"]
            faulty.calls = number
    assert lost > 2
