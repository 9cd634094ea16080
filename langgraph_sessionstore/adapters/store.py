"""`SessionStore`: LangGraph's store on any backend.

Rule: it answers as LangGraph's own in-memory store does, and keeps what it is told to keep for as long as it is told.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.store.base import BaseStore, IndexConfig, Op, Result, TTLConfig

from ..backends.base import Backend
from ..drive import arun, run
from ..errors import ConfigurationError, MissingExtra
from ..ops import Plan
from ..plans import items, keeping
from ..plans.entry import Writer
from ..plans.items import Namespace
from ..plans.keeping import Scribe
from ..plans.noted import Noted
from ..plans.shelves import Shelves
from .errand import MOST_MINUTES, Errand
from .standing import OnBackend, opened, serializer_of
from .sweeper import Sweeper

if TYPE_CHECKING:
    from .embedding import Embedder

VECTOR_BYTES = 128 << 20
"""So many bytes of vectors are remembered in a process."""


class SessionStore(OnBackend, BaseStore):
    """Keeps items by namespace and key on a backend: `builder.compile(store=SessionStore(backend))`.

    One object serves sync and async callers, threads and event loops. `backend` stays yours; `from_url` opens one that
    is closed with the store.

    The namespaces `(SESSION_NAMESPACE, session_id, ...)` belong to a session: they are deleted, copied and expire with
    it. No other label is reserved.

    index                   LangGraph's `IndexConfig`, for searching by meaning: `{"dims", "embed", "fields"}`; it needs
                            numpy. `vector_bytes` of vectors are remembered in this process
    ttl                     LangGraph's `TTLConfig`, in minutes: `default_ttl`, `refresh_on_read`,
                            `sweep_interval_minutes`. What has ended is never returned (`omit_expired`)
    serde, allow, strict    see `SessionCheckpointer`: a value may hold whatever the state of a graph may hold
    """

    supports_ttl = True

    def __init__(
        self,
        backend: Backend,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        serde: SerializerProtocol | None = None,
        allow: Iterable[type | tuple[str, ...]] = (),
        strict: bool | None = None,
        vector_bytes: int = VECTOR_BYTES,
    ) -> None:
        self._stand_on(backend, "store")
        self.ttl_config = checked_ttl(ttl)
        self._embedder = None if index is None else embedder_of(index, vector_bytes)
        self._serde = serializer_of(serde, allow, strict)
        self._shelves = Shelves(items.STORE, _new_id)
        self._sweeper = Sweeper(self.sweep_ttl)
        self.writer = Writer(Noted())
        """What writes into sessions build on."""

    @classmethod
    def from_url(
        cls,
        url: str | os.PathLike[str],
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        serde: SerializerProtocol | None = None,
        allow: Iterable[type | tuple[str, ...]] = (),
        strict: bool | None = None,
        vector_bytes: int = VECTOR_BYTES,
        **options: Any,
    ) -> SessionStore:
        """Open the backend that a URL names (see `open_backend` for URLs and options), and stand on it."""
        own: Any = {"index": index, "ttl": ttl, "serde": serde, "allow": allow, "strict": strict}
        return opened(lambda backend: cls(backend, vector_bytes=vector_bytes, **own), url, options)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do all of it: what is read is what was there before; the last write to a key counts."""
        return self.carry_out(self.errand(ops))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """The async form of `batch`."""
        return await self.acarry_out(self.errand(ops))

    def errand(
        self,
        ops: Iterable[Op],
        base: Namespace = (),
        writer: Writer | None = None,
        check: Callable[[], Plan[None]] | None = None,
    ) -> Errand:
        """A batch to carry out: below a namespace, as this writer, with a check of what is read."""
        scribe = Scribe(writer or self.writer, self._shelves, _now)
        return Errand(list(ops), self._serde, scribe, self._embedder, base, check)

    def carry_out(self, errand: Errand) -> list[Result]:
        """Do a batch, and embed what it needs."""
        texts = run(self.backend, errand.look())
        if self._embedder is not None and (texts or errand.queries):
            errand.learn(*self._embedder.embed(texts, errand.queries))
        return run(self.backend, errand.do())

    async def acarry_out(self, errand: Errand) -> list[Result]:
        """The async form of `carry_out`."""
        texts = await arun(self.backend, errand.look())
        if self._embedder is not None and (texts or errand.queries):
            errand.learn(*await self._embedder.aembed(texts, errand.queries))
        return await arun(self.backend, errand.do())

    # -- what has ended

    def sweep_ttl(self) -> int:
        """Take away all items that have ended, but for those of sessions; how many. Writing does so piece by piece."""
        return run(self.backend, keeping.sweep_all(self._shelves, _now() // 1000))

    async def asweep_ttl(self) -> int:
        """The async form of `sweep_ttl`."""
        return await arun(self.backend, keeping.sweep_all(self._shelves, _now() // 1000))

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> None:
        """Sweep in a thread of its own, every so many minutes: as given, as `ttl` says, or 5. It ends with `close`."""
        minutes = sweep_interval_minutes
        if minutes is None:
            minutes = (self.ttl_config or {}).get("sweep_interval_minutes")
        self._sweeper.start(60 * (5 if minutes is None else _minutes(minutes, "sweep_interval_minutes")))

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop sweeping, and wait for so many seconds until it has; whether it has."""
        return self._sweeper.stop(timeout)

    def close(self) -> None:
        """Stop sweeping; and close the backend, when `from_url` opened it."""
        self._sweeper.close()
        self._sweeper.stop()
        super().close()

    async def aclose(self) -> None:
        """The async form of `close`."""
        self._sweeper.close()
        if not self._sweeper.stop(0):
            await asyncio.get_running_loop().run_in_executor(None, self._sweeper.stop)
        await super().aclose()


def embedder_of(index: IndexConfig, limit: int) -> Embedder:
    """What embeds for an index."""
    try:
        from .embedding import Embedder
    except ImportError as exc:
        if exc.name != "numpy":
            raise
        raise MissingExtra(
            'an index needs the package "numpy": python -m pip install "langgraph-sessionstore[vectors]"'
        ) from exc
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ConfigurationError(f"vector_bytes is a number of bytes from 0 on, not {limit!r:.80}")
    return Embedder(index, limit)


def checked_ttl(ttl: TTLConfig | None) -> TTLConfig | None:
    """A configuration of lifetimes that says what can be done."""
    if ttl is None:
        return None
    known = {"refresh_on_read", "omit_expired", "default_ttl", "sweep_interval_minutes"}
    if not isinstance(ttl, dict) or set(ttl) - known:
        given = sorted(map(str, ttl)) if isinstance(ttl, dict) else ttl
        raise ConfigurationError(f"ttl may have {', '.join(sorted(known))}, not {given!r:.80}")
    if not isinstance(ttl.get("refresh_on_read", True), bool):
        raise ConfigurationError(f"refresh_on_read is True or False, not {ttl['refresh_on_read']!r:.80}")
    for name in ("default_ttl", "sweep_interval_minutes"):
        if ttl.get(name) is not None:
            _minutes(ttl[name], name)
    return ttl


def _minutes(given: Any, what: str) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given < MOST_MINUTES:
        raise ConfigurationError(f"{what} is a number of minutes greater than 0, not {given!r:.80}")
    return float(given)


def _now() -> int:
    return time.time_ns() // 1000


def _new_id() -> bytes:
    return os.urandom(16)
