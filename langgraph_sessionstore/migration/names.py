"""The names of the checkpoints that are to be copied: what is remembered of all of them.

Rule: of a checkpointer of ours no value is revived for them, so that a thread that cannot be read stops no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import uuid4

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import WRITES_IDX_MAP, BaseCheckpointSaver, CheckpointTuple

from .. import keys
from ..adapters.checkpointer import SessionCheckpointer
from ..adapters.configs import thread_name
from ..crossing import Crossing, On
from ..errors import ConfigurationError
from ..ops import Plan, Range, must
from ..plans.layout import SPECIAL
from ..plans.listing import PAGE, Position, bare, threads
from ..plans.places import session_named
from . import peers
from .report import Tally, listing
from .same import stored

Saver = BaseCheckpointSaver[Any]


class Name(NamedTuple):
    """A checkpoint of a thread: what is remembered of all of them."""

    ns: str
    id: str
    parent: str | None
    writes: tuple[int, bytes] | None
    """The state of its pending writes; None: that is not known."""

    def at(self, thread: Any) -> RunnableConfig:
        """The config that names it."""
        return {"configurable": {"thread_id": thread, "checkpoint_ns": self.ns, "checkpoint_id": self.id}}


Found = dict[Any, dict[tuple[str, str], Name]]
"""By thread; by namespace and id."""


def names_of(source: Saver, wanted: Sequence[Any] | None, tally: Tally) -> Crossing[dict[Any, list[Name]]]:
    """The checkpoints of each thread; threads by their last activity, so that they are listed in that order again."""
    with listing(source):
        if isinstance(source, SessionCheckpointer):
            found = yield from _of_ours(source, wanted, tally)
        else:
            found = yield from _of_others(source, wanted)
    for thread in wanted or ():
        if str(thread) not in map(str, found):  # most hand out text for a number
            tally.fail("thread", str(thread), ConfigurationError("the source has no such thread"))
    last = {thread: max(id for _, id in names) for thread, names in found.items()}
    return {thread: ordered(found[thread]) for thread in sorted(last, key=last.__getitem__)}


def _of_others(source: Saver, wanted: Iterable[Any] | None) -> Crossing[Found]:
    found: Found = {}

    def visit(each: CheckpointTuple) -> None:
        name = _name(each)
        found.setdefault(each.config["configurable"]["thread_id"], {})[name.ns, name.id] = name

    if wanted is None:
        yield from peers.walk(source, None, visit)
    for thread in wanted or ():
        yield from peers.walk(source, {"configurable": {"thread_id": thread}}, visit)
    return found


def _name(found: CheckpointTuple) -> Name:
    ns = str(found.config["configurable"].get("checkpoint_ns") or "")
    own, parent = str(found.checkpoint["id"]), peers.id_of(found.parent_config)
    return Name(ns, own, parent if parent != own else None, state_of(found))


def _of_ours(source: SessionCheckpointer, wanted: Iterable[Any] | None, tally: Tally) -> Crossing[Found]:
    found: Found = {}
    for thread in (yield On(source.backend, _all_threads())) if wanted is None else wanted:
        try:
            names = yield On(source.backend, _unrevived(thread_name(thread)))
        except Exception as exc:
            tally.fail("thread", str(thread), exc)
        else:
            if names:
                found[thread] = {(name.ns, name.id): name for name in names}
    return found


def _all_threads() -> Plan[list[str]]:
    found: list[str] = []
    after: bytes | None = b""
    while after is not None:
        entries = yield from threads(after)
        found += [name for entry in entries.rows if (name := session_named(entry.name)) is not None]
        after = entries.cursor or None
    return found


def _unrevived(thread: str) -> Plan[list[Name]]:
    found: list[Name] = []
    after: Position | None = None
    while True:
        _, page, after = yield from bare(thread, after, PAGE)
        records = [stored.record for stored in page]
        spans = [keys.below("w", record.ns, record.id) for record in records]
        writes = (yield from must(keys.session(thread), *(Range(*span) for span in spans))) if spans else []
        states = [_unrevived_state([keys.decode(key) for key, _ in rows]) for rows in writes]
        found += [Name(each.ns, each.id, each.parent, state) for each, state in zip(records, states, strict=True)]
        if after is None:
            return found


def _unrevived_state(writes: Sequence[Sequence[keys.Segment]]) -> tuple[int, bytes] | None:
    """The state of writes with these names; None: some of them may be replaced, and their values would tell."""
    special = [number for *_, number in writes if isinstance(number, int) and number < SPECIAL]
    return None if special else (len(writes), b"")


def ordered(names: Mapping[tuple[str, str], Name]) -> list[Name]:
    """Parents before their children, else by id."""
    result: dict[tuple[str, str], Name] = {}
    for name in sorted(names.values(), key=lambda each: (each.id, each.ns)):
        line: dict[tuple[str, str], Name] = {}
        at: Name | None = name
        while at is not None and (at.ns, at.id) not in result and (at.ns, at.id) not in line:  # a circle has an end
            line[at.ns, at.id] = at
            at = names.get((at.ns, at.parent or ""))
        result.update(reversed(line.items()))
    return list(result.values())


def state_of(found: CheckpointTuple) -> tuple[int, bytes]:
    """What tells whether there are new writes: how many they are, and a digest of those that may be replaced."""
    writes = found.pending_writes or ()
    special = sorted((write for write in writes if write[1] in WRITES_IDX_MAP), key=lambda write: write[:2])
    if not special:
        return len(writes), b""
    # what has no stored form is never known to be the same
    parts = [(task, channel, stored(value) or uuid4()) for task, channel, value in special]
    return len(writes), blake2b(repr(parts).encode(), digest_size=16).digest()
