"""`session.store`: what a store holds for one session.

Rule: it is the manager's store below `(SESSION_NAMESPACE, id)`, with names that begin there. What is put here goes with
the session, and a handle of a session that is gone reaches nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from langgraph.store.base import BaseStore, Op, Result

from .. import keys
from ..adapters.errand import Errand
from ..adapters.store import SessionStore
from ..ops import Get, Plan, must
from ..plans.desk import Desk
from ..plans.items import SESSION_NAMESPACE


class SessionItems(BaseStore):
    """A LangGraph store of one session: `session.store.put(("notes",), "budget", {"euros": 900})`.

    Its items are deleted, copied and expire with the session. The same items are in `manager.store`, below
    `(SESSION_NAMESPACE, session.id)`.
    """

    supports_ttl = True

    def __init__(self, store: SessionStore, desk: Desk) -> None:
        self.ttl_config = store.ttl_config
        self._store = store
        self._desk = desk
        self._base = SESSION_NAMESPACE, desk.session_id

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do all of it: what is read is what was there before; the last write to a key counts."""
        return self._store.carry_out(self._errand(ops))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """The async form of `batch`."""
        return await self._store.acarry_out(self._errand(ops))

    def _errand(self, ops: Iterable[Op]) -> Errand:
        return self._store.errand(ops, self._base, self._desk.writer, self._check)

    def _check(self) -> Plan[None]:
        self._desk.check(*(yield from must(self._desk.partition, Get(keys.INCARNATION), Get(keys.TOMBSTONE))))
