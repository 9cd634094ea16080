"""Where connections come from: a URL, or clients that the user already has.

A source makes redis-py pools, sync and async, for an address (None: the only server, or the master that the
Sentinels name now). Connections of a URL do not retry by themselves: `delivery` knows better what is safe.
"""

from __future__ import annotations

from copy import copy
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode

import redis
import redis.asyncio as aio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.connection import parse_url as _parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel

from ...errors import ConfigurationError
from .steps import Address
from .wires import MakePool

parse_url: Any = _parse_url  # has no type hints
Kwargs = dict[str, Any]
TIMEOUTS: Kwargs = {"socket_connect_timeout": 5.0, "socket_timeout": 10.0}
UNBOUND: Kwargs = {"max_connections": 2**31}  # wires bound the connections, and let those who come later wait


class Source(NamedTuple):
    """How to get connections, and the first cluster nodes to ask (None: not a cluster)."""

    sync_pool: MakePool | None
    async_pool: MakePool | None
    seeds: list[Address] | None = None
    owns_sync: bool = True  # False: these pools are the user's, and stay open
    owns_async: bool = True
    timeout: float | None = None  # seconds after which redis-py takes a server that does not answer for dead


def from_url(url: str, options: Kwargs) -> Source:
    """Read a URL. Takes our own options out of its query into `options`; the others go to redis-py."""
    scheme, _, rest = url.partition("://")
    base, _, kind = scheme.lower().partition("+")
    place, _, query = rest.partition("?")
    authority, _, path = place.partition("/")
    user, at, hosts = authority.rpartition("@")
    passed, watch = [], {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in options:
            options[name] = value
        elif kind == "sentinel" and name in ("sentinel_username", "sentinel_password"):
            watch[name.removeprefix("sentinel_")] = value
        else:
            passed.append((name, value))
    tail = f"?{urlencode(passed)}" if passed else ""
    try:
        if not kind:
            return _single(f"{base}://{place}{tail}")
        nodes = [_kwargs(f"{base}://{user}{at}{host}/{tail}") for host in hosts.split(",")]
        addresses = [(node.pop("host", None) or "localhost", node.pop("port", None) or 6379) for node in nodes]
        if kind == "cluster":
            if path.strip("/") not in ("", "0"):
                raise ConfigurationError("a Redis Cluster has no databases: end the URL after the hosts")
            return _cluster(addresses, nodes[0])
        return _sentinel(addresses, path, base == "rediss", nodes[0], watch)
    except ConfigurationError:
        raise
    except TypeError as exc:  # names the option that redis-py does not know
        raise ConfigurationError(f"this Redis URL cannot work: {exc}") from None
    except (ValueError, redis.RedisError):  # its text may hold a part of the password
        raise ConfigurationError(
            "this Redis URL cannot work: check its port, its database, its options; "
            "/ # ? @ : in a password are written %2F %23 %3F %40 %3A"
        ) from None


def from_clients(client: Any, async_client: Any) -> Source:
    """Use what the user has: clients of redis-py (`Redis`, a Sentinel's `master_for`, or `RedisCluster`)."""
    given: list[Any] = [one for one in (client, async_client) if one is not None]
    if not given:
        raise ConfigurationError("give a Redis client, an async Redis client, or both; or use from_url")
    if not isinstance(client, (redis.Redis, redis.RedisCluster, type(None))):
        raise ConfigurationError(f"client is a redis.Redis or redis.RedisCluster, not {type(client).__name__}")
    if not isinstance(async_client, (aio.Redis, aio.RedisCluster, type(None))):
        raise ConfigurationError(
            f"async_client is a redis.asyncio.Redis or redis.asyncio.RedisCluster, not {type(async_client).__name__}"
        )
    clusters = [isinstance(one, (redis.RedisCluster, aio.RedisCluster)) for one in given]
    if clusters == [True, False] or clusters == [False, True]:
        raise ConfigurationError("one client is for a cluster and the other is not")
    seeds = None
    if clusters[0]:
        seeds = [(str(node.host), int(node.port)) for node in given[0].nodes_manager.startup_nodes.values()]
    return Source(
        None if client is None else _sync_pools_of(client),
        None if async_client is None else _async_pools_of(async_client),
        seeds,
        owns_sync=False,
        owns_async=isinstance(async_client, aio.RedisCluster),
        timeout=min((seconds for seconds in map(_timeout_of, given) if seconds), default=None),
    )


def _timeout_of(client: Any) -> float | None:
    if isinstance(client, redis.RedisCluster):
        kwargs = client.nodes_manager.connection_kwargs
    else:
        kwargs = client.connection_kwargs if isinstance(client, aio.RedisCluster) else client.get_connection_kwargs()
    seconds: float | None = kwargs.get("socket_timeout")
    return seconds


def _sync_pools_of(client: Any) -> MakePool:
    def of_node(address: Address | None) -> Any:
        assert address is not None
        if client.get_node(*address) is None:
            client.nodes_manager.initialize()  # the client has not heard of this node yet
        node = client.get_node(*address)
        if node is None:
            raise redis.ConnectionError(f"the cluster client does not know the node {address[0]}:{address[1]}")
        return client.get_redis_connection(node).connection_pool

    return of_node if isinstance(client, redis.RedisCluster) else lambda _: client.connection_pool


def _async_pools_of(client: Any) -> MakePool:
    if isinstance(client, aio.RedisCluster):  # its nodes have no pools that queue: make some with its settings
        kept = {k: v for k, v in client.connection_kwargs.items() if k not in ("response_callbacks", "max_connections")}
        return _node_pools(aio.ConnectionPool, {**kept, "retry": _once_async()})
    return lambda _: client.connection_pool


def _kwargs(url: str) -> Kwargs:
    """What redis-py reads from a URL, checked at once: a connection is made, though not connected."""
    kwargs: Kwargs = {**TIMEOUTS, **parse_url(url)}
    kwargs.get("connection_class", redis.Connection)(**{k: v for k, v in kwargs.items() if k != "connection_class"})
    return kwargs


def _single(url: str) -> Source:
    timeout = _kwargs(url)["socket_timeout"]
    return Source(
        lambda _: redis.ConnectionPool.from_url(url, **{**TIMEOUTS, **UNBOUND, "retry": _once()}),
        lambda _: aio.ConnectionPool.from_url(url, **{**TIMEOUTS, **UNBOUND, "retry": _once_async()}),
        timeout=timeout,
    )


def _cluster(seeds: list[Address], kwargs: Kwargs) -> Source:
    is_tls = "connection_class" in kwargs
    kwargs = {name: value for name, value in kwargs.items() if name not in ("connection_class", "db")}
    tls, async_tls = ({"connection_class": kind} for kind in (redis.SSLConnection, aio.SSLConnection))
    return Source(
        _node_pools(redis.ConnectionPool, {**kwargs, "retry": _once(), **(tls if is_tls else {})}),
        _node_pools(aio.ConnectionPool, {**kwargs, "retry": _once_async(), **(async_tls if is_tls else {})}),
        seeds,
        timeout=kwargs["socket_timeout"],
    )


def _node_pools(pool: Any, kwargs: Kwargs) -> MakePool:
    kept = {k: v for k, v in kwargs.items() if k not in ("host", "port", "path")}

    def make(address: Address | None) -> Any:
        assert address is not None
        return pool(host=address[0], port=address[1], **{**kept, **UNBOUND})

    return make


def _sentinel(sentinels: list[Address], path: str, tls: bool, kwargs: Kwargs, watch: Kwargs) -> Source:
    service, _, database = unquote(path).partition("/")
    if not service:
        raise ConfigurationError("a Sentinel URL names the service: redis+sentinel://host,host/service")
    kwargs = {name: value for name, value in kwargs.items() if name != "connection_class"}
    watch = {**TIMEOUTS, **watch, **({"ssl": True} if tls else {})}
    kwargs.update(db=int(database or 0), **({"ssl": True} if tls else {}))

    def sync_pool(_: Address | None) -> Any:
        make: Any = _Sentinel  # it has no type hints
        manager = make(sentinels, sentinel_kwargs={**watch, "retry": _once()})
        return manager.master_for(service, **{**kwargs, **UNBOUND, "retry": _once()}).connection_pool

    def async_pool(_: Address | None) -> Any:
        make: Any = _AsyncSentinel
        manager = make(sentinels, sentinel_kwargs={**watch, "retry": _once_async()})
        return manager.master_for(service, **{**kwargs, **UNBOUND, "retry": _once_async()}).connection_pool

    return Source(sync_pool, async_pool, timeout=kwargs["socket_timeout"])


class _Sentinel(Sentinel):
    """redis-py reorders its list of Sentinels while it asks, and loses some when two ask at once."""

    def discover_master(self, service_name: str) -> Any:
        mine = copy(self)
        mine.sentinels = list(self.sentinels)
        address = super(_Sentinel, mine).discover_master(service_name)  # type: ignore[no-untyped-call]
        self.sentinels = mine.sentinels
        return address


class _AsyncSentinel(AsyncSentinel):
    """The same for an event loop."""

    async def discover_master(self, service_name: str) -> Any:
        mine = copy(self)
        mine.sentinels = list(self.sentinels)
        address = await super(_AsyncSentinel, mine).discover_master(service_name)
        self.sentinels = mine.sentinels
        return address


def _once() -> Retry:
    return Retry(NoBackoff(), 0)


def _once_async() -> AsyncRetry:
    return AsyncRetry(NoBackoff(), 0)
