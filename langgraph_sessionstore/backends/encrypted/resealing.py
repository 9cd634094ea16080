"""Sealing anew what is plain, or sealed with an old key, while others go on working.

Rule 1: a row is replaced only if it is still the one that was read; its content stays the same, so nobody notices.
Rule 2: afterwards every row is sealed in its own partition, so copies need not say any more where their rows come from.
"""

from __future__ import annotations

from ... import keys
from ...ops import Conflict, Delete, Entries, Expect, Get, Op, Page, Put, Range, etag
from .seals import Seals
from .steps import Steps, ask, must
from .translating import stays_plain

LISTS = ("session", "store", "cache")
"""The registries of all partitions that hold values."""
_ROWS = 50  # that are replaced at once


def everything(seals: Seals, counted: frozenset[bytes]) -> Steps[int]:
    """Reseal what is listed; how many values that were."""
    total = 0
    for kind in LISTS:
        after = b""
        while True:
            (page,) = yield from must(keys.registry(kind), Page("name", after=after, limit=100))
            entries: Entries = page
            for entry in entries.rows:
                total += yield from _partition(seals, counted, entry.name)
            if not (after := entries.cursor):
                break
    return total


def _partition(seals: Seals, counted: frozenset[bytes], name: bytes) -> Steps[int]:
    """Reseal one partition."""
    total, after = 0, keys.ORIGINS[1]
    incarnation, origins = yield from must(name, Get(keys.INCARNATION), Range(*keys.ORIGINS))
    while True:
        now, rows = yield from must(name, Get(keys.INCARNATION), Range(after, None, limit=_ROWS))
        if now != incarnation:  # it has begun anew, perhaps as another copy
            return total + (yield from _partition(seals, counted, name))
        if not rows:
            break
        lineages = seals.lineages(name, origins)
        ops: list[Op] = []
        for key, stored in rows:
            if not stays_plain(counted, key, stored) and not seals.is_new(stored, name):
                value = seals.open(name, key, stored, lineages)
                ops += [Expect(key, etag(stored)), Put(key, seals.seal(name, key, value))]
        if ops and isinstance((yield from ask(name, *ops)), Conflict):
            continue  # somebody has changed one of them: look again
        total += len(ops) // 2
        after = rows[-1][0] + keys.END
    if origins:
        yield from ask(name, Expect(keys.INCARNATION, etag(incarnation)), *[Delete(key) for key, _ in origins])
    return total
