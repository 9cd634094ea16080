"""A session with messages in its log becomes one whose messages are a graph's.

Rule: they move in one step: into the graph's newest state, and out of the log with all that could be undone there, for
the log's order means nothing any more.
"""

from __future__ import annotations

from .. import keys
from ..errors import ConflictError
from ..ops import DeleteRange, Expect, Op, Plan, Put
from . import order, places, steering
from .contents import Contents
from .desk import Desk
from .drafts import Draft
from .editing import begin, put_or_delete, same_log, state_of
from .order import Order
from .places import GRAPH, ORDER, REDO
from .tools import TRIES
from .undoing import newest
from .writing import Beside


def adopt(desk: Desk, channel: str) -> Plan[tuple[Contents, Draft]]:
    """Read a session whose messages are those of a graph; if its log has some, they move there first."""
    for _ in range(TRIES):
        found, draft = yield from begin(desk, history=False, turn=True)
        if found.channel is not None:
            return found, draft
        latest = yield from newest(desk)
        if not draft.items:
            return found._replace(latest=latest), draft
        view = order.of((), order.size_of(found.size, desk.session_id))
        guards = [*same_log(found), Expect(GRAPH, False), Expect(keys.INCARNATION, state_of(found.incarnation))]
        ops: list[Op] = [Put(GRAPH, channel.encode("utf-8", "surrogatepass"))]
        ops += put_or_delete({ORDER: None if view == Order() else view.pack()})
        ops += [DeleteRange(*span) for span in (places.MESSAGES, places.UNDONE, REDO)]
        beside = Beside(guards, ops, desk.chance.new_id())
        name = desk.chance.new_checkpoint(latest.record.id if latest else None, steering.step_after(desk, latest))
        messages = [item.get() for item in draft.items]
        yield from steering.edit(desk, latest, channel, messages, name, beside, moving=True)
    raise ConflictError(f"session {desk.session_id!r} was changed each time before its messages could move to a graph")
