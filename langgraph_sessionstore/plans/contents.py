"""What a session holds that can be edited, as it was read in one atomic step.

Rule: its messages have one source. Without a graph's channel that is the log; with one it is the newest checkpoint of
the root namespace, which is read in the same step when this process knows of it, else in a second.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage

from .. import keys
from ..errors import ConflictError, CorruptData, SessionError
from ..ops import Conflict, Count, ExpectLease, Get, Op, Range, Row, call, must
from ..ops import Plan as Plan
from ..serde.messages import is_message
from . import order, reading
from .desk import Desk
from .entry import raise_refused
from .places import DETAILS, GRAPH, HEAD, LOG, MESSAGES, ORDER, REDO, SUMMARY, UNDONE
from .reading import Reading, load_value
from .records import Stored
from .tools import unpack_typed

_STRAY = 1000
"""So many messages may be missing, and those that are left can be read."""


class Contents(NamedTuple):
    """The rows of a session, as they were."""

    incarnation: bytes | None
    """None: there is no session."""
    channel: str | None
    """Of the graph that holds the messages; None: the log does."""
    size: bytes | None
    order: bytes | None
    summary: bytes | None
    details: bytes | None
    head: bytes | None
    held: int
    """How many messages the log holds."""
    log: dict[bytes, bytes]
    """The messages of the log, when asked for."""
    undone: list[Row]
    redo: list[Row]
    """What can be undone and redone, when asked for."""
    latest: Stored | None
    """The newest checkpoint of the root namespace, in a graph's session."""
    reading: Reading | None


def read(desk: Desk, *, messages: bool = True, history: bool = False, turn: bool = False) -> Plan[Contents]:
    """Read a session. Without `messages`, a log's are left out; with `history`, what can be undone comes along.

    With `turn`, `LeaseHeld` or `LeaseLost` when nothing could be written now.
    """
    asked: list[Op] = [Get(keys.TOMBSTONE), Get(GRAPH), Get(LOG), Get(ORDER), Get(SUMMARY), Get(DETAILS), Get(HEAD)]
    asked += [Count(*MESSAGES), *([Range(*MESSAGES)] if messages else [])]
    asked += [Range(*UNDONE), Range(*REDO)] if history else []
    asked += [ExpectLease(desk.writer.lease)] if turn else []
    asked.insert(0, Get(keys.INCARNATION))
    note = desk.writer.noted.of(desk.partition)
    found: Reading | None = None
    replies: list[Any] = []
    try:
        if note is None or not note.graph:
            replies = yield from must(desk.partition, *asked)
        if not replies or replies[2] is not None:
            found = yield from reading.read(desk.tools, desk.session_id, reading.latest(""), also=asked)
            replies = found.also
    except ConflictError:
        if turn and isinstance((yield from call(desk.partition, asked[-1])), Conflict):
            raise_refused(asked[-1], desk.session_id, desk.writer.lease)
        raise
    incarnation, tombstone, graph, size, order_, summary, details, head, held, *lists = replies
    desk.check(incarnation, tombstone)
    return Contents(
        incarnation,
        None if graph is None else channel_of(graph, desk.session_id),
        size,
        order_,
        summary,
        details,
        head,
        held,
        dict(lists.pop(0)) if messages else {},
        lists[0] if history else [],
        lists[1] if history else [],
        found.found[0] if found is not None and found.found else None,
        found,
    )


def channel_of(stored: bytes, session_id: str) -> str:
    """The channel that holds the messages, from its row."""
    try:
        return stored.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as exc:
        raise CorruptData(f"the name of the messages' channel in session {session_id!r} is damaged") from exc


def count(desk: Desk, contents: Contents) -> int:
    """How many messages there are."""
    if contents.channel is None:
        return order.length(contents.order, contents.size, desk.session_id)
    return len(graph_messages(desk, contents))


def messages(desk: Desk, contents: Contents) -> list[BaseMessage]:
    """All messages, when they were asked for; the caller's own."""
    if contents.channel is not None:
        return graph_messages(desk, contents)
    numbers = log_numbers(desk, contents)
    rows = [*map(contents.log.get, keys.sequences(LOG, numbers))]
    load = desk.tools.serde.loads_typed
    try:
        found = [load(unpack_typed(row, "")) for row in rows]  # type: ignore[arg-type]
        if all(map(is_message, found)):
            return found
    except Exception:  # the slow way meets it again, and says where
        pass
    return [load_message(desk, number, row) for number, row in zip(numbers, rows, strict=True)]


def graph_messages(desk: Desk, contents: Contents) -> list[BaseMessage]:
    """The messages in the newest checkpoint; the caller's own."""
    channel, stored, found = contents.channel, contents.latest, contents.reading
    if channel is None or stored is None or found is None or channel not in stored.record.versions:
        return []
    place = f"channel {channel!r} of checkpoint {stored.record.id!r} of session {desk.session_id!r}"
    if channel not in stored.record.values:
        if any(name.startswith("counters_since_delta") for name in _metadata(desk, stored)):
            raise SessionError(f"{place} is kept as changes only: read and edit it through the graph")
        return []
    messages = load_value(desk.tools, stored.record.values[channel], found.elements, place)
    if not isinstance(messages, list) or not all(isinstance(message, BaseMessage) for message in messages):
        raise SessionError(f"{place} is no list of messages any more: read and edit it through the graph")
    if (
        desk.tools.cache.base(desk.partition, ("", stored.record.id)) is None
    ):  # else more is remembered than is known here
        reading.remember(desk.tools, desk.session_id, stored, found, {channel: messages})
    return messages


def _metadata(desk: Desk, stored: Stored) -> Any:
    return reading.load_metadata(desk.tools, desk.session_id, stored)


def log_numbers(desk: Desk, contents: Contents) -> list[int]:
    """The numbers of the log's messages, in order."""
    return numbers(desk.session_id, contents.order, contents.size, contents.held)


def numbers(session_id: str, view: bytes | None, counter: bytes | None, held: int) -> list[int]:
    """The same, from the rows of a log that holds so many messages."""
    size = order.size_of(counter, session_id)
    listed = order.length(view, counter, session_id)
    if listed > 2 * held + _STRAY:  # not by accident: a few bytes shall not make millions of them
        raise CorruptData(f"the log of session {session_id!r} is damaged: it lists {listed} messages, more than it has")
    return order.unpack(view, session_id).numbers(size)


def load_message(desk: Desk, number: int, stored: bytes | None) -> BaseMessage:
    """A message of the log from its row."""
    place = f"message {number} in the log of session {desk.session_id!r}"
    if stored is None:
        raise CorruptData(f"{place} is missing")
    message = reading.load_typed(desk.tools.serde, unpack_typed(stored, place), place)
    if not isinstance(message, BaseMessage):
        raise CorruptData(f"{place} is no message")
    return message
