"""Ask a server one question over a fresh connection, in RESP2, with nothing but a socket.

Rule: the support code steers its servers with this and not with a Redis client, so that a client's
retries, redirections and reply shapes cannot colour what the tests see.
"""

from __future__ import annotations

import socket
from typing import Any, BinaryIO


class ReplyError(Exception):
    """The server answered with an error; the text is the server's."""


def ask(host: str, port: int, *words: str | int, password: str | None = None, timeout: float = 5.0) -> Any:
    """Send one command; return its reply (str, int, None, list), or raise `ReplyError` or OSError."""
    with socket.create_connection((host, port), timeout) as sock, sock.makefile("rb") as replies:
        if password is not None:
            sock.sendall(_packed("AUTH", password))
            _read(replies)
        sock.sendall(_packed(*words))
        return _read(replies)


def _packed(*words: str | int) -> bytes:
    encoded = [str(word).encode("utf-8", "surrogateescape") for word in words]
    parts = [b"*%d\r\n" % len(encoded)]
    parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded]
    return b"".join(parts)


def _read(replies: BinaryIO) -> Any:
    line = replies.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("the server closed the connection before it had answered")
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        raise ReplyError(rest.decode())
    if kind == b"+":
        return rest.decode()
    if kind == b":":
        return int(rest)
    size = int(rest)
    if size < 0:
        return None
    if kind == b"*":
        return [_read(replies) for _ in range(size)]
    data = replies.read(size + 2)
    if len(data) != size + 2:
        raise ConnectionError("the server closed the connection in the middle of an answer")
    # Keys may hold any bytes; escaped this way, they go back to the server unharmed in `_packed`.
    return data[:-2].decode("utf-8", "surrogateescape")
