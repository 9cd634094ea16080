"""Garbage: the elements that no record refers to any more.

Rule: what is dead stays dead (see `layout`), so it can be deleted at any time without a guard. Only the end of a branch
needs one: a writer who remembers it may go on from there, until its counter is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .. import keys
from ..ops import Batch, Call, Calls, Conflict, Delete, DeleteRange, Expect, Op, Plan, Range, etag, must
from . import layout, records
from .layout import Slice
from .reading import merged
from .tools import Tools


def collect(tools: Tools, thread: str) -> Plan[int]:
    """Delete the elements that no record refers to; how many there were."""
    partition = keys.session(thread)
    found, branches = yield from must(partition, Range(*layout.RECORDS), Range(*layout.BRANCHES))
    live: dict[int, list[Slice]] = {}
    tails: set[int] = set()
    for key, value in found:
        record = records.unpack(key, value, thread).record
        tails.update(record.tails())
        for part in record.parts():
            live.setdefault(part.branch, []).append(part)
    gaps: list[Op] = []
    ends: list[Call] = []
    for key, size in branches:
        branch = int(keys.decode(key)[1])
        if branch in live or branch in tails:
            gaps += [DeleteRange(*_span(gap)) for gap in _gaps(branch, int(size), live.get(branch, ()))]
        else:  # a writer may have gone on from its end, so the end is guarded
            rows = DeleteRange(*keys.below("e", branch))
            ends.append(Call(partition, Batch(Expect(key, etag(size)), rows, Delete(key))))
    gone = sum((yield from must(partition, *gaps))) if gaps else 0
    for outcome in (yield Calls(ends)) if ends else ():
        gone += 0 if isinstance(outcome, Conflict) else outcome[1]
    return gone


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
