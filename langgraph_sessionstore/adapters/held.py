"""A checkpointer for one turn: it keeps back what a run of a graph stores, until the turn has succeeded.

Rule 1: what was not released has never happened. So a run that fails, or that nobody waits for any more, leaves the
        session as it was.
Rule 2: all of it is released in one step, with the newest state as the turn has found it as a condition.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    get_checkpoint_metadata,
)

from ..ops import Add, Conflict, Op, Plan
from ..plans import layout, reading
from ..plans.entry import Entry
from ..plans.writing import Beside, Input, Writes, put_all
from .checkpointer import SessionCheckpointer, writes_of
from .configs import Target

Pending = list[PendingWrite]
INTERRUPT = "__interrupt__"
"""The channel to which LangGraph writes what a task waits for."""


class _Put(NamedTuple):
    target: Target
    config: RunnableConfig
    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    new_versions: ChannelVersions


class Held(BaseCheckpointSaver[str]):
    """What one run stores, on top of what is stored already.

    `begun` gives the newest state of the graph as the turn has found it, anew each time; None: there is none.
    """

    def __init__(
        self, below: SessionCheckpointer, config: RunnableConfig, begun: Callable[[], CheckpointTuple] | None
    ) -> None:
        super().__init__(serde=below.serde)
        self._below = below
        self._session = Target(config)
        self._begun = begun
        self._puts: list[_Put] = []
        self._writes: list[Writes] = []

    # -- what a run asks

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """What this run has put itself, else what it has begun from, else what is stored."""
        target = Target(config)
        known, found = self._known(target)
        return found if known else self._below.get_tuple(config)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The async form of `get_tuple`."""
        known, found = self._known(Target(config))
        return found if known else await self._below.aget_tuple(config)

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
    def changed(self) -> set[str]:
        """The channels of the graph that the run has written to."""
        return {channel for put in self._puts if not put.target.ns for channel in put.new_versions}

    @property
    def interrupts(self) -> tuple[Any, ...]:
        """What the graph waits for in its newest state: the questions of tasks that have not gone on since."""
        _, found = self._known(self._session)
        pending = (found.pending_writes or []) if found is not None else []
        done = {task for task, channel, _ in pending if channel not in WRITES_IDX_MAP}
        asked = [value for task, channel, value in pending if channel == INTERRUPT and task not in done]
        return tuple(each for values in asked for each in values)

    def release(self, first: Input | None, guards: Sequence[Op], ops: Sequence[Op], op_id: bytes) -> Plan[bool]:
        """Store it all, behind a `first` state if there is one, and do these operations, in one step.

        False when one of the guards fails, and nothing was stored.
        """
        tools = self._below.tools()
        rows = [op for writes in self._writes for op in writes.ops(tools)]
        puts = sorted(self._puts, key=lambda put: not put.target.ns)  # the graph's own last: it is what enters
        entering = [self._below.entering(*put, moving=first is not None) for put in puts]
        if entering:
            given = [each for each, _ in entering]
            given = given if first is None else [first, *given]
            beside = Beside(guards, [*rows, *ops], op_id)
            return (yield from put_all(tools, given, entering[-1][1], beside))
        entry = Entry(self._below._writing(self._session), self._session.thread, turn=False)
        outcome = yield from entry.send(guards, [*rows, *ops, Add(layout.VERSION, 1)], op_id=op_id)
        return not isinstance(outcome, Conflict)

    def _known(self, target: Target) -> tuple[bool, CheckpointTuple | None]:
        """Whether it need not be looked up, and what it is."""
        for put in reversed(self._puts):
            name = put.checkpoint["id"]
            if (put.target.thread, put.target.ns) == (target.thread, target.ns) and target.checkpoint_id in (
                None,
                name,
            ):
                return True, self._as_tuple(target, put)
        if target.ns or target.thread != self._session.thread:
            return False, None
        begun = self._begun() if self._begun is not None else None
        if begun is not None and target.checkpoint_id in (None, begun.checkpoint["id"]):
            pending = self._pending(target, begun.checkpoint["id"], begun.pending_writes or [])
            return True, begun._replace(pending_writes=pending)
        return target.checkpoint_id is None, None

    def _as_tuple(self, target: Target, put: _Put) -> CheckpointTuple:
        thread, ns, name, parent = target.thread_id, target.ns, put.checkpoint["id"], put.target.checkpoint_id
        return CheckpointTuple(
            target.echo(reading.config_of(thread, ns, name)),
            self.serde.loads_typed(self.serde.dumps_typed(put.checkpoint)),  # a copy: it is the caller's
            get_checkpoint_metadata(put.config, put.metadata),
            target.echo(reading.config_of(thread, ns, parent)) if parent else None,
            self._pending(target, name, []),
        )

    def _pending(self, target: Target, name: str, stored: Sequence[PendingWrite]) -> Pending:
        """What tasks have written there: what a task says to a special channel last, and to others first."""
        found: dict[tuple[str, str, int], PendingWrite] = {}
        mine = [
            [(writes.task_id, channel, value) for channel, value in writes.writes]
            for writes in self._writes
            if (writes.ns, writes.checkpoint_id) == (target.ns, name)
        ]
        for part in (stored, *mine):
            counted: dict[tuple[str, str], int] = {}
            for write in part:
                task, channel = write[0], write[1]
                special = channel in WRITES_IDX_MAP
                number = 0 if special else counted.get((task, channel), 0)
                counted[task, channel] = number + 1
                if special or (task, channel, number) not in found:
                    found[task, channel, number] = write
        return [*found.values()]
