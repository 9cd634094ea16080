"""How a write enters a session: what it has to expect, what it tells the list, how long the session lives after it.

Rule 1: whoever writes to a session enters here. So a session that was deleted does not come back, a worker whose lease
        is lost stores nothing, and a session that lives as long as it is used has its end moved by the write itself.
Rule 2: it costs no trip: guards and additions ride in the write's own batch, and the list is told beside it. A second
        trip is needed when this process does not know yet how long the session lives.
Rule 3: the list is a hint, so the batch alone decides how a write ends. But it hides what it believes to be over: an
        end that it heard beside a refused try, or of an earlier session with this id, is put right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from .. import codec, keys
from ..errors import (
    BackendUnavailable,
    ConflictError,
    CorruptData,
    LeaseHeld,
    LeaseLost,
    MessagesElsewhere,
    OutcomeUnknown,
    SessionDeleted,
    SessionNotFound,
    SessionStoreError,
)
from ..ops import (
    Batch,
    Call,
    Calls,
    Conflict,
    Expect,
    ExpectLease,
    Expire,
    Forget,
    Get,
    Op,
    Outcome,
    Page,
    Plan,
    Put,
    PutNew,
    Touch,
    etag,
    must,
    must_all,
)
from . import order
from .noted import Note, Noted, touch_of
from .places import GRAPH, LIFE, LOG, ORDER, REGISTRY
from .tools import TRIES

T = TypeVar("T")


class Life(NamedTuple):
    """How long a session lives: so many milliseconds (0: for ever) from its creation, or from its last use."""

    ttl: int = 0
    sliding: bool = True

    def pack(self) -> bytes:
        return codec.pack(list(self))

    def end(self) -> list[Op]:
        """What sets the end of a session that is used now."""
        return [Expire(ttl=self.ttl)] if self.ttl else []


FOREVER = Life()


def unpack_life(stored: bytes | None, session_id: str, missing: Life = FOREVER) -> Life:
    """How long a session lives, from its row."""
    if stored is None:
        return missing
    place = f"the lifetime of session {session_id!r}"
    fields = codec.unpack(stored, place)
    if not (isinstance(fields, list) and len(fields) == 2 and type(fields[0]) is int and 0 <= fields[0] < 1 << 46):
        raise CorruptData(f"{place} is damaged")
    return Life(fields[0], bool(fields[1]))


class Writer(NamedTuple):
    """Who writes: what is known in its process, for how long new sessions live, with which lease, in which life."""

    noted: Noted
    life: Life | None = None
    """Of sessions that begin with this write; None: for ever."""
    lease: bytes = b""
    incarnation: bytes | None = None
    """The session has to be this one still; None: whichever there is, and a new one if there is none."""


class Entry:
    """One write to a session, on its way in."""

    def __init__(
        self,
        writer: Writer,
        session_id: str,
        *,
        run: str | None = None,
        turn: bool = True,
        channel: str | None = None,
        exclusive: bool = True,
    ) -> None:
        self.session_id = session_id
        self.partition = keys.session(session_id)
        self.incarnation = b""
        """Of the session, when the write was done."""
        self._writer = writer
        self._run = run
        self._turn = turn
        self._channel = channel
        """The channel with the session's messages, when the write holds it."""
        self._exclusive = exclusive
        """Whether it has to wait its turn, when somebody has a lease."""

    def send(
        self, guards: Sequence[Op], ops: Sequence[Op], *, op_id: bytes | None = None, repeatable: bool = False
    ) -> Plan[Outcome]:
        """Do it: the replies of guards and ops, or the conflict of one of these guards."""
        noted = self._writer.noted
        log_is_empty: list[Op] = [Expect(LOG, False)]
        told = False
        for _ in range(TRIES):
            note = noted.of(self.partition)
            own, more = self._demands(note, log_is_empty)
            # in front of the operations, whose replies are counted from the end
            before = [Get(keys.INCARNATION)] if note is None else []
            now = Get(keys.INCARNATION), Get(LIFE)
            batch = Batch(*own, *guards, *before, *more, *ops, *now, op_id=op_id, repeatable=repeatable)
            touch = self._touch(note, told)
            begun = next((op for op in more if isinstance(op, Expire) and note is None), None)
            then = Touch(self.partition, ttl=begun.ttl) if begun is not None else None
            listed, outcome = yield from send(self.partition, batch, touch, note is None, then)
            if isinstance(outcome, Conflict):
                if outcome.guard >= len(own):
                    return Conflict(outcome.guard - len(own))
                told = told or (touch is not None and touch.ttl is not None)
                log_is_empty = yield from self._refused(batch.ops[outcome.guard], note, log_is_empty, told)
                continue
            self.incarnation, life = outcome[-2:]
            replies = outcome[len(own) : len(own) + len(guards)]
            other = note is None and outcome[len(own) + len(guards)] is None and was_listed(listed, self.partition)
            yield from self._learn(note, life, touch is not None, any(isinstance(op, Expire) for op in more), other)
            return [*replies, *outcome[-2 - len(ops) : -2]]
        raise ConflictError(f"session {self.session_id!r} was changed each time before it could be written to")

    def _demands(self, note: Note | None, log_is_empty: Sequence[Op]) -> tuple[list[Op], list[Op]]:
        """What the session has to be like, and what is done beside the write."""
        writer = self._writer
        own: list[Op] = [Expect(keys.TOMBSTONE, False)]
        if writer.incarnation is not None:
            own.append(Expect(keys.INCARNATION, etag(writer.incarnation)))
        more: list[Op] = []
        if note is None and writer.life is not None and writer.incarnation is None:
            own.append(Expect(LIFE, False))
            more += [Put(LIFE, writer.life.pack()), *writer.life.end()]
        elif note is not None and note.life is not None:
            own.append(Expect(LIFE, etag(note.life)))  # which also tells a session that has begun anew since
            life = unpack_life(note.life, self.session_id)
            more += life.end() if life.sliding else []
        if self._exclusive:  # behind the lifetime: who is refused by a lease has told the list no wrong end
            own.append(ExpectLease(writer.lease))
        if self._channel is not None and note is not None and note.graph:
            own.append(Expect(GRAPH, True))
        elif self._channel is not None:
            own += log_is_empty
            more.append(PutNew(GRAPH, self._channel.encode("utf-8", "surrogatepass")))
        return own, more

    def _touch(self, note: Note | None, told: bool) -> Touch | None:
        """What the list has to hear, if anything. How long the session lives it hears when that is known.

        Was it `told` an end beside a try that was refused, it hears another: of a fixed lifetime the latest possible.
        """
        if note is None:
            return touch_of(self.partition, self._run, 0 if told else None)
        life = unpack_life(note.life, self.session_id)
        ends = told or (life.sliding and life.ttl > 0)
        if not ends and not self._turn and not note.turn and self._run in (None, note.run):
            return None
        return touch_of(self.partition, self._run, life.ttl if ends else None)

    def _refused(self, failed: Op, note: Note | None, log_is_empty: list[Op], told: bool) -> Plan[list[Op]]:
        """Raise what it means; or find out what was not known: what an empty log looks like here."""
        try:
            raise_refused(failed, self.session_id, self._writer.lease)
        except (SessionDeleted, SessionNotFound):
            look = Get(keys.INCARNATION), Get(keys.TOMBSTONE), Get(LIFE)
            there, tombstone, life = yield from must(self.partition, *look)
            if there is None or tombstone is not None:
                yield from unlist([self.partition])  # the list was told beside the write
            elif told:
                yield from must(REGISTRY, touch_of(self.partition, None, unpack_life(life, self.session_id).ttl))
            raise
        incarnation, life, graph, log, view = yield from must(
            self.partition, Get(keys.INCARNATION), Get(LIFE), Get(GRAPH), Get(LOG), Get(ORDER)
        )
        if failed in log_is_empty and graph is None:
            if order.length(view, log, self.session_id):
                raise MessagesElsewhere(
                    f"session {self.session_id!r} has messages in its log, and a graph is about to keep its own in "
                    f"channel {self._channel!r}: use another session for the graph, or clear(purge=True) this one"
                )
            log_is_empty = [Expect(LOG, _state(log)), Expect(ORDER, _state(view))]
        run = note.run if note else None
        if incarnation is None:
            self._writer.noted.forget(self.partition)
        else:
            self._writer.noted.note(self.partition, Note(run, incarnation, life, graph is not None))
        return log_is_empty

    def _learn(self, note: Note | None, life: bytes | None, told: bool, moved: bool, other: bool) -> Plan[None]:
        """Know more than before; and do what the write could not, because it was not known.

        With `other`, the list knew another session with this id, and this write has begun a new one.
        """
        anew = note is not None and note.incarnation != self.incarnation
        known = note is not None and note.life == life
        run = self._run if self._run is not None or note is None or anew else note.run
        graph = self._channel is not None or (note is not None and note.graph and not anew)
        self._writer.noted.note(self.partition, Note(run, self.incarnation, life, graph))
        lives = unpack_life(life, self.session_id)
        if lives.ttl and lives.sliding and not known and not moved:
            touch = touch_of(self.partition, self._run, lives.ttl)
            end = Batch(Expect(LIFE, etag(life or b"")), *lives.end(), repeatable=True)
            yield from afterwards(send(self.partition, end, touch))
        elif (anew or other) and not (told and lives.ttl):
            ends = None if lives.ttl else 0  # else the end of the other one would be its end in the list
            yield from afterwards(must(REGISTRY, touch_of(self.partition, self._run, ends)))


def raise_refused(failed: Op, session_id: str, lease: bytes) -> None:
    """Raise what a failed guard means, when it is one of those that every write to a session has."""
    if isinstance(failed, ExpectLease):
        if lease:
            raise LeaseLost(f"the lease on session {session_id!r} has ended: nothing of this was stored")
        raise LeaseHeld(f"another worker has a lease on session {session_id!r}: nothing of this was stored")
    if isinstance(failed, Expect) and failed.key == keys.TOMBSTONE:
        raise SessionDeleted(
            f"session {session_id!r} was deleted: nothing of this was stored; create_session({session_id!r}) begins "
            "a new one"
        )
    if isinstance(failed, Expect) and failed.key == keys.INCARNATION:
        raise SessionNotFound(f"session {session_id!r} is no longer there: it has expired, or was deleted")


def send(
    partition: bytes, batch: Batch, touch: Touch | None, first: bool = False, then: Touch | None = None
) -> Plan[tuple[Any, Outcome]]:
    """Apply a batch, and tell the list beside it; `then` what it hears afterwards.

    Is it the `first`, the list hears of it before, and its reply, which comes along, says what it knew (`was_listed`).
    """
    calls = [Call(partition, batch)]
    if touch is not None:
        known = [Page("name", partition, limit=1)] if first else []
        calls.insert(0, Call(REGISTRY, Batch(*known, touch)))
    calls += [Call(REGISTRY, Batch(then))] if then is not None else []
    at = 0 if touch is None else 1
    found = yield from answers(calls, at, first and at > 0)
    return (found[0] if at else None), found[at]


def decided(calls: Sequence[Call], at: int, ordered: bool = True) -> Plan[Outcome]:
    """Do these calls; the one at this place alone decides how it ends, whatever became of the others."""
    outcome: Outcome = (yield from answers(calls, at, ordered))[at]
    return outcome


def answers(calls: Sequence[Call], at: int, ordered: bool = True) -> Plan[Sequence[Any]]:
    """The same, with what became of the others: outcomes, and errors."""
    try:
        return (yield Calls(calls, ordered=ordered))
    except SessionStoreError as exc:
        all_ = exc.answers if exc.answers and len(exc.answers) > 1 else [exc] * len(calls)
        if isinstance(all_[at], SessionStoreError):
            first = next(each for each in all_ if isinstance(each, SessionStoreError))  # why it was not tried, maybe
            cause = first if ordered and isinstance(all_[at], BackendUnavailable) else all_[at]
            raise cause from (exc if cause is not exc else exc.__cause__)
        return all_


def announce(partition: bytes, at: int | None = None) -> Call:
    """Tells the list of a session that is about to begin; replies what the list knows of one with this name."""
    return Call(REGISTRY, Batch(Page("name", partition, limit=1), Touch(partition, at=at, new=True)))


def was_listed(reply: Any, partition: bytes) -> bool:
    """Whether the list knew of another session with this name, from the reply to `announce`."""
    return isinstance(reply, list) and any(entry.name == partition for entry in reply[0].rows)


def unlist(partitions: Sequence[bytes]) -> Plan[None]:
    """Take sessions from the list that are not there; and look again, for one may have begun meanwhile."""
    if not partitions:
        return
    yield from must(REGISTRY, *map(Forget, partitions))
    look = Get(keys.INCARNATION), Get(keys.TOMBSTONE), Get(LIFE)
    found = yield from must_all([Call(partition, Batch(*look)) for partition in partitions])
    back = [
        touch_of(name, None, unpack_life(life, "").ttl or None)
        for name, (there, tombstone, life) in zip(partitions, found, strict=True)
        if there and tombstone is None
    ]
    if back:
        yield from must(REGISTRY, *back)


def afterwards(plan: Plan[T]) -> Plan[T]:
    """Do what belongs to a write that was done: when this fails, the write is there all the same."""
    try:
        return (yield from plan)
    except OutcomeUnknown:
        raise
    except SessionStoreError as exc:
        raise OutcomeUnknown(f"this was stored, but not all that belongs to it: {exc}") from exc


def _state(value: bytes | None) -> bool | str:
    return False if value is None else etag(value)
