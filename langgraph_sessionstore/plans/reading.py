"""Reading checkpoints: the records, with all that they link to, in one trip.

Rule 1: what is remembered is not read again, and what is read is remembered.
Rule 2: a second trip is needed when what is new is large (`FOLLOW_BYTES`), or when the partition has been replaced
        since this process has seen it. It expects the records as they were, or the reading begins again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import TASKS

from .. import codec, keys
from ..errors import ConflictError, CorruptData, DataError
from ..ops import Conflict, Expect, Get, Op, Plan, Range, Row, call, etag, must
from . import channels, layout, records
from .cache import Base
from .channels import Found
from .layout import SPECIAL, Slice
from .likeness import Element
from .records import Record, Stored, merged
from .tools import TRIES, Tools, unpack_typed
from .versions import Version, following


class Write(NamedTuple):
    """A pending write as it is stored."""

    task_path: str
    task_id: str
    number: int
    channel: str
    typed: records.Typed
    run: str | None
    """The run that wrote it, when it has an id."""


class Reading(NamedTuple):
    """Records and what they link to."""

    found: list[Stored]
    elements: Found
    rows: dict[bytes, bytes]
    """The pending writes, by their keys."""
    also: list[Any]
    """What else was asked for."""
    incarnation: bytes


def latest(ns: str) -> Range:
    """The range of the newest record of a namespace."""
    return Range(*keys.below("c", ns), limit=1, reverse=True)


def exactly(ns: str, checkpoint_id: str) -> Range:
    """The range of one record."""
    return Range(*layout.only(layout.record(ns, checkpoint_id)))


def read(tools: Tools, thread: str, *ranges: Range, also: Sequence[Op] = ()) -> Plan[Reading]:
    """The records in these ranges, in their order, with elements and pending writes; and `also` these replies."""
    partition = keys.session(thread)
    distrust = False
    for _ in range(TRIES):
        remembered, known = tools.cache.known(partition)
        if distrust:
            known = ()
        asked = [each._replace(follow=True, known=known) for each in ranges]
        incarnation, *replies = yield from must(partition, Get(keys.INCARNATION), *asked, *also)
        linked, more = replies[: len(asked)], replies[len(asked) :]
        if incarnation is None or not any(part.rows for part in linked):
            return Reading([], {}, {}, more, b"")
        if known and incarnation != remembered:
            tools.cache.forget(partition)
            continue
        found = [_stored(tools, partition, key, value, thread) for part in linked for key, value in part.rows]
        rows = {key: value for part in linked for key, value in part.linked}
        wanted = merged(part for stored in found for part in stored.record.parts())
        if sum(part.stop - part.first for part in wanted) > records.ITEMS:
            raise CorruptData(f"the checkpoints of thread {thread!r} refer to more elements than there can be")
        have: Found = {} if distrust else tools.cache.elements(partition, incarnation)
        if not all(part.complete for part in linked):
            bulk = yield from _bulk(partition, incarnation, found, list(_absent(wanted, have)))
            if bulk is None:
                continue
            rows = dict(bulk)
        try:
            fresh = _decode(thread, rows, list(_absent(wanted, have)))
        except CorruptData:
            if not known:
                raise
            distrust = True  # what was remembered when asking may have been forgotten since
            continue
        for part, items in fresh:
            there = zip(range(part.first, part.stop), items, strict=True)
            have[part.branch] = {**have.get(part.branch, {}), **dict(there)}
        tools.cache.learn(partition, incarnation, (), fresh)
        return Reading(found, have, rows, more, incarnation)
    raise ConflictError(f"thread {thread!r} was changed each time while it was read")


def _stored(tools: Tools, partition: bytes, key: bytes, value: bytes, thread: str) -> Stored:
    """A record; the same bytes are not taken apart again."""
    base = tools.cache.base(partition, layout.record_name(key)) if key.endswith(keys.END) else None
    if base is not None and base.stored.etag == etag(value):
        versions = base.record.versions, *(base.record.seen or {}).values()
        if all(type(version) is str for each in versions for version in each.values()):
            return base.stored
    return records.unpack(key, value, thread)


def _absent(wanted: Iterable[Slice], have: Found) -> Iterable[Slice]:
    """Of these elements those that are not at hand."""
    for branch, first, stop in wanted:
        there = have.get(branch, {})
        begin = None
        for slot in range(first, stop):
            if slot not in there:
                begin = slot if begin is None else begin
            elif begin is not None:
                yield Slice(branch, begin, slot)
                begin = None
        if begin is not None:
            yield Slice(branch, begin, stop)


def _bulk(
    partition: bytes, incarnation: bytes, found: Sequence[Stored], absent: Sequence[Slice]
) -> Plan[list[Row] | None]:
    """What a following range was too small for; None when something has changed meanwhile."""
    guards: list[Op] = [Expect(keys.INCARNATION, etag(incarnation))]
    guards += [Expect(stored.record.key, stored.etag) for stored in found]
    below = {prefix for stored in found for prefix in stored.record.links().below}
    spans = [(prefix + b"\x02", prefix + b"\xff") for prefix in sorted(below)]
    for branch, first, stop in absent:
        spans.append((layout.element(branch, first), layout.element(branch, stop)))
    outcome = yield from call(partition, *guards, *(Range(*span) for span in spans))
    if isinstance(outcome, Conflict):
        return None
    return [row for rows in outcome[len(guards) :] for row in rows]


def _decode(thread: str, rows: dict[bytes, bytes], absent: Sequence[Slice]) -> list[tuple[Slice, list[Element]]]:
    decoded = []
    for part in absent:
        prefix = layout.elements(part.branch)
        items = []
        for slot in range(part.first, part.stop):
            place = f"element {slot} of branch {part.branch} in thread {thread!r}"
            stored = rows.pop(keys.sequence(prefix, slot), None)
            if stored is None:
                raise CorruptData(f"{place} is missing")
            items.append(Element(unpack_typed(stored, place)))
        decoded.append((part, items))
    return decoded


# -- from what is stored to what LangGraph takes


def remember(tools: Tools, thread: str, stored: Stored, reading: Reading, loaded: Mapping[str, Any]) -> None:
    """Remember a checkpoint that was read, for a writer who goes on from it: these channels, as they were loaded."""
    values = {channel: value for channel, value in stored.record.values.items() if value.parts and channel in loaded}
    if not is_remembered(tools, thread, stored, values):
        known = {channel: channels.known(value, reading.elements, loaded[channel]) for channel, value in values.items()}
        tools.cache.learn(keys.session(thread), reading.incarnation, [Base(stored, known, tools.serde)])


def is_remembered(tools: Tools, thread: str, stored: Stored, names: Iterable[str]) -> bool:
    """Whether these channels of a checkpoint are remembered as they are read."""
    base = tools.cache.base(keys.session(thread), (stored.record.ns, stored.record.id))
    if base is None or base.stored.etag != stored.etag or not channels.alike(tools.serde, base.serde):
        return False
    return all(known is not None and known.as_read for known in map(base.known.get, names))


def as_tuple(tools: Tools, thread: Any, stored: Stored, reading: Reading) -> CheckpointTuple:
    """The checkpoint as LangGraph takes it; everything in it is the caller's own."""
    record = stored.record
    place = f"checkpoint {record.id!r} of thread {thread!r}"
    fields = load_fields(tools, thread, stored)
    values = {}
    for channel, value in record.values.items():
        values[channel] = load_value(tools, value, reading.elements, f"channel {channel!r} of {place}")
    checkpoint: dict[str, Any] = {
        **fields,
        "id": record.id,
        "channel_values": values,
        "channel_versions": dict(record.versions),
    }
    if record.seen is not None:
        checkpoint["versions_seen"] = {node: dict(seen) for node, seen in record.seen.items()}
    if record.sends_of is not None:
        _revive_sends(tools, thread, record, reading, checkpoint)
    return CheckpointTuple(
        config_of(thread, record.ns, record.id),
        _as_checkpoint(checkpoint),
        load_metadata(tools, thread, stored),
        config_of(thread, record.ns, record.parent) if record.parent else None,
        [
            (
                write.task_id,
                write.channel,
                load_typed(tools.serde, write.typed, f"a write to {write.channel!r} at {place}"),
            )
            for write in writes_of(reading.rows, record.ns, record.id, thread)
        ],
    )


def load_fields(tools: Tools, thread: Any, stored: Stored) -> dict[str, Any]:
    """What a checkpoint says beside its channels and their versions."""
    place = f"checkpoint {stored.record.id!r} of thread {thread!r}"
    fields: dict[str, Any] = _mapping(load_typed(tools.serde, stored.record.fields, place), place)
    return fields


def load_metadata(tools: Tools, thread: Any, stored: Stored) -> CheckpointMetadata:
    """A checkpoint's metadata."""
    place = f"metadata of checkpoint {stored.record.id!r} of thread {thread!r}"
    metadata: CheckpointMetadata = _mapping(load_typed(tools.serde, stored.record.metadata, place), place)
    return metadata


def run_of(tools: Tools, thread: Any, stored: Stored) -> str | None:
    """The run that made a checkpoint, when it has an id."""
    run = load_metadata(tools, thread, stored).get("run_id")
    return run if isinstance(run, str) else None


def config_of(thread: Any, ns: str, checkpoint_id: str) -> RunnableConfig:
    """The config that names a checkpoint."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}}


def writes_of(rows: dict[bytes, bytes], ns: str, checkpoint_id: str, thread: Any) -> list[Write]:
    """A checkpoint's pending writes in the order in which LangGraph applies them."""
    prefix = layout.writes(ns, checkpoint_id)
    found = [unpack_write(key, value, thread) for key, value in rows.items() if key.startswith(prefix)]
    return sorted(found, key=lambda write: (write.task_path, write.task_id, write.number))


def unpack_write(key: bytes, stored: bytes, thread: Any) -> Write:
    """A pending write from its row."""
    place = f"the write at {key!r} in thread {thread!r}"
    match [*keys.decode(key), *_parts(codec.unpack(stored, place))]:
        case [
            _, str(), str(), str(task_id), int(number),
            str(channel), str(type_), bytes(data), str(task_path), (None | str()) as run,
        ]:  # fmt: skip
            return Write(task_path, task_id, number - SPECIAL, channel, (type_, data), run)
    raise CorruptData(f"{place} is damaged")


def _parts(packed: Any) -> list[Any]:
    return packed if isinstance(packed, list) else []


def _revive_sends(tools: Tools, thread: Any, record: Record, reading: Reading, checkpoint: dict[str, Any]) -> None:
    """Before version 4 of checkpoints, packets to be sent were kept as writes of the parent only."""
    sends = [
        load_typed(tools.serde, write.typed, f"a packet for checkpoint {record.id!r} of thread {thread!r}")
        for write in writes_of(reading.rows, record.ns, record.sends_of or "", thread)
        if write.channel == TASKS
    ]
    if sends:
        versions = checkpoint["channel_versions"]
        checkpoint["channel_values"][TASKS] = sends
        versions[TASKS] = max(versions.values(), key=_by_number) if versions else following(None)


def _by_number(version: Version) -> tuple[float, str]:
    number = str(version).split(".")[0]
    return float(number) if number.isdecimal() else 0.0, str(version)


def _mapping(value: Any, place: str) -> Any:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise CorruptData(f"{place} is damaged: it is no dict of names")
    return value


def load_typed(serde: SerializerProtocol, typed: records.Typed, place: str) -> Any:
    """A serialized value; what is wrong with it says where it stands."""
    try:
        return serde.loads_typed(typed)
    except Exception as exc:
        raise _named(exc, place) from exc


def load_value(tools: Tools, value: records.Value, elements: Found, place: str) -> Any:
    """A channel's value; what is wrong with it says where it stands."""
    try:
        return channels.load(tools.serde, value, elements)
    except Exception as exc:
        raise _named(exc, place) from exc


def _named(exc: Exception, place: str) -> Exception:
    """The same trouble, with the place where it was met."""
    if isinstance(exc, DataError):
        return type(exc)(f"{place}: {exc}")
    return CorruptData(f"{place} cannot be read: {type(exc).__name__}: {exc}")


def _as_checkpoint(checkpoint: Any) -> Checkpoint:
    return checkpoint  # type: ignore[no-any-return]
