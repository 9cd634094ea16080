"""An operation in Redis' words, and a reply of Redis in ours. No I/O.

Rule: each call goes through here once for each of its operations, so what is to be done is looked up by kind. Words
are bytes or whole numbers, as `connections.pack` sends them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from ... import keys
from ...ops import (
    Add,
    Append,
    Count,
    Delete,
    DeleteRange,
    Drop,
    Entries,
    Entry,
    Expect,
    ExpectEmpty,
    ExpectLease,
    Expire,
    Forget,
    Get,
    Lease,
    Linked,
    Links,
    Op,
    Page,
    Put,
    PutNew,
    Range,
    Row,
    Tally,
    Touch,
    with_links,
)

Command: TypeAlias = tuple[bytes | str | int, ...]


def plain(key: bytes, op: Op) -> Command:
    """A command of Redis that reads what this operation reads."""
    if isinstance(op, Get):
        return (b"ZRANGEBYLEX", key, b"[%b\0" % op, b"(%b\1" % op, b"LIMIT", 0, 1)
    if isinstance(op, Count):
        return (b"ZLEXCOUNT", key, *_span(*op))
    assert isinstance(op, Range)
    first, end = _span(op.lo, op.hi)
    cut: Command = ()
    if op.limit is not None or op.offset:
        cut = (b"LIMIT", op.offset, -1 if op.limit is None else op.limit)
    if op.reverse:
        return (b"ZREVRANGEBYLEX", key, end, first, *cut)
    return (b"ZRANGEBYLEX", key, first, end, *cut)


def words(op: Op) -> Command:
    """An operation as the script reads it: a letter and its arguments."""
    return _WORDS[type(op)](op)


def reply(op: Op, raw: Any) -> Any:
    """What an operation replies, from what Redis or the script did."""
    read = _REPLIES.get(type(op))
    return None if read is None else read(op, raw)


def _span(lo: bytes, hi: bytes | None) -> tuple[bytes, bytes]:
    """A half-open range as Redis writes it; ranges begin above the system rows."""
    return b"[" + max(lo, keys.SYSTEM[1]), b"+" if hi is None else b"(" + hi


def _range(op: Range) -> Command:
    limit = -1 if op.limit is None else op.limit
    known = with_links(Links(runs=op.known), b"")
    return (b"R", *_span(op.lo, op.hi), op.offset, limit, int(op.reverse), int(op.follow), known)


def _expect(op: Expect) -> Command:
    key, state = op
    if isinstance(state, bool):
        return (b"Q", key, b"p" if state else b"a", b"")
    return (b"Q", key, b"e", f",{state if isinstance(state, str) else ','.join(state)},")


def _touch(op: Touch) -> Command:
    name, at, expires, ttl, runs, new, like = op
    when = _optional(at), _optional(expires), _optional(ttl)
    return (b"t", name, *when, int(new), _optional(like), len(runs), *runs)


def _optional(word: bytes | int | None) -> bytes | int:
    return b"" if word is None else word


def _page(op: Page) -> Command:
    kind = {"created": b"c", "active": b"a", "name": b"n", "run": b"r"}[op.by]
    before = 1 + (12 if op.by in ("created", "active") else len(op.prefix) if op.by == "run" else 0)
    lo, hi = b"[" + kind + op.prefix, b"(" + kind + op.prefix + b"\xff"
    if op.after and op.reverse:
        hi = min(hi, b"(" + op.after)
    elif op.after:
        lo = max(lo, b"[" + op.after + b"\x01")
    return (b"p", lo, hi, before, op.limit, int(op.reverse))


_WORDS: dict[type[Op], Callable[[Any], Command]] = {
    Get: lambda op: (b"G", op[0]),
    Range: _range,
    Count: lambda op: (b"C", *_span(*op)),
    Put: lambda op: (b"P", op[0], b"%b\0%b" % op),
    PutNew: lambda op: (b"N", op[0], b"%b\0%b" % op),
    Delete: lambda op: (b"D", op[0]),
    DeleteRange: lambda op: (b"X", *_span(*op)),
    Append: lambda op: (b"A", *op),
    Add: lambda op: (b"I", *op),
    Drop: lambda op: (b"Z",),
    Expire: lambda op: (b"E", _optional(op.at), _optional(op.ttl)),
    Expect: _expect,
    ExpectLease: lambda op: (b"L", op[0]),
    ExpectEmpty: lambda op: (b"M", *_span(*op)),
    Lease: lambda op: (b"T", *op),
    Touch: _touch,
    Forget: lambda op: (b"f", op.name, _optional(op.active)),
    Page: _page,
    Tally: lambda op: (b"y", op[0]),
}


def _ranged(op: Range, raw: Any) -> Any:
    if not op.follow:
        return _rows(raw)
    rows, linked, complete = raw
    return Linked(_rows(rows), sorted(_rows(linked)), bool(complete))


def _rows(members: list[bytes]) -> list[Row]:
    return [(key, value) for key, _, value in [member.partition(b"\0") for member in members]]


def _paged(op: Page, raw: Any) -> Entries:
    cursor, *parts = raw
    return Entries([_entry(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)], cursor)


def _entry(name: bytes, record: bytes) -> Entry:
    return Entry(name, int(record[:12], 16), int(record[12:24], 16), int(record[24:], 16))


def _as_it_is(op: Op, raw: Any) -> Any:
    return raw


_REPLIES: dict[type[Op], Callable[[Any, Any], Any]] = {
    Get: lambda op, raw: raw[0][len(op[0]) + 1 :] if raw else None,
    Range: _ranged,
    PutNew: lambda op, raw: bool(raw),
    Delete: lambda op, raw: bool(raw),
    **dict.fromkeys((Count, DeleteRange, Append, Add, Lease, Tally), _as_it_is),
    Expire: lambda op, raw: None if raw < 0 else raw,
    Page: _paged,
}
"""Those that are not here reply None."""
