"""Copying threads: checkpoints with their pending writes, from any checkpointer to any other.

Rule 1: first the names of all checkpoints are gathered, then each is read, put and forgotten: one is in memory at a
        time.
Rule 2: parents come before their children, the latest of a namespace last: some checkpointers take for the latest what
        was put last.
Rule 3: a checkpoint comes before its pending writes. One that the target has already is not put again, and of its
        writes only those that are missing; what the target has got further with stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from langgraph.checkpoint.base import WRITES_IDX_MAP, CheckpointTuple, PendingWrite
from langgraph.checkpoint.serde.types import RESUME, TASKS

from .. import keys
from ..adapters.checkpointer import SessionCheckpointer
from ..adapters.configs import thread_name
from ..crossing import Crossing, On
from ..ops import Calls, Plan
from ..plans.entry import announce
from . import peers
from .names import Name, Saver, names_of, state_of
from .report import Progress, Report, Tally
from .same import same
from .steps import Ask

Shape = dict[str, tuple[Any, bool]]
"""The version of each channel, and whether it has a value."""


def copying(
    source: Saver, target: Saver, threads: Sequence[Any] | None, verify: bool, progress: Progress | None, going: bool
) -> Crossing[Report]:
    """Copy threads."""
    tally = Tally(progress, going)
    found = yield from names_of(source, threads, tally)
    tally.seen = len(found)
    tally.total = sum(map(len, found.values()))
    done = 0
    for thread, names in found.items():
        try:
            yield from _Thread(source, target, thread, names, tally).copy()
            if verify:
                yield from _compare(source, target, thread, names, tally)
        except Exception as exc:
            tally.fail("thread", str(thread), exc)
        done += len(names)
        tally.step(done - tally.done)
    return tally.report()


class _Thread:
    """A thread on its way."""

    def __init__(self, source: Saver, target: Saver, thread: Any, names: Sequence[Name], tally: Tally) -> None:
        self._source, self._target, self._thread, self._tally = source, target, thread, tally
        self._names = names
        self._new = True
        """Whether nothing of it was seen in the target, or put there."""
        self._begun: dict[str, bool] = {}
        """The namespaces, and whether the target has something of them."""
        self._shapes: dict[tuple[str, str], Shape] = {}
        """Of the checkpoints that have children which are still to come."""
        self._children = Counter((name.ns, name.parent or "") for name in names)

    def copy(self) -> Crossing[None]:
        """Copy its checkpoints."""
        last = {name.ns: name for name in self._names}
        for name in self._names:
            there = yield from self._look(name)
            found: CheckpointTuple | None = None
            if there is None or name is last[name.ns] or name.writes != state_of(there):
                found = yield Ask(self._source, "get_tuple", (name.at(self._thread),))
            if there is not None:
                self._new = False
                self._tally.present += 1
            elif found is not None:  # else it was deleted meanwhile
                yield from self._put(name, found)
            if found is not None:
                yield from self._write(name, found.pending_writes or (), there.pending_writes or () if there else ())
            self._remember(name, there or found)
            self._tally.step()

    def _remember(self, name: Name, found: CheckpointTuple | None) -> None:
        """Remember what its children are compared with, and forget what no child is to be compared with any more."""
        if found is not None and self._children[name.ns, name.id]:
            self._shapes[name.ns, name.id] = shape(found)
        parent = (name.ns, name.parent or "")
        self._children[parent] -= 1
        if not self._children[parent]:
            self._shapes.pop(parent, None)

    def _look(self, name: Name) -> Crossing[CheckpointTuple | None]:
        """What the target has of it."""
        if name.ns not in self._begun:
            latest = {"configurable": {"thread_id": self._thread, "checkpoint_ns": name.ns}}
            self._begun[name.ns] = (yield Ask(self._target, "get_tuple", (latest,))) is not None
        if not self._begun[name.ns]:
            return None
        there: CheckpointTuple | None = yield Ask(self._target, "get_tuple", (name.at(self._thread),))
        return there

    def _put(self, name: Name, found: CheckpointTuple) -> Crossing[None]:
        if self._new and isinstance(self._target, SessionCheckpointer):
            yield from _announce(self._target, thread_name(self._thread), found.checkpoint.get("ts"))
        self._new = False
        at: dict[str, Any] = {"thread_id": self._thread, "checkpoint_ns": name.ns}
        if name.parent:
            at["checkpoint_id"] = name.parent
        versions = found.checkpoint["channel_versions"]
        own, before = shape(found), self._shapes.get((name.ns, name.parent or ""), {})
        new = {channel: version for channel, version in versions.items() if own[channel] != before.get(channel)}
        yield Ask(self._target, "put", ({"configurable": at}, found.checkpoint, found.metadata, new))
        self._tally.copied += 1

    def _write(self, name: Name, writes: Sequence[PendingWrite], there: Sequence[PendingWrite]) -> Crossing[None]:
        paths = paths_of(writes)
        for task, part in missing(writes, there):
            yield Ask(self._target, "put_writes", (name.at(self._thread), part, task, paths[task]))
            self._tally.writes += len(part)


def _announce(target: SessionCheckpointer, thread: str, ts: Any) -> Crossing[None]:
    """Let a session that is about to begin be listed by when the thread began. One that is there stays as it is."""
    try:
        began = int(datetime.fromisoformat(ts).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        return

    def plan() -> Plan[None]:
        yield Calls([announce(keys.session(thread), began)])

    if began > 0:
        yield On(target.backend, plan())


def shape(found: CheckpointTuple) -> Shape:
    """What tells which channels a checkpoint has changed."""
    values = found.checkpoint["channel_values"]
    return {channel: (version, channel in values) for channel, version in found.checkpoint["channel_versions"].items()}


# -- pending writes


class Done(NamedTuple):
    """What a task has written: in order; and to the special channels, each of which holds one write."""

    ordinary: list[tuple[str, Any]]
    special: dict[str, Any]

    def progress(self) -> tuple[int, int]:
        """How far the task is: what it has written, and how many answers it has had."""
        answers = self.special.get(RESUME)
        return len(self.ordinary), len(answers) if isinstance(answers, list) else int(RESUME in self.special)


def tasks_of(writes: Sequence[PendingWrite]) -> dict[str, Done]:
    """The writes of each task, in their order."""
    tasks: dict[str, Done] = {}
    for task, channel, value in writes:
        done = tasks.setdefault(task, Done([], {}))
        if channel in WRITES_IDX_MAP:
            done.special[channel] = value
        else:
            done.ordinary.append((channel, value))
    return tasks


def missing(writes: Sequence[PendingWrite], there: Sequence[PendingWrite]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """What has to be put, by task, so that nothing of these writes is missing there.

    A special channel is put in a call of its own: only then does it replace what was there. Where the task has got
    further than in the source, it is left alone.
    """
    calls: list[tuple[str, list[tuple[str, Any]]]] = []
    others = tasks_of(there)
    for task, done in tasks_of(writes).items():
        other = others.get(task, Done([], {}))
        if len(other.ordinary) < len(done.ordinary):
            calls.append((task, done.ordinary))
        for channel, value in done.special.items():
            behind = other.progress() <= done.progress() and not same(other.special.get(channel), value)
            if channel not in other.special or behind:
                calls.append((task, [(channel, value)]))
    return calls


def paths_of(writes: Sequence[PendingWrite]) -> dict[str, str]:
    """A path for each task: writes are ordered by path, then task. The real paths nobody says, but the order."""
    tasks = list(dict.fromkeys(task for task, _, _ in writes))
    if tasks == sorted(tasks):
        return dict.fromkeys(tasks, "")
    return {task: f"{number:06}" for number, task in enumerate(tasks)}


# -- looking again


def _compare(source: Saver, target: Saver, thread: Any, names: Sequence[Name], tally: Tally) -> Crossing[None]:
    for name in names:
        ours: CheckpointTuple | None = yield Ask(source, "get_tuple", (name.at(thread),))
        theirs: CheckpointTuple | None = yield Ask(target, "get_tuple", (name.at(thread),))
        if ours is None:
            continue  # deleted meanwhile
        place = f"checkpoint {name.id!r}" + (f" of {name.ns!r}" if name.ns else "")
        if theirs is None:
            tally.differ(f"thread {str(thread)!r}: {place} is missing")
        else:
            parts = differing(ours, theirs)
            if parts:
                tally.differ(f"thread {str(thread)!r}: {place} differs in {', '.join(parts)}")


FIELDS = ("v", "ts", "channel_values", "channel_versions", "versions_seen", "updated_channels")


def differing(one: CheckpointTuple, other: CheckpointTuple) -> list[str]:
    """The parts in which a copy differs. What only one checkpointer adds to its own is no difference."""
    ours: dict[str, Any] = {**one.checkpoint}
    theirs: dict[str, Any] = {**other.checkpoint}
    if isinstance(ours.get("v"), int) and ours["v"] < 4 and TASKS not in ours["channel_values"]:
        # a packet that is a write of the parent here may have been found, and be a value of the channel there
        for field in ("channel_values", "channel_versions"):
            theirs[field] = {channel: value for channel, value in theirs[field].items() if channel != TASKS}
    parts = [
        field.replace("_", " ") for field in FIELDS if not same(ours.get(field) or None, theirs.get(field) or None)
    ]
    if not same(one.metadata, other.metadata):
        parts.append("metadata")
    if peers.id_of(one.parent_config) != peers.id_of(other.parent_config):
        parts.append("parent")
    done, copied = tasks_of(one.pending_writes or ()), tasks_of(other.pending_writes or ())
    if not same(done, copied):
        parts.append("pending writes")
    elif list(done) != list(copied):
        parts.append("order of pending writes")
    return parts
