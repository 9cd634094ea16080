"""What a process remembers of threads, so that it reads and writes only what is new.

Rule 1: nothing here is the truth. A write that builds on it carries guards, and a read learns in the same step whether
        it still holds; without it everything works, and costs more.
Rule 2: elements are written once, so one that is remembered is never stale within the partition's incarnation; and
        none is forgotten before its thread is.
Rule 3: what is remembered is never handed out, only copies.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..forks import Lock
from ..ops import Run
from . import layout
from .layout import Slice
from .likeness import Element, Known
from .records import Record, Stored

Name = tuple[str, str]
"""A checkpoint in its thread: namespace and id."""
_OVERHEAD = 200  # bytes that a small object costs beside its content, roughly
_MODEL = 1500  # and a decoded message, beside its text, which is there as it is stored, decoded, and as a fingerprint
_BRANCHES = 64  # of how many branches a reader tells what it knows
_LATEST = 4  # checkpoints of a namespace that are remembered: a run builds on the last one
_BASES = 256  # and of all namespaces


class Base(NamedTuple):
    """A checkpoint that a writer may build on."""

    stored: Stored
    known: dict[str, Known]
    """By channel, what its next version is compared with."""
    serde: Any
    """The serializer that can read its elements."""

    @property
    def record(self) -> Record:
        return self.stored.record


class Thread:
    """What is remembered of one thread. Only its `Cache` changes it, under its lock."""

    __slots__ = ("bases", "elements", "incarnation", "size", "sizes", "spans")

    def __init__(self, incarnation: bytes) -> None:
        self.incarnation = incarnation
        self.bases: OrderedDict[Name, Base] = OrderedDict()
        self.sizes: dict[Name, int] = {}
        """What each of them takes."""
        self.elements: dict[int, dict[int, Element]] = {}
        self.spans: dict[int, tuple[int, int]] = {}
        """By branch: a range of slots that are all remembered."""
        self.size = 0

    def known(self) -> tuple[Run, ...]:
        """The elements that a reader need not bring, of the branches used last."""
        spans = list(self.spans.items())[-_BRANCHES:]
        return tuple(layout.run(Slice(branch, *span)) for branch, span in spans)


class Cache:
    """Threads, up to so many bytes in all; who was used longest ago goes first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = Lock()
        self._threads: OrderedDict[bytes, Thread] = OrderedDict()
        self._size = 0

    def base(self, partition: bytes, name: Name) -> Base | None:
        """A checkpoint to build on, when it is remembered."""
        with self._lock:
            thread = self._used(partition)
            base = thread.bases.get(name) if thread else None
            if thread and base:
                thread.bases.move_to_end(name)
            return base

    def known(self, partition: bytes) -> tuple[bytes, tuple[Run, ...]]:
        """The incarnation that is remembered (or none) and the elements of it that need not be read."""
        with self._lock:
            thread = self._used(partition)
            return (thread.incarnation, thread.known()) if thread else (b"", ())

    def elements(self, partition: bytes, incarnation: bytes) -> dict[int, Mapping[int, Element]]:
        """The elements that are remembered, by branch and slot. More may come to them, and none goes."""
        with self._lock:
            thread = self._used(partition)
            return {} if thread is None or thread.incarnation != incarnation else {**thread.elements}

    def forget(self, partition: bytes, name: Name | None = None) -> None:
        """Forget a thread, or one checkpoint of it."""
        with self._lock:
            thread = self._threads.get(partition)
            if thread is None:
                return
            if name is None:
                self._drop(partition)
            else:
                self._forget_base(thread, name)

    def learn(
        self,
        partition: bytes,
        incarnation: bytes,
        bases: Iterable[Base] = (),
        elements: Iterable[tuple[Slice, list[Element]]] = (),
    ) -> None:
        """Remember checkpoints and elements of a partition as it is in this incarnation."""
        with self._lock:
            thread = self._used(partition)
            if thread is None or thread.incarnation != incarnation:
                if thread is not None:
                    self._drop(partition)
                thread = self._threads[partition] = Thread(incarnation)
                self._grow(thread, _OVERHEAD)
            for base in bases:
                self._learn_base(thread, base)
            for part, items in elements:
                self._learn_elements(thread, part, items)
            while self._size > self.limit and self._shrink(thread):
                pass

    # -- under the lock

    def _used(self, partition: bytes) -> Thread | None:
        thread = self._threads.get(partition)
        if thread is not None:
            self._threads.move_to_end(partition)
        return thread

    def _learn_base(self, thread: Thread, base: Base) -> None:
        ns, name = base.record.ns, (base.record.ns, base.record.id)
        self._forget_base(thread, name)
        thread.bases[name], thread.sizes[name] = base, _size_of(base)
        self._grow(thread, thread.sizes[name])
        same = [name for name in thread.bases if name[0] == ns]
        if len(same) > _LATEST:
            self._forget_base(thread, same[0])
        elif len(thread.bases) > _BASES:
            self._forget_base(thread, next(iter(thread.bases)))

    def _forget_base(self, thread: Thread, name: Name) -> None:
        if thread.bases.pop(name, None):
            self._grow(thread, -thread.sizes.pop(name))

    def _learn_elements(self, thread: Thread, part: Slice, items: list[Element]) -> None:
        there = thread.elements.get(part.branch, {})
        for slot, element in enumerate(items, part.first):
            if len(element.typed[1]) > self.limit // 8:
                return  # one giant shall not push out everything else
            if slot not in there:
                there[slot] = element
                thread.elements[part.branch] = there
                self._grow(thread, 3 * len(element.typed[1]) + _MODEL)
        first, stop = thread.spans.pop(part.branch, (part.first, part.first))
        if part.first <= stop and first <= part.stop:
            first, stop = min(first, part.first), max(stop, part.stop)
        elif part.stop - part.first > stop - first:
            first, stop = part.first, part.stop
        thread.spans[part.branch] = first, stop  # at the end: used last

    def _shrink(self, current: Thread) -> bool:
        """Forget the thread used longest ago; of the current one, when it is alone, its oldest checkpoints."""
        oldest = next(iter(self._threads))
        if self._threads[oldest] is not current:
            self._drop(oldest)
        elif len(current.bases) > 1:
            self._forget_base(current, next(iter(current.bases)))
        else:
            self._drop(oldest)
        return bool(self._threads)

    def _drop(self, partition: bytes) -> None:
        self._size -= self._threads.pop(partition).size

    def _grow(self, thread: Thread, size: int) -> None:
        thread.size += size
        self._size += size


def _size_of(base: Base) -> int:
    """Roughly what a checkpoint takes in memory; what it shares with another counts for both."""
    record = base.record
    inline = sum([len(value.typed[1]) for value in record.values.values() if value.typed])
    names = _OVERHEAD * (len(record.versions) + len(record.values))
    known = 16 * sum([len(known.items) for known in base.known.values()])
    return _OVERHEAD * 4 + inline + names + len(record.fields[1]) + len(record.metadata[1]) + known
