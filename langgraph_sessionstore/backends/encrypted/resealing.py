"""Sealing anew what is plain, or sealed with an old key, while others go on working.

Rule 1: a row is replaced only if it is still the one that was read; its content stays the same, so nobody notices.
Rule 2: it goes round until there is nothing more to do: what was not resealed yet may be copied meanwhile.
"""

from __future__ import annotations

from ... import keys
from ...errors import DataError
from ...ops import Conflict, Entries, Expect, Get, Op, Page, Put, Range, etag
from .seals import Seals
from .steps import Steps, ask, must
from .translating import stays_plain

LISTS = ("session", "store", "cache")
"""The registries of all partitions that hold values."""
_ROWS = 50  # that are replaced at once


def everything(seals: Seals, counted: frozenset[bytes]) -> Steps[int]:
    """Reseal what is listed, until there is nothing more to do; how many values that were.

    Meanwhile what is not resealed yet may be copied to where this has been already. What cannot be opened is left, and
    told at the end.
    """
    total = 0
    while True:
        done, trouble = yield from _all_partitions(seals, counted)
        total += done
        if not done and trouble:
            raise type(trouble[0])(f"{len(trouble)} partitions cannot be resealed, the first of them: {trouble[0]}")
        if not done:
            return total


def _all_partitions(seals: Seals, counted: frozenset[bytes]) -> Steps[tuple[int, list[DataError]]]:
    """Go through all partitions once: how many values were resealed, and what kept others from it."""
    total = 0
    trouble: list[DataError] = []
    for kind in LISTS:
        after = b""
        while True:
            (page,) = yield from must(keys.registry(kind), Page("name", after=after, limit=100))
            entries: Entries = page
            for entry in entries.rows:
                try:
                    total += yield from _partition(seals, counted, entry.name)
                except DataError as exc:
                    trouble.append(exc)
            if not (after := entries.cursor):
                break
    return total, trouble


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
    return total
