"""A thread that does something again and again, until it is stopped."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from ..errors import BackendClosed, SessionStoreError

_LOG = logging.getLogger(__name__)


class Sweeper:
    """Calls `work` every so many seconds. What goes wrong is logged, and tried again."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._process = 0

    @property
    def running(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None

    def start(self, seconds: float) -> None:
        """Begin, unless it has begun. A forked child has no threads, and begins its own."""
        if self._thread is not None and self._thread.is_alive() and self._process == os.getpid():
            return
        self._stop, self._process = threading.Event(), os.getpid()
        self._thread = threading.Thread(
            target=self._loop, args=(self._stop, seconds), name="sessionstore-sweeper", daemon=True
        )
        self._thread.start()

    def stop(self, timeout: float | None = None) -> bool:
        """Stop it, and wait for so many seconds; whether it has stopped."""
        thread, self._thread = self._thread, None
        if thread is None or self._process != os.getpid():
            return True
        self._stop.set()
        if thread is not threading.current_thread():
            thread.join(timeout)
        if thread.is_alive():
            self._thread = thread
        return not thread.is_alive()

    def _loop(self, stop: threading.Event, seconds: float) -> None:
        while not stop.wait(seconds):
            try:
                self._work()
            except BackendClosed:
                return
            except SessionStoreError as exc:
                _LOG.warning("what has ended could not be taken away: %s", exc)
