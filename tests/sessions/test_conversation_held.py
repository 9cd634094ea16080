"""What turns of graphs are made of: a checkpointer that keeps back, places in a line, and a log that becomes a state.

Rule: what is kept back can be seen by its own run only; a place in the line is one worker's; a log moves once, in one
step, with all of its messages.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from support.lifetimes import Look
from support.sittings import Form
from support.talker import TOOLS, Stage, Talker, echo, graph, texts

from langgraph_sessionstore import (
    Backend,
    LeaseHeld,
    NothingToUndo,
    OutcomeUnknown,
    Session,
    SessionError,
    SessionManager,
    SessionStoreError,
    arun,
    keys,
    run,
)
from langgraph_sessionstore.adapters.held import Held
from langgraph_sessionstore.ops import Expect, ExpectEmpty, Put
from langgraph_sessionstore.plans import adopting
from langgraph_sessionstore.session import line
from langgraph_sessionstore.session.line import Line
from langgraph_sessionstore.testing import Fault, FaultyBackend

MEMORY = pytest.mark.parametrize("kind", ["memory"], indirect=True)
NEW = ExpectEmpty(*keys.below("c", ""))
BESIDE = keys.encode("test")
META: Any = {"source": "loop", "step": 0, "parents": {}}


@pytest.fixture
def stage(form: Form, manager: SessionManager, session: Session, look: Look) -> Iterator[Stage]:
    stage = Stage(form, manager, session, look)
    yield stage
    stage.sound()


def carry_out(stage: Stage, plan: Any, backend: Backend | None = None) -> Any:
    """A plan on the storage."""
    backend = backend or stage.manager.backend
    return run(backend, plan) if stage.form.loop is None else stage.form.loop.run_until_complete(arun(backend, plan))


# -- a checkpointer that keeps back


class Running:
    """A run on a checkpointer that keeps back."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.config = stage, stage.session.config
        self.held = Held(stage.manager.checkpointer, self.config)
        self.steps = 0

    def put(self, config: Any = None, **values: Any) -> Any:
        """A checkpoint with these values, all new."""
        self.steps += 1
        versions = dict.fromkeys(values, f"{self.steps:032}.0")
        checkpoint = {
            **empty_checkpoint(),
            "id": str(uuid6(clock_seq=self.steps)),
            "channel_values": values,
            "channel_versions": versions,
        }
        return self.stage.form.do(self.held, "put", config or self.config, checkpoint, META, versions)

    def writes(self, config: Any, *writes: tuple[str, Any], task: str = "task") -> None:
        self.stage.form.do(self.held, "put_writes", config, writes, task)

    def get(self, config: Any = None) -> Any:
        return self.stage.form.do(self.held, "get_tuple", config or self.config)

    def release(self, *guards: Any, name: bytes = b"1" * 16) -> Any:
        return carry_out(self.stage, self.held.release(guards, [Put(BESIDE, b"1")], name))


@pytest.fixture
def running(stage: Stage) -> Running:
    return Running(stage)


def at(config: Any) -> str:
    return str(config["configurable"]["checkpoint_id"])


def test_only_its_own_run_sees_what_is_kept_back(running: Running, stage: Stage) -> None:
    before = stage.everything()
    first = running.put(a=[1])
    second = running.put(first, a=[1, 2], b="x")
    running.writes(second, ("a", 3), ("b", "y"))
    assert (stage.everything(), stage.checkpoints()) == (before, [])
    assert list(running.held.list(running.config)) == []
    found = running.get()
    assert found.config == second
    assert found.parent_config == first
    assert found.checkpoint["channel_values"] == {"a": [1, 2], "b": "x"}
    assert found.pending_writes == [("task", "a", 3), ("task", "b", "y")]
    assert running.get(first).checkpoint["channel_values"] == {"a": [1]}
    found.checkpoint["channel_values"]["a"].append("changed")
    assert running.get().checkpoint["channel_values"]["a"] == [1, 2]
    assert (running.held.values, running.held.changed) == ({"a": [1, 2], "b": "x"}, {"a", "b"})


def test_it_is_released_in_one_step(running: Running, stage: Stage) -> None:
    first = running.put(a=[1])
    second = running.put(first, a=[1, 2])
    running.writes(second, ("a", 3))
    assert running.release(NEW) is True
    found = stage.form.do(stage.manager.checkpointer, "get_tuple", running.config)
    assert (found.config, found.parent_config, found.pending_writes) == (second, first, [("task", "a", 3)])
    assert [at(each.config) for each in stage.checkpoints()] == [at(second), at(first)]
    assert found.checkpoint["channel_values"] == {"a": [1, 2]}
    assert any(row.startswith(BESIDE) for part in stage.everything().values() for row in part)


@pytest.mark.parametrize("puts", [0, 1, 2])
def test_nothing_is_released_when_a_condition_fails(stage: Stage, puts: int) -> None:
    earlier = Running(stage)
    config = earlier.put(a=[1])
    assert earlier.release(NEW, name=b"0" * 16) is True
    before = stage.kept()
    late = Running(stage)
    for _ in range(puts):
        config = late.put(config, a=[2])
    late.writes(config, ("a", 3))
    assert late.release(NEW) is False
    assert stage.kept() == before
    assert late.release(Expect(BESIDE, True), name=b"2" * 16) is True
    assert len(stage.checkpoints()) == 1 + puts


def test_what_was_stored_before_is_seen_through_it(stage: Stage) -> None:
    earlier = Running(stage)
    config = earlier.put(a=[1])
    earlier.release(NEW)
    later = Running(stage)
    assert later.get().checkpoint["channel_values"] == {"a": [1]}
    new = later.put(config, a=[2])
    assert at(later.get().config) == at(new)
    assert later.get(config).checkpoint["channel_values"] == {"a": [1]}
    assert [at(each.config) for each in later.held.list(later.config)] == [at(config)]
    assert later.get({"configurable": {"thread_id": "other"}}) is None
    inner: Any = {"configurable": {**later.config["configurable"], "checkpoint_ns": "inner"}}
    assert later.get(inner) is None
    later.put(inner, b=1)
    assert later.get(inner).checkpoint["channel_values"] == {"b": 1}
    assert later.get().checkpoint["channel_values"] == later.held.values == {"a": [2]}
    assert later.held.changed == {"a"}


@MEMORY
def test_versions_are_those_of_the_session(running: Running, stage: Stage) -> None:
    version = running.held.get_next_version(None, None)
    assert running.held.get_next_version(version, None) > version
    assert running.held.with_allowlist([("a", "b")]) is running.held
    config = running.put(a=[1])
    running.writes(config, ("__interrupt__", ["old"]))
    running.writes(config, ("__interrupt__", ["new"]))
    running.writes(config, ("__interrupt__", ["other"]), task="other")
    assert running.held.interrupts == ("new", "other")
    assert Held(stage.manager.checkpointer, stage.session.config).values == {}


# -- a place in the line


def test_one_after_the_other(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    other = stage.form.do(manager_on(), "get_session", stage.session.id)
    before = stage.everything()
    place = Line(stage.session, 0)
    held = stage.form.enter(place)
    assert held is stage.session
    with pytest.raises(LeaseHeld, match="still running a graph"):
        stage.form.enter(Line(other, 0.1))
    stage.form.do(other, "append", "user", "x")  # it keeps no write out
    lease = other.lease()
    stage.form.enter(lease)
    stage.form.leave(lease)
    stage.form.leave(place)
    stage.form.do(other, "clear", purge=True)
    other_place = Line(other, 0)
    stage.form.enter(other_place)
    stage.form.leave(other_place)
    assert stage.everything().keys() == before.keys()
    with pytest.raises(SessionError, match="used once"):
        stage.form.enter(place)


@pytest.mark.parametrize("kind", ["memory", "redis7"], indirect=True)
def test_a_place_is_kept_while_its_worker_lives(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "_TTL", 0.5)
    place = Line(stage.session, 0)
    stage.form.enter(place)
    with pytest.raises(LeaseHeld):
        stage.form.enter(Line(stage.session, 0.8))
    place._stop.set()  # as if the worker was gone
    next_place = Line(stage.session, 5)
    stage.form.enter(next_place)
    stage.form.leave(place)  # which takes nothing away from the next one
    with pytest.raises(LeaseHeld):
        stage.form.enter(Line(stage.session, 0))
    stage.form.leave(next_place)
    last = Line(stage.session, 0)
    stage.form.enter(last)
    stage.form.leave(last)


@MEMORY
def test_a_place_that_may_have_been_taken_is_given_back(stage: Stage, storage: Callable[[], Backend]) -> None:
    faulty = FaultyBackend(storage(), {})
    session = stage.form.do(SessionManager(faulty), "get_session", stage.session.id)
    faulty.calls, faulty.faults = 0, {1: Fault.CUT_AFTER}
    with pytest.raises(OutcomeUnknown):
        stage.run(session.conversation(graph(echo), wait=0), "a")
    assert stage.run(session.conversation(graph(echo), wait=0), "a") == "1: a"


# -- a log becomes a state


def test_a_log_moves_in_one_step(stage: Stage) -> None:
    given = [HumanMessage("a", id="mine"), AIMessage("b"), HumanMessage("c" * 200), AIMessage("d", name="n")]
    stage.do("extend", given)
    stage.do("append", "user", "gone")
    stage.do("remove", -1)
    stage.do("undo")
    stage.do("redo")
    found, draft = carry_out(stage, adopting.adopt(stage.session._desk, "messages"))
    assert (found.channel, texts(draft.messages)) == ("messages", texts(given))
    messages = stage.do("messages")
    assert [(type(each), each.text, each.name) for each in messages] == [
        (type(each), each.text, each.name) for each in given
    ]
    assert messages[0].id == "mine"
    assert len({message.id for message in messages} - {None}) == 4
    assert stage.values() == {"messages": messages}
    assert len(stage.checkpoints()) == 1
    for name in ("undo", "redo"):
        with pytest.raises(NothingToUndo):
            stage.do(name)
    before = stage.everything()
    _, draft = carry_out(stage, adopting.adopt(stage.session._desk, "messages"))  # once
    assert (draft.messages, stage.everything()) == (messages, before)


def test_a_session_without_messages_stays_as_it_is(stage: Stage) -> None:
    before = stage.everything()
    found, draft = carry_out(stage, adopting.adopt(stage.session._desk, "messages"))
    assert (found.channel, found.latest, draft.messages, stage.everything()) == (None, None, [], before)


def test_several_who_move_a_log_at_once(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    stage.do("extend", ["a", ("assistant", "b")])
    sessions = [stage.form.do(manager_on(), "get_session", stage.session.id) for _ in range(4)]
    errors: list[Exception] = []

    def move(session: Session) -> None:
        try:
            run(session._common.backend, adopting.adopt(session._desk, "messages"))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=move, args=(session,)) for session in sessions]
    threads += [threading.Thread(target=sessions[0].append, args=("user", "c"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert stage.texts() == ["a", "b", "c"]
    stage.line()


@MEMORY
@pytest.mark.parametrize("fault", [Fault.FAIL, Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_a_move_that_is_cut_loses_nothing(stage: Stage, storage: Callable[[], Backend], fault: Fault) -> None:
    faulty, number, made = FaultyBackend(storage(), {}), 0, 0
    manager = SessionManager(faulty)
    while made >= number:
        number += 1
        session = stage.form.do(manager, "create_session", messages=["a", ("assistant", "b")])
        faulty.calls, faulty.faults = 0, {number: fault}
        moved = False
        try:
            carry_out(stage, adopting.adopt(session._desk, "messages"), faulty)
            moved = True
        except SessionStoreError:
            pass
        made, faulty.faults = faulty.calls, {}
        assert stage.form.texts(session) == ["a", "b"]
        if not moved:
            carry_out(stage, adopting.adopt(session._desk, "messages"), faulty)
        assert stage.form.texts(session) == ["a", "b"]
        at_session = Stage(stage.form, manager, session, dict)
        assert len(at_session.checkpoints()) == 1
        at_session.sound()
    assert number > 2


@MEMORY
def test_a_turn_that_fails_leaves_the_log_where_it_is(stage: Stage) -> None:
    stage.do("extend", ["a", ("assistant", "b")])
    before = stage.kept()
    model = Talker(faults={1: TimeoutError("no")})
    with pytest.raises(TimeoutError):
        stage.run(stage.session.conversation(model, tools=TOOLS), "c")
    assert stage.kept() == before
    assert stage.do("undo") == "Restored: before append of 2 messages"
