"""How a registry partition lists other partitions: its rows, and what its operations do with them.

    n + name               -> created, active, expires: 12 hex digits each (milliseconds; expires 0: never)
    c + created + name     \\
    a + active + name       > the orders by which pages go; values are empty
    x + expires + name     /
    r + run + name         which partitions a run wrote to; `run` is an encoded key
    t + name + \\x01 + run   the same, the other way round

Rule 1: the kinds of rows change together, in one batch. `redis/script.lua` holds the same in Lua.
Rule 2: the registry is a hint. A record that cannot be read counts as none, and the next touch writes it anew.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..ops import Entries, Entry, Page, Touch

if TYPE_CHECKING:
    from .apply import Rows

PURGE = 100  # how many expired partitions one page takes from the list
PURGE_RUNS = 1000  # and how many of their runs, before it leaves the others to the next


def touch(rows: Rows, op: Touch, now: int) -> None:
    """List `op.name`, or move it to where its activity puts it."""
    name, at = op.name, now if op.at is None else op.at
    old = _entry(rows, name)
    if old and 0 < old.expires <= now:
        forget(rows, name)
        old = None
    if old and op.new:
        return
    created, active, expires = old[1:] if old else (at, at, 0)
    active = max(active, at)
    if op.ttl is not None:
        expires = now + op.ttl
    elif op.expires is not None:
        expires = op.expires
    entry = Entry(name, created, active, expires)
    if entry != old:
        stale = set(index(old)) if old else set()
        for key in stale.difference(index(entry)):
            rows.delete(key)
        for key in set(index(entry)).difference(stale):
            rows.put(key, b"")
        rows.put(b"n" + name, b"%012x%012x%012x" % entry[1:])
    for run in [*op.runs, *(_runs(rows, op.like) if op.like is not None else ())]:
        rows.put(b"r" + run + name, b"")
        rows.put(b"t" + name + b"\x01" + run, b"")


def forget(rows: Rows, name: bytes, active: int | None = None) -> int:
    """Take `name` from every list, if this was its last activity; how many runs it had."""
    entry = _entry(rows, name)
    if active is not None and entry and entry.active != active:
        return 0
    if entry:
        for key in index(entry):
            rows.delete(key)
    rows.delete(b"n" + name)
    runs = _runs(rows, name)
    for run in runs:
        rows.delete(b"r" + run + name)
        rows.delete(b"t" + name + b"\x01" + run)
    return len(runs)


def _runs(rows: Rows, name: bytes) -> list[bytes]:
    """The runs by which `name` is found."""
    lo, hi = b"t" + name + b"\x01", b"t" + name + b"\x02"
    return [key[len(lo) :] for key, _ in rows.range(lo, hi, None, 0, False)]


def page(rows: Rows, op: Page, now: int) -> Entries:
    """A page of the list, in the order that `op.by` names."""
    _purge(rows, now)
    kind = {"created": b"c", "active": b"a", "name": b"n", "run": b"r"}[op.by]
    before = len(kind) + (12 if op.by in ("created", "active") else len(op.prefix) if op.by == "run" else 0)
    lo, hi = kind + op.prefix, kind + op.prefix + b"\xff"
    if op.after and op.reverse:
        hi = min(hi, op.after)
    elif op.after:
        lo = max(lo, op.after + b"\x01")
    found = rows.range(lo, hi, op.limit, 0, op.reverse)
    entries = [_entry(rows, key[before:]) for key, _ in found]
    listed = [entry for entry in entries if entry and not 0 < entry.expires <= now]
    return Entries(listed, found[-1][0] if len(found) == op.limit else b"")


def tally(rows: Rows, prefix: bytes, now: int) -> int:
    """How many partitions are listed and not expired."""
    _purge(rows, now)
    expired = b"x%012x" % (now + 1)
    if prefix:
        gone = sum(key[13:].startswith(prefix) for key, _ in rows.range(b"x", expired, None, 0, False))
    else:
        gone = rows.count(b"x", expired)
    return rows.count(b"n" + prefix, b"n" + prefix + b"\xff") - gone


def _purge(rows: Rows, now: int) -> None:
    runs = 0
    for key, _ in rows.range(b"x", b"x%012x" % (now + 1), PURGE, 0, False):
        runs += forget(rows, key[13:])
        rows.delete(key)
        if runs > PURGE_RUNS:
            break


def _entry(rows: Rows, name: bytes) -> Entry | None:
    return entry_of(name, rows.get(b"n" + name))


def entry_of(name: bytes, value: bytes | None) -> Entry | None:
    """A line from its record; None when there is none that can be read."""
    if value is None or not re.fullmatch(rb"[0-9a-f]{36}", value):
        return None
    return Entry(name, int(value[:12], 16), int(value[12:24], 16), int(value[24:], 16))


def index(entry: Entry) -> list[bytes]:
    """The rows that put an entry into the orders."""
    keys = [b"c%012x%b" % (entry.created, entry.name), b"a%012x%b" % (entry.active, entry.name)]
    return keys + [b"x%012x%b" % (entry.expires, entry.name)] * bool(entry.expires)
