"""One connection of redis-py: what is sent on it, what is read from it, how it is let go."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.connection import Connection as AsyncConnection
from redis.connection import Connection
from redis.exceptions import BusyLoadingError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from .steps import Arrival, errors_in
from .words import Command

if sys.version_info >= (3, 11):
    from asyncio import timeout as async_timeout
else:
    from async_timeout import timeout as async_timeout  # which redis-py brings along

AT_ONCE = 1 << 16  # bytes: less than asyncio's transports take without waiting, when nothing is in their way


async def send(connection: Any, packed: bytes) -> None:
    """Send, in the time that the connection allows."""
    with _untimed(connection) as seconds:
        try:
            if len(packed) < AT_ONCE and connection.is_connected and not connection.health_check_interval:
                await connection.send_packed_command([packed])  # which has nothing to wait for
                return
            async with async_timeout(seconds):
                await connection.send_packed_command([packed])
        except asyncio.TimeoutError as exc:
            raise RedisTimeout("the request could not be sent in time") from exc


async def aread_all(connection: Any, count: int) -> Arrival:
    """The async form of `read_all`. Each reply has the time that the connection allows, and up to a tenth more.

    To begin and end a time for each of them would take longer than to read it.
    """
    replies: list[Any] = []
    lost: Exception | None = None
    read = connection.read_response
    if isinstance(connection, redis.asyncio.sentinel.SentinelManagedConnection):  # it would hang up on READONLY
        read = partial(AsyncConnection.read_response, connection)
    clock = asyncio.get_running_loop().time
    with _untimed(connection) as seconds:
        while len(replies) < count and not lost:
            until = math.inf if seconds is None else clock() + seconds / 10
            try:
                async with async_timeout(None if seconds is None else seconds * 1.1):
                    while len(replies) < count and not lost and clock() < until:
                        try:
                            replies.append(await read(disable_decoding=True))
                        except Exception as exc:
                            lost = sort(exc, replies)
            except asyncio.TimeoutError as exc:
                lost = RedisTimeout("no reply in time")
                lost.__cause__ = exc
    return Arrival(replies, lost)


@contextmanager
def _untimed(connection: Any) -> Iterator[float | None]:
    """The time that a connection allows, while it does not see to it itself.

    redis-py would use `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes at the same time as
    the end of what it waits for.
    """
    seconds, connection.socket_timeout = connection.socket_timeout, None
    try:
        yield seconds
    finally:
        if connection.socket_timeout is None:
            connection.socket_timeout = seconds


def read_all(connection: Any, count: int) -> Arrival:
    replies: list[Any] = []
    lost: Exception | None = None
    read = connection.read_response
    if isinstance(connection, redis.sentinel.SentinelManagedConnection):  # it would hang up on READONLY
        read = partial(Connection.read_response, connection)
    while len(replies) < count and not lost:
        try:
            replies.append(read(disable_decoding=True))
        except Exception as exc:
            lost = sort(exc, replies)
    return Arrival(replies, lost)


def pack(commands: Sequence[Command]) -> bytes:
    """Commands in Redis' protocol, as one piece. redis-py's own packer takes three times as long."""
    lines: list[bytes] = []
    for command in commands:
        lines.append(b"*%d" % len(command))
        for word in command:
            raw = word if type(word) is bytes else str(word).encode()
            lines.append(b"$%d" % len(raw))
            lines.append(raw)
    lines.append(b"")
    return b"\r\n".join(lines)


def has_died(connection: Any) -> bool:
    """Whether an idle connection broke while nobody looked, which redis-py tells only after a write."""
    reader, writer = getattr(connection, "_reader", None), getattr(connection, "_writer", None)
    return (reader is not None and (reader.exception() is not None or reader.at_eof())) or (
        writer is not None and writer.transport.is_closing()
    )


def sort(exc: Exception, replies: list[Any]) -> Exception | None:
    """Put an error that is a reply among the replies; give back what ends the connection."""
    if isinstance(exc, ResponseError):
        replies.append(exc)
        return None
    if isinstance(exc, BusyLoadingError):  # a reply, on which redis-py hangs up
        replies.append(exc)
    return exc


def is_spoilt(arrival: Arrival) -> bool:
    """Whether the connection is of no more use: broken, or to a master that has become a replica."""
    return arrival.lost is not None or any(
        isinstance(error, ReadOnlyError) or "READONLY" in str(error) for error in errors_in(arrival.replies)
    )


def sentinels(pool: Any) -> list[Any]:
    """The clients with which a pool asks the Sentinels for the master, if it does."""
    manager = getattr(pool, "sentinel_manager", None)
    return list(manager.sentinels) if manager else []


def let_go(transport: Any) -> None:
    """Close the socket of one of asyncio's transports in this process. Its `close` would want the loop."""
    if secure := getattr(transport, "_ssl_protocol", None):
        transport._closed = True
        transport = secure._transport
    with suppress(Exception):  # it is closed already; or of another kind of loop, which closes what it has
        transport._closing = True
        transport._call_connection_lost(None)
