"""Sessions as a whole: begin, describe, list, delete, lease.

Rule 1: the list hears of a session before it begins, and after it has ended. So it may name one that is not there, and
        never lacks one that is; who reads the list looks into the partitions, and takes off what has long been gone.
Rule 2: a session ends in one step. What is left is a tombstone without content, which has an end of its own, and
        refuses all writes until then: a graph that still runs somewhere does not bring the session back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from .. import keys
from ..errors import (
    ConflictError,
    DataError,
    ForeignStorage,
    LeaseHeld,
    OutcomeUnknown,
    SessionStoreError,
)
from ..info import SessionInfo, timestamp
from ..ops import (
    Batch,
    Call,
    Calls,
    Conflict,
    Drop,
    Entries,
    Entry,
    Expect,
    ExpectLease,
    Expire,
    Forget,
    Get,
    Lease,
    Op,
    Page,
    Plan,
    Put,
    Tally,
    Touch,
    call,
    casual,
    etag,
    must,
)
from .desk import Chance, Desk
from .details import Born, unpack_born, unpack_details
from .entry import (
    FOREVER,
    Life,
    afterwards,
    announce,
    answers,
    decided,
    raise_refused,
    unlist,
    unpack_life,
    was_listed,
)
from .layout import VERSION
from .places import BORN, DETAILS, LIFE, LOG, REGISTRY, UNDO, session_named
from .tools import TRIES, Tools

Orders = Literal["created", "updated", "name"]
_ORDERS: Mapping[str, Literal["created", "active", "name"]] = {
    "created": "created",
    "updated": "active",
    "name": "name",
}
LONG_GONE = 60_000  # milliseconds after which a session that is listed and not there will not begin any more


def create(desk: Desk, life: Life, ops: Sequence[Op], now: int) -> Plan[bytes | None]:
    """Begin a session with these rows: its incarnation; None: there is one with this id."""
    partition = desk.partition
    rows = (*ops, Put(LIFE, life.pack()), *life.end())
    grave: Op = Expect(keys.INCARNATION, False)
    drop: Sequence[Op] = ()
    for _ in range(TRIES):
        batch = Batch(grave, *drop, *rows, Get(keys.INCARNATION), op_id=desk.chance.new_id())
        calls = [announce(partition, now), Call(partition, batch)]
        told = Touch(partition, at=now, ttl=life.ttl or None, expires=None if life.ttl else 0)
        calls += [Call(REGISTRY, Batch(told))] if life.ttl else []
        listed, outcome, *_ = yield from answers(calls, 1)
        if not isinstance(outcome, Conflict):
            if not life.ttl and was_listed(listed, partition):  # that was another session with this id
                yield from afterwards(must(REGISTRY, told))
            incarnation: bytes = outcome[-1]
            return incarnation
        there, tombstone = yield from must(partition, Get(keys.INCARNATION), Get(keys.TOMBSTONE))
        if tombstone is not None:
            grave, drop = Expect(keys.TOMBSTONE, etag(tombstone)), (Drop(),)
        elif there is not None:
            return None
        else:
            grave, drop = Expect(keys.INCARNATION, False), ()
    raise ConflictError(f"session {desk.session_id!r} was made and deleted each time before it could begin")


class Found(NamedTuple):
    """A session that is there."""

    info: SessionInfo
    incarnation: bytes
    born: Born
    watched: Sequence[bytes | None]
    """Rows of it, as they were."""
    life: bytes | None
    """The row that says how long it lives."""

    @property
    def unchanged(self) -> list[Op]:
        """The guards: it has these details still; and, when it was watched, nobody has used it since."""
        rows = zip(_WATCHED, self.watched, strict=False)
        return [Expect(key, False if row is None else etag(row)) for key, row in rows]


_WATCHED = (keys.INCARNATION, keys.TOMBSTONE, DETAILS, LOG, UNDO, VERSION)
"""What changes when somebody uses a session."""
_LOOK = Batch(Get(BORN), Get(LIFE), *map(Get, _WATCHED[:3]))
"""What tells which session it is, with which details."""
_WATCH = Batch(Get(BORN), Get(LIFE), *map(Get, _WATCHED))


def describe(tools: Tools, session_id: str) -> Plan[Found | None]:
    """What is known about a session; None: there is none."""
    partition = keys.session(session_id)
    entries, rows = yield Calls([Call(REGISTRY, Batch(Page("name", partition, limit=1))), Call(partition, _LOOK)])
    assert not isinstance(entries, Conflict)
    page: Entries = entries[0]
    entry = next((each for each in page.rows if each.name == partition), None)
    return _found(tools, session_id, entry, rows)


def _found(tools: Tools, session_id: str, entry: Entry | None, rows: Any) -> Found | None:
    born_row, life_row, *watched = rows
    incarnation, tombstone, details_row, *_ = watched
    if incarnation is None or tombstone is not None:
        return None
    born = unpack_born(born_row, session_id) or Born(entry.created if entry else 0, None)
    details = unpack_details(tools, details_row, session_id)
    updated = max(entry.active, born.created) if entry else born.created
    life = unpack_life(life_row, session_id)
    ends = life.ttl + (updated if life.sliding else born.created)  # for a list that has not heard of it
    info = SessionInfo(
        session_id,
        timestamp(born.created),
        timestamp(updated),
        details.title,
        details.metadata,
        born.parent,
        timestamp(entry.expires if entry and entry.expires else ends) if life.ttl else None,
        details.system,
    )
    return Found(info, incarnation, born, watched, life_row)


class Listed(NamedTuple):
    """A page of the list."""

    found: list[Found]
    actives: list[int]
    """When each was last active, by the list."""
    places: list[int]
    """Which line of the list each is."""
    cursor: bytes


def page(
    tools: Tools,
    by: Orders,
    descending: bool,
    after: bytes,
    limit: int,
    wanted: Mapping[str, Any],
    now: int,
    *,
    watch: bool = False,
) -> Plan[Listed]:
    """A page of sessions whose metadata is as wanted; with that, it may be short and yet not the last.

    With `watch`, what was found can tell later whether somebody has used them since.
    """
    (found,) = yield from must(REGISTRY, Page(_ORDERS[by], after=after, limit=limit, reverse=descending))
    entries: Entries = found
    if not entries.rows:
        return Listed([], [], [], entries.cursor)
    looked = yield from _look_at([Call(entry.name, _WATCH if watch else _LOOK) for entry in entries.rows])
    fitting, actives, places = [], [], []
    gone, foreign = [], []
    for place, (entry, rows) in enumerate(zip(entries.rows, looked, strict=True)):
        if isinstance(rows, ForeignStorage):  # the place is somebody else's, and no session
            foreign.append(entry.name)
            continue
        session_id = session_named(entry.name)
        if session_id is None:  # whoever wrote this line, it hides nothing that could be shown
            foreign.append(entry.name)
            continue
        try:
            one = _found(tools, session_id, entry, rows)
        except DataError as exc:
            raise type(exc)(f"{exc}; delete_session({session_id!r}) takes the session away") from exc
        if one is None:
            if max(entry.created, entry.active) < now - LONG_GONE:
                gone.append(entry.name)
        elif _fits(one.info, wanted):
            fitting.append(one)
            actives.append(entry.active)
            places.append(place)
    yield from casual(unlist(gone))
    if foreign:
        yield from casual(must(REGISTRY, *map(Forget, foreign)))
    return Listed(fitting, actives, places, entries.cursor)


def _look_at(looks: Sequence[Call]) -> Plan[Sequence[Any]]:
    """What there is to see of each of these sessions; `ForeignStorage` in the place of one that is none."""
    try:
        return (yield Calls(looks))
    except SessionStoreError as exc:
        found = exc.answers if exc.answers and len(looks) > 1 else [exc]
        for each in found:
            if isinstance(each, SessionStoreError) and not isinstance(each, ForeignStorage):
                raise each from exc
        return found


def cursor_behind(by: Orders, descending: bool, after: bytes, lines: int) -> Plan[bytes]:
    """Where a page begins that leaves so many lines behind."""
    (found,) = yield from must(REGISTRY, Page(_ORDERS[by], after=after, limit=lines, reverse=descending))
    entries: Entries = found
    return entries.cursor


def _fits(info: SessionInfo, wanted: Mapping[str, Any]) -> bool:
    return all(name in info.metadata and info.metadata[name] == value for name, value in wanted.items())


def count() -> Plan[int]:
    """How many sessions there are."""
    (total,) = yield from must(REGISTRY, Tally())
    number: int = total
    return number


def delete(chance: Chance, session_id: str, stays: int, incarnation: bytes | None = None) -> Plan[bool]:
    """End a session, or this one alone; whether there was one. Its tombstone stays for so many milliseconds."""
    partition, mark = keys.session(session_id), chance.new_id()
    grave: list[Op] = [Put(keys.TOMBSTONE, mark), Expire(ttl=stays)] if stays else []
    there = True if incarnation is None else etag(incarnation)
    ends = Batch(Expect(keys.INCARNATION, there), Expect(keys.TOMBSTONE, False), Drop(), *grave)
    unlisted = Call(REGISTRY, Batch(Forget(partition)))
    try:
        outcome = yield from decided([Call(partition, ends), unlisted], 0)
    except OutcomeUnknown:
        (tombstone,) = yield from must(partition, Get(keys.TOMBSTONE))
        if tombstone != mark:
            raise
        yield Calls([unlisted])
        return True
    return not isinstance(outcome, Conflict)


def delete_many(chance: Chance, chosen: Sequence[Found], stays: int) -> Plan[int]:
    """End sessions that are `unchanged` since they were found, in one trip; how many."""
    ends = []
    for found in chosen:
        grave: list[Op] = [Put(keys.TOMBSTONE, chance.new_id()), Expire(ttl=stays)] if stays else []
        ends.append(Call(keys.session(found.info.id), Batch(*found.unchanged, Drop(), *grave)))
    outcomes = (yield Calls(ends)) if ends else []
    gone = [each.partition for each, outcome in zip(ends, outcomes, strict=True) if not isinstance(outcome, Conflict)]
    yield from afterwards(unlist(gone))
    return len(gone)


# -- leases: a lost one is no harm, for every write that relies on it looks whether it is there


def take_lease(desk: Desk, token: bytes, ttl: int) -> Plan[None]:
    """Begin an exclusive turn."""
    guards = _there(desk)
    batch = Batch(*guards, Lease(token, ttl), repeatable=True)
    (outcome,) = yield Calls([Call(desk.partition, batch)], casual=True)
    if isinstance(outcome, Conflict):
        raise_refused(batch.ops[outcome.guard], desk.session_id, token)
        raise LeaseHeld(f"another worker has a lease on session {desk.session_id!r}")


def renew_lease(desk: Desk, token: bytes, ttl: int) -> Plan[None]:
    """Go on with it, if it is not lost."""
    batch = Batch(*_there(desk), ExpectLease(token), Lease(token, ttl), repeatable=True)
    (outcome,) = yield Calls([Call(desk.partition, batch)], casual=True)
    if isinstance(outcome, Conflict):
        raise_refused(batch.ops[outcome.guard], desk.session_id, token)


def end_lease(desk: Desk, token: bytes) -> Plan[None]:
    """Give it back; one that is lost already has nothing to give."""
    yield from call(desk.partition, ExpectLease(token), Lease(token, 0))


def _there(desk: Desk) -> list[Op]:
    wanted = desk.writer.incarnation
    return [
        Expect(keys.TOMBSTONE, False),
        Expect(keys.INCARNATION, True if wanted is None else etag(wanted)),
    ]


# -- how long it lives


def life_of(desk: Desk, *, look: bool = True, missing: Life = FOREVER) -> Plan[tuple[Life, list[Op]]]:
    """How long it lives, and the guards that it still does; without `look` from what this process knows, if it does.

    Where it does not say itself, as a thread of a graph, it is the one that is `missing`.
    """
    note = desk.writer.noted.of(desk.partition)
    if not look and note is not None and note.incarnation == desk.writer.incarnation:
        return unpack_life(note.life, desk.session_id, missing), _lives(note.incarnation, note.life)
    incarnation, tombstone, row = yield from must(desk.partition, Get(keys.INCARNATION), Get(keys.TOMBSTONE), Get(LIFE))
    desk.check(incarnation, tombstone)
    return unpack_life(row, desk.session_id, missing), _lives(incarnation, row)


def _lives(incarnation: bytes | None, life: bytes | None) -> list[Op]:
    return [
        Expect(key, False if row is None else etag(row)) for key, row in ((keys.INCARNATION, incarnation), (LIFE, life))
    ]


def set_life(desk: Desk, life: Life) -> Plan[None]:
    """Let it live for so long from now on."""
    ops: list[Op] = [Put(LIFE, life.pack()), Expire(ttl=life.ttl) if life.ttl else Expire()]
    entry = desk.entry()
    outcome = yield from entry.send((), ops, op_id=desk.chance.new_id())
    assert not isinstance(outcome, Conflict)
    yield from afterwards(must(REGISTRY, Touch(desk.partition, expires=outcome[-1] or 0)))  # the very same moment
