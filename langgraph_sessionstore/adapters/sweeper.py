"""A thread that does something again and again, until it is stopped."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import NamedTuple

from ..errors import BackendClosed, SessionStoreError
from ..forks import Lock

_LOG = logging.getLogger(__name__)


class _Running(NamedTuple):
    thread: threading.Thread
    stop: threading.Event
    process: int


class Sweeper:
    """Calls `work` every so many seconds. What goes wrong is logged, and tried again."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._lock = Lock()
        self._running: _Running | None = None
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether there is a thread that was not told to stop. A forked child has none of its parent's."""
        now = self._running
        return now is not None and now.process == os.getpid() and now.thread.is_alive() and not now.stop.is_set()

    def start(self, seconds: float) -> None:
        """Begin, unless it has begun."""
        with self._lock:
            if self._closed:
                raise BackendClosed("this store is closed: nobody would stop what it begins")
            if self.running:
                return
            stop, pause = threading.Event(), min(seconds, threading.TIMEOUT_MAX)
            thread = threading.Thread(target=self._loop, args=(stop, pause), name="sessionstore-sweeper", daemon=True)
            thread.start()
            self._running = _Running(thread, stop, os.getpid())

    def stop(self, timeout: float | None = None) -> bool:
        """Stop it, and wait for so many seconds; whether it has stopped."""
        now = self._running
        if now is None or now.process != os.getpid():
            return True
        now.stop.set()
        if now.thread is not threading.current_thread():
            now.thread.join(timeout)
        return not now.thread.is_alive()

    def close(self) -> None:
        """Tell it to stop, for good."""
        with self._lock:
            self._closed = True
            if self._running is not None:
                self._running.stop.set()

    def _loop(self, stop: threading.Event, pause: float) -> None:
        while not stop.wait(pause):
            try:
                self._work()
            except BackendClosed:
                return
            except Exception as exc:
                unexpected = not isinstance(exc, SessionStoreError)
                _LOG.warning("what has ended could not be taken away: %s", exc, exc_info=unexpected)
