"""What this process knows of sessions that it writes to: whether the list knows them, and how long they live.

Rule 1: the list hears of a session before its first row is stored, then once a turn and once a run, not at each step.
        When the partition turns out to have begun anew, somebody has deleted it, and the list has to hear of it again.
Rule 2: nothing here is the truth. What a write relies on is guarded, or its replies tell that it was wrong.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from .. import keys
from ..forks import Lock
from ..ops import Touch

_MOST = 10_000


class Note(NamedTuple):
    """What is known of one session."""

    run: str | None = None
    incarnation: bytes = b""
    life: bytes | None = None
    """The row that says how long the session lives; None: for ever."""
    graph: bool = False
    """Whether a graph's channel is known to hold the messages."""
    turn: bool = False
    """Whether its newest state was read since the last write: then a turn begins with the next one."""


class Noted:
    """What is known of the sessions used last."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._notes: OrderedDict[bytes, Note] = OrderedDict()

    def of(self, partition: bytes) -> Note | None:
        """What is known of a session; None: nothing, this process has not written to it."""
        with self._lock:
            return self._notes.get(partition)

    def note(self, partition: bytes, note: Note) -> None:
        """Know this of a session from now on."""
        with self._lock:
            self._notes[partition] = note
            self._notes.move_to_end(partition)
            if len(self._notes) > _MOST:
                self._notes.popitem(last=False)

    def turn(self, partition: bytes) -> None:
        """A session's newest state was read, as every run of a graph does at its beginning."""
        with self._lock:
            note = self._notes.get(partition)
            if note is not None and not note.turn:
                self._notes[partition] = note._replace(turn=True)

    def forget(self, partition: bytes) -> None:
        """Know nothing of a session."""
        with self._lock:
            self._notes.pop(partition, None)


def touch_of(partition: bytes, run: str | None, ttl: int | None = None) -> Touch:
    """What the list has to hear of a session that is used, and lives on for so long (0: for ever, None: as before)."""
    runs = (keys.encode(run),) if run is not None else ()
    return Touch(partition, ttl=ttl or None, expires=0 if ttl == 0 else None, runs=runs)
