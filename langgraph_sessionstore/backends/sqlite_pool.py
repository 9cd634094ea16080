"""The connections of the filesystem backend, and what a fork does to them.

Rule: SQLite must not be carried over a fork, neither its connections nor what it knows of the locks of this process.
So a fork waits until no connection is in use, and closes all of them; both sides open new ones.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from weakref import WeakSet

from ..errors import BackendUnavailable

FORK_SECONDS = 10.0  # a fork waits so long for connections in use


class Pool:
    """Hands out connections, one to each who asks, and takes them back."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], in_child: Callable[[], None]) -> None:
        self._connect = connect
        self._in_child = in_child
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._unfit = False
        self._renew()
        _POOLS.add(self)

    def _renew(self) -> None:
        self._gate = threading.Condition()
        self._used = 0
        self._forking = False

    def take(self) -> sqlite3.Connection:
        """An idle connection, or a new one."""
        with self._gate:
            self._gate.wait_for(lambda: not self._forking)
            if self._unfit:
                raise BackendUnavailable("this process was forked while a connection was in use: open the backend anew")
            self._used += 1
            if self._idle:
                return self._idle.pop()
        try:
            return self._connect()
        except BaseException:
            self._leave()
            raise

    def give(self, db: sqlite3.Connection, *, broken: bool = False) -> None:
        """Take a connection back; one that may be in the middle of something is closed."""
        with self._gate:
            if broken or self._closed or self._forking:
                db.close()
            else:
                self._idle.append(db)
        self._leave()

    def close(self) -> None:
        """Close what is idle now, and the others when they come back."""
        with self._gate:
            self._closed = True
            while self._idle:
                self._idle.pop().close()

    def _leave(self) -> None:
        with self._gate:
            self._used -= 1
            self._gate.notify_all()

    def before_fork(self) -> None:
        """Wait until nobody uses a connection, and close them all."""
        with self._gate:
            self._forking = True
            self._gate.wait_for(lambda: self._used == 0, FORK_SECONDS)
            while self._idle:
                self._idle.pop().close()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        with self._gate:
            self._forking = False
            self._gate.notify_all()

    def after_fork_in_child(self) -> None:
        """Begin anew: the other threads are gone, with whatever they held."""
        self._unfit = self._unfit or self._used > 0
        self._renew()
        self._in_child()


_POOLS: WeakSet[Pool] = WeakSet()


def _each(step: Callable[[Pool], None]) -> Callable[[], None]:
    def do() -> None:
        for pool in list(_POOLS):
            step(pool)

    return do


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_each(Pool.before_fork),
        after_in_parent=_each(Pool.after_fork_in_parent),
        after_in_child=_each(Pool.after_fork_in_child),
    )
