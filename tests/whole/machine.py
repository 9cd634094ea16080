"""The state machine: two workers do what there is to do, are cut, meet each other, begin anew; a model says what is.

Rule 1: what an act answers is what the model answers, and what is seen afterwards is what the model has; seen by either
        worker, with all that it remembers, or by one that remembers nothing.
Rule 2: after a cut it is one of the model's states before and after; an error that is no `OutcomeUnknown` means before.
Rule 3: two acts that meet end as if one had been done after the other; or one that may refuse has refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from support.sittings import Form
from whole.act import Act
from whole.acts import EDITS, LONG, OTHERS, Acts
from whole.seen import damage, look, problems
from whole.workers import Meeting, Storage, Worker
from whole.world import NAMES, World

from langgraph_sessionstore import ConflictError, OutcomeUnknown, SessionManager, SessionStoreError
from langgraph_sessionstore.testing import Fault, FaultyBackend

numbers = st.tuples(*[st.integers(0, 23)] * 3)
names = st.sampled_from([0, 0, 0, 1, 1, 2])
acts = st.tuples(st.sampled_from([*EDITS, *OTHERS]), names, numbers)
long = st.tuples(st.sampled_from(LONG), names, numbers)
workers = st.integers(0, 1)
forms = st.booleans()
eyes = st.integers(0, 2)
faults = st.sampled_from([Fault.FAIL, Fault.CUT_BEFORE, Fault.CUT_AFTER])
Planned = tuple[str, int, Any]
Outcome = Any
"""What an act has answered, or the error."""


class Whole(RuleBasedStateMachine):
    """One life of the machine has a storage of its own."""

    new_storage: Callable[[], Storage]
    loop: asyncio.AbstractEventLoop
    directory: Path
    figures: dict[str, int]

    @initialize()
    def begin(self) -> None:
        self.storage = self.new_storage()
        self.workers = [Worker(self.storage, self.loop) for _ in range(2)]
        self.acts = Acts(self.directory / "export")
        self.certain = True
        """Whether nothing was cut or met: then the list has heard of nothing else, and nothing is waste."""
        self.sound = True
        """Whether nothing was found that is wrong."""
        self._count("examples")
        for kind, which in (("create", 0), ("put", 1), ("put", 1)):
            self.do(0, False, (kind, which, (2, 2, 2)), 2)

    def _count(self, what: str) -> None:
        self.figures[what] = self.figures.get(what, 0) + 1

    def _make(self, planned: Planned, worker: Worker, form: Form) -> Act | None:
        kind, which, given = planned
        made = self.acts.make(kind, worker, form, which, given)
        if made is not None:
            note(f"-- {made.name}")
            self._count("steps")
            self.sound = False
        return made

    # -- rules

    @rule(who=workers, how=forms, planned=acts, eye=eyes)
    def do(self, who: int, how: bool, planned: Planned, eye: int) -> None:
        worker = self.workers[who]
        form = worker.asynchronous if how else worker.sync
        act = self._make(planned, worker, form)
        if act is not None:
            is_ = outcome(partial(act.real, form))
            world, right = after(self.acts.world, [*act.parts])
            assert agrees(is_, right), (act.name, is_, right)
            self._settle([world], eye, how)

    @rule(who=workers, how=forms, planned=acts | long, at=st.integers(1, 6), fault=faults, leave=forms, eye=eyes)
    def cut(self, who: int, how: bool, planned: Planned, at: int, fault: Fault, leave: bool, eye: int) -> None:
        worker = self.workers[who]
        form = worker.asynchronous if how else worker.sync
        act = self._make(planned, worker, form)
        if act is None:
            return
        self.certain = False
        exported = len(self.acts.exported)
        with worker.stage.through(FaultyBackend(worker.stage.inner, {at: fault})):
            is_ = outcome(partial(act.real, form))
        note(f"-- cut: {is_!r:.200}")
        worlds = [after(self.acts.world, act.parts[:count]) for count in range(len(act.parts) + 1)]
        if isinstance(is_, OutcomeUnknown):
            self._count("unknown")
            possible = [world for world, _ in worlds]
        elif agrees(is_, worlds[-1][1]):
            possible = [worlds[-1][0]]
        else:
            assert isinstance(is_, SessionStoreError), (act.name, is_)
            self._count("failed")
            possible = [worlds[0][0]]
        del self.acts.exported[exported + isinstance(is_, type(None)) :]
        if leave:
            worker.restart()
        self._settle(possible, eye, how)

    @rule(who=workers, how=forms, planned=acts | long, other=acts, same=forms, at=st.integers(1, 6), eye=eyes)
    def meet(self, who: int, how: bool, planned: Planned, other: Planned, same: bool, at: int, eye: int) -> None:
        worker, second = self.workers[who], self.workers[1 - who]
        form = worker.asynchronous if how else worker.sync
        if same:
            other = other[0], planned[1], other[2]
        act, then = self._make(planned, worker, form), self._make(other, second, second.sync)
        if act is None or then is None:
            return
        self.certain = False
        answers: list[Outcome] = []

        def meanwhile() -> None:
            self._count("met")
            answers.append(outcome(partial(then.real, second.sync)))

        with worker.stage.through(Meeting(worker.stage.inner, at, meanwhile)):
            is_ = outcome(partial(act.real, form))
        if not answers:
            meanwhile()
        note(f"-- met: {is_!r:.200}, {answers[0]!r:.200}")
        possible = []
        for parts in filter(None, (act.parts, act.apart)):
            for count in range(len(parts) + 1):
                world, right = after(self.acts.world, parts[:count])
                world, others = after(world, then.parts)
                if not isinstance(right, Exception):
                    world, right = after(world, parts[count:], right)
                if agrees(is_, right) and agrees(answers[0], others):
                    possible.append(world)
        if act.optimistic and type(is_) is ConflictError:
            world, others = after(self.acts.world, then.parts)
            possible += [world] if agrees(answers[0], others) else []
        assert possible, (act.name, is_, then.name, answers[0])
        self._settle(possible, eye, how)

    @rule(who=workers, eye=eyes)
    def restart(self, who: int, eye: int) -> None:
        self.workers[who].restart()
        self._settle([self.acts.world], eye, False)

    def _finish(self) -> None:
        """Let pruning finish what was cut, as it does whenever it comes by."""
        for which, name in enumerate(NAMES):
            session = self.acts.world.sessions.get(name)
            if session is not None and session.unfinished:
                self.do(0, False, ("prune_thread", which, (0, 0, 0)), 0)

    # -- what always holds

    def _settle(self, possible: list[World], eye: int, how: bool) -> None:
        """What is seen is one of these."""
        worker = self.workers[eye % 2]
        manager = SessionManager(worker.stage.inner) if eye == 2 else worker.manager
        seen = look(manager, worker.asynchronous if how else worker.sync)
        for world in possible:
            if world.fits(seen):
                self.acts.world = world
                break
        else:
            raise AssertionError([differences(world.shown(), seen) for world in possible])
        for name in NAMES:
            assert problems(manager, name, not self.certain) == []
        assert damage(manager.backend) == []
        total = manager.count_sessions()
        assert total == len(seen["sessions"]) if self.certain else total >= len(seen["sessions"])
        self.sound = True
        self._finish()

    def teardown(self) -> None:
        if hasattr(self, "workers") and self.sound:
            for name in NAMES:
                self.workers[0].manager.checkpointer.collect(name)
                assert problems(self.workers[0].manager, name, False) == []
            for eye in range(3):
                self._settle([self.acts.world], eye, False)
        for worker in getattr(self, "workers", ()):
            worker.close()


def outcome(act: Callable[[], Any]) -> Outcome:
    try:
        return act()
    except SessionStoreError as exc:
        return exc


def agrees(is_: Outcome, right: Outcome) -> bool:
    """Whether an act has answered what it should; of errors the kind counts."""
    if isinstance(right, Exception):
        return isinstance(is_, type(right))
    return not isinstance(is_, Exception) and bool(is_ == right)


def differences(wanted: Any, seen: Any, place: str = "") -> list[str]:
    """What is not as it should be, and where."""
    if wanted == seen:
        return []
    if not (isinstance(wanted, dict) and isinstance(seen, dict)):
        return [f"{place}: {wanted!r} wanted, {seen!r} seen"]
    parts = [(wanted.get(key), seen.get(key), f"{place}/{key}") for key in {**wanted, **seen}]
    return [each for part in parts for each in differences(*part)]


def after(world: World, parts: Any, result: Outcome = None) -> tuple[World, Outcome]:
    """A copy of a world after these steps, and what the last one answers; an error ends it."""
    world = world.copy()
    for part in parts:
        try:
            result = part(world)
        except SessionStoreError as exc:
            return world, exc
    return world, result
