"""Listing checkpoints: newest first, a page at a time, one trip a page.

Rule: the order is by checkpoint id, the greatest first; of the same id the root namespace comes last. Records
outside the root namespace have a row in an index by id; a page that meets some brings them in a second trip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .. import keys
from ..ops import Entries, Page, Plan, Range, must
from . import layout
from .places import REGISTRY
from .reading import Reading, exactly, read
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
    lo, hi = keys.below("i", wanted.checkpoint_id) if wanted.checkpoint_id else layout.INDEX
    if wanted.before is not None:
        hi = min(hi, keys.encode("i", wanted.before))
    if after is not None:
        hi = min(hi, layout.index(after.ns, after.id) if after.ns else keys.encode("i", after.id))
    index = Range(lo, max(lo, hi), limit=size, reverse=True)
    root = yield from read(tools, thread, _range("", wanted, after, size), also=[index])
    names = [Position(*map(str, keys.decode(key)[1:])) for key, _ in root.also[0]]
    own = {Position(stored.record.id, ""): stored for stored in root.found}
    if not names:
        return root, _end(list(own), size)
    order = sorted([*own, *names], reverse=True)[:size]
    others = yield from read(tools, thread, *(exactly(ns, id_) for id_, ns in order if ns))
    found = own | {Position(stored.record.id, stored.record.ns): stored for stored in others.found}
    for branch, there in others.elements.items():
        root.elements.setdefault(branch, {}).update(there)
    root.rows.update(others.rows)
    return root._replace(found=[found[name] for name in order if name in found]), _end(order, size)
