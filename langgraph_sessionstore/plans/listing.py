"""Listing checkpoints: newest first, a page at a time, one trip a page.

Rule: the order is by checkpoint id, the greatest first; of the same id the root namespace comes last. Records
outside the root namespace have a row in an index by id; a page that meets some brings them in a second trip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .. import keys
from ..errors import CorruptData
from ..ops import Entries, Get, Page, Plan, Range, Row, must
from . import layout, records
from .places import REGISTRY
from .reading import Reading, exactly, read
from .records import Stored
from .tools import Tools

PAGE = 100


class Wanted(NamedTuple):
    """Which checkpoints of a thread to list."""

    ns: str | None
    """None: of all namespaces."""
    checkpoint_id: str | None
    """Only this one."""
    before: str | None
    """Only ids smaller than this."""


class Position(NamedTuple):
    """The checkpoint behind which the next page begins."""

    id: str
    ns: str


def page(
    tools: Tools, thread: str, wanted: Wanted, after: Position | None, size: int
) -> Plan[tuple[Reading, Position | None]]:
    """A page of checkpoints with all that they hold, and where the next begins if there may be more."""
    if wanted.ns is None:
        return (yield from _of_all(tools, thread, wanted, after, size))
    reading = yield from read(tools, thread, _range(wanted.ns, wanted, after, size))
    return reading, _end([Position(stored.record.id, stored.record.ns) for stored in reading.found], size)


def _end(order: Sequence[Position], size: int) -> Position | None:
    return order[-1] if len(order) == size else None


def threads(after: bytes) -> Plan[Entries]:
    """A page of all threads, newest first: an order in which none is passed over when it is used meanwhile."""
    (found,) = yield from must(REGISTRY, Page("created", after=after, limit=PAGE, reverse=True))
    entries: Entries = found
    return entries


def _range(ns: str, wanted: Wanted, after: Position | None, size: int) -> Range:
    lo, hi = layout.only(layout.record(ns, wanted.checkpoint_id)) if wanted.checkpoint_id else keys.below("c", ns)
    if wanted.before is not None:
        hi = min(hi, layout.record(ns, wanted.before))
    if after is not None:
        key = layout.record(ns, after.id)
        hi = min(hi, key if ns >= after.ns else key + keys.END)
    return Range(lo, max(lo, hi), limit=size, reverse=True)


def _of_all(
    tools: Tools, thread: str, wanted: Wanted, after: Position | None, size: int
) -> Plan[tuple[Reading, Position | None]]:
    root = yield from read(tools, thread, _range("", wanted, after, size), also=[_index(wanted, after, size)])
    names = _names(root.also[0], thread)
    own = {Position(stored.record.id, ""): stored for stored in root.found}
    if not names:
        return root, _end(list(own), size)
    order = sorted([*own, *names], reverse=True)[:size]
    others = yield from read(tools, thread, *(exactly(ns, id_) for id_, ns in order if ns))
    found = own | {Position(stored.record.id, stored.record.ns): stored for stored in others.found}
    for branch, there in others.elements.items():
        root.elements[branch] = {**root.elements.get(branch, {}), **there}
    root.rows.update(others.rows)
    return root._replace(found=[found[name] for name in order if name in found]), _end(order, size)


def _index(wanted: Wanted, after: Position | None, size: int) -> Range:
    lo, hi = keys.below("i", wanted.checkpoint_id) if wanted.checkpoint_id else layout.INDEX
    if wanted.before is not None:
        hi = min(hi, keys.encode("i", wanted.before))
    if after is not None:
        hi = min(hi, layout.index(after.ns, after.id) if after.ns else keys.encode("i", after.id))
    return Range(lo, max(lo, hi), limit=size, reverse=True)


def _names(rows: Sequence[Row], thread: str) -> list[Position]:
    return [_position(keys.decode(key), thread) for key, _ in rows]


def _position(name: Sequence[keys.Segment], thread: str) -> Position:
    match name:
        case [_, str(checkpoint_id), str(ns)]:
            return Position(checkpoint_id, ns)
    raise CorruptData(f"the index of checkpoints of thread {thread!r} is damaged at {name!r:.80}")


def bare(thread: str, after: Position | None, size: int) -> Plan[tuple[bytes | None, list[Stored], Position | None]]:
    """A page of the checkpoints of all namespaces without what they link to: of which incarnation, and what follows."""
    partition, wanted = keys.session(thread), Wanted(None, None, None)
    ranges = _range("", wanted, after, size), _index(wanted, after, size)
    incarnation, rows, index = yield from must(partition, Get(keys.INCARNATION), *ranges)
    found = {Position(layout.record_name(key)[1], ""): (key, row) for key, row in rows}
    order = sorted([*found, *_names(index, thread)], reverse=True)[:size]
    others = [(name, layout.record(name.ns, name.id)) for name in order if name.ns]
    if others:
        incarnation, *more = yield from must(partition, Get(keys.INCARNATION), *(Get(key) for _, key in others))
        found |= {name: (key, row) for (name, key), row in zip(others, more, strict=True) if row is not None}
    stored = [records.unpack(*found[name], thread) for name in order if name in found]
    return incarnation, stored, _end(order, size)
