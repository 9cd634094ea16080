"""Graphs and agents in trouble: what fails leaves nothing, what is repeated is stored once, and turns wait for turns.

Rule: after each failure the session is as it was, and the next turn begins at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.lifetimes import Look
from support.sittings import Form
from support.talker import NO_CONTEXT, TOOLS, Meanwhile, Stage, State, Talker, echo, graph, say, texts

from langgraph_sessionstore import (
    Backend,
    ConflictError,
    LeaseHeld,
    OutcomeUnknown,
    Session,
    SessionDeleted,
    SessionManager,
    SessionStoreError,
    Unstorable,
)
from langgraph_sessionstore.session import line
from langgraph_sessionstore.testing import Fault, FaultyBackend

MEMORY = pytest.mark.parametrize("kind", ["memory"], indirect=True)
ASYNC = pytest.mark.parametrize("form", ["async"], indirect=True)
CONTEXT = pytest.mark.skipif(NO_CONTEXT, reason="a graph in a node needs the context")


class More(State, total=False):
    """A conversation with something beside it."""

    thing: Any


@pytest.fixture
def stage(form: Form, manager: SessionManager, session: Session, look: Look) -> Iterator[Stage]:
    stage = Stage(form, manager, session, look)
    yield stage
    stage.sound()


@pytest.fixture
def meanwhile(form: Form) -> Meanwhile:
    return Meanwhile(form)


def fails(state: State) -> Any:
    raise RuntimeError("on purpose")


def lock(state: State) -> Any:
    return say("locked", thing=threading.Lock())


def remembering(node: Callable[..., Any]) -> Any:
    """A graph with a subgraph that keeps its own state for ever, and this node behind it."""

    def own(state: State) -> Any:
        return echo(state)

    return graph(graph(own, state=More, checkpointer=True), node, state=More)


# -- failures


def test_a_node_that_fails_leaves_nothing_at_all(stage: Stage) -> None:
    before = stage.everything()
    for node, error in ((fails, RuntimeError), (lock, Unstorable)):
        with pytest.raises(error):
            stage.run(stage.session.conversation(graph(echo, node, state=More), wait=0), "a")
        assert stage.everything() == before
    assert stage.run(stage.session.conversation(graph(echo, state=More), wait=0), "a") == "1: a"
    before, kept = stage.everything(), stage.kept()
    for node, error in ((fails, RuntimeError), (lock, Unstorable)):
        with pytest.raises(error):
            stage.run(stage.session.conversation(graph(echo, node, state=More), wait=0), "b")
        assert (stage.everything(), stage.kept()) == (before, kept)
    assert stage.run(stage.session.conversation(graph(echo, state=More), wait=0), "c") == "3: c"


@MEMORY
@pytest.mark.parametrize("node", [fails, lock])
def test_a_subgraph_does_not_remember_what_failed(stage: Stage, node: Any) -> None:
    talk = stage.session.conversation(remembering(echo), wait=0)
    stage.run(talk, "a")
    before = stage.kept()
    with pytest.raises((RuntimeError, Unstorable)):
        stage.run(stage.session.conversation(remembering(node)), "b")
    # BUG: when it is the storing that fails, what the subgraph keeps has been stored before.
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
                # BUG: a turn lost while it was stored is tried again for ever, from the state that it began with.
                answer = stage.run(talk, "a")
            assert answer == "3: a"
            assert stage.form.texts(session) == ["b", "1: b", "a", "3: a"]
            faulty.calls = number
    assert lost > 2


# -- several at once


def test_all_turns_are_stored_one_after_the_other(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    stage.do("extend", ["x", ("assistant", "y")])
    sessions = [stage.form.do(manager_on(), "get_session", stage.session.id) for _ in range(3)]
    talks = [session.conversation(graph(echo)) for session in sessions for _ in range(2)]
    answers: list[str] = []

    def talk(number: int) -> None:
        answers.append(talks[number].run(f"t{number}").text)

    if stage.form.loop is None:
        threads = [threading.Thread(target=talk, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:

        async def all_() -> None:
            answers.extend(
                each.text for each in await asyncio.gather(*(each.arun(f"t{at}") for at, each in enumerate(talks)))
            )

        stage.form.loop.run_until_complete(all_())
    said = stage.texts()
    assert sorted(said[2::2]) == [f"t{number}" for number in range(6)]
    assert said[3::2] == [f"{2 * at + 3}: {text}" for at, text in enumerate(said[2::2])]
    assert sorted(answers) == sorted(said[3::2])
    stage.line()


@CONTEXT
def test_who_does_not_want_to_wait(
    stage: Stage, meanwhile: Meanwhile, manager_on: Callable[..., SessionManager]
) -> None:
    talk = stage.session.conversation(graph(meanwhile.node()))
    ran: list[Any] = []
    other = stage.form.do(manager_on(), "get_session", stage.session.id)
    meanwhile.acts = [(other.conversation(graph(ran.append), wait=0.2), "run", "b")]
    assert stage.run(talk, "a") == "1: a"
    assert [type(error) for error in meanwhile.errors] == [LeaseHeld]
    assert (ran, stage.texts()) == ([], ["a", "1: a"])
    assert stage.run(other.conversation(graph(echo), wait=0), "b") == "3: b"


def test_an_edit_while_a_graph_runs(
    stage: Stage, meanwhile: Meanwhile, manager_on: Callable[..., SessionManager]
) -> None:
    talk = stage.session.conversation(graph(meanwhile.node()), wait=0)
    stage.run(talk, "a")
    other = stage.form.do(manager_on(), "get_session", stage.session.id)
    for edit in (("append", "user", "x"), ("remove", -1), ("rewind", 1)):
        meanwhile.acts = [(other, *edit)]
        with pytest.raises(ConflictError, match="nothing was stored") as error:
            stage.run(talk, "b")
        assert (type(error.value), meanwhile.errors) == (ConflictError, [])
        assert "b" not in stage.texts()
    assert stage.texts() == []
    meanwhile.acts = [(other, "update"), (other, "append", "user", "x")]
    with pytest.raises(ConflictError):
        stage.run(talk, "b")
    assert stage.run(talk, "b") == "2: b"
    assert stage.texts() == ["x", "b", "2: b"]


def test_what_is_no_message_may_change_while_a_graph_runs(stage: Stage, meanwhile: Meanwhile) -> None:
    talk = stage.session.conversation(graph(meanwhile.node()), wait=0)
    for number, act in enumerate([("set_summary", "S"), ("set_ttl", 1000), ("record_usage", "p", "m")]):
        meanwhile.acts = [(stage.session, *act)]
        assert stage.run(talk, "a") == f"{2 * number + 1}: a"
    assert (meanwhile.errors, stage.do("summary"), stage.calls()) == ([], "S", {"p": 1})


@pytest.mark.parametrize("kind", ["memory", "redis7"], indirect=True)
def test_a_message_in_the_log_while_a_graph_begins(stage: Stage, meanwhile: Meanwhile) -> None:
    talk = stage.session.conversation(graph(meanwhile.node()), wait=0)
    meanwhile.acts = [(stage.session, "append", "user", "x")]
    # BUG: MessagesElsewhere, which advises another session, although the same turn given again goes well.
    with pytest.raises(ConflictError):
        stage.run(talk, "a")
    assert stage.texts() == ["x"]
    assert stage.run(talk, "a") == "2: a"


@MEMORY
def test_a_subgraph_does_not_remember_a_turn_that_was_refused(stage: Stage, meanwhile: Meanwhile) -> None:
    talk = stage.session.conversation(remembering(meanwhile.node()), wait=0)
    stage.run(talk, "a")
    own = [each for each in stage.checkpoints() if each.config["configurable"]["checkpoint_ns"]]
    assert own
    meanwhile.acts = [(stage.session, "append", "user", "x")]
    with pytest.raises(ConflictError):
        stage.run(talk, "b")
    # BUG: it does.
    assert [each for each in stage.checkpoints() if each.config["configurable"]["checkpoint_ns"]] == own


@pytest.mark.parametrize("turns", [0, 1])
@pytest.mark.parametrize("build", [graph, remembering])
def test_a_session_that_is_deleted_while_its_graph_runs(
    stage: Stage, meanwhile: Meanwhile, turns: int, build: Any
) -> None:
    talk = stage.session.conversation(build(meanwhile.node()), wait=0)
    for _ in range(turns):
        stage.run(talk, "a")
    meanwhile.acts = [(stage.session, "delete")]
    with pytest.raises(SessionDeleted):
        stage.run(talk, "b")
    assert meanwhile.errors == []
    assert stage.form.do(stage.manager, "get_session", stage.session.id) is None
    assert (stage.checkpoints(), stage.form.everything(stage.manager)) == ([], [])
    new = stage.form.do(stage.manager, "create_session", stage.session.id)
    assert stage.run(new.conversation(graph(echo)), "c") == "1: c"


def test_a_lease_is_a_turn_of_several_turns(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    other = stage.form.do(manager_on(), "get_session", stage.session.id)
    stage.do("append", "user", "x")
    lease = stage.session.lease()
    turn = stage.form.enter(lease)
    try:
        talk = turn.conversation(graph(echo), wait=0)
        assert [stage.run(talk, text) for text in "ab"] == ["2: a", "4: b"]
        for conversation in (other.conversation(graph(echo), wait=0), other.conversation(Talker(), tools=TOOLS)):
            with pytest.raises(LeaseHeld):
                stage.run(conversation, "c")
        assert stage.run(talk, "d") == "6: d"
    finally:
        stage.form.leave(lease)
    assert stage.run(other.conversation(graph(echo), wait=0), "c") == "8: c"
    assert stage.texts() == ["x", "a", "2: a", "b", "4: b", "d", "6: d", "c", "8: c"]
    stage.line()
