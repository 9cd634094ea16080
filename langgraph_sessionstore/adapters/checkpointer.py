"""`SessionCheckpointer`: LangGraph's checkpointer on any backend.

Rule: each method turns LangGraph's arguments into a plan and drives it; sync and async differ in the driver alone.
"""

from __future__ import annotations

import copy
import os
import random
import time
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from .. import keys
from ..backends.base import Backend
from ..drive import arun, run
from ..errors import ConfigurationError
from ..ops import Delete, Op, Plan
from ..plans import checking, collecting, history, pruning, reading, versions, writing
from ..plans.cache import Cache
from ..plans.entry import Entry, Writer, afterwards
from ..plans.given import Duration, as_moment
from ..plans.noted import Noted
from ..plans.places import BORN
from ..plans.problems import Problem
from ..plans.steering import START
from ..plans.tools import Tools
from ..serde.serializer import SessionSerializer
from .configs import Target, run_names, several, thread_name
from .search import Search, echoed
from .standing import OnBackend, opened, serializer_of

CACHE_BYTES = 64 * 2**20


class SessionCheckpointer(OnBackend, BaseCheckpointSaver[str]):
    """Keeps the state of LangGraph graphs on a backend: `builder.compile(checkpointer=SessionCheckpointer(backend))`.

    One object serves `invoke` and `ainvoke`, threads and event loops. `backend` stays yours; `from_url` opens one
    that is closed with the checkpointer.

    serde        another serializer than the library's own (then `allow` and `strict` are its affair)
    allow        types, or (module, name) pairs, that may be stored beside those that reading revives anyway
    strict       revive only LangGraph's safe types and those allowed; None: as LANGGRAPH_STRICT_MSGPACK says
    share        store of a list or a dict with large values only what is new in it
    cache_bytes  how much this process remembers of threads, so that it reads and writes only what is new
    channel      where graphs keep the messages of the session
    """

    def __init__(
        self,
        backend: Backend,
        *,
        serde: SerializerProtocol | None = None,
        allow: Iterable[type | tuple[str, ...]] = (),
        strict: bool | None = None,
        share: bool = True,
        cache_bytes: int = CACHE_BYTES,
        channel: str = "messages",
    ) -> None:
        super().__init__(serde=serializer_of(serde, allow, strict))
        self._stand_on(backend, "checkpointer")
        if not isinstance(channel, str) or not channel:
            raise ConfigurationError(f"channel is the name of a graph's channel, not {channel!r:.80}")
        self._share = share
        self._cache = Cache(cache_bytes)
        self._channel = channel
        self.writer = Writer(Noted())
        """What every write of this process to a session builds on."""

    @classmethod
    def from_url(
        cls,
        url: str | os.PathLike[str],
        *,
        serde: SerializerProtocol | None = None,
        allow: Iterable[type | tuple[str, ...]] = (),
        strict: bool | None = None,
        share: bool = True,
        cache_bytes: int = CACHE_BYTES,
        channel: str = "messages",
        **options: Any,
    ) -> SessionCheckpointer:
        """Open the backend that a URL names (see `open_backend` for URLs and options), and stand on it.

        Use it as a (sync or async) context manager, or close it.
        """
        own: Any = {"serde": serde, "allow": allow, "strict": strict, "share": share}
        own |= {"cache_bytes": cache_bytes, "channel": channel}
        return opened(lambda backend: cls(backend, **own), url, options)

    # -- reading

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that the config names, or the newest; None when there is none."""
        return run(self.backend, self._get(Target(config)))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The async form of `get_tuple`."""
        return await arun(self.backend, self._get(Target(config)))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, newest first: of one thread, or of all when the config is None, thread by thread.

        `filter` has to match the metadata, `before` names a checkpoint whose id is greater than all that are listed.
        """
        search = Search(self.tools(), config, filter, before, limit)
        while (plan := search.next_page()) is not None:
            yield from run(self.backend, plan)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """The async form of `list`."""
        search = Search(self.tools(), config, filter, before, limit)
        while (plan := search.next_page()) is not None:
            for found in await arun(self.backend, plan):
                yield found

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What was written to delta channels along the parent chain, back to the last stored value of each."""
        return run(self.backend, self._history(Target(config), channels)) if channels else {}

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """The async form of `get_delta_channel_history`."""
        return await arun(self.backend, self._history(Target(config), channels)) if channels else {}

    # -- writing

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; the checkpoint that the config names is its parent."""
        return run(self.backend, self._put(Target(config), config, checkpoint, metadata, new_versions))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """The async form of `put`."""
        return await arun(self.backend, self._put(Target(config), config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task wrote, before the next checkpoint has it."""
        run(self.backend, self._put_writes(Target(config), config, writes, task_id, task_path))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """The async form of `put_writes`."""
        await arun(self.backend, self._put_writes(Target(config), config, writes, task_id, task_path))

    # -- whole threads

    def delete_thread(self, thread_id: str) -> None:
        """Delete all checkpoints and writes of a thread, and its session when nothing else is in it."""
        run(self.backend, self._delete(thread_name(thread_id)))

    async def adelete_thread(self, thread_id: str) -> None:
        """The async form of `delete_thread`."""
        await arun(self.backend, self._delete(thread_name(thread_id)))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of these runs with their writes, in all threads.

        Ancestors from which a remaining checkpoint rebuilds a delta channel stay.
        """
        run(self.backend, pruning.delete_runs(self.tools(), run_names(run_ids)))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """The async form of `delete_for_runs`."""
        await arun(self.backend, pruning.delete_runs(self.tools(), run_names(run_ids)))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread with all its checkpoints and writes to a new one. One that does not exist copies as none."""
        run(self.backend, self._copy_thread(source_thread_id, target_thread_id))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """The async form of `copy_thread`."""
        await arun(self.backend, self._copy_thread(source_thread_id, target_thread_id))

    def prune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        older_than: Duration | datetime | None = None,
    ) -> None:
        """Keep of each namespace the newest checkpoint and what it needs ("keep_latest"), or nothing ("delete").

        With `older_than` (seconds, a timedelta or a datetime), also those that were made later than that, and those
        that do not say when.
        """
        run(self.backend, self._prune(thread_ids, strategy, older_than))

    async def aprune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        older_than: Duration | datetime | None = None,
    ) -> None:
        """The async form of `prune`."""
        await arun(self.backend, self._prune(thread_ids, strategy, older_than))

    def check(self, thread_id: str) -> Sequence[Problem]:
        """What is not as it should be in the stored form of a thread. Reads all of it; changes nothing."""
        return run(self.backend, checking.check(self.tools(), thread_name(thread_id)))

    async def acheck(self, thread_id: str) -> Sequence[Problem]:
        """The async form of `check`."""
        return await arun(self.backend, checking.check(self.tools(), thread_name(thread_id)))

    def collect(self, thread_id: str) -> int:
        """Delete what no checkpoint of a thread refers to any more; how many elements that were.

        `prune` and `delete_for_runs` do this themselves.
        """
        return run(self.backend, collecting.collect(self.tools(), thread_name(thread_id)))

    async def acollect(self, thread_id: str) -> int:
        """The async form of `collect`."""
        return await arun(self.backend, collecting.collect(self.tools(), thread_name(thread_id)))

    # -- versions and types

    def get_next_version(self, current: str | int | float | None, channel: None) -> str:
        """The version after `current`, whichever checkpointer that one is from: greater, and of no other fork."""
        return versions.following(current)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> BaseCheckpointSaver[str]:
        """The same checkpointer, storage and all, that may revive these types as well."""
        if not isinstance(self.serde, SessionSerializer):
            return super().with_allowlist(extra_allowlist)
        clone = copy.copy(self)
        clone.serde = self.serde.with_allowlist(extra_allowlist)
        return clone

    # -- plans

    def tools(self) -> Tools:
        """What plans work with on this checkpointer."""
        return Tools(self.serde, self._cache, self._share, _new_branch)

    def _get(self, target: Target) -> Plan[CheckpointTuple | None]:
        tools = self.tools()
        found = yield from reading.read(
            tools,
            target.thread,
            reading.exactly(target.ns, target.checkpoint_id) if target.checkpoint_id else reading.latest(target.ns),
        )
        if not target.ns:
            self.writer.noted.turn(keys.session(target.thread))
        if not found.found:
            return None
        (stored,) = found.found
        result = reading.as_tuple(tools, target.thread_id, stored, found)
        reading.remember(tools, target.thread, stored, found, result.checkpoint["channel_values"])
        return echoed(target, result)

    def _history(self, target: Target, channels: Sequence[str]) -> Plan[dict[str, DeltaChannelHistory]]:
        return history.history(self.tools(), target.thread, target.ns, target.checkpoint_id, channels)

    def _put(
        self,
        target: Target,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Plan[RunnableConfig]:
        given, entry = self.entering(target, config, checkpoint, metadata, new_versions)
        yield from writing.put(self.tools(), given, entry)
        return target.echo(reading.config_of(target.thread_id, target.ns, checkpoint["id"]))

    def entering(
        self,
        target: Target,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        *,
        moving: bool = False,
    ) -> tuple[writing.Input, Entry]:
        """A checkpoint as it is stored, and how it enters; `moving`: the caller sees to it that the log is empty."""
        if not isinstance(checkpoint["id"], str) or not checkpoint["id"]:
            raise ConfigurationError(f"a checkpoint's id is text, not {checkpoint['id']!r}")
        noted = get_checkpoint_metadata(config, metadata)
        turn = not target.ns and noted.get("source") != "loop"
        has_messages = not moving and not target.ns and self._has_messages(checkpoint, new_versions)
        channel = self._channel if has_messages else None
        entry = Entry(self._writing(target), target.thread, run=_run_of(noted), turn=turn, channel=channel)
        return writing.Input(target.thread, target.ns, checkpoint, noted, new_versions, target.checkpoint_id), entry

    def _put_writes(
        self, target: Target, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Plan[None]:
        given = writes_of(target, config, writes, task_id, task_path)
        if writes:
            entry = Entry(self._writing(target), target.thread, run=given.run, turn=False)
            yield from writing.put_writes(self.tools(), entry, given)

    def _writing(self, target: Target) -> Writer:
        return self.writer._replace(lease=target.lease.encode()) if target.lease else self.writer

    def _has_messages(self, checkpoint: Checkpoint, new_versions: ChannelVersions) -> bool:
        """Whether the session's messages are written with this checkpoint."""
        values = checkpoint["channel_values"]
        given = values.get(START)  # the input of a graph, before its first step
        if isinstance(given, Mapping) and START in new_versions and self._channel in given:
            first = given[self._channel]
            first = first[:1] if isinstance(first, list) else [first]
            return any(isinstance(each, (BaseMessage, tuple)) or _is_pair(each) or _has_role(each) for each in first)
        value = values.get(self._channel) if self._channel in new_versions else None
        return isinstance(value, list) and any(isinstance(each, BaseMessage) for each in value[:1])

    def _delete(self, thread: str) -> Plan[None]:
        return pruning.delete_thread(self.tools(), thread)

    def _copy_thread(self, source: str, target: str) -> Plan[None]:
        source, target = thread_name(source), thread_name(target)
        if source == target:
            raise ConfigurationError("a thread cannot be copied onto itself")
        own: list[Op] = [Delete(BORN)]  # a thread, and not a session that somebody has made
        yield from pruning.copy(self.tools(), keys.session(source), target, self.writer.life, own, os.urandom(16))

    def _prune(self, thread_ids: Sequence[str], strategy: str, older_than: Duration | datetime | None) -> Plan[None]:
        if strategy not in ("keep_latest", "delete"):
            raise ConfigurationError(f"no strategy {strategy!r} for prune: there are 'keep_latest' and 'delete'")
        if strategy == "delete" and older_than is not None:
            raise ConfigurationError("prune with older_than= keeps what is newer: strategy='delete' keeps nothing")
        given = several(thread_ids, "prune takes a list of thread ids")
        before = None if older_than is None else as_moment(older_than, time.time_ns() // 1_000_000)
        for number, thread in enumerate([*map(thread_name, given)]):
            plan: Plan[Any] = (
                self._delete(thread)
                if strategy == "delete"
                else pruning.keep_latest(self.tools(), thread, before=before)
            )
            yield from afterwards(plan) if number else plan


def writes_of(
    target: Target, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
) -> writing.Writes:
    """What a task wrote, from what LangGraph says of it."""
    if target.checkpoint_id is None:
        raise ConfigurationError("writes belong to a checkpoint: the config has to name its checkpoint_id")
    run_id = _run_of(get_checkpoint_metadata(config, {}))
    return writing.Writes(target.thread, target.ns, target.checkpoint_id, writes, task_id, task_path, run_id)


def _run_of(metadata: Mapping[str, Any]) -> str | None:
    """The run that a checkpoint or a write is of, when it says so."""
    run_id = metadata.get("run_id")
    return run_id if isinstance(run_id, str) else None


def _is_pair(given: Any) -> bool:
    return isinstance(given, list) and len(given) == 2 and all(isinstance(part, str) for part in given)


def _has_role(given: Any) -> bool:
    """Whether this is a message in the form of a dict."""
    return isinstance(given, Mapping) and "content" in given and ("role" in given or "type" in given)


def _new_branch() -> int:
    """Milliseconds, then chance: later branches have greater numbers."""
    return (time.time_ns() // 1_000_000) << 22 | random.getrandbits(22)
