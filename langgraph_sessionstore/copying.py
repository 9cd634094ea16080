"""From one storage into another: sessions, and the items of the store.

Rule 1: what is copied arrives as a whole or not at all (see `plans.moving`), and what is there already stays as it is.
        So a copy that was interrupted goes on when it is begun again, and nothing is there twice.
Rule 2: rows are copied as they are. Nothing is revived, so a copy needs none of the types that are stored; and what is
        encrypted here is sealed anew there, or plain, as that storage has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from . import keys
from .crossing import Crossing, On
from .errors import SessionDeleted, SessionExists, SessionNotFound
from .info import SessionPage
from .ops import Batch, Call, Get, Page, Plan, Tally, must, must_all
from .plans import moving, sessions
from .plans.items import STORE, namespaces_in
from .session.common import Common

PAGE = 50
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Copied:
    """What a copy has done."""

    sessions: int = 0
    """Sessions that it brought."""
    sessions_there: int = 0
    """Sessions that were there before, and stayed as they were."""
    namespaces: int = 0
    """Namespaces of the store that it brought."""
    namespaces_there: int = 0
    """Namespaces of the store that were there before, and stayed as they were."""
    differences: Sequence[str] = ()
    """What is not the same on both sides, if that was asked for."""


class _Thing(NamedTuple):
    """What is copied at once: a session, or a namespace of the store."""

    name: str
    partition: bytes
    leave: Callable[[Common, bytes], Plan[moving.Left]]
    arrive: Callable[[Common, moving.Gathering, moving.Left], Plan[Any]]


def _session(name: str) -> _Thing:
    return _Thing(
        f"session {name!r}",
        keys.session(name),
        lambda here, at: moving.leave(here.desk(name), at),
        lambda there, gathered, left: moving.arrive(there.desk(name), gathered, left),
    )


def _namespace(labels: tuple[str, ...]) -> _Thing:
    partition = keys.encode("store", *labels)
    return _Thing(
        f"namespace {labels!r}",
        partition,
        lambda here, at: moving.leave_items(partition, at),
        lambda there, gathered, left: moving.arrive_items(partition, gathered),
    )


class Copy:
    """A copy under way."""

    def __init__(self, here: Common, there: Common, progress: Progress | None, verify: bool) -> None:
        self._here = here
        self._there = there
        self._progress = progress
        self._verify = verify
        self._done = self._total = 0
        self._differences: list[str] = []

    def crossing(
        self, listed: Callable[[str | None], Plan[SessionPage]], chosen: Iterable[str] | None, store: bool
    ) -> Crossing[Copied]:
        """Copy the chosen sessions, or all; and the store's items."""
        names = None if chosen is None else list(dict.fromkeys(chosen))
        (namespaces,) = (yield On(self._here.backend, must(STORE, Tally()))) if store else (0,)
        total = (yield On(self._here.backend, sessions.count())) if names is None else len(names)
        self._total = total + namespaces
        brought = was = 0
        cursor: str | None = None
        while True:
            if names is None:
                page = yield On(self._here.backend, listed(cursor))
                part, cursor = [info.id for info in page], page.cursor
            else:
                part, names = names[:PAGE], names[PAGE:]
                cursor = "" if names else None
                yield On(self._here.backend, _all_there(part))
            more, were = yield from self._bring([_session(name) for name in part])
            brought, was = brought + more, was + were
            if cursor is None:
                break
        items = (yield from self._items()) if store else (0, 0)
        return Copied(brought, was, *items, tuple(self._differences))

    def _items(self) -> Crossing[tuple[int, int]]:
        brought = was = 0
        after: bytes | None = b""
        while after is not None:
            (entries,) = yield On(self._here.backend, must(STORE, Page("name", after=after, limit=PAGE)))
            more, were = yield from self._bring([_namespace(labels) for labels in namespaces_in(entries)])
            brought, was, after = brought + more, was + were, entries.cursor or None
        return brought, was

    def _bring(self, things: Sequence[_Thing]) -> Crossing[tuple[int, int]]:
        """Bring what is not there yet: how many that were, and how many were there."""
        marks = yield On(self._there.backend, _marks([thing.partition for thing in things]))
        brought = was = 0
        for thing, there in zip(things, marks, strict=True):
            arrived = False if there else (yield from self._carry(thing))
            brought, was = brought + (arrived is True), was + (arrived is False)
            if self._verify and (yield from self._digest(self._here, thing)) != (
                yield from self._digest(self._there, thing)
            ):
                self._differences.append(f"{thing.name} is not the same on both sides")
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, max(self._done, self._total))
        return brought, was

    def _carry(self, thing: _Thing) -> Crossing[bool | None]:
        """Bring it; False: somebody else was faster, None: it is gone since it was listed."""
        here, there = self._here, self._there
        at = moving.place(here.chance.new_id())
        gathered = moving.Gathering(at, there.chance.new_id)
        try:
            left = yield On(here.backend, thing.leave(here, at))
            if not left.rows:
                return None
            reader = moving.Reader(at, left.rows)
            while rows := (yield On(here.backend, reader.piece())):
                yield On(there.backend, gathered.add(rows))
            arrived = yield On(there.backend, thing.arrive(there, gathered, left))
        except SessionExists:
            return False
        except (SessionDeleted, SessionNotFound):
            return None
        finally:
            yield On(here.backend, moving.drop(at))
            yield On(there.backend, moving.drop(at))
        return bool(arrived)

    def _digest(self, side: Common, thing: _Thing) -> Crossing[bytes]:
        """Of all rows at one moment."""
        at, digest = moving.place(side.chance.new_id()), sha256()
        try:
            left = yield On(side.backend, thing.leave(side, at))
            reader = moving.Reader(at, left.rows)
            while rows := (yield On(side.backend, reader.piece())):
                for key, value in moving.telling(rows):
                    digest.update(b"%d %d " % (len(key), len(value)) + key + value)
        except (SessionDeleted, SessionNotFound):
            return b""
        finally:
            yield On(side.backend, moving.drop(at))
        return digest.digest()


def _marks(partitions: Sequence[bytes]) -> Plan[list[bool]]:
    """Which of these are there."""
    look = Batch(Get(keys.INCARNATION), Get(keys.TOMBSTONE))
    found = yield from must_all([Call(partition, look) for partition in partitions])
    return [there is not None and tombstone is None for there, tombstone in found]


def _all_there(names: Sequence[str]) -> Plan[None]:
    for name, there in zip(names, (yield from _marks([keys.session(name) for name in names])), strict=True):
        if not there:
            raise SessionNotFound(f"there is no session {name!r} to copy")
