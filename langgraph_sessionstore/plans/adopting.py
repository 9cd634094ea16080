"""What a turn of a graph begins from; and how messages of a log become those of a graph.

Rule: they move in one step, that of the first turn of the graph: into a state of their own before it, and out of the
log with all that could be undone there, for the log's order means nothing any more.
"""

from __future__ import annotations

from typing import NamedTuple

from .. import keys
from ..ops import DeleteRange, Expect, Op, Plan, Put
from . import order, places, reading, steering
from .contents import Contents
from .desk import Desk
from .drafts import Draft
from .editing import begin, put_or_delete, same_log, state_of
from .order import Order
from .places import GRAPH, ORDER, REDO
from .records import Stored
from .writing import Input


def opening(desk: Desk) -> Plan[tuple[Contents, Draft]]:
    """Read a session with the newest state of its graph, whether or not the messages are in there."""
    found, draft = yield from begin(desk, history=False, turn=True)
    if found.channel is None:
        state = yield from reading.read(desk.tools, desk.session_id, reading.latest(""))
        found = found._replace(latest=state.found[0] if state.found else None, reading=state)
    if found.latest is not None and found.reading is not None:
        _remember(desk, found.latest, found.reading)
    return found, draft


def _remember(desk: Desk, stored: Stored, state: reading.Reading) -> None:
    values = {channel: value for channel, value in stored.record.values.items() if value.parts}
    if reading.is_remembered(desk.tools, desk.session_id, stored, values):
        return
    loaded = {}
    for channel, value in values.items():
        place = f"channel {channel!r} of checkpoint {stored.record.id!r} of session {desk.session_id!r}"
        loaded[channel] = reading.load_value(desk.tools, value, state.elements, place)
    reading.remember(desk.tools, desk.session_id, stored, state, loaded)


class Move(NamedTuple):
    """How the messages of a log get into a graph's state."""

    given: Input
    """The state with them."""
    guards: list[Op]
    ops: list[Op]


def move(desk: Desk, found: Contents, draft: Draft, channel: str) -> Move:
    """What moves the messages of the log, as it was read."""
    latest = found.latest
    name = desk.chance.new_checkpoint(latest.record.id if latest else None, steering.step_after(desk, latest))
    view = order.of((), order.size_of(found.size, desk.session_id))
    guards = [*same_log(found), Expect(GRAPH, False), Expect(keys.INCARNATION, state_of(found.incarnation))]
    ops: list[Op] = [Put(GRAPH, channel.encode("utf-8", "surrogatepass"))]
    ops += put_or_delete({ORDER: None if view == Order() else view.pack()})
    ops += [DeleteRange(*span) for span in (places.MESSAGES, places.UNDONE, REDO)]
    return Move(steering.edited(desk, latest, channel, [item.get() for item in draft.items], name), guards, ops)
