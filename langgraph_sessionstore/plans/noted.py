"""Which threads this process has told the list of threads.

Rule: the list hears of a thread before its first row is stored, then once a turn and once a run, not at every step.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from .. import keys
from ..ops import Touch

_MOST = 10_000


class Noted:
    """Which threads this process has listed, so that it lists them once a turn and not at every step."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[bytes, str | None] = OrderedDict()

    def touch(self, partition: bytes, run: str | None, turn: bool) -> tuple[Touch | None, bool]:
        """What to tell the list, if anything; and whether this process does so for the first time."""
        with self._lock:
            first = partition not in self._runs
            if not first and not turn and (run is None or self._runs[partition] == run):
                return None, False
        return Touch(partition, runs=(keys.encode(run),) if run is not None else ()), first

    def done(self, partition: bytes, touch: Touch | None) -> None:
        """It was told."""
        if touch is None:
            return
        with self._lock:
            if touch.runs or partition not in self._runs:
                self._runs[partition] = str(keys.decode(touch.runs[0])[0]) if touch.runs else None
            self._runs.move_to_end(partition)
            if len(self._runs) > _MOST:
                self._runs.popitem(last=False)

    def forget(self, partition: bytes) -> None:
        """The thread may be gone from the list."""
        with self._lock:
            self._runs.pop(partition, None)
