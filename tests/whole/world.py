"""What a whole storage should hold: sessions, tombstones, and items of the store; and whether that is what was seen.

Rule: each method is one atomic step, as in `model`; a world is copied before anything uncertain is tried on it.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from support.thread_model import plain
from whole.model import SessionModel, Step
from whole.sheet import Sheet

from langgraph_sessionstore import SessionDeleted, SessionExists, SessionNotFound, Usage

NAMES = ("one", "two:{2}", "*")
"""The ids of sessions."""
SUB = "node:1|sub:2"
Shown = dict[str, Any]
_lives = itertools.count(1)


class World:
    """Everything."""

    def __init__(self) -> None:
        self.sessions: dict[str, SessionModel] = {}
        self.deleted: set[str] = set()
        """Those that leave a tombstone."""
        self.items: dict[tuple[tuple[str, ...], str], Any] = {}

    def copy(self) -> World:
        return copy.deepcopy(self)

    # -- sessions as a whole

    def at(self, name: str, life: int | None) -> SessionModel:
        """The session that a handle means; without a life, whichever has this id, which may begin with this write."""
        if name in self.deleted:
            raise SessionDeleted
        session = self.sessions.get(name)
        if life is None and session is None:
            session = self.sessions[name] = SessionModel(next(_lives), made=False)
        if session is None or life not in (None, session.life):
            raise SessionNotFound
        return session

    def create(
        self,
        name: str,
        messages: Sequence[BaseMessage],
        summary: str | None,
        details: Mapping[str, Any],
        exist_ok: bool,
    ) -> None:
        if name in self.sessions and exist_ok:
            return
        session = self._begin(name, SessionModel(next(_lives), made=True))
        session.log, session.summary, session.details = list(messages), summary, dict(details)
        session.edited = bool(messages or summary is not None or any(details.values()))

    def _begin(self, name: str, session: SessionModel) -> SessionModel:
        if name in self.sessions:
            raise SessionExists
        self.deleted.discard(name)
        self.sessions[name] = session
        return session

    def delete(self, name: str, life: int | None = None) -> bool:
        if name not in self.sessions or life not in (None, self.sessions[name].life):
            return False
        del self.sessions[name]
        self.deleted.add(name)
        return True

    def fork(self, name: str, life: int, new: str) -> None:
        source = self.at(name, life)
        self._begin(new, source.copy(next(_lives))).parent = name

    def arrive(self, name: str, exported: SessionModel) -> None:
        self._begin(name, exported.copy(next(_lives)))

    def edit(self, name: str, life: int | None, change: Callable[[Sheet], None]) -> None:
        self.at(name, life).edit(change)

    # -- threads

    def put(self, name: str, *given: Any) -> None:
        trial = self.copy()
        trial.at(name, None).put(*given)  # a session that is refused does not begin
        self.at(name, None).put(*given)

    def write(self, name: str, *given: Any) -> None:
        self.at(name, None).thread.write(*given)

    def delete_thread(self, name: str) -> None:
        if name in self.sessions:
            self.sessions[name].without_thread()

    def end_if_empty(self, name: str) -> None:
        if name in self.sessions and self.sessions[name].empty:
            del self.sessions[name]

    def prune(self, name: str) -> None:
        if name in self.sessions:
            self.sessions[name].thread.prune()

    def end_graph(self, name: str) -> None:
        """What goes with the last checkpoint."""
        if name in self.sessions and not self.sessions[name].thread.exists():
            self.sessions[name].without_thread()

    def delete_run(self, name: str, run: str) -> None:
        if name in self.sessions:
            self.sessions[name].thread.delete_runs([run])

    def copy_thread(self, name: str, new: str) -> None:
        if new in self.deleted:
            raise SessionDeleted
        if new in self.sessions:
            raise SessionExists
        if name in self.sessions:
            self._begin(new, self.sessions[name].copy(next(_lives), made=False)).parent = None

    # -- the rest

    def record(self, name: str, life: int, phase: str, used: Usage) -> None:
        self.at(name, life).record(phase, used)

    def put_item(self, namespace: tuple[str, ...], key: str, value: Any) -> None:
        _set(self.items, (namespace, key), value)

    def put_session_item(self, name: str, life: int | None, namespace: tuple[str, ...], key: str, value: Any) -> None:
        if value is not None or life is not None:
            _set(self.at(name, life).items, (namespace, key), value)
        elif name in self.sessions:
            _set(self.sessions[name].items, (namespace, key), value)

    # -- what can be seen

    def shown(self) -> Shown:
        """All of it, in the form of `seen.look`."""
        return {
            "sessions": {name: _shown(session) for name, session in self.sessions.items()},
            "items": {address: plain(value) for address, value in self.items.items()},
        }

    def fits(self, seen: Shown) -> bool:
        """Whether this is what was seen; what the library has named by itself is called the same from then on."""
        for name, session in self.sessions.items():
            if name in seen["sessions"]:
                _name(session, seen["sessions"][name])
        return self.shown() == seen


def _set(items: dict[Any, Any], address: Any, value: Any) -> None:
    if value is None:
        items.pop(address, None)
    else:
        items[address] = value


def _name(session: SessionModel, seen: Shown) -> None:
    known = {name[0] for name in session.thread.known}
    found = {form[0]: form[4] for form in seen["thread"]}
    new, fresh = sorted(found.keys() - known), sorted({*session.fresh} & known)
    if len(new) == len(fresh):
        names = dict(zip(fresh, new, strict=True))
        parents = {form[0]: form[2] for form in seen["thread"]}
        for (name, _), each in session.thread.known.items():
            if name in names and each.parent in session.fresh:  # which may have been pruned at once
                names.setdefault(each.parent, parents[names[name]])
        session.rename(names)
        session.fresh = []
    for (name, ns), each in session.thread.known.items():
        if each.versions is None:
            session.thread.known[name, ns] = each._replace(versions=found.get(name, {}))


def _label(step: Step) -> str:
    return step.label


def _shown(session: SessionModel) -> Shown:
    return {
        "parent": session.parent,
        "details": plain(session.details),
        "summary": session.summary,
        "messages": plain(session.messages),
        "source": "graph" if session.graph else "log",
        "thread": [session.thread.form(name) for name in session.thread.names()],
        "undo": list(map(_label, session.undone)),
        "redo": list(map(_label, session.redone)),
        "usage": session.usage,
        "last": session.last,
        "items": {address: plain(value) for address, value in session.items.items()},
    }
