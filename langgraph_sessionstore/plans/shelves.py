"""Partitions that are listed while something lies in them, such as the namespaces of a store.

Rule: whoever writes into a partition that was not there lists it afterwards, and whoever takes one from the list looks
again afterwards. So one of the two sees the other. A worker that dies in between leaves it to the next one, which lists
every partition that it writes to for the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .. import keys
from ..ops import Batch, Call, Forget, Get, Op, Plan, Put, Touch, must, must_all
from .entry import afterwards
from .noted import Note, Noted


class Shelves(NamedTuple):
    """The partitions of one list, as this process knows them."""

    registry: bytes
    listed: Noted
    new_id: Callable[[], bytes]
    """A name for a write that nobody had before."""

    def write(self, batches: Mapping[bytes, Sequence[Op]]) -> Plan[list[list[Any]]]:
        """Apply these operations, each to its partition, in one trip; their replies."""
        puts = {name for name, ops in batches.items() if any(isinstance(op, Put) for op in ops)}
        calls = [
            Call(name, Batch(Get(keys.INCARNATION), *ops, op_id=self.new_id() if name in puts else None))
            for name, ops in batches.items()
        ]
        new = [name for name in batches if name in puts and self.listed.of(name) is None]
        together = [Call(self.registry, Batch(*map(Touch, new)))] if new and len(calls) == 1 else []
        replies = (yield from must_all([*calls, *together], ordered=bool(together)))[: len(calls)]
        late = [] if together else new
        for name, (before, *_) in zip(batches, replies, strict=True):
            if name in puts and before is None and name not in new:
                late.append(name)  # it was taken from the list meanwhile
        if late:
            yield from afterwards(must(self.registry, *map(Touch, late)))
        for name in new:
            self.listed.note(name, Note())
        return [reply[1:] for reply in replies]

    def unlist(self, names: Sequence[bytes]) -> Plan[None]:
        """Take partitions from the list that were dropped just now."""
        if not names:
            return
        for name in names:
            self.listed.forget(name)
        yield from must(self.registry, *map(Forget, names))
        replies = yield from must_all([Call(name, Batch(Get(keys.INCARNATION))) for name in names])
        back = [name for name, (there,) in zip(names, replies, strict=True) if there is not None]
        if back:
            yield from must(self.registry, *map(Touch, back))
