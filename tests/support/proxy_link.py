"""One client's connection through the proxy: its two sockets and the bytes on their way.

Rule: this file moves and closes, `proxy.py` decides; nothing in here counts or breaks anything.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import time
from contextlib import suppress
from dataclasses import dataclass, field

CHUNK = 65536
PATIENCE = 5.0
"""Seconds given to a peer to take the last bytes before a cut."""


@dataclass(eq=False)
class Link:
    """The state of one connection."""

    client: socket.socket
    server: socket.socket
    up: bytearray = field(default_factory=bytearray)
    """Counted bytes from the client which the server's socket has not taken yet."""
    down: bytearray = field(default_factory=bytearray)
    """Counted bytes from the server which the client's socket has not taken yet."""
    withheld: bytearray = field(default_factory=bytearray)
    """Bytes from the server which are not yet due to be forwarded."""
    client_ended: bool = False
    server_ended: bool = False
    in_burst: bool = False
    """The client has sent something since it was last sent something."""
    last_sent: float = 0.0
    """When the client sent last."""

    def flush(self) -> None:
        """Hand the sockets what they take without blocking; raise OSError when a peer is gone."""
        for sock, waiting in ((self.server, self.up), (self.client, self.down)):
            if waiting:
                with suppress(BlockingIOError):
                    del waiting[: sock.send(waiting)]

    @property
    def finished(self) -> bool:
        """Whether one side has ended and nothing is left to be delivered to the other."""
        if self.client_ended:
            return not self.up
        return self.server_ended and not self.down and not self.withheld


def receive(sock: socket.socket) -> bytes | None:
    """Return what has arrived: empty at the end, None if it was a false alarm; raise OSError on a reset."""
    try:
        return sock.recv(CHUNK)
    except BlockingIOError:
        return None


def deliver(sock: socket.socket, waiting: bytearray) -> None:
    """Send everything and wait until the peer's system has it, because a reset discards what it has not."""
    try:
        sock.settimeout(PATIENCE)
        sock.sendall(waiting)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            (unsent,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))
            if not unsent:
                return
            time.sleep(0.0005)
    except OSError:
        pass  # the peer is gone already


def close_hard(sock: socket.socket) -> None:
    """Close with a reset instead of an orderly end, as a broken network or a crashed peer would."""
    with suppress(OSError):  # it may be broken already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def within(budget: int | None, data: bytes) -> tuple[bytes, int | None, bool]:
    """Return what of the data may pass, the budget that is left (None: no limit), and whether to cut now."""
    if budget is None:
        return data, None, False
    data = data[:budget]
    left = budget - len(data)
    return data, left or None, left == 0
