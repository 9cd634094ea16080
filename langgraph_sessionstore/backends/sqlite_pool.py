"""The connections of the filesystem backend, and what a fork does to them.

Rule: SQLite must not be carried over a fork, neither its connections nor what it knows of the locks of this process.
So a fork waits until no connection is in use, of any backend, and closes all of them; both sides open new ones.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from weakref import WeakSet

from ..errors import BackendUnavailable

FORK_SECONDS = 10.0  # a fork waits so long for connections in use


class _Gate:
    """What all pools of this process share: how many connections are in use, and how many forks are going on."""

    def __init__(self) -> None:
        self.pools: WeakSet[Pool] = WeakSet()
        self.unfit = False
        self.renew()

    def renew(self) -> None:
        """Start as nobody's, as at first and in a forked child."""
        self.changed = threading.Condition()
        self.used = 0
        self.forks = 0

    def before_fork(self) -> None:
        """Wait until nobody uses a connection, and close them all."""
        with self.changed:
            self.forks += 1
            self.changed.wait_for(lambda: self.used == 0, FORK_SECONDS)
            for pool in list(self.pools):
                pool.close_idle()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        with self.changed:
            self.forks -= 1
            self.changed.notify_all()

    def after_fork_in_child(self) -> None:
        """Begin anew: the other threads are gone, with whatever they held."""
        self.unfit = self.unfit or self.used > 0
        self.renew()
        for pool in list(self.pools):
            pool.in_child()


_GATE = _Gate()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_GATE.before_fork,
        after_in_parent=_GATE.after_fork_in_parent,
        after_in_child=_GATE.after_fork_in_child,
    )


class Pool:
    """Hands out connections, one to each who asks, and takes them back."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], in_child: Callable[[], None]) -> None:
        self._connect = connect
        self.in_child = in_child
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        with _GATE.changed:
            _GATE.pools.add(self)

    def take(self) -> sqlite3.Connection:
        """An idle connection, or a new one."""
        with _GATE.changed:
            _GATE.changed.wait_for(lambda: not _GATE.forks)
            if _GATE.unfit:
                raise BackendUnavailable("this process was forked while a connection was in use: start it anew")
            _GATE.used += 1
            if self._idle:
                return self._idle.pop()
        try:
            return self._connect()
        except BaseException:
            self._leave()
            raise

    def give(self, db: sqlite3.Connection, *, broken: bool = False) -> None:
        """Take a connection back; one that may be in the middle of something is closed."""
        try:
            with _GATE.changed:
                if broken or self._closed or _GATE.forks:
                    db.close()
                else:
                    self._idle.append(db)
        finally:
            self._leave()

    def close(self) -> None:
        """Close what is idle now, and the others when they come back."""
        with _GATE.changed:
            self._closed = True
            self.close_idle()

    def close_idle(self) -> None:
        """Close what is idle; inside the gate."""
        while self._idle:
            self._idle.pop().close()

    def _leave(self) -> None:
        with _GATE.changed:
            _GATE.used -= 1
            _GATE.changed.notify_all()
