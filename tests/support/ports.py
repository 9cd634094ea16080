"""Choose ports for servers that will be stopped and started again on the same port.

Rule: every port lies below the range from which the system takes ports for outgoing connections, so that
no client can occupy the port of a server that is down; none is handed out twice in one process; and the
cluster bus port (10000 above it, fixed in Redis 6.2) is free as well. Another process may still be
faster: the server's start then fails on the bind, and `ServerProcess.start` asks for another port.
"""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"
BUS_OFFSET = 10_000
_PORTS = range(11_000, 11_000 + BUS_OFFSET)  # the bus ports end at 30999; Linux's range starts at 32768

_given: set[int] = set()
# Tests may seed the global generator; two test processes must not go through the ports in the same order.
_random = random.SystemRandom()


def free_port() -> int:
    """Return a port on which, and on whose cluster bus port, nothing listens at the moment."""
    for _ in range(1000):
        port = _random.choice(_PORTS)
        if port not in _given and _is_free(port) and _is_free(port + BUS_OFFSET):
            _given.add(port)
            return port
    raise RuntimeError("no free port on the loopback interface")


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        # As the servers do: connections of the past that linger in TIME_WAIT are no obstacle.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True
