"""One act on a storage: what a worker does, and what that does to the model.

Rule: an act is made before it is done, from numbers and from what is known then. So another act may come in between.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from support.sittings import Form
from whole.model import SessionModel
from whole.workers import Worker
from whole.world import NAMES, World

from langgraph_sessionstore import Session

Numbers = tuple[int, int, int]
counter = itertools.count()
WORDS = "a message that is long enough to be shared by the checkpoints that have it, "


class Act(NamedTuple):
    """One operation of a worker."""

    name: str
    real: Callable[[Form], Any]
    parts: tuple[Callable[[World], Any], ...]
    """What it does to a world, in steps that others may come between; the last one gives the result."""
    optimistic: bool = False
    """Whether it may end in a `ConflictError` when somebody else comes between."""
    apart: tuple[Callable[[World], Any], ...] = ()
    """The same in steps that others may come between, but no cut."""


def message(kind: int) -> BaseMessage:
    """A message that is like no other."""
    number = next(counter)
    text = f"{number}: {WORDS * (kind % 3)}"
    return AIMessage(text, id=f"a{number}") if kind % 2 else HumanMessage(text, id=f"h{number}")


def quietly(answer: Any) -> None:
    """What this act answers is of no interest."""


def several(count: int, kind: int) -> list[BaseMessage]:
    return [message(kind + more) for more in range(count)]


class Maker:
    """What all that make acts have: the world as it is now, and what was exported."""

    def __init__(self, file: Path) -> None:
        self.world = World()
        self.file = file
        self.exported: list[tuple[Any, SessionModel]] = []
        self.runs = 0

    def _handle(self, worker: Worker, form: Form, name: str, old: int = 0) -> tuple[Session, int] | None:
        """A handle of a session, and the life that it means; perhaps the one that this worker got last."""
        if not (old % 2 and name in worker.handles):
            found, model = form.do(worker.manager, "get_session", name), self.world.sessions.get(name)
            assert (found is None) == (model is None)
            if found is not None and model is not None:
                worker.handles[name] = found, model.life
        return worker.handles.get(name)

    def _simple(
        self, kind: str, worker: Worker, form: Form, name: str, old: int, model: Callable[[SessionModel], Any]
    ) -> Act | None:
        """An act of a handle."""
        if (handle := self._handle(worker, form, name, old)) is None:
            return None
        session, life = handle
        return Act(
            f"{kind} {name}", lambda form: form.do(session, kind), (lambda world: model(world.at(name, life)),), True
        )


def other_than(name: str, a: int) -> str:
    others = [each for each in NAMES if each != name]
    return others[a % len(others)]
