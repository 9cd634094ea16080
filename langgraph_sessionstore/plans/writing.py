"""Writing checkpoints and pending writes: one trip each.

Rule 1: a put reads nothing. It builds on what this process remembers of the parent, and its batch expects that the
        parent stands as it was and that nobody else has added to the branches that it adds to. Where that fails, it
        begins again without: with a branch of its own, or with the value in full.
Rule 2: a channel that is not among the new versions keeps the value that it had at its version. Only when nothing is
        remembered of that does a put look it up: in the parent first, then in the other records.
Rule 3: what cannot be stored is found out before anything is sent, and the error names the channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.types import TASKS

from .. import codec, keys
from ..errors import ConflictError, SessionStoreError, Unstorable
from ..ops import Add, Conflict, Expect, Op, Plan, Put, PutNew, Range, Row, etag, must
from . import channels, layout, records
from .cache import Base
from .channels import Draft
from .entry import Entry
from .layout import Slice, Tail
from .likeness import Element, Known
from .reading import exactly
from .records import Record, Stored, Typed, Value
from .tools import TRIES, Tools, pack_typed
from .versions import Versions

SCAN = 100  # records that are looked through in one trip


class Input(NamedTuple):
    """A checkpoint that is to be stored."""

    thread: str
    ns: str
    checkpoint: Mapping[str, Any]
    metadata: Mapping[str, Any]
    new_versions: Mapping[str, Any]
    parent: str | None

    @property
    def partition(self) -> bytes:
        return keys.session(self.thread)


class Beside(NamedTuple):
    """What else has to hold, and to happen, in the step that stores a checkpoint."""

    guards: Sequence[Op]
    ops: Sequence[Op]
    op_id: bytes


def put(tools: Tools, given: Input, entry: Entry, beside: Beside | None = None) -> Plan[bool]:
    """Store a checkpoint; False when a guard of `beside` failed, and nothing was stored."""
    return put_all(tools, [given], entry, beside)


def put_all(tools: Tools, all_of_them: Sequence[Input], entry: Entry, beside: Beside | None = None) -> Plan[bool]:
    """Store checkpoints of one session in one step; False when a guard of `beside` failed, and nothing was stored."""
    moved: set[int] = set()
    for _ in range(TRIES):
        attempts: list[_Attempt] = []
        guards: list[Op] = []
        ops: list[Op] = []
        owners: list[_Attempt] = []
        """Whose guards they are."""
        for given in all_of_them:
            versions = records.plain_versions(given.checkpoint["channel_versions"])
            base = tools.cache.base(given.partition, (given.ns, given.parent)) if given.parent else None
            kept = yield from _kept(given, versions, base)
            attempts.append(_Attempt(tools, given, versions, base, kept, moved))
            own_guards, own_ops = attempts[-1].operations()
            guards, ops = [*guards, *own_guards], [*ops, *own_ops]
            owners += [attempts[-1]] * len(own_guards)
        if beside is None:
            # Sent again after it was applied, it would meet its own branches and take another: the same checkpoint, and
            # some elements for the next collection. Better than not to know.
            outcome = yield from entry.send(guards, ops, repeatable=True)
        else:
            own = [*beside.guards, *guards]
            outcome = yield from entry.send(own, [*ops, *beside.ops], op_id=beside.op_id)
            if isinstance(outcome, Conflict):
                if outcome.guard < len(beside.guards):
                    return False
                outcome = Conflict(outcome.guard - len(beside.guards))
        if not isinstance(outcome, Conflict):
            for attempt in attempts:
                attempt.learn(entry.incarnation)
            return True
        failed, owner = guards[outcome.guard], owners[outcome.guard]
        if isinstance(failed, Expect) and failed.key in owner.tails:
            moved.add(owner.tails[failed.key])
        elif owner.given.parent:
            tools.cache.forget(owner.given.partition, (owner.given.ns, owner.given.parent))
    raise ConflictError(f"thread {entry.session_id!r} was changed each time while a checkpoint was put")


class Writes(NamedTuple):
    """What a task wrote at a checkpoint."""

    thread: str
    ns: str
    checkpoint_id: str
    writes: Sequence[tuple[str, Any]]
    task_id: str
    task_path: str
    run: str | None

    def ops(self, tools: Tools) -> list[Op]:
        """What stores it. What the task wrote before stays, except to the special channels."""
        ops: dict[bytes, Op] = {}
        names = [self.task_id, self.task_path, *(channel for channel, _ in self.writes)]
        if not all(isinstance(name, str) for name in names):
            raise Unstorable(f"a task, its path and its channels have names, which are text: {names!r:.200}")
        for number, (channel, value) in enumerate(self.writes):
            index = WRITES_IDX_MAP.get(channel, number)
            key = layout.write(self.ns, self.checkpoint_id, self.task_id, index)
            place = f"what task {self.task_id!r} wrote to channel {channel!r} of thread {self.thread!r}"
            row = codec.pack([channel, *_dump(tools, value, place), self.task_path, self.run])
            ops[key] = Put(key, row) if index < 0 else PutNew(key, row)
        return list(ops.values())


def put_writes(tools: Tools, entry: Entry, given: Writes) -> Plan[None]:
    """Store what a task wrote."""
    # sent again after a broken connection, it changes nothing that a later call of this task has not replaced
    yield from entry.send((), given.ops(tools), repeatable=True)


class _Attempt:
    """One attempt at a put: what it keeps, what it adds, and under which guards."""

    def __init__(
        self,
        tools: Tools,
        given: Input,
        versions: Versions,
        base: Base | None,
        kept: _Kept,
        moved: set[int],
    ) -> None:
        self.tools, self.given, self.base, self.moved = tools, given, base, moved
        self.tails: dict[bytes, int] = {}
        """The guards on branches, and which branch it is."""
        self.sizes: dict[int, int] = {}
        self.added: list[tuple[Slice, list[Element]]] = []
        self.known: dict[str, Known] = {}
        self.guards: list[Op] = [Expect(holder, name) for holder, name in kept.holders.items()]
        self.shares = False
        """Whether it relies on elements of the base."""
        self.tail = base.record.tail if base else None
        values: dict[str, Value] = {}
        for channel in versions:
            if channel in kept.values:
                values[channel] = self._keep(channel, kept.values[channel])
            elif channel in given.checkpoint["channel_values"] and (
                channel in given.new_versions or channel in kept.missing
            ):
                values[channel] = self._store(channel, given.checkpoint["channel_values"][channel])
        if sum(value.items for value in values.values()) > records.ITEMS:
            raise Unstorable(f"a checkpoint of thread {given.thread!r} has more than {records.ITEMS} items in all")
        self.record = self._record(versions, values)

    def operations(self) -> tuple[list[Op], list[Op]]:
        """The guards, and everything that has to happen at once."""
        key = self.record.key
        if self.base and self.shares:
            self.guards.append(Expect(self.base.record.key, self.base.stored.etag))
        ops: list[Op] = []
        for part, items in self.added:
            prefix = layout.elements(part.branch)
            for slot, element in enumerate(items, part.first):
                ops.append(Put(keys.sequence(prefix, slot), pack_typed(element.typed)))
        ops += [Put(layout.branch(branch), b"%d" % size) for branch, size in self.sizes.items()]
        self.packed = self.record.pack()
        ops.append(Put(key, self.packed))
        if self.given.ns:
            ops.append(PutNew(layout.index(self.given.ns, self.record.id), b""))
        return self.guards, [*ops, Add(layout.VERSION, 1)]

    def learn(self, incarnation: bytes) -> None:
        """Remember what was stored, for the next step."""
        stored = Stored(self.record, etag(self.packed))
        self.tools.cache.learn(
            self.given.partition, incarnation, [Base(stored, self.known, self.tools.serde)], self.added
        )

    def _keep(self, channel: str, value: Value) -> Value:
        """A value that stays as it is, with what is remembered of it when it is the base's."""
        if self.base and value is self.base.record.values.get(channel):
            self.shares = self.shares or bool(value.parts)
            if channel in self.base.known:
                self.known[channel] = self.base.known[channel]
        return value

    def _store(self, channel: str, value: Any) -> Value:
        serde, base = self.tools.serde, self.base
        old, known = None, None
        if base and channels.alike(serde, base.serde):  # else what is shared could not be read again
            old, known = base.record.values.get(channel), base.known.get(channel)
        try:
            draft = channels.draft(serde, value, old, known, self.tools.share)
        except Exception as exc:
            raise _unstorable(exc, f"channel {channel!r} of thread {self.given.thread!r}") from exc
        self.shares = self.shares or draft.keeps()
        if draft.known is not None:
            self.known[channel] = draft.known
        return self._place(draft)

    def _place(self, draft: Draft) -> Value:
        """Give the new elements their slots."""
        whole = draft.kind == "whole"
        added = draft.added()
        if not added:
            parts = tuple(piece for piece in draft.pieces if isinstance(piece, Slice))
            return Value(draft.kind, draft.typed, parts, draft.tail)
        tail = self.tail if whole else draft.tail
        if tail is None or tail.branch in self.moved:
            tail = Tail(self.tools.new_branch(), 0)
        start = self.sizes.get(tail.branch)
        if start is None:
            start = tail.size
            guard = layout.branch(tail.branch)
            self.tails[guard] = tail.branch
            self.guards.append(Expect(guard, etag(b"%d" % start) if start else False))
        value, end = draft.place(Tail(tail.branch, start))
        self.sizes[tail.branch] = end.size
        self.added.append((Slice(tail.branch, start, end.size), added))
        if whole:
            self.tail = end
            return value._replace(tail=None)
        return value

    def _record(self, versions: Versions, values: dict[str, Value]) -> Record:
        given, checkpoint = self.given, self.given.checkpoint
        seen = records.plain_seen(checkpoint.get("versions_seen"))
        apart = {"id", "channel_values", "channel_versions"} | ({"versions_seen"} if seen is not None else set())
        fields = {name: value for name, value in checkpoint.items() if name not in apart}
        place = f"checkpoint {checkpoint['id']!r} of thread {given.thread!r}"
        for names in (fields, given.metadata):
            if not all(isinstance(name, str) for name in names):
                raise Unstorable(f"{place} and its metadata are dicts of names, which are text: {list(names)!r:.200}")
        old = given.parent and isinstance(checkpoint.get("v"), int) and checkpoint["v"] < 4 and TASKS not in values
        return Record(
            given.ns,
            checkpoint["id"],
            given.parent,
            _dump(self.tools, fields, place),
            _dump(self.tools, given.metadata, f"metadata of {place}"),
            versions,
            seen,
            values,
            self.tail,
            given.parent if old else None,
        )


class _Kept(NamedTuple):
    """What channels that are not new keep."""

    values: dict[str, Value]
    holders: dict[bytes, str]
    """The records beside the base in which elements were found."""
    missing: Versions
    """Channels whose version is stored nowhere."""


def _kept(given: Input, versions: Versions, base: Base | None) -> Plan[_Kept]:
    """Find the values of channels that are not new."""
    missing = {channel: version for channel, version in versions.items() if channel not in given.new_versions}
    kept = _Kept({}, {}, missing)
    if base is not None:
        _take(kept, base.record)
    if missing and given.parent and base is None:
        (rows,) = yield from must(given.partition, exactly(given.ns, given.parent))
        _take_from(kept, given, rows)
    lo, hi = keys.below("c", given.ns)
    while missing:
        (rows,) = yield from must(given.partition, Range(lo, hi, limit=SCAN, reverse=True))
        _take_from(kept, given, rows)
        if len(rows) < SCAN:
            break
        hi = rows[-1][0]
    return kept


def _take_from(kept: _Kept, given: Input, rows: Sequence[Row]) -> None:
    for key, value in rows:
        if kept.missing:
            stored = records.unpack(key, value, given.thread)
            if _take(kept, stored.record):
                kept.holders[key] = stored.etag


def _take(kept: _Kept, record: Record) -> bool:
    """Take what a record has at the wanted versions; whether elements are among it."""
    shared = False
    for channel, version in list(kept.missing.items()):
        if channel in record.versions and record.versions[channel] == version:
            del kept.missing[channel]
            if channel in record.values:
                kept.values[channel] = record.values[channel]
                shared = shared or bool(record.values[channel].parts)
    return shared


def _dump(tools: Tools, value: Any, place: str) -> Typed:
    try:
        return tools.serde.dumps_typed(value)
    except Exception as exc:
        raise _unstorable(exc, place) from exc


def _unstorable(exc: Exception, place: str) -> SessionStoreError:
    what = str(exc) if isinstance(exc, Unstorable) else f"{type(exc).__name__}: {exc}"
    return Unstorable(f"{place} cannot be stored: {what}")
