"""What one session should hold, in plain Python: messages, what can be undone, checkpoints, usage, items.

Rule 1: each method is one atomic step. It does all of it, or raises what the library raises and has done nothing.
Rule 2: what the library names by itself (the checkpoints that edits make) has a name of the model's own at first, in
        `fresh`, until it is seen what the library has called it; their versions are None until then.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base.id import uuid6
from support.thread_model import Known, Name, ThreadModel
from whole.sheet import Sheet

from langgraph_sessionstore import (
    ConflictError,
    MessagesElsewhere,
    NothingToUndo,
    SessionError,
    Usage,
)

CHANNEL = "messages"
Graph = tuple[str | None, str | None, str]


class Step(NamedTuple):
    """An operation that can be undone: what it changed, as it was before; and once it was undone, as it was after."""

    label: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    graph: Graph | None = None
    """The checkpoint before, the one that it equals, and the one that was made."""


class SessionModel:
    """One session in one of its lives."""

    def __init__(self, life: int, made: bool) -> None:
        self.life = life
        self.made = made
        """Whether somebody has made it; else it has begun with a write, and ends with the last checkpoint."""
        self.parent: str | None = None
        self.details: dict[str, Any] = {"title": None, "system": None, "metadata": {}}
        self.summary: str | None = None
        self.log: list[BaseMessage] = []
        self.graph = False
        """Whether a graph holds the messages."""
        self.head: tuple[str, str | None] | None = None
        """The checkpoint that undo or redo made last, and the one that it equals."""
        self.thread = ThreadModel()
        self.undone: list[Step] = []
        self.redone: list[Step] = []
        self.usage: dict[str, Usage] = {}
        self.last: Usage | None = None
        self.items: dict[tuple[tuple[str, ...], str], Any] = {}
        self.edited = False
        """Whether it has rows beside checkpoints and items that stay."""
        self.fresh: list[str] = []

    def copy(self, life: int, made: bool = True) -> SessionModel:
        new = copy.deepcopy(self)
        new.life, new.made = life, made
        return new

    # -- the root of the graph

    def newest(self) -> tuple[str, Known] | None:
        names = self.thread.names("")
        return (names[0][0], self.thread.known[names[0]]) if names else None

    @property
    def messages(self) -> list[BaseMessage]:
        newest = self.newest()
        if not self.graph:
            return self.log
        return newest[1].values.get(CHANNEL, []) if newest else []

    def _same_as(self) -> str | None:
        """The checkpoint that the newest one equals."""
        newest = self.newest()
        if newest and self.head and self.head[0] == newest[0]:
            return self.head[1]
        return newest[0] if newest else None

    def _new_checkpoint(self, values: Mapping[str, Any], source: str, parent: str | None, versions: Any) -> str:
        newest = self.newest()
        name = str(uuid6(clock_seq=-1))
        assert newest is None or name > newest[0]
        step = newest[1].metadata["step"] + 1 if newest else 0
        self.thread.put((name, ""), values, versions, {"parents": {}, "source": source, "step": step}, parent)
        self.fresh.append(name)
        return name

    def _again(self, target: str | None) -> str:
        """An earlier state once more, as the newest."""
        known = self.thread.known[target, ""] if target else Known({}, {}, {}, None)
        return self._new_checkpoint(known.values, "fork", known.parent, known.versions)

    # -- edits, undo, redo, rewind

    def sheet(self) -> Sheet:
        return Sheet(self.messages, self.summary, self.details)

    def edit(self, change: Callable[[Sheet], None], history: bool = True) -> None:
        sheet = self.sheet()
        change(sheet)
        self.commit(sheet, sheet.label, history)

    def commit(self, sheet: Sheet, label: str, history: bool = True) -> None:
        """Store an edit; without `history` it ends all that could be undone."""
        old = {"summary": self.summary, "details": self.details, "log": self.log}
        new = {"summary": sheet.summary, "details": sheet.details, "log": self.log}
        graph: Graph | None = None
        if sheet.messages != self.messages and self.graph:
            newest = self.newest()
            values = newest[1].values if newest else {}
            before, equal = newest[0] if newest else None, self._same_as()
            graph = before, equal, self._new_checkpoint({**values, CHANNEL: sheet.messages}, "update", before, None)
        elif not self.graph:
            new["log"] = sheet.messages
        changed = {part: old[part] for part in old if old[part] != new[part]}
        if changed or graph:
            self._take(new)
            self._remember(Step(label, changed, {}, graph), history)

    def _take(self, parts: Mapping[str, Any]) -> None:
        self.summary, self.details = parts.get("summary", self.summary), parts.get("details", self.details)
        self.log = parts.get("log", self.log)

    def _remember(self, step: Step, history: bool = True) -> None:
        self.undone = [*self.undone, step] if history else []
        self.redone = []
        self.edited = self.edited or history

    def _exchange(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        """Put these in the place of what is there, which is returned."""
        if "log" in parts and self.graph:
            raise ConflictError
        now = {"summary": self.summary, "details": self.details, "log": self.log}
        return {part: now[part] for part in parts}

    def _go(self, to: str | None, equal: str | None, expected: str | None) -> None:
        if self.newest() is None or self._same_as() != expected or (to is not None and not self._has(to)):
            raise ConflictError
        self.head = self._again(to), equal

    def _has(self, checkpoint: str) -> bool:
        return (checkpoint, "") in self.thread.known

    def undo(self) -> str:
        if not self.undone:
            raise NothingToUndo
        step = self.undone[-1]
        after = self._exchange(step.before)
        if step.graph:
            before, equal, made = step.graph
            self._go(before, equal, made)
        self._take(step.before)
        self.undone, self.redone = self.undone[:-1], [*self.redone, step._replace(after=after)]
        return f"Restored: before {step.label}"

    def redo(self) -> str:
        if not self.redone:
            raise NothingToUndo
        step = self.redone[-1]
        self._exchange(step.after)
        if step.graph:
            _, equal, made = step.graph
            self._go(made, made, equal)
        self._take(step.after)
        self.redone, self.undone = self.redone[:-1], [*self.undone, step._replace(after={})]
        return f"Restored: after {step.label}"

    def rewind_to(self, checkpoint: str) -> str:
        newest, equal = self.newest(), self._same_as()
        if newest is None or not self._has(checkpoint):
            raise SessionError
        graph = newest[0], equal, self._again(checkpoint)
        self._remember(Step(f"rewind to {checkpoint}", {}, {}, graph))
        return f"Restored: checkpoint {checkpoint}"

    def purge(self) -> None:
        """All of it but for the graph's earlier states."""
        self.forget_log()
        self.forget_rest()

    def forget_log(self) -> None:
        """What others append to a log from now on stays."""
        if not self.graph:
            self.log = []

    def forget_rest(self) -> None:
        if self.graph:
            self.commit(Sheet([], self.summary, self.details), "clear", history=False)
        self.undone, self.redone = [], []

    # -- checkpoints

    def put(self, name: Name, values: Any, versions: Any, metadata: Any, parent: str | None, messages: bool) -> None:
        """Put a checkpoint, which may hold the session's messages."""
        if messages and not self.graph and self.log:
            raise MessagesElsewhere
        self.graph = self.graph or messages
        self.thread.put(name, values, versions, metadata, parent)

    def without_thread(self) -> None:
        self.thread, self.graph, self.head = ThreadModel(), False, None

    @property
    def empty(self) -> bool:
        return not (self.made or self.edited or self.items or self.thread.exists())

    @property
    def unfinished(self) -> bool:
        """Whether the last checkpoint went, and somebody was cut before the rest could go."""
        return self.empty or (self.graph and not self.thread.exists())

    # -- the rest

    def record(self, phase: str, used: Usage) -> None:
        sums: list[Any] = [a + b for a, b in zip(self.usage.get(phase, Usage()), used, strict=True)]
        self.usage[phase] = Usage(*sums)
        self.last, self.edited = used, True

    def rename(self, names: Mapping[str, str]) -> None:
        """Call checkpoints what the library has called them."""

        def new(name: Any) -> Any:
            return names.get(name, name)

        known = self.thread.known
        self.thread.known = {(new(i), ns): of._replace(parent=new(of.parent)) for (i, ns), of in known.items()}
        self.head = (new(self.head[0]), new(self.head[1])) if self.head else None
        for steps in (self.undone, self.redone):
            steps[:] = [step._replace(graph=step.graph and tuple(map(new, step.graph))) for step in steps]
