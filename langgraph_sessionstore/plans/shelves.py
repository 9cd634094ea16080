"""Partitions that are listed while something lies in them, such as the namespaces of a store.

Rule: the list hears of a partition before it begins, and once more when a write turns out to have begun it, for it may
have been taken off meanwhile. Who takes one away takes it from the list afterwards, if the list has not heard of it
since. So all that is there is listed, and a line too many does no harm. Writers tell the list again after a minute.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .. import keys
from ..forks import Lock
from ..ops import Batch, Call, Calls, Conflict, Drop, Expect, Forget, Get, Op, Page, Plan, PutNew, Touch, must, must_all
from .entry import afterwards

MARK = keys.encode(2)
"""A row without content in each of these partitions, which tells the write that begins it."""
_AGAIN = 60.0  # seconds after which the list is told again
_MOST = 10_000


class Shelves:
    """The partitions of one list, as this process knows them."""

    def __init__(self, registry: bytes, new_id: Callable[[], bytes]) -> None:
        self.registry = registry
        self.new_id = new_id
        """A name for a write that nobody had before."""
        self._lock = Lock()
        self._told: OrderedDict[bytes, float] = OrderedDict()
        """When the list was told of a partition."""

    def write(self, batches: Mapping[bytes, Sequence[Op]]) -> Plan[list[list[Any]]]:
        """Put this into partitions, in one trip (two for one that begins, or has to be listed beside others)."""
        due, replies = self._due(batches), dict[bytes, list[Any]]()
        known = [name for name in batches if name not in due]
        there = [Call(name, Batch(Expect(MARK, True), *batches[name], op_id=self.new_id())) for name in known]
        outcomes = (yield Calls(there)) if there else []
        for name, outcome in zip(known, outcomes, strict=True):
            if isinstance(outcome, Conflict):  # somebody has taken it away since the list was told
                due.append(name)
            else:
                replies[name] = outcome[1:]
        if due:
            begin = self._begin({name: batches[name] for name in due})
            replies |= (yield from afterwards(begin)) if replies else (yield from begin)
        return [replies[name] for name in batches]

    def _begin(self, batches: Mapping[bytes, Sequence[Op]]) -> Plan[dict[bytes, list[Any]]]:
        """Put this into partitions that the list may not know: it hears of them first."""
        tell = Call(self.registry, Batch(*map(Touch, sorted(batches))))
        calls = [Call(name, Batch(PutNew(MARK, b""), *ops, op_id=self.new_id())) for name, ops in batches.items()]
        if len(calls) == 1:
            _, *found = yield from must_all([tell, *calls], ordered=True)
        else:  # none of them waits for another
            yield from must_all([tell])
            found = yield from must_all(calls)
        replies = dict(zip(batches, found, strict=True))
        begun = [name for name, (new, *_) in replies.items() if new]
        if begun:
            self._forget(begun)
            yield from afterwards(must(self.registry, *map(Touch, begun)))
        self._note(list(batches))
        return {name: reply[1:] for name, reply in replies.items()}

    def drop(self, names: Sequence[bytes], *guards: Op) -> Plan[None]:
        """Take partitions away, unless these guards keep them, and off the list, if nobody has begun one again."""
        if not names:
            return
        self._forget(names)
        pages = yield from must(self.registry, *[Page("name", name, limit=1) for name in names])
        drops = yield Calls([Call(name, Batch(*guards, Drop())) for name in names])
        gone = []
        for name, page, drop in zip(names, pages, drops, strict=True):
            line = next((entry for entry in page.rows if entry.name == name), None)
            if line is not None and not isinstance(drop, Conflict):
                gone.append(line)
        if gone:
            forget = Call(self.registry, Batch(*[Forget(line.name, line.active) for line in gone]))
            looks = [Call(line.name, Batch(Get(MARK))) for line in gone]
            _, *marks = yield from must_all([forget, *looks])
            # somebody may have begun one in the very millisecond of its last activity
            back = [line.name for line, (mark,) in zip(gone, marks, strict=True) if mark is not None]
            if back:
                yield from must(self.registry, *map(Touch, back))

    def _due(self, names: Iterable[bytes]) -> list[bytes]:
        now = time.monotonic()
        with self._lock:
            return sorted(name for name in names if now - self._told.get(name, -_AGAIN) >= _AGAIN)

    def _note(self, names: Sequence[bytes]) -> None:
        now = time.monotonic()
        with self._lock:
            for name in names:
                self._told[name] = now
                self._told.move_to_end(name)
            while len(self._told) > _MOST:
                self._told.popitem(last=False)

    def _forget(self, names: Sequence[bytes]) -> None:
        with self._lock:
            for name in names:
                self._told.pop(name, None)
