"""Garbage: the elements that no record refers to any more.

Rule: what is dead stays dead (see `layout`), so it can be deleted at any time without a guard. Guards are needed at the
end of a branch, from where a writer who remembers it may go on until its counter is gone; and for elements without a
counter, which damage leaves behind, and which nothing tells from those of a branch that has just begun.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from .. import keys
from ..ops import Batch, Call, Calls, Conflict, Delete, DeleteRange, Expect, Get, Op, Plan, Range, etag, must
from . import layout, records
from .layout import Slice
from .records import merged
from .tools import Tools


def collect(tools: Tools, thread: str) -> Plan[int]:
    """Delete the elements that no record refers to; how many there were."""
    partition = keys.session(thread)
    asked = Get(layout.VERSION), Range(*layout.RECORDS), Range(*layout.BRANCHES)
    version, found, branches = yield from must(partition, *asked)
    live: dict[int, list[Slice]] = {}
    tails: set[int] = set()
    for key, value in found:
        record = records.unpack(key, value, thread).record
        tails.update(tail.branch for tail in record.tails())
        for part in record.parts():
            live.setdefault(part.branch, []).append(part)
    gaps: list[Op] = []
    ends: list[Call] = []
    known: set[int] = set()
    for key, size in branches:
        branch, count = layout.branch_of(key, size)
        known.add(branch)
        if branch in live or branch in tails:
            gaps += [DeleteRange(*_span(gap)) for gap in _gaps(branch, count, live.get(branch, ()))]
        else:  # a writer may have gone on from its end, so the end is guarded
            rows = DeleteRange(*keys.below("e", branch))
            ends.append(Call(partition, Batch(rows, Delete(key), Expect(key, etag(size)))))
    if version is not None:
        strays = [DeleteRange(*span) for span in _between({*live, *known})]
        ends.append(Call(partition, Batch(*strays, Expect(layout.VERSION, etag(version)))))
    gone = sum((yield from must(partition, *gaps))) if gaps else 0
    for outcome in (yield Calls(ends)) if ends else ():
        gone += 0 if isinstance(outcome, Conflict) else sum(count for count in outcome if type(count) is int)
    return gone


def _between(branches: Collection[int]) -> Iterable[keys.Span]:
    """Where elements of none of these branches lie."""
    at, end = layout.ELEMENTS
    for branch in sorted(branches):
        prefix = layout.elements(branch)
        yield at, prefix
        at = keys.below("e", branch)[1]
    yield at, end


def _gaps(branch: int, size: int, live: Sequence[Slice]) -> Iterable[Slice]:
    """The slots of a branch that no record refers to."""
    at = 0
    for part in merged(live):
        if at < part.first:
            yield Slice(branch, at, part.first)
        at = part.stop
    if at < size:
        yield Slice(branch, at, size)


def _span(part: Slice) -> keys.Span:
    return layout.element(part.branch, part.first), layout.element(part.branch, part.stop)
