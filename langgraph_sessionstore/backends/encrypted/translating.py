"""A call as the storage gets to see it, with its values sealed, and what its replies mean.

Rule 1: no value goes out that is not sealed. What is plain are the rows of the system, lines of registries, and the
        counters of `Append` at the keys in `COUNTED`, which the storage itself counts with.
Rule 2: a value is bound to its key, so the number of an appended record has to be known before: the batch expects the
        counter as it was last seen. `Add` becomes a sealed sum that expects the one before. When the guess was wrong,
        nothing was applied, and it is made again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ... import keys
from ...errors import CorruptData
from ...ops import (
    COUNTER_LIMIT,
    Add,
    Append,
    Batch,
    Call,
    Conflict,
    Count,
    Delete,
    DeleteRange,
    Drop,
    Expect,
    ExpectEmpty,
    ExpectLease,
    Expire,
    Get,
    Linked,
    Op,
    Put,
    PutNew,
    Range,
    Row,
    etag,
)
from .seals import Seals

COUNTED = frozenset(keys.encode(name) for name in ("m", "u", "v"))
"""Where the sessions' messages, operations and changes are counted."""
_FLOOR = keys.ORIGINS[1]
_REGISTRY = keys.encode("registry")
_DIGITS = re.compile(rb"-?[0-9]{1,16}")
_CHECKS = (Expect, ExpectEmpty, ExpectLease)


class Counter(NamedTuple):
    """A number as it was last seen: how it is stored (None: not at all), and its plain value."""

    stored: bytes | None
    plain: bytes | None

    def guard(self, key: bytes) -> Expect:
        """It is so still."""
        return Expect(key, False if self.stored is None else etag(self.stored))

    def number(self) -> int | None:
        """The number; None when this is none."""
        if self.plain is None:
            return 0
        is_one = _DIGITS.fullmatch(self.plain) and abs(int(self.plain)) <= COUNTER_LIMIT
        return int(self.plain) if is_one else None


NONE = Counter(None, None)


class _Sum(NamedTuple):
    """What an operation has made of a sum, and where that is read again: in a replay it is not what was made."""

    key: bytes
    counter: Counter
    check: int | None


class Translation:
    """One call on its way: `sealed` goes to the storage, `understand` takes what comes back."""

    def __init__(
        self,
        seals: Seals,
        counted: frozenset[bytes],
        call: Call,
        seen: Callable[[bytes], Counter],
        lineages: Sequence[bytes],
        *,
        noting: bool = False,
    ) -> None:
        self._noting = noting
        """Whether it is there to learn counters."""
        self._seals, self._counted, self._call, self._seen, self._lineages = seals, counted, call, seen, lineages
        self._partition = call.partition
        self._ops: list[Op] = []
        self._places: list[int] = []
        """Which operation of the call each is; -1: one of ours."""
        self._appended: dict[int, tuple[bytes, bytes]] = {}
        """The counters and the keys that records are sealed for."""
        self._sums: dict[int, _Sum] = {}
        """What operations that add have made."""
        self.counters: dict[bytes, Counter] = {}
        """As they are after the call."""
        self.refusal: CorruptData | None = None
        """Why nothing is written, if the guards hold."""
        if call.source is not None:
            self._add(-1, Put(*seals.origin(call.partition, call.source)))
        for index, op in enumerate(call.batch.ops):
            if is_registry(call.partition):
                self._add(index, op)
            else:
                self._translate(index, op)
        self.sealed = Call(call.partition, self._batch(), call.source)

    def _batch(self) -> Batch:
        batch = self._call.batch
        if self.refusal is None:
            return Batch(*self._ops, op_id=batch.op_id, repeatable=batch.repeatable)
        guards = [(op, place) for op, place in zip(self._ops, self._places, strict=True) if isinstance(op, _CHECKS)]
        self._places = [place for _, place in guards]
        return Batch(*[op for op, _ in guards])

    def _add(self, index: int, op: Op) -> None:
        self._ops.append(op)
        self._places.append(index)

    def _translate(self, index: int, op: Op) -> None:
        match op:
            case Put(key, value) if not stays_plain(self._counted, key, value):
                self._add(index, Put(key, self._seals.seal(self._partition, key, value)))
            case PutNew(key, value) if not stays_plain(self._counted, key, value):
                self._add(index, PutNew(key, self._seals.seal(self._partition, key, value)))
            case Expect(key, str(state)) if not is_system(key):
                self._add(index, Expect(key, self._etags(key, (state,))))
            case Expect(key, tuple(states)) if not is_system(key):
                self._add(index, Expect(key, self._etags(key, states)))
            case Append(prefix, value):
                self._append(index, prefix, value)
            case Add(key, amount) if key not in self._counted:
                self._sum(index, key, amount)
            case Range() | Count() | DeleteRange() | ExpectEmpty():
                self._add(index, op._replace(lo=max(op.lo, _FLOOR)))
            case _:
                self._add(index, op)
        self._forget(op)

    def _etags(self, key: bytes, states: Sequence[str]) -> tuple[str, ...]:
        found = [each for state in states for each in self._seals.etags(key, state, self._lineages)]
        return (*found, *states) if key in self._counted else tuple(found)

    # -- numbers

    def _counter(self, key: bytes) -> Counter:
        """A counter as it is at this place of the batch; the first use of one that was seen expects it so."""
        if key not in self.counters:
            self.counters[key] = self._seen(key)
            self._add(-1, self.counters[key].guard(key))
        return self.counters[key]

    def _append(self, index: int, prefix: bytes, value: bytes) -> None:
        if prefix not in self._counted:
            raise ValueError(f"nothing can be appended to {prefix[:80]!r} when values are encrypted")
        number = self._counter(prefix).number()
        key = keys.sequence(prefix, max(number or 0, 0))
        # what is no counter the storage refuses itself
        self._appended[len(self._ops)] = prefix, key
        self._add(index, Append(prefix, self._seals.seal(self._partition, key, value)))
        if number is not None and 0 <= number < COUNTER_LIMIT:
            after = b"%d" % (number + 1)
            self.counters[prefix] = Counter(after, after)

    def _sum(self, index: int, key: bytes, amount: int) -> None:
        number = self._counter(key).number()
        if number is None:
            self.refusal = CorruptData(f"the row at {key[:80]!r} is not a counter")
            return
        total = number + amount
        if abs(total) > COUNTER_LIMIT:
            self.refusal = CorruptData(f"the counter at {key[:80]!r} would leave the range of 53 bits")
            return
        plain = b"%d" % total
        stored = self._seals.seal(self._partition, key, plain)
        self._add(index, Put(key, stored))
        check = None
        if self._call.batch.op_id is not None:
            check = len(self._ops)
            self._add(-1, Get(key))
        self.counters[key] = counter = Counter(stored, plain)
        self._sums[index] = _Sum(key, counter, check)

    def _forget(self, op: Op) -> None:
        """Counters that this operation takes away begin again."""
        if not isinstance(op, (Drop, Expire, Delete, DeleteRange)):
            return
        for other in self._call.batch.ops:
            if isinstance(other, (Append, Add)) and _takes(op, other[0]):
                self.counters[other[0]] = NONE

    # -- what comes back

    def failed(self, outcome: Conflict) -> Conflict | None:
        """The conflict as the caller means it; None: a guess of ours was wrong."""
        if outcome.guard < 0:
            return outcome
        place = self._places[outcome.guard]
        return None if place < 0 else Conflict(place)

    def compared(self, outcome: Conflict) -> bool:
        """Whether the guard that failed compares a sealed value."""
        failed = self.sealed.batch.ops[outcome.guard] if outcome.guard >= 0 else None
        return isinstance(failed, Expect) and isinstance(failed.state, tuple)

    def understand(self, replies: Sequence[Any], lineages: Sequence[bytes]) -> list[Any]:
        """The replies with their values opened, and `counters` as they are now."""
        if is_registry(self._partition):
            return list(replies)
        ops = self._call.batch.ops
        answers: list[Any] = [None] * len(ops)
        for place, reply in zip(self._places, replies, strict=True):
            if place >= 0:
                answers[place] = self._opened(ops[place], reply, lineages)
        for place, (prefix, key) in self._appended.items():
            if replies[place] != key:  # a replay: the record came to its number earlier
                self.counters.pop(prefix, None)
        for index, (key, counter, at) in self._sums.items():
            answers[index] = counter.number()
            check = counter.stored if at is None else replies[at]
            if check != counter.stored:  # a replay: that sum was never stored, and this is what it has become
                self.counters.pop(key, None)
                plain = None if check is None else self._open(key, check, lineages)
                answers[index] = Counter(check, plain).number()
        if not self._call.batch.writes and self._call.source is None:
            for op, stored, plain in zip(ops, replies, answers, strict=True):  # nothing of ours is between
                if isinstance(op, Get) and (self._noting or op.key in self._counted):
                    self.counters[op.key] = Counter(stored, plain)
        return answers

    def _opened(self, op: Op, reply: Any, lineages: Sequence[bytes]) -> Any:
        match op, reply:
            case Get(key), bytes(stored):
                return self._open(key, stored, lineages)
            case Range(), Linked(rows, linked, complete):
                return Linked(self._rows(rows, lineages), self._rows(linked, lineages), complete)
            case Range(), list(rows):
                return self._rows(rows, lineages)
        return reply

    def _rows(self, rows: Sequence[Row], lineages: Sequence[bytes]) -> list[Row]:
        return [(key, self._open(key, stored, lineages)) for key, stored in rows if key >= _FLOOR]

    def _open(self, key: bytes, stored: bytes, lineages: Sequence[bytes]) -> bytes:
        if stays_plain(self._counted, key, stored):
            return stored
        return self._seals.open(self._partition, key, stored, lineages)


def counters_of(counted: frozenset[bytes], call: Call) -> set[bytes]:
    """The counters that have to be known before a call can be sealed."""
    if is_registry(call.partition):
        return set()
    appended = {op.prefix for op in call.batch.ops if isinstance(op, Append)}
    return appended | {op.key for op in call.batch.ops if isinstance(op, Add) and op.key not in counted}


def begins(call: Call) -> bool:
    """Whether this call expects that nothing is there, so that its counters begin at 0."""
    return Expect(keys.INCARNATION, False) in call.batch.ops


def is_registry(partition: bytes) -> bool:
    """Whether this is a registry: it has lines and no values."""
    return partition.startswith(_REGISTRY)


def stays_plain(counted: frozenset[bytes], key: bytes, value: bytes) -> bool:
    """Whether this value is one that is not sealed here: a row of the system, or a counter of the storage."""
    return is_system(key) or (key in counted and _DIGITS.fullmatch(value) is not None)


def is_system(key: bytes) -> bool:
    """Whether this is a row of the system, which says nothing of what is stored."""
    return keys.SYSTEM[0] <= key < keys.SYSTEM[1]


def _takes(op: Op, key: bytes) -> bool:
    """Whether this operation takes a row away."""
    match op:
        case Drop():
            return True
        case Delete(gone):
            return gone == key
        case DeleteRange(lo, hi):
            return lo <= key and (hi is None or key < hi)
        case Expire(_, 0):
            return True
        case Expire(int(at), None):
            return at <= time.time() * 1000
    return False
