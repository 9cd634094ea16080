"""Edits of a session: read, change a draft, commit it in one batch.

Rule 1: a commit expects what the draft relied on. When somebody else was faster nothing is stored, and the edit begins
        again on what is there now, or fails with `ConflictError`.
Rule 2: an append relies on nothing, so it is one batch without a guard, and never meets a conflict.
Rule 3: each commit is one operation that undo takes back: its row says what there was before. Whoever commits takes
        away the oldest of these rows, and the messages that neither the order nor any of these rows refers to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from inspect import isawaitable, iscoroutine
from typing import NamedTuple, TypeVar

from langchain_core.messages import BaseMessage

from .. import codec, keys
from ..errors import ConfigurationError, ConflictError, CorruptData, SessionStoreError, Unstorable
from ..ops import Append, Conflict, Delete, DeleteRange, Expect, Get, Op, Plan, Put, Range, call, casual, etag, must
from . import contents, order, places, pruning, steering
from .collecting import collect
from .contents import Contents
from .desk import Desk
from .details import pack_details, pack_summary, unpack_details, unpack_summary
from .drafts import Draft, Item
from .entry import afterwards
from .order import Order
from .places import DETAILS, GRAPH, LOG, ORDER, REDO, SUMMARY, UNDO
from .records import Stored
from .tools import TRIES, pack_typed
from .writing import Beside

T = TypeVar("T")
TRIM = 32  # so many appends pass before one looks whether there is too much to undo


class Step(NamedTuple):
    """What undo and redo know of an operation: the rows that it changed, as they were before, and as they are after."""

    label: str
    appended: int
    """So many messages were appended to the log, and nothing else was done."""
    before: dict[bytes, bytes | None]
    after: dict[bytes, bytes | None]
    """Known once it was undone."""
    graph: tuple[str | None, str | None, str] | None
    """Of a graph's session: the checkpoint before, the one that it equals, and the one that was made."""

    def pack(self) -> bytes:
        return codec.pack([self.label, self.appended, self.before, self.after, self.graph and list(self.graph)])


def unpack_step(stored: bytes, session_id: str) -> Step:
    """An operation from its row."""
    place = f"an operation to undo in session {session_id!r}"
    match codec.unpack(stored, place):
        case [
            str(label), int(appended), dict(before), dict(after),
            (None | [None | str(), None | str(), str()]) as graph,
        ] if appended >= 0:  # fmt: skip
            rows = [*before.items(), *after.items()]
            if all(key in (ORDER, SUMMARY, DETAILS) and isinstance(row, (bytes, type(None))) for key, row in rows):
                return Step(label, appended, before, after, tuple(graph) if graph else None)
    raise CorruptData(f"{place} is damaged")


def edit(
    desk: Desk,
    change: Callable[[Draft], T],
    *,
    messages: bool = True,
    tries: int = TRIES,
    beside: Sequence[Op] = (),
    op_id: bytes | None = None,
) -> Plan[T]:
    """Do a change as one operation, and again when somebody else was faster; see `commit` for the rest."""
    for _ in range(tries):
        found, draft = yield from begin(desk, messages=messages)
        result = change(draft)
        if isawaitable(result):
            result.close() if iscoroutine(result) else None
            raise ConfigurationError("a change in a transaction does no I/O: give a plain function, not an async one")
        if (yield from commit(desk, found, draft, beside=beside, op_id=op_id)):
            return result
    raise ConflictError(f"session {desk.session_id!r} was changed by somebody else meanwhile: nothing was stored")


def begin(
    desk: Desk, *, messages: bool = True, history: bool = True, turn: bool = False
) -> Plan[tuple[Contents, Draft]]:
    """Read a session, as a draft; to commit it, its history is needed."""
    found = yield from contents.read(desk, messages=messages, history=history, turn=turn)
    if found.channel is not None:
        items = [Item(message, number) for number, message in enumerate(contents.graph_messages(desk, found))]
    else:
        items = [_item(desk, found, number) for number in contents.log_numbers(desk, found)]
    summary = unpack_summary(found.summary, desk.session_id)
    return found, Draft(desk.session_id, items, summary, unpack_details(desk.tools, found.details, desk.session_id))


def _item(desk: Desk, found: Contents, number: int) -> Item:
    stored = found.log.get(places.message(number))
    return Item(number=number, load=lambda: contents.load_message(desk, number, stored))


def append(
    desk: Desk, messages: Sequence[BaseMessage], *, beside: Sequence[Op] = (), op_id: bytes | None = None
) -> Plan[None]:
    """Add messages at the end; see `commit` for the rest."""
    if not messages:
        return
    ops = [Append(LOG, pack_message(desk, message)) for message in messages]
    note = desk.writer.noted.of(desk.partition)
    if note is None or not note.graph:
        label = f"append of {len(ops)} message{'s' * (len(ops) > 1)}"
        more = _remember(desk, Step(label, len(ops), {}, {}, None))
        name = op_id or desk.chance.new_id()
        outcome = yield from desk.entry().send([Expect(GRAPH, False)], [*ops, *more, *beside], op_id=name)
        if not isinstance(outcome, Conflict):
            kept = outcome[1 + len(ops) : 1 + len(ops) + len(more)]
            if (int(keys.decode(kept[0])[-1]) + 1) % TRIM == 0 if desk.depth else any(kept):
                yield from _tidy(desk)
            return
    yield from edit(desk, lambda draft: draft.extend(messages), beside=beside, op_id=op_id)


def forgo(desk: Desk, op_id: bytes) -> Plan[bool]:
    """Whether a write with this id was applied; if not, it never will be: one that does nothing takes its place."""
    try:
        yield from call(desk.partition, Expect(keys.INCARNATION, True), Delete(keys.encode("-")), op_id=op_id)
    except CorruptData:  # the id is that of another one, which has left more than a single reply
        yield from call(desk.partition, Delete(keys.encode("-")))  # which confirms that one too, when replicas count
        return True
    return False


def purge(desk: Desk) -> Plan[None]:
    """Erase the messages and all that could be undone; of a graph's session, all but the newest of each namespace."""
    for _ in range(TRIES):
        found, draft = yield from begin(desk, messages=False)
        draft.clear()
        same = Expect(keys.INCARNATION, state_of(found.incarnation))
        erased: list[Op] = [DeleteRange(*span) for span in (places.UNDONE, REDO)]
        if found.channel is None:  # the counters stay: a number that somebody has seen is never that of another message
            size = order.size_of(found.size, desk.session_id)
            view = order.of((), size)
            # What is appended meanwhile stays, so that appends do not keep it from its end; of what can be undone
            # nothing stays, for that may rely on the messages that go even when the order is the same again.
            erased += [DeleteRange(places.message(0), places.message(size))] if size else []
            erased += put_or_delete({ORDER: None if view == Order() else view.pack()})
            guards: list[Op] = [same, Expect(GRAPH, False), Expect(ORDER, state_of(found.order))]
            outcome = yield from desk.entry().send(guards, erased, op_id=desk.chance.new_id())
            if not isinstance(outcome, Conflict):
                return
        elif not draft.differs():
            erased.append(DeleteRange(*places.MESSAGES))
            outcome = yield from desk.entry().send([same], erased, op_id=desk.chance.new_id())
            if not isinstance(outcome, Conflict):
                yield from afterwards(_forget_states(desk, found.incarnation))
                return
        elif (yield from commit(desk._replace(depth=0), found, draft)):
            yield from afterwards(_forget_states(desk, found.incarnation))
            return
    raise ConflictError(f"session {desk.session_id!r} was changed each time before it could be cleared")


def _forget_states(desk: Desk, incarnation: bytes | None) -> Plan[None]:
    yield from pruning.keep_latest(desk.tools, desk.session_id, incarnation)
    yield from collect(desk.tools, desk.session_id)


def pack_message(desk: Desk, message: BaseMessage) -> bytes:
    """The row of a message in the log."""
    try:
        return pack_typed(desk.tools.serde.dumps_typed(message))
    except Exception as exc:
        what = str(exc) if isinstance(exc, Unstorable) else f"{type(exc).__name__}: {exc}"
        raise Unstorable(f"a message for session {desk.session_id!r} cannot be stored: {what}") from exc


class Move(NamedTuple):
    """A state of the graph that becomes the newest with a commit."""

    latest: Stored
    target: Stored | None
    """None: an empty state."""
    label: str


def commit(
    desk: Desk,
    found: Contents,
    draft: Draft,
    move: Move | None = None,
    beside: Sequence[Op] = (),
    op_id: bytes | None = None,
) -> Plan[bool]:
    """Store what was changed in a draft; False when somebody else was faster.

    What is to be done `beside` is done in the same step, if anything was changed. With an `op_id`, what was not
    answered can be given again, and is done once.
    """
    op_id = op_id or desk.chance.new_id()
    after = {
        SUMMARY: pack_summary(draft.kept_summary) if "summary" in draft.changes else found.summary,
        DETAILS: _details(desk, found, draft),
    }
    rows = {SUMMARY: found.summary, DETAILS: found.details}
    before = {key: value for key, value in rows.items() if after[key] != value}
    touched = draft.differs()
    if not before and not touched and move is None:
        return True
    relied = {SUMMARY} if "summary" in draft.looked_at else set()
    relied |= {DETAILS} if "details" in draft.looked_at else set()
    guards: list[Op] = [Expect(key, state_of(value)) for key, value in rows.items() if key in before or key in relied]
    if draft.looked or draft.looked_at:  # a handle that stands for whichever session has the id saw this one
        guards.append(Expect(keys.INCARNATION, state_of(found.incarnation)))
    if draft.looked and not touched:
        guards += same_log(found) if found.channel is None else steering.newest(found.latest)
    ops = put_or_delete({key: after[key] for key in before})
    step = Step(move.label if move else draft.label, 0, before, {}, None)
    if move is not None:
        name = desk.chance.new_checkpoint(move.latest.record.id, steering.step_after(desk, move.latest))
        more = steering.again(desk, move.target, move.latest, name)
        guards, ops = [*guards, *more[0]], [*ops, *more[1]]
        step = step._replace(graph=(move.latest.record.id, same_as(desk, found, move.latest), name[0]))
    if touched and found.channel is not None:
        name = desk.chance.new_checkpoint(newest_id(found), steering.step_after(desk, found.latest))
        step = step._replace(graph=(newest_id(found), same_as(desk, found, found.latest), name[0]))
        all_of_it = Beside(guards, [*ops, *_kept(desk, found, step), *beside], op_id)
        messages = [item.get() for item in draft.items]
        return (yield from steering.edit(desk, found.latest, found.channel, messages, name, all_of_it))
    if touched:
        guards, ops, step = _log(desk, found, draft, guards, ops, step)
    else:
        ops += _kept(desk, found, step)
    outcome = yield from desk.entry().send(guards, [*ops, *beside], op_id=op_id)
    if isinstance(outcome, Conflict):
        return False
    due = bool(found.undone or found.redo)
    if desk.depth:
        due = bool(found.undone) and (places.operation(found.undone[-1][0], desk.session_id) + 2) % TRIM == 0
    if due:
        yield from _tidy(desk)
    return True


def same_log(found: Contents) -> list[Op]:
    """The guards: the log is as it was read."""
    return [Expect(LOG, state_of(found.size)), Expect(ORDER, state_of(found.order))]


def _log(
    desk: Desk, found: Contents, draft: Draft, guards: list[Op], ops: list[Op], step: Step
) -> tuple[list[Op], list[Op], Step]:
    """The guards and operations of a commit that changes the log."""
    new = [item for item in draft.items if item.number is None]
    rows: list[Op] = [Append(LOG, pack_message(desk, item.get())) for item in new]
    guards = [*guards, Expect(GRAPH, False)]
    if not draft.edited and not draft.looked and not step.before and step.graph is None:
        step = step._replace(appended=draft.added)
        return guards, [*rows, *ops, *_kept(desk, found, step)], step
    size = order.size_of(found.size, desk.session_id)
    following = iter(range(size, size + len(new)))
    numbers = [next(following) if item.number is None else item.number for item in draft.items]
    view = order.of(numbers, size + len(new))
    guards += same_log(found)
    old = order.closed(contents.log_numbers(desk, found), size)
    step = step._replace(before={**step.before, ORDER: old.pack()})
    ops = [*rows, *ops, *put_or_delete({ORDER: None if view == Order() else view.pack()})]
    return guards, [*ops, *_kept(desk, found, step, view)], step


def _details(desk: Desk, found: Contents, draft: Draft) -> bytes | None:
    if not {"title", "system", "metadata"} & set(draft.changes):
        return found.details
    try:
        return pack_details(desk.tools, draft.details)
    except Exception as exc:
        raise Unstorable(f"the details of session {desk.session_id!r} cannot be stored: {exc}") from exc


def put_or_delete(rows: Mapping[bytes, bytes | None]) -> list[Op]:
    """What makes the rows these."""
    return [Delete(key) if value is None else Put(key, value) for key, value in rows.items()]


def state_of(value: bytes | None) -> bool | str:
    """What a guard expects of a row that shall be as it was."""
    return False if value is None else etag(value)


def newest_id(found: Contents) -> str | None:
    """The newest checkpoint of a graph's session."""
    return found.latest.record.id if found.latest else None


def same_as(desk: Desk, found: Contents, latest: Stored | None) -> str | None:
    """The checkpoint that the newest one equals: undo and redo make copies."""
    own = latest.record.id if latest else None
    made, equal = unpack_head(found.head, desk.session_id)
    return equal if found.head is not None and made == own else own


def unpack_head(stored: bytes | None, session_id: str) -> tuple[str | None, str | None]:
    """The checkpoint that undo or redo made last, and the one that it equals, from their row."""
    if stored is None:
        return None, None
    match codec.unpack(stored, f"the newest state of session {session_id!r}"):
        case [None | str() as made, None | str() as equal]:
            return made, equal
    raise CorruptData(f"the newest state of session {session_id!r} is damaged")


# -- what can be undone


def _remember(desk: Desk, step: Step) -> list[Op]:
    """Note an operation; what was undone before cannot be redone any more.

    Who keeps no history ends that of others; the replies tell whether there was any, and messages that only it needed.
    """
    redo = DeleteRange(*REDO)
    return [Append(UNDO, step.pack()), redo] if desk.depth else [DeleteRange(*places.UNDONE), redo]


def _kept(desk: Desk, found: Contents, step: Step, view: Order | None = None) -> list[Op]:
    """Note an operation, and take away what is too old; with the new order, also the messages that nobody needs."""
    old = found.undone[: max(0, len(found.undone) - desk.depth + 1)] if desk.depth else found.undone
    ops = [*_remember(desk, step), *(Delete(key) for key, _ in old)]
    if not desk.depth and found.channel is not None:
        ops.append(DeleteRange(*places.MESSAGES))  # of the log that there was before
    if view is not None:
        steps = [unpack_step(value, desk.session_id) for _, value in found.undone[len(old) :]]
        needed = [view, *_orders(desk, [*steps, step] if desk.depth else [])]
        ops += _dead(needed, min(view.upto, order.size_of(found.size, desk.session_id)))
    return ops


def _orders(desk: Desk, steps: Iterable[Step]) -> Iterable[Order]:
    for step in steps:
        for rows in (step.before, step.after):
            if rows.get(ORDER) is not None:
                yield order.unpack(rows[ORDER], desk.session_id)


def _dead(orders: Iterable[Order], size: int) -> list[Op]:
    """What takes away the messages below `size` that none of these orders lists."""
    ops: list[Op] = []
    at = 0
    for first, stop in sorted(run for each in orders for run in each.runs):
        if at < min(first, size):
            ops.append(DeleteRange(places.message(at), places.message(min(first, size))))
        at = max(at, stop)
    if at < size:
        ops.append(DeleteRange(places.message(at), places.message(size)))
    return ops


def _tidy(desk: Desk) -> Plan[None]:
    """Trim behind a write. That is stored whatever keeps this from being done, a lease that began since for example."""
    with suppress(SessionStoreError):
        yield from casual(_trim(desk))


def _trim(desk: Desk) -> Plan[None]:
    """Take away what is too old to be undone. Whoever comes later does what this one could not."""
    asked = Get(GRAPH), Get(LOG), Get(ORDER), Range(*places.UNDONE), Range(*REDO)
    graph, size, view, undone, redo = yield from must(desk.partition, *asked)
    old, kept = undone[: max(0, len(undone) - desk.depth)], undone[max(0, len(undone) - desk.depth) :]
    ops: list[Op] = [Delete(key) for key, _ in old]
    if graph is None and view is not None:
        steps = [unpack_step(value, desk.session_id) for _, value in [*kept, *redo]]
        now = order.unpack(view, desk.session_id)
        ops += _dead([now, *_orders(desk, steps)], min(now.upto, order.size_of(size, desk.session_id)))
    guards: list[Op] = [Expect(ORDER, state_of(view))]  # nobody has edited, undone or redone meanwhile
    if ops:
        yield from desk.entry().send(guards, ops, op_id=desk.chance.new_id())
