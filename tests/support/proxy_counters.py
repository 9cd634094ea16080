"""What the proxy counts.

Rule: a byte or a burst is counted before it is passed on, so whoever has received a reply finds it counted.
"""

from __future__ import annotations

import threading


class Counters:
    """Counters which the proxy's thread writes and the tests read, under one lock."""

    def __init__(self) -> None:
        """Start at zero."""
        self._lock = threading.RLock()
        self._round_trips = self._bytes_up = self._bytes_down = self._connections = self._cuts = 0

    @property
    def round_trips(self) -> int:
        """How many bursts the clients sent, a burst ending when its connection is sent a reply."""
        with self._lock:
            return self._round_trips

    @property
    def bytes_up(self) -> int:
        """How many bytes were forwarded from clients to the server."""
        with self._lock:
            return self._bytes_up

    @property
    def bytes_down(self) -> int:
        """How many bytes were forwarded from the server to clients."""
        with self._lock:
            return self._bytes_down

    @property
    def connections(self) -> int:
        """How many connections were opened through the proxy (refused ones do not count)."""
        with self._lock:
            return self._connections

    @property
    def cuts(self) -> int:
        """How many of the byte-exact cuts have happened; a test asserts with it that its fault took place."""
        with self._lock:
            return self._cuts

    def reset(self) -> None:
        """Set all counters to zero."""
        with self._lock:
            self._round_trips = self._bytes_up = self._bytes_down = self._connections = self._cuts = 0
