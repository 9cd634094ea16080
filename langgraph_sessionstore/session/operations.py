"""Operations on a session as a whole: transactions, undo, redo, rewind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import ConfigurationError, ConflictError, SessionStoreError
from ..ops import Plan
from ..plans import editing, undoing
from ..plans.contents import Contents
from ..plans.drafts import Draft
from .common import Handle

T = TypeVar("T")


class Operations(Handle):
    """Transactions, undo, redo, rewind."""

    def transaction(self) -> Transaction:
        """All or nothing: `with session.transaction() as tx:` (or `async with`) changes `tx`, and stores it at the end.

        An exception inside leaves the session as it was. When somebody else has changed it meanwhile, the end raises
        `ConflictError`; `transact` begins again instead.
        """
        return Transaction(self)

    def transact(self, change: Callable[[Draft], T], *, retries: int = 10) -> T:
        """Do a change in a transaction, again when somebody else was faster; what `change(tx)` returned."""
        return self._run(editing.edit(self._desk, change, tries=_tries(retries)))

    async def atransact(self, change: Callable[[Draft], T], *, retries: int = 10) -> T:
        """The async form of `transact`; the change itself does no I/O."""
        return await self._arun(editing.edit(self._desk, change, tries=_tries(retries)))

    def undo(self) -> str:
        """Take back the newest operation on messages, summary or details; says what it restored.

        `NothingToUndo` when there is none, `ConflictError` when another one came in between.
        """
        return self._run(undoing.undo(self._desk))

    async def aundo(self) -> str:
        """The async form of `undo`."""
        return await self._arun(undoing.undo(self._desk))

    def redo(self) -> str:
        """Do again what was undone last; says what it restored. Any new operation ends what can be redone."""
        return self._run(undoing.redo(self._desk))

    async def aredo(self) -> str:
        """The async form of `redo`."""
        return await self._arun(undoing.redo(self._desk))

    def rewind(self, turns: int | None = None, *, checkpoint_id: str | None = None) -> str:
        """Take the graph's state back with its messages: by so many turns, or to a checkpoint. Can be undone.

        Nothing is deleted: the earlier state is appended as the newest one. In a session with a log of messages,
        turns are taken from the log, and from the graph's state when there is one.
        """
        return self._run(undoing.rewind(self._desk, turns, checkpoint_id))

    async def arewind(self, turns: int | None = None, *, checkpoint_id: str | None = None) -> str:
        """The async form of `rewind`."""
        return await self._arun(undoing.rewind(self._desk, turns, checkpoint_id))


def _tries(retries: int) -> int:
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ConfigurationError(f"retries is a whole number from 0 on, not {retries!r:.80}")
    return retries + 1


class Transaction:
    """A transaction under way; see `Operations.transaction`."""

    def __init__(self, session: Handle) -> None:
        self._session = session
        self._begun: tuple[Contents, Draft] | None = None

    def __enter__(self) -> Draft:
        self._begun = self._session._run(editing.begin(self._desk()))
        return self._begun[1]

    def __exit__(self, kind: Any, *_: object) -> None:
        begun = self._end()
        if kind is None:
            self._session._run(self._commit(*begun))

    async def __aenter__(self) -> Draft:
        self._begun = await self._session._arun(editing.begin(self._desk()))
        return self._begun[1]

    async def __aexit__(self, kind: Any, *_: object) -> None:
        begun = self._end()
        if kind is None:
            await self._session._arun(self._commit(*begun))

    def _desk(self) -> Any:
        if self._begun is not None:
            raise SessionStoreError("a transaction is under way already: begin another one with session.transaction()")
        return self._session._desk

    def _end(self) -> tuple[Contents, Draft]:
        begun, self._begun = self._begun, None
        assert begun is not None
        begun[1].ended = True
        return begun

    def _commit(self, found: Contents, draft: Draft) -> Plan[None]:
        if not (yield from editing.commit(self._session._desk, found, draft)):
            raise ConflictError(
                f"session {self._session.id!r} was changed by somebody else during the transaction: nothing was stored"
            )
