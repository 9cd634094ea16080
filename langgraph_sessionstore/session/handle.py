"""`Session`: one session's handle.

Rule: a handle knows which session it means, and reads everything else from the storage. So any number of handles, in
any number of threads and processes, work on one session at once.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from .. import keys, transfer
from ..errors import ConfigurationError, SessionExists, SessionNotFound
from ..info import SessionInfo
from ..ops import Count, Get, Plan, Put, must
from ..plans import accounts, contents, layout, measuring, pruning, sessions
from ..plans.details import Born, pack_born
from ..plans.entry import Life
from ..plans.given import Duration, as_id, as_milliseconds, as_moment
from ..plans.places import BORN
from ..sizes import SessionSize
from ..usage import money
from .common import now
from .costs import Costs
from .items import SessionItems
from .lease import Lease
from .messages import Messages
from .operations import Operations

if TYPE_CHECKING:
    from ..conversation import Conversation
    from ..conversation.models import GivenModel
    from ..strategies import GivenStrategy

_WIDTH = 100  # characters of a message that `show_messages` shows
Progress = Callable[[int, int], None]


class Session(Messages, Operations, Costs):
    """One session: its messages, summary, details, usage, and its life. Safe to use from many threads."""

    @property
    def info(self) -> SessionInfo:
        """What is known about the session."""
        return self._run(self._info())

    async def ainfo(self) -> SessionInfo:
        """The async form of `info`."""
        return await self._arun(self._info())

    def status(self) -> str:
        """The session in one line."""
        return self._run(self._status())

    async def astatus(self) -> str:
        """The async form of `status`."""
        return await self._arun(self._status())

    def show_messages(self, limit: int | None = None) -> str:
        """The messages as a table, each in a line: all, or the last so many."""
        return _table(self.messages, limit)

    async def ashow_messages(self, limit: int | None = None) -> str:
        """The async form of `show_messages`."""
        return _table(await self.amessages(), limit)

    @property
    def store(self) -> SessionItems:
        """A LangGraph store of the session's own; what is in it goes with the session."""
        return SessionItems(self._common.store, self._desk)

    def conversation(
        self,
        model: GivenModel,
        *,
        system: str | None = None,
        tools: Sequence[Any] | None = None,
        strategy: GivenStrategy | None = None,
        phase: str | None = None,
        wait: Duration = 60,
    ) -> Conversation:
        """A conversation on this session: `session.conversation(model).run("Hello")`.

        model      a LangChain chat model, its name ("openai:gpt-5"; langchain has to be installed), any Runnable that
                   takes messages, or a compiled LangGraph graph: then its state has the session's messages
        system     the system prompt; without, that of the session. A session that has none keeps this one
        tools      what the model may call: then an agent of langchain's runs on the session
        strategy   what is sent of what was said before: `Window`, `Summary`, or a function on messages
        phase      what usage is recorded under; None: "chat", and in a graph the node
        wait       how many seconds to wait while another worker runs a graph on the session
        """
        from ..conversation import Conversation

        return Conversation(self, model, system=system, tools=tools, strategy=strategy, phase=phase, wait=wait)

    # -- life

    def fork(self, session_id: str | None = None, *, ttl: Duration | None = None) -> Session:
        """An independent session with everything that this one holds: one copy on the server."""
        return self._run(self._fork(_new_id(session_id), ttl))

    async def afork(self, session_id: str | None = None, *, ttl: Duration | None = None) -> Session:
        """The async form of `fork`."""
        return await self._arun(self._fork(_new_id(session_id), ttl))

    def lease(self, ttl: Duration = 30, *, wait: Duration = 0) -> Lease:
        """An exclusive turn on the session: `with session.lease(30) as turn:` (or `async with`).

        While it is held, all writes to the session without it are refused, the checkpointer's too. It ends `ttl`
        seconds after its holder has stopped renewing it, at the latest. `wait` is how long to wait for one that is
        held.
        """
        return Lease(self, ttl, wait)

    def set_ttl(self, ttl: Duration, *, sliding: bool | None = None) -> None:
        """Let the session live for so long from now on (0: for ever); `sliding`: counted anew whenever it is used.

        Unless given, that stays as it is.
        """
        self._run(self._set_ttl(as_milliseconds(ttl, "ttl"), sliding))

    async def aset_ttl(self, ttl: Duration, *, sliding: bool | None = None) -> None:
        """The async form of `set_ttl`."""
        await self._arun(self._set_ttl(as_milliseconds(ttl, "ttl"), sliding))

    def delete(self) -> bool:
        """Delete the session with everything that belongs to it; whether it was there."""
        return self._run(self._delete())

    async def adelete(self) -> bool:
        """The async form of `delete`."""
        return await self._arun(self._delete())

    # -- what it takes

    def size(self) -> SessionSize:
        """What the session takes, by kind of row, and what sharing saves. Reads all of it, in pieces.

        What is written meanwhile may be counted or not.
        """
        return self._run(self._size())

    async def asize(self) -> SessionSize:
        """The async form of `size`."""
        return await self._arun(self._size())

    def prune_checkpoints(self, *, older_than: Duration | datetime | None = None) -> int:
        """Delete checkpoints of the graph, all but the newest of each namespace and what that one needs; how many.

        With `older_than` (seconds, a timedelta or a datetime), only those that were made that long ago.
        """
        return self._run(self._prune_checkpoints(older_than))

    async def aprune_checkpoints(self, *, older_than: Duration | datetime | None = None) -> int:
        """The async form of `prune_checkpoints`."""
        return await self._arun(self._prune_checkpoints(older_than))

    # -- to another storage

    def to_dict(self) -> dict[str, Any]:
        """The whole session, for `SessionManager.from_dict`; JSON can hold it."""
        return transfer.to_dict(self._common.backend, self._desk)

    async def ato_dict(self) -> dict[str, Any]:
        """The async form of `to_dict`."""
        return await transfer.ato_dict(self._common.backend, self._desk)

    def export(self, file: str | os.PathLike[str], *, progress: Progress | None = None) -> int:
        """Write the whole session to a file, for `SessionManager.import_`; how many rows it has.

        The file is there when it is complete, not before. `progress(done, total)` is called on the way.
        """
        return transfer.export(self._common.backend, self._desk, file, progress)

    async def aexport(self, file: str | os.PathLike[str], *, progress: Progress | None = None) -> int:
        """The async form of `export`."""
        return await transfer.aexport(self._common.backend, self._desk, file, progress)

    # -- plans

    def _with_lease(self, token: bytes) -> Session:
        turn = copy.copy(self)
        turn._lease = token
        return turn

    def _info(self) -> Plan[SessionInfo]:
        found = yield from sessions.describe(self._desk.tools, self.id)
        if found is None or self._incarnation not in (None, found.incarnation):
            raise self._not_there()
        return found.info

    def _not_there(self) -> SessionNotFound:
        return SessionNotFound(f"session {self.id!r} is not there: never created, expired, or deleted")

    def _size(self) -> Plan[SessionSize]:
        size = yield from measuring.session_size(self.id, self._incarnation)
        if size is None:
            raise self._not_there()
        return size

    def _status(self) -> Plan[str]:
        desk = self._desk
        found = yield from contents.read(desk, messages=False)
        (checkpoints,) = yield from must(desk.partition, Count(*layout.RECORDS))
        metrics, _ = yield from accounts.read(desk)
        count = contents.count(desk, found)
        return " | ".join(
            [
                f"Messages: {count} ({'log' if found.channel is None else f'graph, {found.channel}'})",
                f"Summary: {'no' if found.summary is None else 'yes'}",
                f"Checkpoints: {checkpoints}",
                f"Calls: {metrics.total_calls}",
                f"Cost: {money(metrics.total_cost)}",
            ]
        )

    def _set_ttl(self, ttl: int, sliding: bool | None) -> Plan[None]:
        if sliding is None:
            now_, _ = yield from sessions.life_of(self._desk)
            sliding = now_.sliding if now_.ttl else self._common.life.sliding
        yield from sessions.set_life(self._desk, Life(ttl, sliding))

    def _prune_checkpoints(self, older_than: Duration | datetime | None) -> Plan[int]:
        desk, before = self._desk, None if older_than is None else as_moment(older_than, now())
        desk.check(*(yield from must(desk.partition, Get(keys.INCARNATION), Get(keys.TOMBSTONE))))
        return (yield from pruning.keep_latest(desk.tools, desk.session_id, desk.writer.incarnation, before))

    def _delete(self) -> Plan[bool]:
        return sessions.delete(self._common.chance, self.id, self._common.stays, self._incarnation)

    def _fork(self, new: str, ttl: Duration | None) -> Plan[Session]:
        desk = self._desk
        if new == self.id:
            raise SessionExists(f"session {new!r} exists already: a fork needs an id of its own")
        born = Put(BORN, pack_born(Born(now(), self.id)))
        made: bytes | None = None
        forever = self._common.life._replace(ttl=0)
        for look in (False, True):  # what this process knows of its lifetime may be out of date
            old, same = yield from sessions.life_of(desk, look=look, missing=forever)
            life, op_id = self._common.lifetime(ttl, None, old), desk.chance.new_id()
            made = yield from pruning.copy(desk.tools, desk.partition, new, life, [born], op_id, lift=True, same=same)
            if made is not None:
                break
        if made is None:
            desk.check(*(yield from must(desk.partition, Get(keys.INCARNATION), Get(keys.TOMBSTONE))))
            raise SessionNotFound(f"session {self.id!r} is not there, or holds nothing that could be copied")
        return Session(self._common, new, made)


def _new_id(session_id: str | None) -> str:
    return str(uuid4()) if session_id is None else as_id(session_id)


def _table(messages: list[Any], limit: int | None) -> str:
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise ConfigurationError(f"limit is a number of messages from 0 on, not {limit!r:.80}")
    if not messages:
        return "no messages"
    first = 0 if limit is None else max(0, len(messages) - limit)
    width = len(str(len(messages) - 1))
    lines = []
    for index, message in enumerate(messages[first:], first):
        text = " ".join(str(message.text).split())
        calls = ", ".join(call["name"] for call in getattr(message, "tool_calls", None) or ())
        said = " ".join(part for part in (text, f"[calls {calls}]" if calls else "") if part)
        said = said if len(said) <= _WIDTH else said[: _WIDTH - 1] + "…"
        lines.append(f"{index:>{width}}  {message.type:<9}  {said}")
    return "\n".join(lines)
