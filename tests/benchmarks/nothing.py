"""A checkpointer that does nothing but keep the last checkpoint of each thread, as the object that it is.

Rule: no copy, no serialization, no history. What a graph costs with it is what the graph itself costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.base import CheckpointTuple as Found


class NothingSaver(BaseCheckpointSaver[int]):
    """The last checkpoint of each thread."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[Any, Found] = {}

    def get_tuple(self, config: RunnableConfig) -> Found | None:
        return self._last.get(config["configurable"]["thread_id"])

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        thread = config["configurable"]["thread_id"]
        ids = {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": checkpoint["id"]}
        self._last[thread] = Found({"configurable": ids}, checkpoint, metadata, None, [])
        return {"configurable": ids}

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        pass

    def delete_thread(self, thread_id: str) -> None:
        self._last.pop(thread_id, None)

    async def aget_tuple(self, config: RunnableConfig) -> Found | None:
        return self.get_tuple(config)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self.put(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        pass
