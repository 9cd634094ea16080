"""Partitions that are listed while something lies in them, such as the namespaces of a store.

Rule: the list hears of a partition with its first write, and once more when that write turns out to have begun it;
whoever takes one from the list looks again afterwards. So a writer and somebody who deletes see each other. What a
worker that dies in between leaves wrong is put right by the next writer, who tells the list again after a minute.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import keys
from ..forks import Lock
from ..ops import Batch, Call, Forget, Get, Op, Plan, Put, PutNew, Touch, must, must_all
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
        """Apply these operations, each to its partition, in one trip (two for one that begins); their replies."""
        puts = {name for name, ops in batches.items() if any(isinstance(op, Put) for op in ops)}
        calls = []
        for name, ops in batches.items():
            first, op_id = (PutNew(MARK, b""), self.new_id()) if name in puts else (Get(MARK), None)
            calls.append(Call(name, Batch(first, *ops, op_id=op_id)))
        due = self._due(puts)
        tell = [Call(self.registry, Batch(*map(Touch, due)))] if due else []
        replies = (yield from must_all([*calls, *tell]))[: len(calls)]
        begun = [name for name, reply in zip(batches, replies, strict=True) if name in puts and reply[0]]
        if begun:
            self._forget(begun)
            yield from afterwards(must(self.registry, *map(Touch, begun)))
        self._note([*due, *begun])
        return replies

    def unlist(self, names: Sequence[bytes]) -> Plan[None]:
        """Take partitions from the list that were dropped just now."""
        if not names:
            return
        self._forget(names)
        yield from must(self.registry, *map(Forget, names))
        replies = yield from must_all([Call(name, Batch(Get(MARK))) for name in names])
        back = [name for name, (there,) in zip(names, replies, strict=True) if there is not None]
        if back:
            yield from must(self.registry, *map(Touch, back))

    def _due(self, names: set[bytes]) -> list[bytes]:
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
