"""Forks: locks that a forked child can use, and whatever else begins anew in it.

Rule 1: a fork waits until nobody is inside of one of these locks, so that what they guard is whole in the child.
Rule 2: a child has none of its parent's other threads, so whatever they held is free there.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Protocol
from weakref import WeakSet

FORK_SECONDS = 10.0  # a fork waits so long for those inside


class Renewed(Protocol):
    """What begins anew in a forked child."""

    def renew(self) -> None:
        """Be as if nobody else were there."""


class Lock:
    """A lock for a few steps that do no I/O: `with lock:`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        in_child(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()

    def wait(self, seconds: float) -> bool:
        """Take it, if nobody is inside before that time is over; whether it was taken."""
        return self._lock.acquire(timeout=max(0.0, seconds))

    def renew(self) -> None:
        """Be free again."""
        self._lock = threading.Lock()


def in_child(thing: Renewed) -> None:
    """Renew this in each forked child."""
    with _forks.listing:
        _forks.things.add(thing)


class _Forks:
    """The forks of this process."""

    def __init__(self) -> None:
        self.things: WeakSet[Renewed] = WeakSet()
        self.renew()

    def renew(self) -> None:
        self.listing = threading.RLock()  # which a finalizer may take in the middle of itself
        self.one = threading.Lock()
        self.held: list[Lock] = []

    def before(self) -> None:
        """Let those inside end, and nobody else in."""
        self.one.acquire()
        until = time.monotonic() + FORK_SECONDS
        with self.listing:
            locks = [thing for thing in self.things if isinstance(thing, Lock)]
        self.held = [lock for lock in locks if lock.wait(until - time.monotonic())]

    def in_parent(self) -> None:
        """Go on."""
        while self.held:
            self.held.pop().__exit__()
        self.one.release()

    def in_child(self) -> None:
        """Begin anew."""
        self.renew()
        for thing in list(self.things):
            thing.renew()


_forks = _Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forks.before, after_in_parent=_forks.in_parent, after_in_child=_forks.in_child)
