"""A batch as Redis commands, and their replies as an outcome. No I/O. The words of an operation are in `words`.

Rule: what only reads goes as plain commands (several of them in MULTI/EXEC); everything else goes through `script.lua`.
Long ranges in front of the first write or behind the last one stay plain commands beside the script,
in the same transaction: reading much inside Lua costs several times as much.
"""

from __future__ import annotations

import os
import re
from binascii import hexlify
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, Protocol

from redis.exceptions import ResponseError

from ... import keys
from ...errors import CorruptData
from ...ops import WRITES, Batch, Conflict, Expect, ExpectEmpty, ExpectLease, Op, Outcome, Page, Range, Tally
from .words import Command, plain, reply, words

SCRIPT = files(__package__).joinpath("script.lua").read_bytes()
SHA = sha1(SCRIPT, usedforsecurity=False).hexdigest()
FEW = 8  # a range limited to so many rows may be read inside the script
_SCRIPTED = frozenset({Expect, ExpectLease, ExpectEmpty, Page, Tally})
"""What reads, and is no command of Redis."""

_UNSAFE = re.compile(rb"[^A-Za-z0-9_.~:@$#=,+!*'();&-]")


@lru_cache(4096)
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
        ranges = [op for op in ops if isinstance(op, Range)] if Range in batch.kinds else []
        scripted = self.writes or not apart or not _SCRIPTED.isdisjoint(batch.kinds)
        scripted = scripted or any(each.follow for each in ranges)
        every = range(len(ops))
        # the plain commands in front of the script and behind it, as places in the batch
        self._before: Sequence[int] = () if scripted else every
        self._inside: Sequence[int] = every if scripted else ()
        self._after: Sequence[int] = ()
        if scripted and apart and any(map(_is_long, ranges)):
            writes = [index for index in every if type(ops[index]) in WRITES] or [len(ops), -1]
            first = 0 if copying else writes[0]  # the copy comes before all
            long = [index for index in every if _is_long(ops[index])]
            self._before = [index for index in long if index < first]
            self._after = [index for index in long if index > writes[-1] and index >= first]
            outside = {*self._before, *self._after}
            self._inside = [index for index in every if index not in outside]
        self.names: Command = (key,) if source is None else (key, source)
        self.words: Command = ()
        if scripted:
            mode: Command = (b"", b"")
            if copying:
                mode = (b"copy", b"") if dump is None else (b"restore", dump)
            once = (batch.op_id or b"") if self.writes else b""
            inside = [word for index in self._inside for word in words(ops[index])]
            self.words = (len(inside) + 4, os.urandom(16), hexlify(once), *mode, *inside)

    def commands(self, load: bool = False) -> list[Command]:
        """See `Parcel`."""
        ops = self._batch.ops
        commands = [plain(self.key, ops[index]) for index in self._before]
        if self.words:
            commands.append(_script(load, [self]))
        commands += [plain(self.key, ops[index]) for index in self._after]
        return commands if len(commands) == 1 else [("MULTI",), *commands, ("EXEC",)]

    def outcome(self, replies: Sequence[Any]) -> Outcome:
        """See `Parcel`."""
        if len(replies) > 1:
            replies = replies[-1]  # what EXEC brought
        ops = self._batch.ops
        if not self.words:
            return list(map(reply, ops, replies))
        mark, *inside = replies[len(self._before)]
        if mark == b"!":
            return Conflict(self._inside[inside[0] - 1] if inside[0] else -1)
        if mark == b"#":
            raise CorruptData(inside[0].decode("utf-8", "replace"))
        if not self._before and not self._after:
            return [reply(op, answer) for op, answer in zip(ops, inside, strict=True)]
        answers = dict(zip(self._before, replies, strict=False)) | dict(zip(self._inside, inside, strict=True))
        answers |= zip(reversed(self._after), reversed(replies), strict=False)
        return [reply(op, answers[index]) for index, op in enumerate(ops)]

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


def _is_long(op: Op) -> bool:
    return isinstance(op, Range) and not op.follow and (op.limit is None or op.limit > FEW)


def _script(load: bool, calls: Sequence[Prepared]) -> Command:
    names = [name for call in calls for name in call.names]
    words = [word for call in calls for word in call.words]
    loud = (1,) if any(call.loud for call in calls) else ()
    return (*(("EVAL", SCRIPT) if load else ("EVALSHA", SHA)), len(names), *names, len(calls), *words, *loud)
