"""Checkpointers driven in one of the two forms, and checkpoints to put into them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.base.id import uuid6

from langgraph_sessionstore.adapters.checkpointer import SessionCheckpointer

T = TypeVar("T")
BACKENDS = tuple(os.environ.get("SESSIONSTORE_TEST_BACKENDS", "memory,file,redis7,cluster").split(","))
"""Those that tests of sessions and checkpointers run on."""


class Saver:
    """One surface over the sync and the async form of a checkpointer: with a loop it is the async one."""

    def __init__(self, checkpointer: SessionCheckpointer, loop: asyncio.AbstractEventLoop | None) -> None:
        self.checkpointer = checkpointer
        self.loop = loop

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        assert self.loop is not None
        return self.loop.run_until_complete(coroutine)

    def _do(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if self.loop is None:
            return getattr(self.checkpointer, name)(*args, **kwargs)
        return self._wait(getattr(self.checkpointer, f"a{name}")(*args, **kwargs))

    def put(
        self, config: RunnableConfig, checkpoint: Any, metadata: Any = None, new_versions: Any = None
    ) -> RunnableConfig:
        """Put a checkpoint; by default with usual metadata, and all its channels new."""
        metadata = {"source": "loop", "step": 0, "parents": {}} if metadata is None else metadata
        new = checkpoint["channel_versions"] if new_versions is None else new_versions
        result: RunnableConfig = self._do("put", config, checkpoint, metadata, new)
        return result

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._do("put_writes", config, writes, task_id, task_path)

    def get(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The tuple, or None."""
        found: CheckpointTuple | None = self._do("get_tuple", config)
        return found

    def load(self, config: RunnableConfig) -> CheckpointTuple:
        """The tuple, which has to be there."""
        found = self.get(config)
        assert found is not None
        return found

    def list(self, config: RunnableConfig | None, **options: Any) -> list[CheckpointTuple]:
        if self.loop is None:
            return list(self.checkpointer.list(config, **options))

        async def everything() -> list[CheckpointTuple]:
            return [found async for found in self.checkpointer.alist(config, **options)]

        return self._wait(everything())

    def delete_thread(self, thread: str) -> None:
        self._do("delete_thread", thread)

    def delete_for_runs(self, runs: Sequence[str]) -> None:
        self._do("delete_for_runs", runs)

    def copy_thread(self, source: str, target: str) -> None:
        self._do("copy_thread", source, target)

    def prune(self, threads: Sequence[str], **options: Any) -> None:
        self._do("prune", threads, **options)

    def history(self, config: RunnableConfig, channels: Sequence[str]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._do("get_delta_channel_history", config=config, channels=channels)
        return found

    def check(self, thread: str) -> Sequence[Any]:
        problems: Sequence[Any] = self._do("check", thread)
        return problems

    def collect(self, thread: str) -> int:
        count: int = self._do("collect", thread)
        return count

    def close(self) -> None:
        """Let go of what belongs to the loop; the storage is closed by whoever opened it."""
        if self.loop is not None:
            self._wait(self.checkpointer.backend.aclose())


def config(thread: Any, ns: str | None = "", checkpoint_id: str | None = None) -> RunnableConfig:
    """A config that names a thread, a namespace (None: says nothing of it), and perhaps a checkpoint."""
    configurable = {"thread_id": thread}
    if ns is not None:
        configurable["checkpoint_ns"] = ns
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}


def checkpoint(values: dict[str, Any] | None = None, versions: dict[str, Any] | None = None, **more: Any) -> Checkpoint:
    """A checkpoint as a graph makes it; versions are 1 where not given."""
    values = {} if values is None else values
    made: Any = {
        "v": 4,
        "id": str(uuid6(clock_seq=-1)),
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, 1) if versions is None else versions,
        "versions_seen": {},
        "updated_channels": None,
        **more,
    }
    result: Checkpoint = made
    return result


class ThroughSync(SessionCheckpointer):
    """A checkpointer whose async form is its sync one, for suites that know the async form only."""

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self.get_tuple(config)

    async def alist(self, config: RunnableConfig | None, **options: Any) -> Any:
        for found in self.list(config, **options):
            yield found

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: Any
    ) -> RunnableConfig:
        return self.put(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self.put_writes(config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        self.delete_thread(thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        self.delete_for_runs(run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self.copy_thread(source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest", older_than: Any = None) -> None:
        self.prune(thread_ids, strategy=strategy, older_than=older_than)
