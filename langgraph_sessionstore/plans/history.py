"""The history of delta channels: the writes along the parent chain, back to the last stored value.

Rule 1: a page of ancestors is one trip: records and pending writes below a checkpoint, newest first.
Rule 2: the target's own writes are not part of it, those at the checkpoint that holds the seed are.
Rule 3: the chain is followed by parent ids, and each checkpoint once: a circle ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from langgraph.checkpoint.base import DeltaChannelHistory, PendingWrite

from .. import keys
from ..errors import ConflictError
from ..ops import Plan, Range, must
from . import channels, layout, records
from .reading import exactly, latest, load_typed, load_value, read, writes_of
from .records import Record, Stored
from .tools import Tools

PAGE = 100  # ancestors in one trip
WRITES = 1000  # and pending writes


class _Page(NamedTuple):
    records: dict[str, Stored]
    rows: dict[bytes, bytes]
    whole: str
    """Of checkpoints with ids greater than this, and of the first, all writes are at hand."""


def history(
    tools: Tools, thread: str, ns: str, checkpoint_id: str | None, wanted: Sequence[str]
) -> Plan[dict[str, DeltaChannelHistory]]:
    """For each channel the writes since its seed, oldest first, and the seed if there is one."""
    partition = keys.session(thread)
    (rows,) = yield from must(partition, exactly(ns, checkpoint_id) if checkpoint_id else latest(ns))
    parent = records.unpack(rows[0][0], rows[0][1], thread).record.parent if rows else None
    found: dict[str, list[PendingWrite]] = {channel: [] for channel in wanted}
    seeds: dict[str, Record] = {}
    open_: set[str] = set(wanted)
    seen: set[str] = set()
    page = _Page({}, {}, "")
    while parent is not None and open_ and parent not in seen:
        seen.add(parent)
        if parent not in page.records or parent <= page.whole:
            page = yield from _page(partition, thread, ns, parent)
        if parent not in page.records:
            break
        record = page.records[parent].record
        for write in reversed(writes_of(page.rows, ns, parent, thread)):
            if write.channel in open_:
                place = f"a write to {write.channel!r} at checkpoint {parent!r} of thread {thread!r}"
                value = load_typed(tools, write.typed, place)
                found[write.channel].append((write.task_id, write.channel, value))
        for channel in open_ & record.values.keys():
            seeds[channel] = record
            open_.discard(channel)
        parent = record.parent
    values = yield from _seeds(tools, thread, seeds)
    result: dict[str, DeltaChannelHistory] = {}
    for channel in wanted:
        result[channel] = {"writes": found[channel][::-1]}
        if channel in values:
            result[channel]["seed"] = values[channel]
    return result


def _page(partition: bytes, thread: str, ns: str, first: str) -> Plan[_Page]:
    """The checkpoint `first` and some below it, with their writes."""
    _, end = layout.only(layout.record(ns, first))
    own = keys.below("w", ns, first)
    below = Range(keys.below("w", ns)[0], own[0], limit=WRITES, reverse=True)
    ancestors = Range(keys.below("c", ns)[0], end, limit=PAGE, reverse=True)
    found, mine, others = yield from must(partition, ancestors, Range(*own), below)
    whole = str(keys.decode(others[-1][0])[2]) if len(others) == WRITES else ""
    stored = [records.unpack(key, value, thread) for key, value in found]
    return _Page({one.record.id: one for one in stored}, dict([*mine, *others]), whole)


def _seeds(tools: Tools, thread: str, seeds: dict[str, Record]) -> Plan[dict[str, Any]]:
    """The stored values; a further trip when they are large."""
    values: dict[str, Any] = {}
    large = {record.id: record for channel, record in seeds.items() if record.values[channel].parts}
    elements: channels.Found = {}
    if large:
        reading = yield from read(tools, thread, *(exactly(record.ns, record.id) for record in large.values()))
        elements = reading.elements
        if len(reading.found) < len(large):
            raise ConflictError(f"thread {thread!r} was changed while its history was read")
    for channel, record in seeds.items():
        place = f"channel {channel!r} of checkpoint {record.id!r} of thread {thread!r}"
        values[channel] = load_value(tools, record.values[channel], elements, place)
    return values
