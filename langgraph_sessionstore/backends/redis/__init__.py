"""Partitions in plain Redis (6.2 or newer): one server, Sentinel, or Cluster.

    commands   a batch as Redis commands, replies as outcomes      words        one operation of it
    script.lua the guarded batch itself
    delivery   sending, redirections, retries, as a generator      topology     which server holds which slot
    wires      the I/O for it, sync and async                      connections  one connection
    sources    URLs and clients

Rule: one partition is one sorted set, so a session is one key of one slot. No modules, no KEYS, no SCAN.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from operator import index
from typing import Any

from redis.crc import key_slot
from redis.exceptions import RedisError

from ...errors import BackendClosed, ConfigurationError, NotReplicated, OutcomeUnknown, SessionStoreError
from ...forks import Lock, in_child
from ...ops import Call
from ..base import Answer, Backend, not_tried, refuse_copies
from .commands import Bundle, Dump, Parcel, Prepared, partition_key
from .delivery import Replicas, deliver, refusal
from .sources import Source, from_clients, from_url
from .steps import Steps
from .topology import Topology
from .wires import AsyncWire, SyncWire


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, str) else index(value)


_OPTIONS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "prefix": (str, "sessionstore"),
    "max_connections": (int, 50),
    "patience": (float, 5.0),
    "wait_replicas": (_whole, 0),
    "wait_timeout": (float, 1.0),
}
"""The options: how each is read, and what it is unless given."""


class RedisBackend(Backend):
    """Partitions in Redis. Open it with `from_url`, or with clients that you already have.

    `prefix` stands in front of every key. `max_connections` bounds the connections for each server (and each event
    loop); who comes too late waits for its turn. `patience` is for how many seconds a batch is tried again while
    Redis cannot be reached, a slot moves, or a failover goes on.

    With `wait_replicas`, a write returns when so many replicas of its server have confirmed it (`WAIT` behind the
    batch, in the same trip). When they have not within `wait_timeout` seconds, it is `NotReplicated`: it was applied.

    A client that is given stays yours: it is used, and not closed. With a sync client alone there are no async calls,
    and the reverse. An async client belongs to one event loop; a backend made `from_url` serves any number of them.
    """

    def __init__(
        self,
        client: Any = None,
        async_client: Any = None,
        *,
        prefix: str = "sessionstore",
        max_connections: int = 50,
        patience: float = 5.0,
        wait_replicas: int = 0,
        wait_timeout: float = 1.0,
    ) -> None:
        given = prefix, max_connections, patience, wait_replicas, wait_timeout
        self._start(from_clients(client, async_client), dict(zip(_OPTIONS, given, strict=True)))

    @classmethod
    def from_url(cls, url: str, **options: Any) -> RedisBackend:
        """Open `redis://`, `rediss://`, `unix://`, `redis+sentinel://host,host/service/db` or `redis+cluster://host,host`.

        The options of the class may be given by name or in the query. What else stands in the query goes to redis-py,
        such as `socket_timeout` or `ssl_ca_certs`.
        """
        unknown = [name for name in options if name not in _OPTIONS]
        if unknown:
            raise ConfigurationError(
                f"unknown options {unknown} for Redis; there are: {', '.join(_OPTIONS)}. Options of redis-py stand in "
                "the query of the URL: redis://host?socket_timeout=5"
            )
        values = {name: usual for name, (_, usual) in _OPTIONS.items()}
        source = from_url(url, values)
        backend = cls.__new__(cls)
        backend._start(source, {**values, **options})
        return backend

    def _start(self, source: Source, given: Mapping[str, Any]) -> None:
        try:
            prefix, most, patience, number, seconds = (read(given[name]) for name, (read, _) in _OPTIONS.items())
        except (TypeError, ValueError) as exc:
            raise ConfigurationError(f"these options for Redis cannot work: {exc}") from exc
        if not prefix or any(sign in prefix for sign in "{}\0"):
            raise ConfigurationError(f"a prefix is not empty and holds no braces: {prefix!r}")
        if most < 1 or patience < 0:
            raise ConfigurationError("max_connections is at least 1, patience at least 0")
        if number < 0 or not 0 < seconds < 1 << 31:
            raise ConfigurationError("wait_replicas is at least 0, wait_timeout a number of seconds above 0")
        if number and source.timeout and seconds >= source.timeout:
            raise ConfigurationError(
                f"wait_timeout, {seconds:g} s, has to be shorter than redis-py's socket_timeout, {source.timeout:g} s, "
                "which would end the connection first: change one of them"
            )
        self._source = source
        self._prefix, self._front = prefix, prefix.encode()
        self._most = most
        self._patience = patience
        self._replicas = Replicas(number, seconds) if number else None
        self._closed = False
        self._topology = Topology(source.seeds)
        self._sync = SyncWire(source.sync_pool, most, source.owns_sync) if source.sync_pool else None
        self._lock = Lock()
        self._loops: dict[asyncio.AbstractEventLoop, AsyncWire] = {}
        in_child(self)

    def renew(self) -> None:
        """In a forked child: let go of what belongs to the parent's event loops."""
        for wire in self._loops.values():
            wire.give_up()

    def __repr__(self) -> str:
        return f"RedisBackend(prefix={self._prefix!r}, cluster={self._topology.cluster})"

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        refuse_copies(calls)
        return self._wire().drive(self._execute(calls, ordered))

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        refuse_copies(calls)
        return await self._async_wire().drive(self._execute(calls, ordered))

    def close(self) -> None:
        """Close all connections. An event loop closes its own when it runs next, and `aclose` on it waits for that."""
        self._closed = True
        if self._sync:
            self._sync.close()
        with self._lock:
            wires = [*self._loops.items()]
        for loop, wire in wires:
            if loop.is_closed():
                wire.give_up()
            elif not wire.lost:
                with suppress(RuntimeError):  # it has ended meanwhile
                    loop.call_soon_threadsafe(wire.hang_up)

    async def aclose(self) -> None:
        """The async form of `close`: those of the running event loop are closed when it returns."""
        wire = self._loops.pop(asyncio.get_running_loop(), None)
        self.close()
        if wire:
            await wire.close()

    def _execute(self, calls: Sequence[Call], ordered: bool) -> Steps[list[Answer]]:
        if not ordered or len(calls) < 2:
            prepared = yield from self._prepare(calls)
            sendable = [one for one in prepared if isinstance(one, Prepared)]
            outcomes = iter((yield from self._deliver(sendable)))
            return [next(outcomes) if isinstance(one, Prepared) else one for one in prepared]
        if not self._topology.cluster:
            return (yield from self._in_order(calls))
        answers: list[Answer] = []
        for call in calls:  # no script may reach over slots
            if skipped := not_tried(True, answers):
                answers.append(skipped)
            else:
                answers += yield from self._execute([call], False)
        return answers

    def _in_order(self, calls: Sequence[Call]) -> Steps[list[Answer]]:
        """Ordered calls for one server, in one trip."""
        prepared = [self._prepared(call) for call in calls]
        (outcome,) = yield from self._deliver([Bundle(prepared)])
        if isinstance(outcome, OutcomeUnknown):
            return [outcome] * len(calls)
        doubt = outcome if isinstance(outcome, NotReplicated) else None
        outcome = doubt.result if doubt else outcome
        parts = outcome if isinstance(outcome, list) else [outcome] + [None] * (len(calls) - 1)
        answers: list[Answer] = []
        for call, part in zip(calls, parts, strict=True):
            answer = not_tried(True, answers) or (refusal(part) if isinstance(part, RedisError) else part)
            answers.append(doubt.of(answer) if doubt and call.writes and isinstance(answer, list) else answer)
        return answers

    def _deliver(self, parcels: Sequence[Parcel]) -> Steps[list[Any]]:
        return deliver(self._topology, parcels, self._patience, self._replicas)

    def _prepare(self, calls: Sequence[Call]) -> Steps[list[Prepared | SessionStoreError]]:
        """The calls as commands. To copy out of another slot, the source has to be fetched first."""
        prepared: list[Prepared | SessionStoreError] = []
        for call in calls:
            if call.source is None or not self._topology.cluster or self._share_a_slot(call.source, call.partition):
                prepared.append(self._prepared(call))
                continue
            (dump,) = yield from self._deliver([Dump(self._key(call.source))])
            if isinstance(dump, SessionStoreError):
                prepared.append(dump)
            else:
                loud = self._replicas is not None
                prepared.append(Prepared(self._key(call.partition), call.batch, dump=dump[0], loud=loud))
        return prepared

    def _prepared(self, call: Call) -> Prepared:
        source = None if call.source is None else self._key(call.source)
        return Prepared(self._key(call.partition), call.batch, source, loud=self._replicas is not None)

    def _share_a_slot(self, one: bytes, other: bytes) -> bool:
        return bool(key_slot(self._key(one)) == key_slot(self._key(other)))

    def _key(self, partition: bytes) -> bytes:
        return partition_key(self._front, partition)

    def _wire(self) -> SyncWire:
        if self._closed:
            raise BackendClosed("this Redis backend is closed")
        if self._sync is None:
            raise ConfigurationError("this backend was given an async client alone: use the async forms, or give both")
        return self._sync

    def _async_wire(self) -> AsyncWire:
        if self._closed:
            raise BackendClosed("this Redis backend is closed")
        if self._source.async_pool is None:
            raise ConfigurationError("this backend was given a sync client alone: give async_client=, or use from_url")
        loop = asyncio.get_running_loop()
        wire = self._loops.get(loop)
        if wire is None:
            ended = partial(self._loops.pop, loop, None)
            wire = AsyncWire(self._source.async_pool, self._most, self._source.owns_async, ended)
            with self._lock:
                self._loops[loop] = wire
                gone = [self._loops.pop(known) for known in [*self._loops] if known.is_closed()]
            for each in gone:  # nobody can wait on its connections any more
                each.give_up()
        elif wire.lost:
            raise ConfigurationError("this event loop belongs to the parent of this process: a fork begins its own")
        return wire
