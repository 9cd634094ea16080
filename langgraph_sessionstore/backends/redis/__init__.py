"""Partitions in plain Redis (6.2 or newer, Valkey, managed offers): one server, Sentinel, or Cluster.

    commands   a batch as Redis commands, replies as outcomes      script.lua   the guarded batch itself
    delivery   sending, redirections, retries, as a generator      topology     which server holds which slot
    wires      the I/O for it, sync and async                      sources      URLs and clients

Rule: one partition is one sorted set, so a session is one key of one slot. No modules, no KEYS, no SCAN.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from redis.crc import key_slot

from ...errors import BackendClosed, ConfigurationError
from ...ops import Batch, Call, Outcome
from ..base import Answer, Backend, refuse_copy, settle
from .commands import Dump, Parcel, Prepared, partition_key
from .delivery import deliver
from .sources import Source, from_clients, from_url
from .steps import Steps
from .topology import Topology
from .wires import AsyncWire, SyncWire


class RedisBackend(Backend):
    """Partitions in Redis. Open it with `from_url`, or with clients that you already have.

    `prefix` stands in front of every key. `max_connections` bounds the connections for each server (and each event
    loop); who comes too late waits for its turn. `patience` is for how many seconds a batch is tried again while
    Redis cannot be reached, a slot moves, or a failover goes on.

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
    ) -> None:
        self._start(from_clients(client, async_client), prefix, max_connections, patience)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> RedisBackend:
        """Open `redis://`, `rediss://`, `unix://`, `redis+sentinel://host,host/service/db` or `redis+cluster://host,host`.

        The options of the class may be given by name or in the query. What else stands in the query goes to redis-py,
        such as `socket_timeout` or `ssl_ca_certs`.
        """
        known: dict[str, Callable[[Any], Any]] = {"prefix": str, "max_connections": int, "patience": float}
        unknown = [name for name in options if name not in known]
        if unknown:
            raise ConfigurationError(f"unknown options {unknown} for Redis; there are: {', '.join(known)}")
        values: dict[str, Any] = {"prefix": "sessionstore", "max_connections": 50, "patience": 5.0}
        source = from_url(url, values)
        values.update(options)
        backend = cls.__new__(cls)
        try:
            backend._start(source, **{name: known[name](value) for name, value in values.items()})
        except (TypeError, ValueError) as exc:
            raise ConfigurationError(f"these options for Redis cannot work: {exc}") from exc
        return backend

    def _start(self, source: Source, prefix: str, max_connections: int, patience: float) -> None:
        if not prefix or any(sign in prefix for sign in "{}\0"):
            raise ConfigurationError(f"a prefix is not empty and holds no braces: {prefix!r}")
        if max_connections < 1 or patience < 0:
            raise ConfigurationError("max_connections is at least 1, patience at least 0")
        self._source = source
        self._prefix = prefix
        self._most = max_connections
        self._patience = patience
        self._closed = False
        self._topology = Topology(source.seeds)
        self._sync = SyncWire(source.sync_pool, max_connections) if source.sync_pool else None
        self._lock = threading.Lock()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncWire] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"RedisBackend(prefix={self._prefix!r}, cluster={self._topology.cluster})"

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        return self._wire().drive(self._deliver(self._prepare(calls), ordered))

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        return await self._async_wire().drive(self._deliver(self._prepare(calls), ordered))

    def copy(self, source: bytes, target: bytes, batch: Batch) -> Outcome:
        """See `Backend.copy`. One trip, or two when the partitions live in different slots of a cluster."""
        refuse_copy(source, target, batch)
        return self._wire().drive(self._copy(source, target, batch))

    async def acopy(self, source: bytes, target: bytes, batch: Batch) -> Outcome:
        """See `Backend.copy`."""
        refuse_copy(source, target, batch)
        return await self._async_wire().drive(self._copy(source, target, batch))

    def close(self) -> None:
        """Close the connections of sync callers. Those of an event loop are closed by `aclose` on it."""
        self._closed = True
        if self._sync and self._source.owns_sync:
            self._sync.close()

    async def aclose(self) -> None:
        """Close the connections of sync callers and of the running event loop."""
        self.close()
        wire = self._loops.pop(asyncio.get_running_loop(), None)
        if wire and self._source.owns_async:
            await wire.close()

    def _prepare(self, calls: Sequence[Call]) -> list[Prepared]:
        return [Prepared(self._key(partition), batch) for partition, batch in calls]

    def _deliver(self, batches: Sequence[Parcel], ordered: bool = False) -> Steps[list[Answer]]:
        return deliver(self._topology, batches, ordered=ordered, patience=self._patience)

    def _copy(self, source: bytes, target: bytes, batch: Batch) -> Steps[Outcome]:
        origin, key = self._key(source), self._key(target)
        if not self._topology.cluster or key_slot(origin) == key_slot(key):
            return settle((yield from self._deliver([Prepared(key, batch, source=origin)])))[0]
        (dump,) = settle((yield from self._deliver([Dump(origin)])))
        return settle((yield from self._deliver([Prepared(key, batch, dump=Dump.read(dump))])))[0]

    def _key(self, partition: bytes) -> bytes:
        return partition_key(self._prefix.encode(), partition)

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
        with self._lock:
            wire = self._loops.get(loop)
            if wire is None:
                wire = self._loops[loop] = AsyncWire(self._source.async_pool, self._most)
            return wire
