"""A place in the line of those who run a graph on a session: one after the other, across all workers.

Rule: it keeps no write out, as a lease does. Who comes later waits for its turn, and then goes on from what is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import keys
from ..errors import LeaseHeld, LeaseLost
from ..ops import Batch, Call, Calls, Conflict, Drop, ExpectLease, Expire, Op, Outcome, Plan, call
from ..ops import Lease as LeaseOp
from ..plans.given import Duration
from .lease import Lease

if TYPE_CHECKING:
    from .handle import Session

_TTL = 30
"""Seconds after which the next one may begin, when a worker is gone; while it lives, it says so."""


class Line(Lease):
    """A turn in the line: `with Line(session, wait) as session:`."""

    def __init__(self, session: Session, wait: Duration) -> None:
        super().__init__(session, _TTL, wait)
        self._token = self._turn._lease
        self._turn = session
        self._place = keys.encode("turn", session.id)

    def _take(self) -> Plan[None]:
        outcome = yield from self._hold()
        if isinstance(outcome, Conflict):
            raise LeaseHeld(f"another worker is still running a graph on session {self._session.id!r}")

    def _again(self) -> Plan[None]:
        outcome = yield from self._hold(ExpectLease(self._token))
        if isinstance(outcome, Conflict):
            raise LeaseLost(f"another worker has begun to run a graph on session {self._session.id!r}")

    def _hold(self, *guards: Op) -> Plan[Outcome]:
        batch = Batch(*guards, LeaseOp(self._token, self._ttl), Expire(ttl=self._ttl), repeatable=True)
        (outcome,) = yield Calls([Call(self._place, batch)], casual=True)
        return outcome

    def _end(self) -> Plan[None]:
        yield from call(self._place, ExpectLease(self._token), Drop())
