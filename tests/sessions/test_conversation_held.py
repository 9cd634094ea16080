"""What turns of graphs are made of: a checkpointer that keeps back, and places in a line.

Rule: what is kept back can be seen by its own run only; a place in the line is one worker's.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from support.talker import Stage, echo, graph

from langgraph_sessionstore import (
    Backend,
    BackendUnavailable,
    LeaseHeld,
    OutcomeUnknown,
    SessionError,
    SessionManager,
    arun,
    keys,
    run,
)
from langgraph_sessionstore.adapters.held import Held
from langgraph_sessionstore.ops import Expect, ExpectEmpty, Put
from langgraph_sessionstore.plans import adopting
from langgraph_sessionstore.plans.writing import Input
from langgraph_sessionstore.session import line
from langgraph_sessionstore.session.line import Line
from langgraph_sessionstore.testing import Fault, FaultyBackend

MEMORY = pytest.mark.parametrize("kind", ["memory"], indirect=True)
NEW = ExpectEmpty(*keys.below("c", ""))
BESIDE = keys.encode("test")
META: Any = {"source": "loop", "step": 0, "parents": {}}


def carry_out(stage: Stage, plan: Any, backend: Backend | None = None) -> Any:
    """A plan on the storage."""
    backend = backend or stage.manager.backend
    return run(backend, plan) if stage.form.loop is None else stage.form.loop.run_until_complete(arun(backend, plan))


# -- a checkpointer that keeps back


class Running:
    """A run on a checkpointer that keeps back; `begun`: the checkpoint from which it begins."""

    def __init__(self, stage: Stage, begun: Any = None) -> None:
        self.stage, self.config = stage, stage.session.config
        saver = stage.manager.checkpointer
        found: Any = stage.form.do(saver, "get_tuple", begun) if begun is not None else None
        self.held = Held(saver, self.config, (lambda: deepcopy(found)) if begun is not None else None)
        self.steps = 0

    def put(self, config: Any = None, *, same: Any = None, **values: Any) -> Any:
        """A checkpoint with these values, all new but those that are the `same` as at a version."""
        self.steps += 1
        new: Any = {name: f"{self.steps:032}.0" for name in values if name not in (same or {})}
        checkpoint = {
            **empty_checkpoint(),
            "id": str(uuid6(clock_seq=self.steps)),
            "channel_values": values,
            "channel_versions": {**new, **(same or {})},
        }
        return self.stage.form.do(self.held, "put", config or self.config, checkpoint, META, new)

    def writes(self, config: Any, *writes: tuple[str, Any], task: str = "task") -> None:
        self.stage.form.do(self.held, "put_writes", config, writes, task)

    def get(self, config: Any = None) -> Any:
        return self.stage.form.do(self.held, "get_tuple", config or self.config)

    def values(self, config: Any = None) -> Any:
        return self.get(config).checkpoint["channel_values"]

    def within(self, ns: str) -> Any:
        """The config of a subgraph."""
        return {"configurable": {**self.config["configurable"], "checkpoint_ns": ns}}

    def release(
        self, *guards: Any, name: bytes = b"1" * 16, first: Input | None = None, backend: Backend | None = None
    ) -> Any:
        plan = self.held.release(first, guards, [Put(BESIDE, b"1")], name)
        return carry_out(self.stage, plan, backend)


@pytest.fixture
def running(stage: Stage) -> Running:
    return Running(stage)


def at(config: Any) -> str:
    return str(config["configurable"]["checkpoint_id"])


def found_at(stage: Stage, config: Any) -> Any:
    """What is stored there."""
    return stage.form.do(stage.manager.checkpointer, "get_tuple", config)


def test_only_its_own_run_sees_what_is_kept_back(running: Running, stage: Stage) -> None:
    before = stage.everything()
    assert running.get() is None
    first = running.put(a=[1])
    second = running.put(first, a=[1, 2], b="x")
    running.writes(second, ("a", 3), ("b", "y"))
    inner = running.put(running.within("inner"), c=1)
    running.writes(inner, ("c", 2))
    assert (stage.everything(), stage.checkpoints()) == (before, [])
    assert list(running.held.list(running.config)) == []
    found = running.get()
    assert found.config == second
    assert found.parent_config == first
    assert found.checkpoint["channel_values"] == {"a": [1, 2], "b": "x"}
    assert found.pending_writes == [("task", "a", 3), ("task", "b", "y")]
    assert running.values(first) == {"a": [1]}
    assert running.get(running.within("inner")).pending_writes == [("task", "c", 2)]
    found.checkpoint["channel_values"]["a"].append("changed")
    assert running.values() == {"a": [1, 2], "b": "x"}
    assert running.held.changed == {"a", "b"}
    assert found_at(stage, running.config) is None


def test_it_is_released_in_one_step(running: Running, stage: Stage) -> None:
    first = running.put(a=[1])
    second = running.put(first, a=[1, 2])
    running.writes(second, ("a", 3))
    assert running.release(NEW) is True
    found = found_at(stage, running.config)
    assert (found.config, found.parent_config, found.pending_writes) == (second, first, [("task", "a", 3)])
    assert [at(each.config) for each in stage.checkpoints()] == [at(second), at(first)]
    assert found.checkpoint["channel_values"] == {"a": [1, 2]}
    assert any(row.startswith(BESIDE) for part in stage.everything().values() for row in part)


def all_kinds(running: Running) -> Any:
    """Everything that a run can put: states of the graph, of two subgraphs, and writes to all of them."""
    running.put(running.within("inner"), c=["x" * 100])
    first = running.put(a=[1])
    twice = [running.put(running.within("other"), d=[1])]
    twice.append(running.put(twice[0], same={"d": f"{running.steps:032}.0"}, d=[1], e=2))
    second = running.put(first, a=[1, 2])
    for config in (first, second, *twice):
        running.writes(config, ("a", 3))
    return second


@MEMORY
@pytest.mark.parametrize("fault", [Fault.FAIL, Fault.CUT_BEFORE, Fault.CUT_AFTER])
@pytest.mark.parametrize("moves", [False, True])
def test_all_of_it_or_nothing(stage: Stage, storage: Callable[[], Backend], fault: Fault, moves: bool) -> None:
    faulty, number, cuts = FaultyBackend(storage(), {}), 0, 0
    while number <= faulty.calls:
        number += 1
        session = stage.form.do(SessionManager(faulty), "create_session", messages=["x"] if moves else [])
        each = Stage(stage.form, SessionManager(faulty), session, stage._look)
        run_ = Running(each)
        found, draft = carry_out(each, adopting.opening(session._desk), faulty)
        move = adopting.move(session._desk, found, draft, "messages") if moves else None
        before = each.texts()
        second = all_kinds(run_)
        faulty.calls, faulty.faults = 0, {number: fault}
        try:
            guards = [NEW, *move.guards] if move is not None else [NEW]
            assert run_.release(*guards, first=move.given if move is not None else None, backend=faulty)
        except (OutcomeUnknown, BackendUnavailable):
            cuts += 1
        faulty.faults = {}
        stored = each.checkpoints()
        if stored:
            assert len(stored) == 5 + moves
            assert [one.pending_writes for one in stored].count([("task", "a", 3)]) == 4
            inner = found_at(each, run_.within("other")).checkpoint["channel_values"]
            assert (inner, found_at(each, run_.config).config) == ({"d": [1], "e": 2}, second)
        else:
            assert each.texts() == before
        assert stage.form.do(each.manager.checkpointer, "check", session.id) == []
    assert cuts > 0


@pytest.mark.parametrize("puts", [0, 1, 2])
def test_nothing_is_released_when_a_condition_fails(stage: Stage, puts: int) -> None:
    earlier = Running(stage)
    config = earlier.put(a=[1])
    assert earlier.release(NEW, name=b"0" * 16) is True
    before = stage.kept()
    late = Running(stage, config)
    for _ in range(puts):
        config = late.put(config, a=[2])
        late.put(late.within("inner"), b=1)
    late.writes(config, ("a", 3))
    assert late.release(NEW) is False
    assert stage.kept() == before
    assert late.release(Expect(BESIDE, True), name=b"2" * 16) is True
    assert len(stage.checkpoints()) == 1 + 2 * puts


def test_it_is_seen_what_the_run_began_from(stage: Stage) -> None:
    earlier = Running(stage)
    config = earlier.put(a=[1])
    earlier.writes(config, ("a", "early"), task="one")
    earlier.release(NEW)
    later = Running(stage, config)
    assert later.values() == {"a": [1]}
    later.values()["a"].append("changed")
    assert later.values() == later.values(config) == {"a": [1]}
    meanwhile = Running(stage, config)
    assert meanwhile.release(Expect(BESIDE, True), name=b"2" * 16) is True
    meanwhile.put(config, a=["meanwhile"])
    assert meanwhile.release(Expect(BESIDE, True), name=b"3" * 16) is True
    assert later.values() == {"a": [1]}  # whatever else is there by now
    later.writes(config, ("a", "late"), task="two")
    later.writes(config, ("a", "never"), task="one")  # what a task has written before stays
    later.writes(config, ("__interrupt__", ["i"]), task="one")
    wrote = [("one", "a", "early"), ("two", "a", "late"), ("one", "__interrupt__", ["i"])]
    assert later.get().pending_writes == later.get(config).pending_writes == wrote
    new = later.put(config, a=[2])
    assert (at(later.get().config), later.get().pending_writes) == (at(new), [])
    assert later.values(config) == {"a": [1]}
    assert later.release(name=b"4" * 16) is True
    assert sorted(found_at(stage, config).pending_writes) == sorted(wrote)


def test_what_was_stored_before_is_seen_through_it(stage: Stage) -> None:
    earlier = Running(stage)
    config = earlier.put(a=[1])
    kept = earlier.put(earlier.within("inner"), b=1)
    earlier.release(NEW)
    later = Running(stage, config)
    new = later.put(config, a=[2])
    assert at(later.get().config) == at(new)
    assert later.values(config) == {"a": [1]}
    assert {at(each.config) for each in later.held.list({"configurable": {"thread_id": stage.session.id}})} == {
        at(config),
        at(kept),
    }
    assert later.get({"configurable": {"thread_id": "other"}}) is None
    inner = later.within("inner")
    assert later.values(inner) == {"b": 1}
    assert later.get(later.within("another")) is None
    later.put(inner, b=2)
    assert (later.values(inner), later.values(kept), later.values()) == ({"b": 2}, {"b": 1}, {"a": [2]})
    assert later.held.changed == {"a"}


@MEMORY
def test_versions_are_those_of_the_session(running: Running, stage: Stage) -> None:
    version = running.held.get_next_version(None, None)
    assert running.held.get_next_version(version, None) > version
    assert running.held.with_allowlist([("a", "b")]) is running.held
    config = running.put(a=[1])
    for value, task in (("old", "task"), ("new", "task"), ("other", "other")):
        running.writes(config, ("__interrupt__", [value]), task=task)
    assert running.get().pending_writes == [("task", "__interrupt__", ["new"]), ("other", "__interrupt__", ["other"])]
    assert running.release(NEW) is True
    stored = [write[1:] for write in found_at(stage, config).pending_writes]
    assert sorted(stored, key=str) == [("__interrupt__", ["new"]), ("__interrupt__", ["other"])]


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
