"""Undo, redo, rewind.

Rule 1: undo takes back the newest operation, whoever made it; when another comes in between, it is refused.
Rule 2: what an operation changed is put back as it was, and kept for redo as it is now. In a graph's session the state
        from before is appended once more as the newest; when the graph has gone on meanwhile, that is refused.
"""

from __future__ import annotations

from .. import codec, keys
from ..errors import ConfigurationError, ConflictError, CorruptData, NothingToUndo, SessionError
from ..ops import Conflict, Delete, Expect, ExpectEmpty, Op, Plan, Put, etag, must
from . import contents, order, places, reading, records, steering
from .contents import Contents
from .desk import Desk
from .editing import Move, Step, begin, commit, put_or_delete, same_as, state_of, unpack_step
from .order import Order
from .places import DETAILS, GRAPH, HEAD, LOG, ORDER, REDO, SUMMARY, UNDONE
from .records import Stored
from .tools import TRIES


def undo(desk: Desk) -> Plan[str]:
    """Take back the newest operation; what it was."""
    found = yield from contents.read(desk, messages=False, history=True)
    if not found.undone or len(found.redo) >= desk.depth:  # rows that are too old are trimmed now and then only
        raise NothingToUndo(f"session {desk.session_id!r} has no operation left to undo")
    key, value = found.undone[-1]
    step = unpack_step(value, desk.session_id)
    guards: list[Op] = [Expect(key, etag(value)), ExpectEmpty(key + keys.END, UNDONE[1])]
    target = dict(step.before)
    if step.appended:
        numbers = contents.log_numbers(desk, found)
        if len(numbers) < step.appended:
            raise CorruptData(f"the log of session {desk.session_id!r} has fewer messages than were appended")
        target[ORDER] = order.closed(numbers[: -step.appended], order.size_of(found.size, desk.session_id)).pack()
    more, after = _exchange(desk, found, target, guards)
    if step.graph is not None:
        before, equal, made = step.graph
        more += yield from _go(desk, found, guards, step, before, equal, made)
    undone = step._replace(after=after).pack()
    ops = [*more, Delete(key), Put(places.redo(places.operation(key, desk.session_id)), undone)]
    yield from _send(desk, guards, ops, "undone")
    return f"Restored: before {step.label}"


def redo(desk: Desk) -> Plan[str]:
    """Do again what was undone last; what it was."""
    found = yield from contents.read(desk, messages=False, history=True)
    if not found.redo:
        raise NothingToUndo(f"session {desk.session_id!r} has no operation left to redo")
    key, value = found.redo[0]
    step = unpack_step(value, desk.session_id)
    guards: list[Op] = [Expect(key, etag(value)), ExpectEmpty(REDO[0], key)]
    more, _ = _exchange(desk, found, step.after, guards)
    if step.graph is not None:
        _, equal, made = step.graph
        more += yield from _go(desk, found, guards, step, made, made, equal)
    done = step._replace(after={}).pack()
    ops = [*more, Delete(key), Put(places.undo(places.operation(key, desk.session_id)), done)]
    yield from _send(desk, guards, ops, "redone")
    return f"Restored: after {step.label}"


def _exchange(
    desk: Desk, found: Contents, target: dict[bytes, bytes | None], guards: list[Op]
) -> tuple[list[Op], dict[bytes, bytes | None]]:
    """Put these rows in the place of those that are there, under guards; and what was there."""
    now = {SUMMARY: found.summary, DETAILS: found.details}
    rows: dict[bytes, bytes | None] = {}
    old: dict[bytes, bytes | None] = {}
    for key, value in target.items():
        if key == ORDER:
            if found.channel is not None:
                raise ConflictError(
                    f"the messages of session {desk.session_id!r} are those of its graph now: what was done to its log "
                    "before stays as it is"
                )
            size = order.size_of(found.size, desk.session_id)
            listed = order.unpack(value, desk.session_id)
            view = order.of_runs(listed.runs, size)  # what came later is at no place in it
            rows[key] = None if view == Order() else view.pack()
            old[key] = order.closed(contents.log_numbers(desk, found), size).pack()
            guards += [Expect(GRAPH, False), Expect(LOG, state_of(found.size)), Expect(ORDER, state_of(found.order))]
        else:
            rows[key], old[key] = value, now[key]
            guards.append(Expect(key, state_of(now[key])))
    return put_or_delete(rows), old


def _go(
    desk: Desk, found: Contents, guards: list[Op], step: Step, to: str | None, equal: str | None, expected: str | None
) -> Plan[list[Op]]:
    """Make an earlier state of the graph the newest."""
    latest = found.latest or (yield from newest(desk))
    if latest is None or same_as(desk, found, latest) != expected:
        raise ConflictError(
            f"the graph of session {desk.session_id!r} has gone on since the {step.label}: rewind() takes it back"
        )
    target = (yield from steering.find(desk, to)) if to is not None else None
    if to is not None and target is None:
        raise ConflictError(f"the state of session {desk.session_id!r} before the {step.label} was pruned")
    name = desk.chance.new_checkpoint(latest.record.id, steering.step_after(desk, latest))
    more, ops = steering.again(desk, target, latest, name)
    guards += more
    return [*ops, Put(HEAD, codec.pack([name[0], equal]))]


def newest(desk: Desk) -> Plan[Stored | None]:
    """The newest checkpoint of the root namespace."""
    (rows,) = yield from must(desk.partition, reading.latest(""))
    return records.unpack(rows[0][0], rows[0][1], desk.session_id) if rows else None


def _send(desk: Desk, guards: list[Op], ops: list[Op], done: str) -> Plan[None]:
    outcome = yield from desk.entry().send(guards, ops, op_id=desk.chance.new_id())
    if isinstance(outcome, Conflict):
        raise ConflictError(f"session {desk.session_id!r} was changed by somebody else meanwhile: nothing was {done}")


def rewind(desk: Desk, turns: int | None, checkpoint_id: str | None) -> Plan[str]:
    """Take the state of the graph back, with the messages; what it was."""
    if (turns is None) == (checkpoint_id is None):
        raise ConfigurationError("rewind takes turns=1 or more, or checkpoint_id=..., one of both")
    if turns is not None and (isinstance(turns, bool) or not isinstance(turns, int) or turns < 1):
        raise ConfigurationError(f"rewind: turns is a whole number from 1 on, not {turns!r:.80}")
    label = f"rewind of {turns} turn{'s' * (turns > 1)}" if turns else f"rewind to {checkpoint_id}"
    for _ in range(TRIES):
        found, draft = yield from begin(desk)
        latest = found.latest or (yield from newest(desk))
        target: Stored | None = None
        if checkpoint_id is not None:
            target = yield from steering.find(desk, checkpoint_id)
            if target is None:
                raise SessionError(f"rewind: session {desk.session_id!r} has no checkpoint {checkpoint_id!r}")
        elif turns is not None and latest is not None:
            target = yield from steering.before_turns(desk, latest, turns)
        if turns is not None and found.channel is None:
            there = draft.turns()
            if there < turns and (there or latest is None):
                raise SessionError(f"rewind: session {desk.session_id!r} has {there} turns, and not {turns}")
            draft.keep(draft.items[: draft.before_turn(turns)], label)
        move = Move(latest, target, label) if latest is not None else None
        if (yield from commit(desk, found, draft, move)):
            if turns is None:
                return f"Restored: checkpoint {checkpoint_id}"
            return "Restored: before the last turn" if turns == 1 else f"Restored: before the last {turns} turns"
    raise ConflictError(f"session {desk.session_id!r} was changed each time before it could be taken back")
