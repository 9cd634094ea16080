"""`SessionCheckpointer`: LangGraph's checkpointer on any backend.

Rule: each method turns LangGraph's arguments into a plan and drives it; sync and async differ in the driver alone.
"""

from __future__ import annotations

import copy
import os
import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

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
from ..backends import open_backend
from ..backends.base import Backend
from ..drive import arun, run
from ..errors import ConfigurationError
from ..ops import Plan, Touch
from ..plans import checking, history, listing, pruning, reading, versions, writing
from ..plans.cache import Cache
from ..plans.checking import Problem
from ..plans.listing import Position, Wanted
from ..plans.records import Stored
from ..plans.tools import Tools
from ..serde.serializer import SessionSerializer

CACHE_BYTES = 64 * 2**20
_NOTED = 10_000


class SessionCheckpointer(BaseCheckpointSaver[str]):
    """Keeps the state of LangGraph graphs on a backend: `builder.compile(checkpointer=SessionCheckpointer(backend))`.

    One object serves `invoke` and `ainvoke`, threads and event loops. `backend` stays yours; `from_url` opens one
    that is closed with the checkpointer.

    serde        another serializer than the library's own (then `allow` and `strict` are its affair)
    allow        types, or (module, name) pairs, that may be stored beside those that reading revives anyway
    strict       revive only LangGraph's safe types and those allowed; None: as LANGGRAPH_STRICT_MSGPACK says
    share        store of a list or a dict with large values only what is new in it
    cache_bytes  how much this process remembers of threads, so that it reads and writes only what is new
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
    ) -> None:
        if not isinstance(backend, Backend):
            raise ConfigurationError(
                f"a checkpointer stands on a backend, not on {type(backend).__name__}; for a URL there is "
                "SessionCheckpointer.from_url(url)"
            )
        allow = tuple(allow)
        if serde is not None and (allow or strict is not None):
            raise ConfigurationError("allow and strict belong to the library's own serializer, not to a given one")
        super().__init__(serde=serde or SessionSerializer(allow=allow, strict=strict))
        self.backend = backend
        self._share = share
        self._cache = Cache(cache_bytes)
        self._noted = _Noted()
        self._owned = False

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
        **options: Any,
    ) -> SessionCheckpointer:
        """Open the backend that a URL names (see `open_backend` for URLs and options), and stand on it.

        Use it as a (sync or async) context manager, or close it.
        """
        backend = open_backend(url, **options)
        try:
            made = cls(backend, serde=serde, allow=allow, strict=strict, share=share, cache_bytes=cache_bytes)
        except BaseException:
            backend.close()
            raise
        made._owned = True
        return made

    def close(self) -> None:
        """Close the backend, when `from_url` opened it."""
        if self._owned:
            self.backend.close()

    async def aclose(self) -> None:
        """The async form of `close`."""
        if self._owned:
            await self.backend.aclose()

    def __enter__(self) -> SessionCheckpointer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> SessionCheckpointer:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    # -- reading

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that the config names, or the newest; None when there is none."""
        return run(self.backend, self._get(_Target(config)))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The async form of `get_tuple`."""
        return await arun(self.backend, self._get(_Target(config)))

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
        search = _Search(self, config, filter, before, limit)
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
        search = _Search(self, config, filter, before, limit)
        while (plan := search.next_page()) is not None:
            for found in await arun(self.backend, plan):
                yield found

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What was written to delta channels along the parent chain, back to the last stored value of each."""
        return run(self.backend, self._history(_Target(config), channels)) if channels else {}

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """The async form of `get_delta_channel_history`."""
        return await arun(self.backend, self._history(_Target(config), channels)) if channels else {}

    # -- writing

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; the checkpoint that the config names is its parent."""
        target = _Target(config)
        run(self.backend, self._put(target, config, checkpoint, metadata, new_versions))
        return reading.config_of(target.thread_id, target.ns, checkpoint["id"])

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """The async form of `put`."""
        target = _Target(config)
        await arun(self.backend, self._put(target, config, checkpoint, metadata, new_versions))
        return reading.config_of(target.thread_id, target.ns, checkpoint["id"])

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task wrote, before the next checkpoint has it."""
        run(self.backend, self._put_writes(_Target(config), writes, task_id, task_path))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """The async form of `put_writes`."""
        await arun(self.backend, self._put_writes(_Target(config), writes, task_id, task_path))

    # -- whole threads

    def delete_thread(self, thread_id: str) -> None:
        """Delete all checkpoints and writes of a thread, and its session when nothing else is in it."""
        run(self.backend, self._delete_thread(_thread_name(thread_id)))

    async def adelete_thread(self, thread_id: str) -> None:
        """The async form of `delete_thread`."""
        await arun(self.backend, self._delete_thread(_thread_name(thread_id)))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of these runs with their writes, in all threads.

        Ancestors from which a remaining checkpoint rebuilds a delta channel stay.
        """
        run(self.backend, self._delete_runs(run_ids))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """The async form of `delete_for_runs`."""
        await arun(self.backend, self._delete_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread with all its checkpoints and writes to a new one. One that does not exist copies as none."""
        run(self.backend, self._copy_thread(source_thread_id, target_thread_id))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """The async form of `copy_thread`."""
        await arun(self.backend, self._copy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep of each namespace the newest checkpoint and what it needs ("keep_latest"), or nothing ("delete")."""
        for plan in self._prune(thread_ids, strategy):
            run(self.backend, plan)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """The async form of `prune`."""
        for plan in self._prune(thread_ids, strategy):
            await arun(self.backend, plan)

    def check(self, thread_id: str) -> Sequence[Problem]:
        """What is not as it should be in the stored form of a thread. Reads all of it; changes nothing."""
        return run(self.backend, checking.check(self._tools(), _thread_name(thread_id)))

    async def acheck(self, thread_id: str) -> Sequence[Problem]:
        """The async form of `check`."""
        return await arun(self.backend, checking.check(self._tools(), _thread_name(thread_id)))

    def collect(self, thread_id: str) -> int:
        """Delete what no checkpoint of a thread refers to any more; how many elements that were.

        `prune` and `delete_for_runs` do this themselves.
        """
        return run(self.backend, pruning.collect(self._tools(), _thread_name(thread_id)))

    async def acollect(self, thread_id: str) -> int:
        """The async form of `collect`."""
        return await arun(self.backend, pruning.collect(self._tools(), _thread_name(thread_id)))

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

    def _tools(self) -> Tools:
        return Tools(self.serde, self._cache, self._share, _new_branch)

    def _get(self, target: _Target) -> Plan[CheckpointTuple | None]:
        tools = self._tools()
        found = yield from reading.read(
            tools,
            target.thread,
            reading.exactly(target.ns, target.checkpoint_id) if target.checkpoint_id else reading.latest(target.ns),
        )
        if not found.found:
            return None
        (stored,) = found.found
        result = reading.as_tuple(tools, target.thread_id, stored, found)
        reading.remember(tools, target.thread, stored, found)
        return result

    def _history(self, target: _Target, channels: Sequence[str]) -> Plan[dict[str, DeltaChannelHistory]]:
        return history.history(self._tools(), target.thread, target.ns, target.checkpoint_id, channels)

    def _put(
        self,
        target: _Target,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Plan[None]:
        if not isinstance(checkpoint["id"], str) or not checkpoint["id"]:
            raise ConfigurationError(f"a checkpoint's id is text, not {checkpoint['id']!r}")
        noted = get_checkpoint_metadata(config, metadata)
        turn = not target.ns and noted.get("source") != "loop"
        touch, first = self._noted.touch(target.partition, noted.get("run_id"), turn)
        given = writing.Input(target.thread, target.ns, checkpoint, noted, new_versions, target.checkpoint_id)
        yield from writing.put(self._tools(), given, touch, first)
        self._noted.done(target.partition, touch)

    def _put_writes(
        self, target: _Target, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Plan[None]:
        if target.checkpoint_id is None:
            raise ConfigurationError("writes belong to a checkpoint: the config has to name its checkpoint_id")
        if not writes:
            return
        touch, _ = self._noted.touch(target.partition, None, False)
        yield from writing.put_writes(
            self._tools(), target.thread, target.ns, target.checkpoint_id, writes, task_id, task_path, touch
        )
        self._noted.done(target.partition, touch)

    def _delete_thread(self, thread: str) -> Plan[None]:
        self._noted.forget(keys.session(thread))
        yield from pruning.delete_thread(self._tools(), thread)

    def _delete_runs(self, run_ids: Sequence[str]) -> Plan[None]:
        for partition in (yield from pruning.delete_runs(self._tools(), _run_names(run_ids))):
            self._noted.forget(partition)

    def _keep_latest(self, thread: str) -> Plan[None]:
        yield from pruning.keep_latest(self._tools(), thread)
        self._noted.forget(keys.session(thread))

    def _copy_thread(self, source: str, target: str) -> Plan[None]:
        source, target = _thread_name(source), _thread_name(target)
        if source == target:
            raise ConfigurationError("a thread cannot be copied onto itself")
        yield from pruning.copy_thread(self._tools(), source, target)

    def _prune(self, thread_ids: Sequence[str], strategy: str) -> Iterator[Plan[None]]:
        if strategy not in ("keep_latest", "delete"):
            raise ConfigurationError(f"no strategy {strategy!r} for prune: there are 'keep_latest' and 'delete'")
        if isinstance(thread_ids, str):
            raise ConfigurationError("prune takes a list of thread ids, not one")
        for thread in map(_thread_name, thread_ids):
            if strategy == "delete":
                yield self._delete_thread(thread)
            else:
                yield self._keep_latest(thread)


class _Target:
    """What a config names."""

    def __init__(self, config: RunnableConfig) -> None:
        configurable = _configurable(config)
        self.thread_id: Any = configurable.get("thread_id")
        self.thread = _thread_name(self.thread_id)
        self.partition = keys.session(self.thread)
        ns = configurable.get("checkpoint_ns")
        if ns is not None and not isinstance(ns, str):
            raise ConfigurationError(f"a checkpoint_ns is text, not {type(ns).__name__}")
        self.ns: str = ns or ""
        self.any_ns = ns is None
        self.checkpoint_id = _checkpoint_id(config)


def _configurable(config: RunnableConfig) -> Mapping[str, Any]:
    configurable = config.get("configurable") or {} if isinstance(config, Mapping) else None
    if not isinstance(configurable, Mapping):
        raise ConfigurationError(
            f'no config: it looks like {{"configurable": {{"thread_id": "..."}}}}, not {config!r:.80}'
        )
    return configurable


def _checkpoint_id(config: RunnableConfig) -> str | None:
    """The checkpoint that a config names; an empty id is none."""
    checkpoint_id = _configurable(config).get("checkpoint_id")
    return str(checkpoint_id) if checkpoint_id else None


def _thread_name(thread_id: Any) -> str:
    if isinstance(thread_id, str):
        return thread_id
    if isinstance(thread_id, (int, UUID)) and not isinstance(thread_id, bool):
        return str(thread_id)
    if thread_id is None:
        raise ConfigurationError('no thread_id: pass {"configurable": {"thread_id": "..."}} as the config')
    raise ConfigurationError(f"a thread_id is text, a whole number or a UUID, not {type(thread_id).__name__}")


def _run_names(run_ids: Sequence[str]) -> Sequence[str]:
    if isinstance(run_ids, str):
        raise ConfigurationError("delete_for_runs takes a list of run ids, not one")
    return [str(each) for each in run_ids]


def _new_branch() -> int:
    """Milliseconds, then chance: later branches have greater numbers."""
    return (time.time_ns() // 1_000_000) << 22 | random.getrandbits(22)


class _Noted:
    """Which threads this process has listed, so that it lists them once a turn and not at every step."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[bytes, str | None] = OrderedDict()

    def touch(self, partition: bytes, run_id: Any, turn: bool) -> tuple[Touch | None, bool]:
        """What to tell the list, if anything; and whether this process does so for the first time."""
        run_name = run_id if isinstance(run_id, str) else None
        with self._lock:
            first = partition not in self._runs
            if not first and not turn and (run_name is None or self._runs[partition] == run_name):
                return None, False
        return Touch(partition, runs=(keys.encode(run_name),) if run_name is not None else ()), first

    def done(self, partition: bytes, touch: Touch | None) -> None:
        """It was told."""
        if touch is None:
            return
        with self._lock:
            if touch.runs or partition not in self._runs:
                self._runs[partition] = str(keys.decode(touch.runs[0])[0]) if touch.runs else None
            self._runs.move_to_end(partition)
            if len(self._runs) > _NOTED:
                self._runs.popitem(last=False)

    def forget(self, partition: bytes) -> None:
        """The thread may be gone from the list."""
        with self._lock:
            self._runs.pop(partition, None)


class _Search:
    """A listing under way: which page comes next, and which checkpoints of it fit."""

    def __init__(
        self,
        saver: SessionCheckpointer,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> None:
        self._tools = saver._tools()
        self._filter = filter or {}
        self._left = limit
        target = _Target(config) if config is not None else None
        ns = None if target is None or target.any_ns else target.ns
        self._wanted = Wanted(ns, target.checkpoint_id if target else None, _checkpoint_id(before) if before else None)
        self._threads: deque[tuple[Any, str]] = deque([(target.thread_id, target.thread)] if target else [])
        self._more_threads: bytes | None = None if target else b""
        self._after: Position | None = None

    def next_page(self) -> Plan[Sequence[CheckpointTuple]] | None:
        """The plan of the next page, or None when nothing follows."""
        if (self._left is not None and self._left <= 0) or (not self._threads and self._more_threads is None):
            return None
        return self._page() if self._threads else self._page_of_threads()

    def _page(self) -> Plan[Sequence[CheckpointTuple]]:
        thread_id, thread = self._threads[0]
        size = listing.PAGE if self._filter or self._left is None else min(self._left, listing.PAGE)
        found, self._after = yield from listing.page(self._tools, thread, self._wanted, self._after, size)
        if self._after is None:
            self._threads.popleft()
        fitting = [stored for stored in found.found if self._fits(thread_id, stored)][: self._left]
        if self._left is not None:
            self._left -= len(fitting)
        return [reading.as_tuple(self._tools, thread_id, stored, found) for stored in fitting]

    def _page_of_threads(self) -> Plan[Sequence[CheckpointTuple]]:
        entries = yield from listing.threads(self._more_threads or b"")
        for entry in entries.rows:
            name = str(keys.decode(entry.name)[1])
            self._threads.append((name, name))
        self._more_threads = entries.cursor or None
        return []

    def _fits(self, thread_id: Any, stored: Stored) -> bool:
        if not self._filter:
            return True
        metadata: Mapping[str, Any] = reading.load_metadata(self._tools, thread_id, stored)
        return all(metadata.get(name) == value for name, value in self._filter.items())
