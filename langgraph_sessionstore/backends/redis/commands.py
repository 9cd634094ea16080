"""A batch as Redis commands, and their replies as an outcome. No I/O.

Rule: what only reads goes as plain commands (several of them in MULTI/EXEC); everything else goes through `script.lua`.
Long ranges in front of the first write or behind the last one stay plain commands beside the script,
in the same transaction: reading much inside Lua costs several times as much.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, Protocol, TypeAlias

from redis.exceptions import ResponseError

from ... import keys
from ...errors import CorruptData
from ...ops import (
    WRITES,
    Add,
    Append,
    Batch,
    Conflict,
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
    Outcome,
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
SCRIPT = files(__package__).joinpath("script.lua").read_bytes()
SHA = sha1(SCRIPT, usedforsecurity=False).hexdigest()
FEW = 8  # a range limited to so many rows may be read inside the script

_UNSAFE = re.compile(rb"[^A-Za-z0-9_.~:@$#=,+!*'();&-]")


def partition_key(prefix: bytes, partition: bytes) -> bytes:
    """The Redis key of a partition: `prefix:{...}`, readable, and without braces inside the braces.

    The end of a segment becomes "/", everything unusual a percent code, so that no two partitions share a key.
    """
    quoted = _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], partition).replace(b"%01", b"/")
    return b"%b:{%b}" % (prefix, quoted)


class Parcel(Protocol):
    """Something for one server: `commands` to send as one transaction, `outcome` to understand the replies."""

    key: bytes
    writes: bool
    repeatable: bool

    def commands(self, load: bool = False) -> list[Command]:
        """The commands; with `load`, the script itself instead of its name."""

    def outcome(self, replies: Sequence[Any]) -> Any:
        """What the replies say. Raises `CorruptData` when a row was not what the batch needs."""

    def together(self) -> Parcel | None:
        """The same as one command instead of a transaction, which a full server refuses even for reading."""


class Dump:
    """The bytes of a whole partition, for a copy into another slot: `outcome` is b"" when there is nothing."""

    writes = False
    repeatable = True

    def __init__(self, key: bytes) -> None:
        self.key = key

    def commands(self, load: bool = False) -> list[Command]:
        """See `Parcel`."""
        users = ("ZLEXCOUNT", self.key, b"[" + keys.SYSTEM[1], b"+")
        return [("MULTI",), users, ("DUMP", self.key), ("EXEC",)]

    def outcome(self, replies: Sequence[Any]) -> list[Any]:
        """See `Parcel`."""
        users, dump = replies[-1]
        return [dump if users else b""]

    def together(self) -> None:
        """See `Parcel`."""
        return


class Prepared:
    """A call: a batch, with a partition to copy first if there is one; see `Parcel`."""

    def __init__(
        self,
        key: bytes,
        batch: Batch,
        source: bytes | None = None,
        dump: bytes | None = None,
        *,
        apart: bool = True,
        loud: bool = False,
    ) -> None:
        self.key = key
        copying = source is not None or dump is not None
        self.writes = batch.writes or copying
        self.repeatable = batch.repeatable and (batch.op_id is not None or not copying)
        self.loud = loud and self.writes  # replicas hear of it even when it changes nothing, as when it is a replay
        self._batch = batch
        self._origin = source, dump
        ops = batch.ops
        writes = [index for index, op in enumerate(ops) if type(op) in WRITES]
        scripted = bool(writes) or copying or not apart or any(map(_needs_script, ops))
        first, last = (writes[0], writes[-1]) if writes else (len(ops), -1)
        first = 0 if copying else first  # the copy comes before all
        self._before: list[int] = []  # the plain commands in front of the script, as places in the batch
        self._inside: list[int] = []
        self._after: list[int] = []
        for index, op in enumerate(ops):
            if not scripted or (_is_long(op) and index < first and apart):
                self._before.append(index)
            elif _is_long(op) and index > last and apart:
                self._after.append(index)
            else:
                self._inside.append(index)
        self.names: Command = (key,) if source is None else (key, source)
        self.words: Command = ()
        if scripted:
            mode: Command = ("copy", b"") if source is not None else ("", b"") if dump is None else ("restore", dump)
            once = (batch.op_id or b"") if self.writes else b""
            inside = [part for index in self._inside for part in _words(ops[index])]
            self.words = (len(inside) + 4, os.urandom(16), once.hex(), *mode, *inside)

    def commands(self, load: bool = False) -> list[Command]:
        """See `Parcel`."""
        ops = self._batch.ops
        commands = [_plain(self.key, ops[index]) for index in self._before]
        if self.words:
            commands.append(_script(load, [self]))
        commands += [_plain(self.key, ops[index]) for index in self._after]
        return commands if len(commands) == 1 else [("MULTI",), *commands, ("EXEC",)]

    def outcome(self, replies: Sequence[Any]) -> Outcome:
        """See `Parcel`."""
        if len(replies) > 1:
            replies = replies[-1]  # what EXEC brought
        answers: list[Any] = [None] * len(self._batch.ops)
        for index, reply in zip(self._before, replies, strict=False):
            answers[index] = reply
        if self.words:
            mark, *inside = replies[len(self._before)]
            if mark == b"!":
                return Conflict(self._inside[inside[0] - 1] if inside[0] else -1)
            if mark == b"#":
                raise CorruptData(inside[0].decode("utf-8", "replace"))
            for index, reply in zip(self._inside, inside, strict=True):
                answers[index] = reply
        for index, reply in zip(reversed(self._after), reversed(replies), strict=False):
            answers[index] = reply
        return [_reply(op, answer) for op, answer in zip(self._batch.ops, answers, strict=True)]

    def together(self) -> Prepared | None:
        """See `Parcel`."""
        if not self._before and not self._after:
            return None
        return Prepared(self.key, self._batch, *self._origin, apart=False, loud=self.loud)


class Bundle:
    """Ordered calls for one server, as one command: each is done only when those before it were applied.

    `outcome` is a list with what became of each: an outcome, an error, or None for one that was not tried.
    """

    def __init__(self, calls: Sequence[Prepared]) -> None:
        self.key = calls[0].key
        self.writes = any(call.writes for call in calls)
        self.repeatable = all(call.repeatable for call in calls)
        self._calls = [call.together() or call for call in calls]

    def commands(self, load: bool = False) -> list[Command]:
        """See `Parcel`."""
        return [_script(load, self._calls)]

    def outcome(self, replies: Sequence[Any]) -> list[Any]:
        """See `Parcel`."""
        parts = replies[0] if len(self._calls) > 1 else replies
        outcomes: list[Any] = []
        for call, part in zip(self._calls, parts, strict=True):
            if part[0] == b"-":
                outcomes.append(None)
            elif part[0] == b"x":
                outcomes.append(ResponseError(part[1].decode("utf-8", "replace")))
            else:
                try:
                    outcomes.append(call.outcome([part]))
                except CorruptData as exc:
                    outcomes.append(exc)
        return outcomes

    def together(self) -> None:
        """See `Parcel`."""
        return


def _script(load: bool, calls: Sequence[Prepared]) -> Command:
    names = [name for call in calls for name in call.names]
    words = [word for call in calls for word in call.words]
    loud = (1,) if any(call.loud for call in calls) else ()
    return (*(("EVAL", SCRIPT) if load else ("EVALSHA", SHA)), len(names), *names, len(calls), *words, *loud)


def _needs_script(op: Op) -> bool:
    return isinstance(op, (Expect, ExpectLease, ExpectEmpty, Page, Tally)) or (isinstance(op, Range) and op.follow)


def _is_long(op: Op) -> bool:
    return isinstance(op, Range) and not op.follow and (op.limit is None or op.limit > FEW)


def _span(lo: bytes, hi: bytes | None) -> tuple[bytes, bytes]:
    """A half-open range as Redis writes it; ranges begin above the system rows."""
    return b"[" + max(lo, keys.SYSTEM[1]), b"+" if hi is None else b"(" + hi


def _plain(key: bytes, op: Op) -> Command:
    match op:
        case Get(row):
            return ("ZRANGEBYLEX", key, b"[%b\0" % row, b"(%b\1" % row, "LIMIT", 0, 1)
        case Range(lo, hi, limit, offset, reverse):
            first, end = _span(lo, hi)
            cut: Command = () if limit is None and not offset else ("LIMIT", offset, -1 if limit is None else limit)
            if reverse:
                return ("ZREVRANGEBYLEX", key, end, first, *cut)
            return ("ZRANGEBYLEX", key, first, end, *cut)
        case Count(lo, hi):
            return ("ZLEXCOUNT", key, *_span(lo, hi))
    raise TypeError(f"not an operation of a batch: {op!r}")


def _words(op: Op) -> Command:
    """An operation as the script reads it: a letter and its arguments."""
    match op:
        case Get(key):
            return ("G", key)
        case Range(lo, hi, limit, offset, reverse, follow, runs):
            known = with_links(Links(runs=runs), b"")
            return ("R", *_span(lo, hi), offset, -1 if limit is None else limit, int(reverse), int(follow), known)
        case Count(lo, hi):
            return ("C", *_span(lo, hi))
        case Put(key, value):
            return ("P", key, b"%b\0%b" % (key, value))
        case PutNew(key, value):
            return ("N", key, b"%b\0%b" % (key, value))
        case Delete(key):
            return ("D", key)
        case DeleteRange(lo, hi):
            return ("X", *_span(lo, hi))
        case Append(prefix, value):
            return ("A", prefix, value)
        case Add(key, amount):
            return ("I", key, amount)
        case Drop():
            return ("Z",)
        case Expire(at, ttl):
            return ("E", _optional(at), _optional(ttl))
        case Expect(key, state):
            if isinstance(state, bool):
                return ("Q", key, "p" if state else "a", "")
            return ("Q", key, "e", f",{state if isinstance(state, str) else ','.join(state)},")
        case ExpectLease(token):
            return ("L", token)
        case ExpectEmpty(lo, hi):
            return ("M", *_span(lo, hi))
        case Lease(token, ttl):
            return ("T", token, ttl)
        case Touch(name, at, expires, ttl, runs, new):
            return ("t", name, _optional(at), _optional(expires), _optional(ttl), int(new), len(runs), *runs)
        case Forget(name, active):
            return ("f", name, _optional(active))
        case Page():
            return _page(op)
        case Tally(prefix):
            return ("y", prefix)
    raise TypeError(f"not an operation of a batch: {op!r}")


def _optional(number: int | None) -> bytes | int:
    return b"" if number is None else number


def _page(op: Page) -> Command:
    kind = {"created": b"c", "active": b"a", "name": b"n", "run": b"r"}[op.by]
    before = 1 + (12 if op.by in ("created", "active") else len(op.prefix) if op.by == "run" else 0)
    lo, hi = b"[" + kind + op.prefix, b"(" + kind + op.prefix + b"\xff"
    if op.after and op.reverse:
        hi = min(hi, b"(" + op.after)
    elif op.after:
        lo = max(lo, b"[" + op.after + b"\x01")
    return ("p", lo, hi, before, op.limit, int(op.reverse))


def _reply(op: Op, raw: Any) -> Any:
    match op:
        case Get():
            return raw[0].split(b"\0", 1)[1] if raw else None
        case Range(follow=False):
            return _rows(raw)
        case Range():
            rows, linked, complete = raw
            return Linked(_rows(rows), sorted(_rows(linked)), bool(complete))
        case PutNew() | Delete():
            return bool(raw)
        case Count() | DeleteRange() | Append() | Add() | Lease() | Tally():
            return raw
        case Expire():
            return None if raw < 0 else raw
        case Page():
            cursor, *parts = raw
            return Entries([_entry(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)], cursor)
    return None


def _rows(members: list[bytes]) -> list[Row]:
    rows = []
    for member in members:
        key, _, value = member.partition(b"\0")
        rows.append((key, value))
    return rows


def _entry(name: bytes, record: bytes) -> Entry:
    return Entry(name, int(record[:12], 16), int(record[12:24], 16), int(record[24:], 16))
