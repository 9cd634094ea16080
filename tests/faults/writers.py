"""Writers that work through the public API, until they are told to end. (Those that are killed: `lives`.)

Rule: a writer takes any error of the library and goes on; every other exception ends the scenario.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from faults.ledger import Ledger, text_of
from langgraph.graph import START, MessagesState, StateGraph
from support.sittings import Form
from support.waiting import wait_until

from langgraph_sessionstore import Session, SessionManager, SessionNotFound, SessionStoreError

SHARED = "shared"
"""The session that all append to."""
LONG = 60
"""So many writes make a session long enough."""
UNSURE = {"OutcomeUnknown", "NotReplicated"}
"""The names of errors after which a write may be there, or not stay."""
PAUSE = 0.01
"""Seconds for which a writer that met an error leaves the storage alone, as anybody would."""


class Plan(NamedTuple):
    """How big a scenario is, and on what it runs."""

    folder: Path
    """An empty directory, for notes and for what the scenario keeps."""
    chance: random.Random
    seconds: float = 0.0
    """Trouble begins again until this time is over; once it comes in any case."""
    options: dict[str, Any] = {}  # noqa: RUF012 - nobody writes to it
    """What managers are opened with beside what the scenario needs."""

    def rounds(self, least: int = 1) -> Iterator[int]:
        """Numbers, until the time is over."""
        end, number = time.monotonic() + self.seconds, 0
        while number < least or time.monotonic() < end:
            yield number
            number += 1


class Kind(NamedTuple):
    """What the writers of a scenario have in common."""

    url: str
    options: dict[str, Any]
    folder: Path
    """For the notes."""
    seed: float
    size: int = 300
    """No message is longer."""
    user: int | None = None
    """As whom a process works; None: as whoever begins it."""

    def writer(self, number: int, life: int = 0, **options: Any) -> Writer:
        """A writer; every second one is async."""
        name = f"w{number}.{life:05}"
        form = Form(asyncio.new_event_loop() if number % 2 else None)
        return Writer(name, self, form, {**options, **self.options})


class Writer:
    """One after the other: appends to the shared session, edits of a session of its own, turns of a graph."""

    def __init__(self, name: str, kind: Kind, form: Form, options: dict[str, Any]) -> None:
        self.name = name
        self.ended = self.troubled = 0
        """How many acts have ended, and how many of them were not done."""
        self._open: Callable[[], SessionManager] = lambda: SessionManager.from_url(kind.url, **options)
        self._manager: SessionManager | None = None
        self._sessions: dict[str, Session] = {}
        self._graph: Any = None
        self._ledger = Ledger(kind.folder, name)
        self._form = form
        self._size = kind.size
        self._chance = random.Random(f"{name} {kind.seed}")
        self._marks = self._moves = 0
        self._own = self._talk = self._mark = ""
        self.begin_anew()

    def begin_anew(self) -> None:
        """Go on in new sessions."""
        self._moves += 1
        self._own, self._talk = (f"{kind} {self.name} {self._moves:05}" for kind in ("own", "talk"))

    def step(self) -> None:
        """One write of each kind; now and then the edit is undone and done again."""
        self.append()
        done, own, mark = self.edit(), self._own, self._mark
        if done and self._chance.random() < 0.25:  # nobody else writes there, so what it takes back is this edit
            for act in ("undo", "redo"):
                done = done and self._do(own, act, mark, lambda act=act: self._call(own, act))  # type: ignore[misc]
        self.turn()
        if self._marks // (3 * LONG) >= self._moves:
            self.begin_anew()

    @property
    def places(self) -> tuple[str, str]:
        """The sessions that nobody else writes to now."""
        return self._own, self._talk

    def append(self) -> bool:
        """A message for the session of all."""
        mark = self._new_mark()
        return self._do(SHARED, "append", mark, lambda: self._call(SHARED, "append", "user", self._text(mark)))

    def edit(self) -> bool:
        """Two messages and the summary, in one step."""
        mark, own = self._new_mark(), self._own

        def change(tx: Any) -> None:
            tx.append("user", self._text(mark, 1, 2))
            tx.append("ai", self._text(mark, 2, 2))
            tx.set_summary(mark)

        return self._do(own, "edit", mark, lambda: self._call(own, "transact", change))

    def turn(self) -> bool:
        """A graph takes a message and answers; it puts one checkpoint, at its end."""
        mark, thread = self._new_mark(), {"configurable": {"thread_id": self._talk}}
        given = {"messages": [("user", self._text(mark, 1, 2))]}
        run = lambda: self._form.do(self._compiled(), "invoke", given, thread, durability="exit")  # noqa: E731
        return self._do(self._talk, "turn", mark, run)

    def _new_mark(self) -> str:
        self._marks += 1
        self._mark = f"{self.name}.{self._marks:06}"
        return self._mark

    def _text(self, mark: str, part: int = 1, parts: int = 1) -> str:
        return text_of(mark, part, parts, self._chance.randrange(self._size))

    def _do(self, session: str, act: str, mark: str, work: Callable[[], Any]) -> bool:
        self._ledger.note(session, act, mark, "begun")
        result = "done"
        try:
            work()
        except SessionStoreError as error:
            name = type(error).__name__
            result = f"{'unknown' if name in UNSURE else 'refused'}:{name}"
            if name in UNSURE:
                self.begin_anew()  # which operation of a session is the newest is not certain any more
            elif isinstance(error, SessionNotFound):  # lost by a failover, with all that was in it
                self._sessions.pop(session, None)
            time.sleep(PAUSE)
        self._ledger.note(session, act, mark, result)
        self.ended += 1
        self.troubled += result != "done"
        return result == "done"

    def _call(self, session_id: str, name: str, *args: Any) -> None:
        if session_id not in self._sessions:
            made = self._form.do(self._opened(), "create_session", session_id, exist_ok=True)
            self._sessions[session_id] = made
        self._form.do(self._sessions[session_id], name, *args)

    def _opened(self) -> SessionManager:
        if self._manager is None:
            self._manager = self._open()
        return self._manager

    def _compiled(self) -> Any:
        if self._graph is None:

            def answer(state: Any) -> Any:
                return {"messages": [("ai", self._text(self._mark, 2, 2))]}

            builder: Any = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")
            self._graph = builder.compile(checkpointer=self._opened().checkpointer)
        return self._graph

    def close(self) -> None:
        """Close what was opened."""
        try:
            if self._manager is not None:
                self._form.do(self._manager, "close")
        finally:
            if self._form.loop is not None:
                self._form.loop.close()
            self._ledger.close()


class Load:
    """Writers that work in threads of this process."""

    def __init__(self, writers: Sequence[Writer]) -> None:
        self.writers = writers
        self._stop = threading.Event()
        self._broken = threading.Event()

    def work(self, writer: Writer) -> None:
        try:
            while not self._stop.is_set() and not self._broken.is_set():
                writer.step()
        except BaseException:
            self._broken.set()
            raise

    def progress(self, many: int = 30) -> None:
        """Wait until every writer has ended so many more acts."""
        goals = [each.ended + many for each in self.writers]
        wait_until(lambda: self._broken.is_set() or self._beyond(goals), "the writers go on", 120)

    def trouble(self) -> None:
        """Wait until somebody, who has little patience, was told of it."""
        known = sum(each.troubled for each in self.writers)
        noticed = lambda: self._broken.is_set() or sum(each.troubled for each in self.writers) > known  # noqa: E731
        wait_until(noticed, "somebody notices", 120)

    def _beyond(self, goals: Sequence[int]) -> bool:
        return all(each.ended >= goal for each, goal in zip(self.writers, goals, strict=True))

    def stop(self) -> None:
        self._stop.set()


@contextmanager
def load(plan: Plan, url: str, *patiences: float) -> Iterator[Load]:
    """Writers at work, one for each of these patiences, until the block is left."""
    kind = Kind(url, plan.options, plan.folder, plan.chance.random())
    load = Load([kind.writer(number, patience=patience) for number, patience in enumerate(patiences)])
    with ThreadPoolExecutor(len(patiences)) as pool:
        ends = [pool.submit(load.work, each) for each in load.writers]
        try:
            yield load
        finally:
            load.stop()
            for end in ends:
                end.exception()
            for each in load.writers:
                each.close()
    for end in ends:
        end.result()
