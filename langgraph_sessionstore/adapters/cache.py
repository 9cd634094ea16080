"""`SessionCache`: LangGraph's cache of what nodes have computed, on any backend.

Rule 1: an entry that has ended, is damaged or was written by somebody else is not there. Nothing is pickled.
Rule 2: a cache does not stop a graph. When the storage cannot be reached, or a value has no stored form, that is logged
        as a warning, and the node computes.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from langgraph.cache.base import BaseCache, FullKey, Namespace, ValueT
from langgraph.checkpoint.serde.base import SerializerProtocol

from ..backends.base import Backend
from ..drive import arun, run
from ..errors import BackendClosed, BackendError, ConfigurationError, DataError, WrongKey
from ..plans import caching
from ..plans.shelves import Shelves
from .standing import OnBackend, opened, serializer_of

_LOG = logging.getLogger(__name__)


class SessionCache(OnBackend, BaseCache[ValueT]):
    """Keeps what nodes have computed on a backend: `builder.compile(cache=SessionCache(backend))`.

    One object serves sync and async callers, threads and event loops, and all workers share the entries. `backend`
    stays yours; `from_url` opens one that is closed with the cache.

    serde, allow, strict    see `SessionCheckpointer`: an entry may hold whatever the state of a graph may hold
    """

    def __init__(
        self,
        backend: Backend,
        *,
        serde: SerializerProtocol | None = None,
        allow: Iterable[type | tuple[str, ...]] = (),
        strict: bool | None = None,
    ) -> None:
        super().__init__(serde=serializer_of(serde, allow, strict))
        self._stand_on(backend, "cache")
        self._shelves = Shelves(caching.CACHE, _new_id)

    @classmethod
    def from_url(
        cls,
        url: str | os.PathLike[str],
        *,
        serde: SerializerProtocol | None = None,
        allow: Iterable[type | tuple[str, ...]] = (),
        strict: bool | None = None,
        **options: Any,
    ) -> SessionCache[ValueT]:
        """Open the backend that a URL names (see `open_backend` for URLs and options), and stand on it."""
        return opened(lambda backend: cls(backend, serde=serde, allow=allow, strict=strict), url, options)

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, ValueT]:
        """The entries that are there, by namespace and key."""
        wanted = _addresses(keys)
        with _unharmed("read"):
            return run(self.backend, caching.read(self.serde, wanted, _now()))
        return {}

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, ValueT]:
        """The async form of `get`."""
        wanted = _addresses(keys)
        with _unharmed("read"):
            return await arun(self.backend, caching.read(self.serde, wanted, _now()))
        return {}

    def set(self, pairs: Mapping[FullKey, tuple[ValueT, int | None]]) -> None:
        """Set entries, each with the seconds that it stays (None: for ever)."""
        entries, now = _entries(pairs), _now()
        with _unharmed("written to"):
            run(self.backend, caching.write(self.serde, self._shelves, entries, now))

    async def aset(self, pairs: Mapping[FullKey, tuple[ValueT, int | None]]) -> None:
        """The async form of `set`."""
        entries, now = _entries(pairs), _now()
        with _unharmed("written to"):
            await arun(self.backend, caching.write(self.serde, self._shelves, entries, now))

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Take all entries of these namespaces; without any: of all of them."""
        run(self.backend, caching.clear(self._shelves, _namespaces(namespaces)))

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """The async form of `clear`."""
        await arun(self.backend, caching.clear(self._shelves, _namespaces(namespaces)))


@contextmanager
def _unharmed(what: str) -> Iterator[None]:
    try:
        yield
    except (BackendClosed, WrongKey):
        raise
    except (BackendError, DataError) as exc:
        _LOG.warning("the cache cannot be %s: %s", what, exc)


def _address(address: Any) -> tuple[tuple[str, ...], str]:
    try:
        namespace, key = address
    except (TypeError, ValueError):
        raise ConfigurationError(f"an entry has a namespace and a key, not {address!r:.80}") from None
    if not isinstance(key, str) or not _is_namespace(namespace):
        raise ConfigurationError(f"an entry has a tuple of text as namespace, and text as key, not {address!r:.80}")
    return tuple(namespace), key


def _is_namespace(namespace: Any) -> bool:
    return isinstance(namespace, (tuple, list)) and all(isinstance(label, str) for label in namespace)


def _addresses(addresses: Iterable[Any]) -> list[tuple[tuple[str, ...], str]]:
    return [_address(address) for address in addresses]


def _entries(pairs: Mapping[Any, tuple[Any, float | None]]) -> dict[tuple[tuple[str, ...], str], tuple[Any, int]]:
    now, entries = _now(), {}
    for address, (value, ttl) in pairs.items():
        if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not -1e10 < ttl < 1e10):
            raise ConfigurationError(f"an entry stays for a number of seconds, not for {ttl!r:.80}")
        entries[_address(address)] = value, 0 if ttl is None else max(1, now + int(ttl * 1000))
    return entries


def _namespaces(namespaces: Any) -> list[tuple[str, ...]] | None:
    if namespaces is None:
        return None
    for namespace in namespaces:
        if not _is_namespace(namespace):
            raise ConfigurationError(f"a namespace is a tuple of text, not {namespace!r:.80}")
    return [tuple(namespace) for namespace in namespaces]


def _now() -> int:
    return time.time_ns() // 1_000_000


def _new_id() -> bytes:
    return os.urandom(16)
