"""Taking care of a storage: what it holds, and whether that is whole.

Rule: all of it goes through the lists, a bounded number of sessions at a time. What no list names is not found: the
contract of backends knows of no way to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

from .adapters.standing import OnBackend
from .drive import arun, run
from .errors import ConfigurationError, SessionNotFound
from .ops import Plan
from .plans import measuring, mending
from .plans.given import as_id
from .plans.problems import CheckedSession
from .session.common import Common
from .sizes import StorageStats

Progress = Callable[[int, int], None]


class Upkeep(OnBackend):
    """The part of a manager that takes care of the storage."""

    _common: Common

    def stats(self, *, largest: int = 10, progress: Progress | None = None) -> StorageStats:
        """What the storage holds: sessions, rows and bytes by kind, the largest sessions, the store, the cache.

        Reads all that the lists name, in pieces, while others go on: what they write may be counted or not. What cannot
        be read is named. `progress(done, total)` is called on the way.
        """
        return run(self.backend, self._stats(largest, progress))

    async def astats(self, *, largest: int = 10, progress: Progress | None = None) -> StorageStats:
        """The async form of `stats`."""
        return await arun(self.backend, self._stats(largest, progress))

    def check_session(self, session_id: str, *, repair: bool = False) -> CheckedSession:
        """What is wrong with a session: its thread, its own rows, its line in the list.

        With `repair`, what can be put right without guessing is, while others may go on writing: what nothing refers to
        is deleted, and what other rows tell is put back. What a user has stored is never taken away: what is lost stays
        among the problems, which say what would help.
        """
        return run(self.backend, self._check(session_id, repair))

    async def acheck_session(self, session_id: str, *, repair: bool = False) -> CheckedSession:
        """The async form of `check_session`."""
        return await arun(self.backend, self._check(session_id, repair))

    def check_sessions(self, *, repair: bool = False, progress: Progress | None = None) -> Iterator[CheckedSession]:
        """Check all that is listed, see `check_session`: first the lists (without an id, when something is wrong with
        one), then session by session, the sound ones too.

        A session that cannot be read stops nothing. One that is in no list is not found: only `check_session` with its
        id lists it again. `progress(done, total)` is called on the way.
        """
        checkup = mending.Checkup(self._common.desk, repair, progress)
        while (plan := checkup.next()) is not None:
            checked = run(self.backend, plan)
            if checked is not None:
                yield checked

    async def acheck_sessions(
        self, *, repair: bool = False, progress: Progress | None = None
    ) -> AsyncIterator[CheckedSession]:
        """The async form of `check_sessions`."""
        checkup = mending.Checkup(self._common.desk, repair, progress)
        while (plan := checkup.next()) is not None:
            checked = await arun(self.backend, plan)
            if checked is not None:
                yield checked

    # -- plans

    def _stats(self, largest: int, progress: Progress | None) -> Plan[StorageStats]:
        if isinstance(largest, bool) or not isinstance(largest, int) or not 0 <= largest <= 10_000:
            raise ConfigurationError(f"largest is a number of sessions, from 0 to 10,000, not {largest!r:.80}")
        return (yield from measuring.storage_stats(largest, progress))

    def _check(self, session_id: str, repair: bool) -> Plan[CheckedSession]:
        thread = "" if session_id == "" else as_id(session_id)  # a graph may have a thread without a name
        checked = yield from mending.check_session(self._common.desk(thread), repair)
        if checked is None:
            raise SessionNotFound(f"session {session_id!r} is not there: never created, expired, or deleted")
        return checked
