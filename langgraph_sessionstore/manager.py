"""`SessionManager`: sessions on one backend, and the adapters that share it.

Rule: a thread of a graph is a session, and a session is one partition. So what a graph begins is listed here, and what
is deleted here is gone for the graph.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.store.base import IndexConfig, TTLConfig

from . import keys, transfer
from .adapters.cache import SessionCache
from .adapters.checkpointer import CACHE_BYTES, SessionCheckpointer
from .adapters.data import SessionData
from .adapters.standing import opened
from .adapters.store import SessionStore
from .backends.base import Backend
from .backends.keyring import Encryption
from .drive import arun, run
from .errors import ConfigurationError, SessionExists
from .many import ManySessions
from .memory import SessionMemory
from .ops import Append, Op, Plan, Put
from .plans import sessions
from .plans.details import Born, Details, Summary, pack_born, pack_details, pack_summary
from .plans.editing import pack_message
from .plans.entry import Life
from .plans.given import Duration, GivenMessage, as_id, as_messages, as_metadata, as_milliseconds, as_text
from .plans.noted import Note
from .plans.places import BORN, DETAILS, LOG, SUMMARY
from .session import Session
from .session.common import Common, now
from .session.handle import Progress, _new_id
from .upkeep import Upkeep
from .usage import Price, as_prices

if TYPE_CHECKING:
    from .adapters.chat_history import SessionChatHistory


class SessionManager(ManySessions, Upkeep):
    """Sessions on one backend: `with SessionManager.from_url("redis://localhost:6379") as manager:`.

    One object serves sync and async callers, threads and event loops. `backend` stays yours; `from_url` opens one
    that is closed with the manager.

    ttl           how long sessions live that do not say so themselves, in seconds or as a timedelta; None: for ever
    sliding       whether that is counted from the last use (True) or from the creation
    undo          how many operations of a session can be undone
    prices        what models cost: `{"model": Price(input, output)}`, for a million tokens
    channel       where graphs keep the messages
    tombstone     for how long a deleted session refuses what late writers bring, in seconds
    index, store_ttl    see `SessionStore`: how its items are found by meaning, and how long they live
    serde, allow, strict, share, cache_bytes    see `SessionCheckpointer`
    """

    def __init__(
        self,
        backend: Backend,
        *,
        ttl: Duration | None = None,
        sliding: bool = True,
        undo: int = 50,
        prices: Mapping[str, Price | tuple[float, ...]] | None = None,
        channel: str = "messages",
        tombstone: Duration = 3600,
        index: IndexConfig | None = None,
        store_ttl: TTLConfig | None = None,
        serde: SerializerProtocol | None = None,
        allow: Iterable[type | tuple[str, ...]] = (),
        strict: bool | None = None,
        share: bool = True,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._stand_on(backend, "manager")
        if isinstance(undo, bool) or not isinstance(undo, int) or not 0 <= undo <= 10_000:
            raise ConfigurationError(f"undo is a number of operations, from 0 to 10,000, not {undo!r:.80}")
        life = Life(0 if ttl is None else as_milliseconds(ttl, "ttl"), sliding)
        self._checkpointer = SessionCheckpointer(
            backend, serde=serde, allow=allow, strict=strict, share=share, cache_bytes=cache_bytes, channel=channel
        )
        if life.ttl:
            self._checkpointer.writer = self._checkpointer.writer._replace(life=life)
        self._store = SessionStore(backend, serde=self._checkpointer.serde, index=index, ttl=store_ttl)
        self._store.writer = self._checkpointer.writer
        self._common = Common(
            self._checkpointer,
            self._store,
            life=life,
            depth=undo,
            stays=as_milliseconds(tombstone, "tombstone"),
            prices=as_prices(prices),
        )
        self._cache = SessionCache[Any](backend, serde=self._checkpointer.serde)
        self._data = SessionData(self._checkpointer)

    @classmethod
    def from_url(
        cls,
        url: str | os.PathLike[str],
        *,
        ttl: Duration | None = None,
        sliding: bool = True,
        undo: int = 50,
        prices: Mapping[str, Price | tuple[float, ...]] | None = None,
        channel: str = "messages",
        tombstone: Duration = 3600,
        index: IndexConfig | None = None,
        store_ttl: TTLConfig | None = None,
        serde: SerializerProtocol | None = None,
        allow: Iterable[type | tuple[str, ...]] = (),
        strict: bool | None = None,
        share: bool = True,
        cache_bytes: int = CACHE_BYTES,
        encryption: Encryption | None = None,
        **options: Any,
    ) -> SessionManager:
        """Open the backend that a URL names, and stand on it; see `open_backend` for URLs, encryption and options,
        `observe` among them."""
        own: Any = {"ttl": ttl, "sliding": sliding, "undo": undo, "prices": prices, "channel": channel}
        own |= {"index": index, "store_ttl": store_ttl}
        own |= {"tombstone": tombstone, "serde": serde, "allow": allow, "strict": strict, "share": share}
        options["encryption"] = encryption
        return opened(lambda backend: cls(backend, cache_bytes=cache_bytes, **own), url, options)

    def __repr__(self) -> str:
        return f"SessionManager({self.backend!r})"

    def close(self) -> None:
        """Stop what the store does by itself; and close the backend, when `from_url` opened it."""
        self._store.close()
        super().close()

    async def aclose(self) -> None:
        """The async form of `close`."""
        await self._store.aclose()
        await super().aclose()

    # -- what shares the backend

    @property
    def checkpointer(self) -> SessionCheckpointer:
        """For graphs: `builder.compile(checkpointer=manager.checkpointer)`."""
        return self._checkpointer

    @property
    def store(self) -> SessionStore:
        """For graphs: `builder.compile(store=manager.store)`. What is put below
        `(SESSION_NAMESPACE, session_id)` goes with the session."""
        return self._store

    @property
    def cache(self) -> SessionCache[Any]:
        """For graphs: `builder.compile(cache=manager.cache)`."""
        return self._cache

    @property
    def data(self) -> SessionData:
        """All sessions as a read-only LangGraph store: `search(("sessions",))`, `get(("memory", id), "messages")`."""
        return self._data

    def history(self, session_id: str) -> SessionChatHistory:
        """The messages of a session as LangChain's chat history; the session begins with the first message."""
        from .adapters.chat_history import SessionChatHistory

        return SessionChatHistory(self._loose(session_id))

    def memory(self) -> SessionMemory:
        """The messages of all sessions: `append(id, message)`, `load(id)`, `clear(id)`."""
        return SessionMemory(self._loose)

    # -- one session

    def create_session(
        self,
        session_id: str | None = None,
        *,
        title: str | None = None,
        system: str | None = None,
        messages: Iterable[GivenMessage] = (),
        summary: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        ttl: Duration | None = None,
        sliding: bool | None = None,
        exist_ok: bool = False,
    ) -> Session:
        """Begin a session. `SessionExists` when there is one with this id; with `exist_ok` it is returned as it is."""
        details = Details(as_text(title, "a title"), as_text(system, "a system prompt"), as_metadata(metadata))
        given = as_messages(messages), as_text(summary, "a summary"), self._common.lifetime(ttl, sliding)
        return run(self.backend, self._create(_new_id(session_id), details, *given, exist_ok))

    async def acreate_session(
        self,
        session_id: str | None = None,
        *,
        title: str | None = None,
        system: str | None = None,
        messages: Iterable[GivenMessage] = (),
        summary: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        ttl: Duration | None = None,
        sliding: bool | None = None,
        exist_ok: bool = False,
    ) -> Session:
        """The async form of `create_session`."""
        details = Details(as_text(title, "a title"), as_text(system, "a system prompt"), as_metadata(metadata))
        given = as_messages(messages), as_text(summary, "a summary"), self._common.lifetime(ttl, sliding)
        return await arun(self.backend, self._create(_new_id(session_id), details, *given, exist_ok))

    def get_session(self, session_id: str) -> Session | None:
        """A session that is there; None when there is none."""
        return run(self.backend, self._get(as_id(session_id)))

    async def aget_session(self, session_id: str) -> Session | None:
        """The async form of `get_session`."""
        return await arun(self.backend, self._get(as_id(session_id)))

    def delete_session(self, session_id: str) -> bool:
        """Delete a session with everything that belongs to it, in one step; whether it was there.

        For an hour (`tombstone`) nobody brings it back by writing to it, such as a graph that still runs.
        """
        return run(self.backend, sessions.delete(self._common.chance, as_id(session_id), self._common.stays))

    async def adelete_session(self, session_id: str) -> bool:
        """The async form of `delete_session`."""
        return await arun(self.backend, sessions.delete(self._common.chance, as_id(session_id), self._common.stays))

    # -- from another storage

    def from_dict(self, data: Mapping[str, Any], *, session_id: str | None = None) -> Session:
        """The session that `Session.to_dict` took; under another id when one is given."""
        return run(self.backend, self._arrive(transfer.of_dict(data), session_id, None))

    async def afrom_dict(self, data: Mapping[str, Any], *, session_id: str | None = None) -> Session:
        """The async form of `from_dict`."""
        return await arun(self.backend, self._arrive(transfer.of_dict(data), session_id, None))

    def import_(
        self, file: str | os.PathLike[str], *, session_id: str | None = None, progress: Progress | None = None
    ) -> Session:
        """The session that `Session.export` wrote to a file; it is there when it has arrived as a whole."""
        return run(self.backend, self._arrive(transfer.of_file(file), session_id, progress))

    async def aimport_(
        self, file: str | os.PathLike[str], *, session_id: str | None = None, progress: Progress | None = None
    ) -> Session:
        """The async form of `import_`."""
        return await arun(self.backend, self._arrive(transfer.of_file(file), session_id, progress))

    # -- plans

    def _loose(self, session_id: str) -> Session:
        """A handle for whichever session has this id, and for a new one when something is written."""
        return Session(self._common, as_id(session_id), None)

    def _create(
        self, session_id: str, details: Details, messages: list[Any], summary: str | None, life: Life, exist_ok: bool
    ) -> Plan[Session]:
        desk, moment = self._common.desk(session_id), now()
        ops: list[Op] = [Put(BORN, pack_born(Born(moment, None)))]
        row = pack_details(desk.tools, details)
        ops += [Put(DETAILS, row)] if row is not None else []
        ops += [Put(SUMMARY, pack_summary(Summary(summary)) or b"")] if summary is not None else []
        ops += [Append(LOG, pack_message(desk, message)) for message in messages]
        incarnation = yield from sessions.create(desk, life, ops, moment)
        if incarnation is not None:
            desk.writer.noted.note(desk.partition, Note(None, incarnation, life.pack()))
            return Session(self._common, session_id, incarnation)
        there = (yield from self._get(session_id)) if exist_ok else None
        if there is None:
            raise SessionExists(f"session {session_id!r} exists already: get_session() it, or pass exist_ok=True")
        return there

    def _get(self, session_id: str) -> Plan[Session | None]:
        found = yield from sessions.describe(self._checkpointer.tools(), session_id)
        noted, partition = self._checkpointer.writer.noted, keys.session(session_id)
        if found is not None and found.life is not None and noted.of(partition) is None:
            noted.note(partition, Note(None, found.incarnation, found.life))
        return Session(self._common, session_id, found.incarnation) if found else None

    def _arrive(self, arrival: transfer.Arrival, session_id: str | None, progress: Progress | None) -> Plan[Session]:
        name = arrival.session_id if session_id is None else as_id(session_id)
        incarnation = yield from transfer.arriving(self._common.desk(name), arrival, progress)
        if incarnation is None:
            raise ConfigurationError("an exported session without any row cannot be taken")
        return Session(self._common, name, incarnation)
