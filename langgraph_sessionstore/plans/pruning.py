"""Taking checkpoints away: whole threads, all but the newest, the old ones, those of some runs; and copying threads.

Rule 1: first the records go, then the elements that no record refers to any more. In between nothing is wrong, and what
        is dead stays dead (see `layout`), so the second step needs no guard but on branches that end.
Rule 2: ancestors are kept from which a remaining checkpoint rebuilds a delta channel. That relies on no other
        checkpoint being put meanwhile, so it is guarded, and begins again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, NamedTuple

from .. import keys
from ..errors import ConflictError, DataError, SessionExists
from ..ops import (
    Add,
    Batch,
    Call,
    Calls,
    Conflict,
    Delete,
    DeleteRange,
    Drop,
    Entries,
    Expect,
    ExpectEmpty,
    Expire,
    Forget,
    Get,
    Op,
    Page,
    Plan,
    Put,
    Range,
    Row,
    Touch,
    call,
    etag,
    must,
)
from . import layout, records
from .cache import Name
from .collecting import collect
from .entry import Life, afterwards, announce, answers, raise_refused
from .given import milliseconds
from .places import GRAPH, HEAD, LIFE, REGISTRY, session_named
from .reading import load_fields, load_metadata, run_of, unpack_write
from .records import Stored
from .tools import TRIES, Tools

RUNS = 100  # threads of a run that are looked up in one trip


def delete_thread(tools: Tools, thread: str) -> Plan[None]:
    """Delete all checkpoints and writes of a thread; and the session, when nothing else is in it."""
    partition = keys.session(thread)
    tools.cache.forget(partition)
    delete = Batch(*(DeleteRange(*span) for span in layout.AREA))
    yield Calls([Call(partition, delete), *_unlist(partition)], ordered=True)


def _unlist(partition: bytes) -> list[Call]:
    """Calls that take an empty partition away, and off the list. They end at a conflict when it is not empty."""
    lo, hi = layout.only(LIFE)  # what says how long it shall live does not make it a session
    drop = Batch(Expect(keys.TOMBSTONE, False), ExpectEmpty(b"", lo), ExpectEmpty(hi, None), Drop())
    return [Call(partition, drop), Call(REGISTRY, Batch(Forget(partition)))]


def keep_latest(tools: Tools, thread: str, only: bytes | None = None, before: int | None = None) -> Plan[int]:
    """Delete all but the newest checkpoint of each namespace, and what that one needs; how many these were.

    With `only`, when this is still the incarnation: another session with this id stays as it is. With `before`, what
    was made later than that moment stays as well, and what does not say when it was made.
    """

    def choose(stored: Mapping[Name, Stored]) -> set[Name]:
        newest: dict[str, str] = {}
        for ns, checkpoint_id in stored:
            newest[ns] = max(newest.get(ns, ""), checkpoint_id)
        young = () if before is None else (name for name, one in stored.items() if not _old(tools, one, before))
        return {*newest.items(), *young}

    return (yield from _retain(tools, thread, choose, only=only))


def _old(tools: Tools, stored: Stored, before: int) -> bool:
    """Whether a checkpoint is known to be made at this moment or earlier."""
    with suppress(DataError, ValueError, OverflowError):
        said = load_fields(tools, "", stored).get("ts")
        if isinstance(said, str):
            moment = datetime.fromisoformat(said.replace("Z", "+00:00"))
            return milliseconds(moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)) <= before
    return False


def delete_runs(tools: Tools, runs: Collection[str]) -> Plan[None]:
    """Delete the checkpoints of these runs, in whichever threads they are."""
    gone = set(runs)
    threads: dict[str, None] = {}
    for run in runs:
        after: bytes | None = b""
        while after is not None:
            (found,) = yield from must(REGISTRY, Page("run", keys.encode(run), after, RUNS))
            entries: Entries = found
            threads.update((name, None) for entry in entries.rows if (name := session_named(entry.name)) is not None)
            after = entries.cursor or None
    for number, thread in enumerate(threads):
        plan = _retain(tools, thread, _without(tools, thread, gone), gone)
        yield from afterwards(plan) if number else plan


def _without(tools: Tools, thread: str, gone: set[str]) -> Callable[[Mapping[Name, Stored]], set[Name]]:
    def choose(stored: Mapping[Name, Stored]) -> set[Name]:
        return {name for name, one in stored.items() if run_of(tools, thread, one) not in gone}

    return choose


class Times(NamedTuple):
    """When a copy was made first, and used last, and when it ends, in milliseconds since 1970; None: as of now."""

    created: int | None = None
    active: int | None = None
    ends: int | None = None

    def end(self, life: Life) -> list[Op]:
        """What sets the end of one that lives so long."""
        return [Expire(at=self.ends)] if life.ttl and self.ends is not None else life.end()


def copy(
    tools: Tools,
    source: bytes,
    target: str,
    life: Life | None,
    ops: Sequence[Op],
    op_id: bytes,
    *,
    lift: bool = False,
    same: Sequence[Op] = (),
    runs: Iterable[str] = (),
    times: Times | None = None,
) -> Plan[bytes | None]:
    """Copy a partition to a new session, and do this to the copy: its incarnation, or None for nothing to copy.

    It lives for so long; None: its first writer says so. With `lift`, a deleted session with that id is no obstacle.
    `same` are guards that the source has to meet; else there is nothing to copy. It is found by the runs of the source,
    and by these. With `times` it goes on as of then, instead of being used now.
    """
    partition = keys.session(target)
    tools.cache.forget(partition)
    grave = Expect(keys.TOMBSTONE, False)
    times = times or Times()
    own = [*ops, *([Delete(LIFE)] if life is None else [Put(LIFE, life.pack()), *times.end(life)])]
    ttl = life.ttl if life else 0
    ends = times.ends if ttl else 0
    names = tuple(keys.encode(run) for run in sorted(runs))
    told = Touch(partition, times.active, ends, ttl if ends is None else None, names, like=source)
    look = [Call(source, Batch(*same))] if same else []
    for _ in range(TRIES):
        batch = Batch(grave, ExpectEmpty(b"", None), *own, Get(keys.INCARNATION), op_id=op_id)
        calls = [
            *look,
            announce(partition, times.created),
            Call(partition, batch, source=source),
            Call(REGISTRY, Batch(told)),
        ]
        *_, outcome, heard = yield from answers(calls, len(look) + 1)
        if not isinstance(outcome, Conflict) or outcome != Conflict(0) or not lift:
            break
        (tombstone,) = yield from must(partition, Get(keys.TOMBSTONE))
        grave = Expect(keys.TOMBSTONE, False if tombstone is None else etag(tombstone))
    if isinstance(outcome, Conflict):
        if outcome.guard < 0:
            yield Calls([*_unlist(partition)], ordered=True)
            return None
        raise_refused(batch.ops[outcome.guard], target, b"")
        raise SessionExists(f"session {target!r} exists already: choose another id, or delete it first")
    if not isinstance(heard, list):
        yield from afterwards(must(REGISTRY, told))
    incarnation: bytes = outcome[-1]
    return incarnation


def runs_of(tools: Tools, thread: str, rows: Sequence[Row]) -> set[str]:
    """The runs that made these checkpoints, as far as that can be read."""
    runs: set[str | None] = set()
    for key, value in rows:
        with suppress(DataError):  # a copy is like what it was copied from, damage included
            runs.add(run_of(tools, thread, records.unpack(key, value, thread)))
    return {run for run in runs if run is not None}


def _retain(
    tools: Tools,
    thread: str,
    choose: Callable[[Mapping[Name, Stored]], set[Name]],
    runs: set[str] | None = None,
    only: bytes | None = None,
) -> Plan[int]:
    """Delete all checkpoints but the chosen ones and what those need; how many went.

    With `runs`, also what these have written to checkpoints that stay; without, all writes older than those.
    """
    partition = keys.session(thread)
    for _ in range(TRIES):
        asked = Get(keys.INCARNATION), Get(layout.VERSION), Range(*layout.RECORDS)
        incarnation, version, found = yield from must(partition, *asked)
        if incarnation is None or only not in (None, incarnation):
            return 0
        stored = {layout.record_name(key): records.unpack(key, value, thread) for key, value in found}
        delta = _delta(tools, thread, stored)
        chosen = choose(stored)
        kept = chosen | _needed(stored, chosen, delta)
        gone = stored.keys() - kept
        packets = _packets(stored, kept)
        ops: list[Op] = [Expect(keys.INCARNATION, etag(incarnation))]  # what is deleted meanwhile shall stay so
        if version is not None and any(delta.values()):
            ops.append(Expect(layout.VERSION, etag(version)))
        guards = len(ops)
        for ns, checkpoint_id in sorted(gone):
            ops.append(Delete(layout.record(ns, checkpoint_id)))
            if ns:
                ops.append(Delete(layout.index(ns, checkpoint_id)))
        idle = gone | (_packets(stored, gone) - stored.keys())
        ops += [DeleteRange(*keys.below("w", *name)) for name in sorted(idle - packets)]
        if runs is None:
            first = dict(sorted(chosen, reverse=True))
            ops += [DeleteRange(*span) for span in _between({*kept, *packets}, first)]
        else:
            ops += [Delete(key) for key in (yield from _written(thread, stored, kept, runs))]
        outcome = yield from call(partition, *ops, *([Add(layout.VERSION, 1)] if gone else []))
        if isinstance(outcome, Conflict):
            continue
        rest = _rest(tools, thread, end=not kept)
        yield from afterwards(rest) if any(outcome[guards:]) else rest
        return len(gone)
    raise ConflictError(f"thread {thread!r} is too busy: it was changed each time before it could be pruned")


def _rest(tools: Tools, thread: str, end: bool) -> Plan[None]:
    """Take away what no record needs any more; at the `end` of the last one also what tells of a graph."""
    yield from collect(tools, thread)
    if end:
        gone_with_them = (layout.VERSION, GRAPH, HEAD)
        rest = Batch(ExpectEmpty(*layout.RECORDS), ExpectEmpty(*layout.WRITES), *map(Delete, gone_with_them))
        yield Calls([Call(keys.session(thread), rest), *_unlist(keys.session(thread))], ordered=True)


def _written(thread: str, stored: Mapping[Name, Stored], kept: set[Name], runs: set[str]) -> Plan[list[bytes]]:
    """The pending writes of these runs at checkpoints of others: at those they began from, or got no further than."""
    parents = {(one.record.ns, one.record.parent) for name, one in stored.items() if name in kept}
    begun = {(one.record.ns, one.record.parent) for name, one in stored.items() if name not in kept}
    spans = [keys.below("w", *name) for name in sorted(kept) if name in begun or name not in parents]
    replies = yield from must(keys.session(thread), *(Range(*span) for span in spans or [layout.WRITES]))
    writes = [(key, unpack_write(key, value, thread)) for rows in replies for key, value in rows]
    return [key for key, write in writes if write.run in runs]


def _needed(stored: Mapping[Name, Stored], kept: Iterable[Name], delta: Mapping[str, set[str]]) -> set[Name]:
    """The ancestors from which delta channels of the kept checkpoints are rebuilt."""
    needed: set[Name] = set()
    for name in kept:
        record = stored[name].record
        open_ = {channel for channel in delta[record.ns] if channel in record.versions} - record.values.keys()
        chain: set[Name] = set()
        while open_ and record.parent is not None:
            parent = record.ns, record.parent
            if parent not in stored or parent in chain:
                break
            chain.add(parent)
            record = stored[parent].record
            open_ -= record.values.keys()
        needed |= chain
    return needed


def _delta(tools: Tools, thread: str, stored: Mapping[Name, Stored]) -> dict[str, set[str]]:
    """By namespace, the channels that have been delta channels: one that is none any more may still be rebuilt."""
    delta: dict[str, set[str]] = {}
    for (ns, _), one in stored.items():
        counters: Any = load_metadata(tools, thread, one).get("counters_since_delta_snapshot") or {}
        delta.setdefault(ns, set()).update(counters if isinstance(counters, Mapping) else ())
    return delta


def _packets(stored: Mapping[Name, Stored], names: Iterable[Name]) -> set[Name]:
    """The checkpoints whose writes hold packets that are pending at these."""
    records = [stored[name].record for name in names]
    return {(record.ns, record.sends_of) for record in records if record.sends_of is not None}


def _between(kept: Iterable[Name], first: Mapping[str, str]) -> Iterable[keys.Span]:
    """The pending writes of a namespace that lie before the first one chosen, and between what that one needs.

    Those behind it stay: a write may come before its checkpoint.
    """
    last: dict[str, bytes] = {}
    for ns, checkpoint_id in sorted(kept):
        if checkpoint_id > first.get(ns, ""):
            continue
        prefix = layout.writes(ns, checkpoint_id)
        yield last.get(ns, keys.below("w", ns)[0]), prefix
        last[ns] = keys.below("w", ns, checkpoint_id)[1]
