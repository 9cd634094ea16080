"""A checkpointer for one turn: it keeps back what a run of a graph stores, until the turn has succeeded.

Rule 1: what was not released has never happened. So a run that fails, or that nobody waits for any more, leaves the
        session as it was.
Rule 2: it is released in one step, with the newest state as the turn has found it as a condition. Only what
        subgraphs keep in namespaces of their own goes before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_metadata,
)

from ..ops import Conflict, Op, Plan
from ..plans import reading
from ..plans.entry import Entry
from ..plans.writing import Beside, Writes
from .checkpointer import SessionCheckpointer, writes_of
from .configs import Target

INTERRUPT = "__interrupt__"
"""The channel to which LangGraph writes what a run waits for."""


class _Put(NamedTuple):
    target: Target
    config: RunnableConfig
    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    new_versions: ChannelVersions


class Held(BaseCheckpointSaver[str]):
    """What one run stores, on top of what is stored already."""

    def __init__(self, below: SessionCheckpointer, config: RunnableConfig) -> None:
        super().__init__(serde=below.serde)
        self._below = below
        self._session = Target(config)
        self._puts: list[_Put] = []
        self._writes: list[Writes] = []

    # -- what a run asks

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """What this run has put itself, else what is stored."""
        return self._own(Target(config)) or self._below.get_tuple(config)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The async form of `get_tuple`."""
        return self._own(Target(config)) or await self._below.aget_tuple(config)

    def list(self, config: RunnableConfig | None, **options: Any) -> Iterator[CheckpointTuple]:
        """What is stored: the run itself is not part of the history yet."""
        return self._below.list(config, **options)

    def alist(self, config: RunnableConfig | None, **options: Any) -> AsyncIterator[CheckpointTuple]:
        """The async form of `list`."""
        return self._below.alist(config, **options)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keep a checkpoint back."""
        target = Target(config)
        self._puts.append(_Put(target, config, checkpoint, metadata, new_versions))
        return target.echo(reading.config_of(target.thread_id, target.ns, checkpoint["id"]))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """The async form of `put`."""
        return self.put(config, checkpoint, metadata, new_versions)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keep back what a task wrote."""
        if writes:
            self._writes.append(writes_of(Target(config), config, writes, task_id, task_path))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """The async form of `put_writes`."""
        self.put_writes(config, writes, task_id, task_path)

    def get_next_version(self, current: str | int | float | None, channel: None) -> str:
        """As the session's own checkpointer counts."""
        return self._below.get_next_version(current, channel)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> BaseCheckpointSaver[str]:
        """The same, with more types that may be revived."""
        below = self._below.with_allowlist(extra_allowlist)
        assert isinstance(below, SessionCheckpointer)
        self._below, self.serde = below, below.serde  # it belongs to one run, so nobody else sees the change
        return self

    # -- what came of it

    @property
    def values(self) -> Mapping[str, Any]:
        """The graph's state at the end of the run."""
        return next((put.checkpoint["channel_values"] for put in reversed(self._puts) if not put.target.ns), {})

    @property
    def changed(self) -> set[str]:
        """The channels of the graph that the run has written to."""
        return {channel for put in self._puts if not put.target.ns for channel in put.new_versions}

    @property
    def interrupts(self) -> tuple[Any, ...]:
        """What the run waits for."""
        said: dict[str, Any] = {}  # of each task what it said last
        for writes in self._writes:
            for channel, value in writes.writes:
                if channel == INTERRUPT:
                    said[writes.task_id] = value
        return tuple(each for values in said.values() for each in values)

    def release(self, guards: Sequence[Op], ops: Sequence[Op], op_id: bytes) -> Plan[bool]:
        """Store it all, and do these operations in the same step; False when one of the guards fails."""
        tools = self._below.tools()
        rows = [op for writes in self._writes for op in writes.ops(tools)]
        for put in self._puts:
            if put.target.ns:
                yield from self._below._put(*put)
        own = [put for put in self._puts if not put.target.ns]
        for put in own[:-1]:  # the empty one from which a graph's first changes are counted
            if not (yield from self._below._put(*put, Beside(guards, (), op_id + b"0"))):
                return False
            guards = ()
        if own:
            return (yield from self._below._put(*own[-1], Beside(guards, [*rows, *ops], op_id)))
        entry = Entry(self._below._writing(self._session), self._session.thread, turn=False)
        outcome = yield from entry.send(guards, [*rows, *ops], op_id=op_id)
        return not isinstance(outcome, Conflict)

    def _own(self, target: Target) -> CheckpointTuple | None:
        """The newest that this run has put there, or the one that is named."""
        serde = self.serde
        for put in reversed(self._puts):
            name = put.checkpoint["id"]
            if (put.target.thread, put.target.ns) == (target.thread, target.ns) and target.checkpoint_id in (
                None,
                name,
            ):
                thread, ns, parent = target.thread_id, target.ns, put.target.checkpoint_id
                checkpoint = serde.loads_typed(serde.dumps_typed(put.checkpoint))  # a copy: it is the caller's
                pending = [
                    (writes.task_id, channel, value)
                    for writes in self._writes
                    if (writes.ns, writes.checkpoint_id) == (ns, name)
                    for channel, value in writes.writes
                ]
                return CheckpointTuple(
                    target.echo(reading.config_of(thread, ns, name)),
                    checkpoint,
                    get_checkpoint_metadata(put.config, put.metadata),
                    target.echo(reading.config_of(thread, ns, parent)) if parent else None,
                    pending,
                )
        return None
