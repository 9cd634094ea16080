"""Which threads this process has told the list of threads.

Rule: the list hears of a thread before its first row is stored, then once a turn and once a run, not at every step.
When the partition turns out to have begun anew, somebody has deleted it, and the list has to hear of it again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

from .. import keys
from ..ops import Touch

_MOST = 10_000


class _Note(NamedTuple):
    run: str | None
    incarnation: bytes


class Noted:
    """What was told, of the threads used last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notes: OrderedDict[bytes, _Note] = OrderedDict()

    def touch(self, partition: bytes, run: str | None, turn: bool) -> tuple[Touch | None, bool]:
        """What to tell the list, if anything; and whether this process does so for the first time."""
        with self._lock:
            note = self._notes.get(partition)
        if note is not None and not turn and run in (None, note.run):
            return None, False
        return self.tell(partition, run), note is None

    def tell(self, partition: bytes, run: str | None) -> Touch:
        """What the list has to hear of a thread."""
        return Touch(partition, runs=(keys.encode(run),) if run is not None else ())

    def done(self, partition: bytes, run: str | None, incarnation: bytes, told: bool) -> bool:
        """Something was stored; whether the list was `told`, or knows all it has to."""
        with self._lock:
            note = self._notes.get(partition)
            if told:
                run = run if run is not None or note is None else note.run
                self._notes[partition] = _Note(run, incarnation)
                self._notes.move_to_end(partition)
                if len(self._notes) > _MOST:
                    self._notes.popitem(last=False)
            return told or note is None or note.incarnation == incarnation
