"""Locks that a forked child can use.

Rule: a child has none of its parent's other threads, so whatever they held is free there.
"""

from __future__ import annotations

import os
import threading
import weakref


class Lock:
    """A lock for a few steps that do no I/O: `with lock:`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Be free again."""
        self._lock = threading.Lock()


_locks: weakref.WeakSet[Lock] = weakref.WeakSet()


def _renew() -> None:
    for lock in list(_locks):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
