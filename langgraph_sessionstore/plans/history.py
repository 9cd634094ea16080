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
from ..errors import ConflictError, CorruptData
from ..ops import Plan, Range, must
from . import channels, layout, records
from .reading import exactly, load_typed, load_value, read, writes_of
from .records import Record, Stored
from .tools import Tools

PAGE = 100  # ancestors in one trip
WRITES = 1000  # and pending writes


class _Page(NamedTuple):
    records: dict[str, Stored]
    rows: dict[bytes, bytes]
    whole: str
    """Of checkpoints with greater ids all writes are at hand; of the first too, when its own were asked for."""


def history(
    tools: Tools, thread: str, ns: str, checkpoint_id: str | None, wanted: Sequence[str]
) -> Plan[dict[str, DeltaChannelHistory]]:
    """For each channel the writes since its seed, oldest first, and the seed if there is one."""
    page = yield from _page(thread, ns, checkpoint_id)
    target = page.records.get(checkpoint_id or max(page.records, default=""))
    parent = target.record.parent if target else None
    found: dict[str, list[PendingWrite]] = {channel: [] for channel in wanted}
    seeds: dict[str, Record] = {}
    open_: set[str] = set(wanted)
    seen: set[str] = set()
    while parent is not None and open_ and parent not in seen:
        seen.add(parent)
        if parent not in page.records or parent <= page.whole:
            page = yield from _page(thread, ns, parent, own=True)
        if parent not in page.records:
            break
        record = page.records[parent].record
        for write in reversed(writes_of(page.rows, ns, parent, thread)):
            if write.channel in open_:
                place = f"a write to {write.channel!r} at checkpoint {parent!r} of thread {thread!r}"
                value = load_typed(tools.serde, write.typed, place)
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


def _page(thread: str, ns: str, first: str | None, *, own: bool = False) -> Plan[_Page]:
    """The checkpoint `first` (None: the newest) and some below it, with their writes; its `own` when asked for."""
    (lo, hi), (writes_lo, writes_hi) = keys.below("c", ns), keys.below("w", ns)
    mine = (writes_hi, writes_hi)
    if first is not None:
        hi, mine = layout.only(layout.record(ns, first))[1], keys.below("w", ns, first)
    found, below, *more = yield from must(
        keys.session(thread),
        Range(lo, hi, limit=PAGE, reverse=True),
        Range(writes_lo, mine[0], limit=WRITES, reverse=True),
        *([Range(*mine)] if own else []),
    )
    whole = _checkpoint_of(below[-1][0], thread) if len(below) == WRITES else ""
    stored = [records.unpack(key, value, thread) for key, value in found]
    rows = [row for part in (below, *more) for row in part]
    return _Page({one.record.id: one for one in stored}, dict(rows), whole)


def _checkpoint_of(write: bytes, thread: str) -> str:
    match keys.decode(write):
        case [_, _, str(checkpoint_id), *_]:
            return checkpoint_id
    raise CorruptData(f"thread {thread!r} holds {write[:80]!r}, which is no write")


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
