"""Checkpoints that no graph has made: a state with other messages, or an earlier state as the newest one.

Rule 1: they are appended, and nothing is taken away: LangGraph's own time travel still finds all that there was.
Rule 2: each expects that the newest checkpoint is still the one that it was made from.
Rule 3: new messages trigger no node: what a node had seen of the old version it has seen of the new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import empty_checkpoint

from .. import keys
from ..errors import ConflictError, SessionError
from ..ops import Add, Expect, ExpectEmpty, Op, Plan, Put, Range, must
from . import layout, reading, records
from .desk import Desk
from .records import Record, Stored, plain_seen
from .versions import Continued, Versions, following
from .writing import Beside, Input, put

START = "__start__"
"""The channel, and the node, that take the input of a graph."""
_FORMAT = 4
"""The format of LangGraph's checkpoints since packets lie in a channel of their own."""


def newest(latest: Stored | None) -> list[Op]:
    """The guards: this is still the newest checkpoint of the root namespace."""
    lo, hi = keys.below("c", "")
    if latest is None:
        return [ExpectEmpty(lo, hi)]
    key = latest.record.key
    return [Expect(key, latest.etag), ExpectEmpty(key + keys.END, hi)]


def edit(
    desk: Desk,
    latest: Stored | None,
    channel: str,
    messages: Sequence[BaseMessage],
    name: tuple[str, str],
    beside: Beside,
) -> Plan[bool]:
    """Append a checkpoint with these messages; False when it was no longer the newest, and nothing was stored."""
    given = edited(desk, latest, channel, messages, name)
    beside = beside._replace(guards=[*newest(latest), *beside.guards])
    return put(desk.tools, given, desk.entry(channel if messages else None), beside)


def edited(
    desk: Desk, latest: Stored | None, channel: str, messages: Sequence[BaseMessage], name: tuple[str, str]
) -> Input:
    """The checkpoint that follows the newest one, with these messages."""
    if latest is not None and latest.record.sends_of is not None:
        raise SessionError(
            f"session {desk.session_id!r} comes from an older LangGraph, with packets that are not sent yet: run its "
            "graph once before you edit its messages"
        )
    fields = _fields(desk, latest)
    versions: Versions = dict(latest.record.versions) if latest else {}
    old, new = versions.get(channel), following(_greatest(versions))
    versions[channel] = new
    seen = _seen(desk, latest)
    checkpoint = {
        **fields,
        "id": name[0],
        "ts": name[1],
        "channel_values": {channel: [_with_id(desk, message) for message in messages]},
        "channel_versions": versions,
        "versions_seen": {
            node: {**of, channel: new} if channel in of and of[channel] == old else dict(of)
            for node, of in seen.items()
        },
    }
    if "updated_channels" in checkpoint:
        checkpoint["updated_channels"] = None  # a node that was about to run still is: LangGraph looks at all channels
    parent = latest.record.id if latest else None
    metadata = _metadata(desk, latest, "update")
    return Input(desk.session_id, "", checkpoint, metadata, {channel: new}, parent)


def again(desk: Desk, target: Stored | None, latest: Stored | None, name: tuple[str, str]) -> tuple[list[Op], list[Op]]:
    """Guards and operations that make an earlier checkpoint the newest: a copy of its record. None: an empty one."""
    guards = newest(latest)
    fields = {**_fields(desk, target), "id": name[0], "ts": name[1]}
    apart = {"id", "channel_values", "channel_versions"}
    if target is None or target.record.seen is not None:
        apart.add("versions_seen")
    kept = {field: value for field, value in fields.items() if field not in apart}
    metadata = _metadata(desk, latest, "fork")
    if target is None:
        record = Record("", name[0], None, ("", b""), ("", b""), {}, {}, {}, None, None)
    else:
        record = target.record
        guards.append(Expect(record.key, target.etag))
        own = reading.load_metadata(desk.tools, desk.session_id, target)
        for field, value in own.items():
            if field not in ("source", "step", "run_id"):
                metadata[field] = value
    dumps = desk.tools.serde.dumps_typed
    record = record._replace(id=name[0], fields=dumps(kept), metadata=dumps(metadata))
    return guards, [Put(record.key, record.pack()), Add(layout.VERSION, 1)]


def find(desk: Desk, checkpoint_id: str) -> Plan[Stored | None]:
    """A checkpoint of the root namespace."""
    (rows,) = yield from must(desk.partition, reading.exactly("", checkpoint_id))
    return records.unpack(rows[0][0], rows[0][1], desk.session_id) if rows else None


def before_turns(desk: Desk, latest: Stored, turns: int) -> Plan[Stored | None]:
    """The state before the last so many inputs of the graph; None: before the first."""
    stored: dict[str, Stored] = {latest.record.id: latest}
    lo, hi = keys.below("c", "")[0], latest.record.key
    more, left, current = True, turns, latest
    while True:
        parent_id = current.record.parent
        while parent_id is not None and parent_id not in stored and more:
            (rows,) = yield from must(desk.partition, Range(lo, hi, limit=100, reverse=True))
            found = [records.unpack(key, value, desk.session_id) for key, value in rows]
            stored.update((one.record.id, one) for one in found)
            more = len(rows) == 100
            hi = rows[-1][0] if rows else hi
        parent = stored.get(parent_id) if parent_id is not None else None
        if parent_id is not None and (parent is None or parent_id >= current.record.id):
            raise ConflictError(
                f"session {desk.session_id!r} cannot be taken back that far: checkpoint {parent_id!r} was pruned"
            )
        if _begins_turn(desk, current, parent):
            left -= 1
        if not left:
            return parent
        if parent is None:
            raise SessionError(
                f"rewind: session {desk.session_id!r} has {turns - left} turns in its graph, and not {turns}"
            )
        current = parent


def _begins_turn(desk: Desk, stored: Stored, parent: Stored | None) -> bool:
    """Whether the graph was given an input here; runs that store only their end leave out the step of their input."""
    if START in stored.record.values:
        return True
    before = _seen(desk, parent).get(START, {}).get(START)
    taken = _seen(desk, stored).get(START, {}).get(START) != before
    return taken and not (parent is not None and START in parent.record.values)


def _seen(desk: Desk, stored: Stored | None) -> Mapping[str, Versions]:
    """Which versions each node had seen."""
    if stored is not None and stored.record.seen is not None:
        return stored.record.seen
    return plain_seen(_fields(desk, stored).get("versions_seen")) or {}


def _fields(desk: Desk, stored: Stored | None) -> dict[str, Any]:
    if stored is None:
        empty = {name: value for name, value in empty_checkpoint().items() if name != "pending_sends"}
        return {**empty, "v": _FORMAT}
    return reading.load_fields(desk.tools, desk.session_id, stored)


def _metadata(desk: Desk, latest: Stored | None, source: str) -> dict[str, Any]:
    """The metadata of a step after this one."""
    metadata: Any = reading.load_metadata(desk.tools, desk.session_id, latest) if latest else {}
    step = metadata.get("step")
    kept = {name: value for name, value in metadata.items() if name in ("parents", "counters_since_delta_snapshot")}
    return {"parents": {}, **kept, "source": source, "step": step + 1 if isinstance(step, int) else 0}


def step_after(desk: Desk, latest: Stored | None) -> int:
    """The number of the step after this checkpoint."""
    step: int = _metadata(desk, latest, "update")["step"]
    return step


def _greatest(versions: Versions) -> Any:
    """The greatest version, from which the next is counted."""
    return max(versions.values(), key=_counter, default=None)


def _counter(version: Any) -> float:
    try:
        return float(str(version).partition(".")[0]) if isinstance(version, (str, Continued)) else float(version)
    except ValueError:
        return -1.0


def _with_id(desk: Desk, message: BaseMessage) -> BaseMessage:
    """Graphs tell messages apart by their ids."""
    if message.id is not None:
        return message
    return message.model_copy(update={"id": str(UUID(bytes=desk.chance.new_id()))})
