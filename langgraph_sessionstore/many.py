"""Many sessions at once: lists, counts, and deleting by what is known of them.

Rule: the list is a hint. What it names is looked at before it is shown.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from .adapters.standing import OnBackend
from .copying import Copied, Copy, Progress
from .crossing import Crossing, across, cross
from .drive import arun, run
from .errors import ConfigurationError
from .info import SessionInfo, SessionPage
from .ops import Plan
from .plans import sessions
from .plans.entry import afterwards
from .plans.given import Duration, as_id, as_metadata, as_moment
from .session.common import Common, now

PAGE = 50
_LINES = 100  # of the list that are looked at in one trip for metadata that fits
_PAGES = 10  # such trips in one call


class ManySessions(OnBackend):
    """The part of a manager that works on all sessions."""

    _common: Common

    def list_sessions(
        self,
        *,
        by: Literal["created", "updated"] = "created",
        descending: bool = False,
        filter: Mapping[str, Any] | None = None,
        limit: int = PAGE,
        cursor: str | None = None,
    ) -> SessionPage:
        """A page of sessions, by creation or last activity; `filter` has to match the metadata.

        `page.cursor` is where the next page begins. With a filter a page may be short, and yet not be the last.
        """
        return run(self.backend, self._list(by, descending, filter, limit, cursor))

    async def alist_sessions(
        self,
        *,
        by: Literal["created", "updated"] = "created",
        descending: bool = False,
        filter: Mapping[str, Any] | None = None,
        limit: int = PAGE,
        cursor: str | None = None,
    ) -> SessionPage:
        """The async form of `list_sessions`."""
        return await arun(self.backend, self._list(by, descending, filter, limit, cursor))

    def iter_sessions(
        self,
        *,
        by: Literal["created", "updated"] = "created",
        descending: bool = False,
        filter: Mapping[str, Any] | None = None,
    ) -> Iterator[SessionInfo]:
        """All sessions, page by page."""
        cursor: str | None = None
        while True:
            page = self.list_sessions(by=by, descending=descending, filter=filter, cursor=cursor)
            yield from page
            if (cursor := page.cursor) is None:
                return

    async def aiter_sessions(
        self,
        *,
        by: Literal["created", "updated"] = "created",
        descending: bool = False,
        filter: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[SessionInfo]:
        """The async form of `iter_sessions`."""
        cursor: str | None = None
        while True:
            page = await self.alist_sessions(by=by, descending=descending, filter=filter, cursor=cursor)
            for info in page:
                yield info
            if (cursor := page.cursor) is None:
                return

    def count_sessions(self, *, filter: Mapping[str, Any] | None = None) -> int:
        """How many sessions there are; with a filter all of them are looked at."""
        if filter:
            return sum(1 for _ in self.iter_sessions(filter=filter))
        return run(self.backend, sessions.count())

    async def acount_sessions(self, *, filter: Mapping[str, Any] | None = None) -> int:
        """The async form of `count_sessions`."""
        if filter:
            return len([info async for info in self.aiter_sessions(filter=filter)])
        return await arun(self.backend, sessions.count())

    def delete_sessions(
        self, *, filter: Mapping[str, Any] | None = None, older_than: Duration | datetime | None = None
    ) -> int:
        """Delete the sessions with this metadata, or not used since then (or for so long), or both; how many."""
        return run(self.backend, self._delete_all(filter or {}, self._before(filter, older_than)))

    async def adelete_sessions(
        self, *, filter: Mapping[str, Any] | None = None, older_than: Duration | datetime | None = None
    ) -> int:
        """The async form of `delete_sessions`."""
        return await arun(self.backend, self._delete_all(filter or {}, self._before(filter, older_than)))

    # -- to another storage

    def copy_to(
        self,
        target: ManySessions,
        sessions: Iterable[str] | None = None,
        *,
        store: bool = True,
        progress: Progress | None = None,
        verify: bool = False,
    ) -> Copied:
        """Copy all sessions (or those with these ids) to the storage of another manager, and the items of the store.

        What is there already stays as it is, so one that was interrupted goes on when it is called again. `verify`
        compares all rows on both sides. `progress(done, total)` is called after each session and namespace.
        """
        return cross(self._copy_to(target, sessions, store, progress, verify))

    async def acopy_to(
        self,
        target: ManySessions,
        sessions: Iterable[str] | None = None,
        *,
        store: bool = True,
        progress: Progress | None = None,
        verify: bool = False,
    ) -> Copied:
        """The async form of `copy_to`."""
        return await across(self._copy_to(target, sessions, store, progress, verify))

    # -- plans

    def _copy_to(
        self,
        target: ManySessions,
        chosen: Iterable[str] | None,
        store: bool,
        progress: Progress | None,
        verify: bool,
    ) -> Crossing[Copied]:
        if not isinstance(target, ManySessions) or target.backend is self.backend:
            raise ConfigurationError(f"copy_to wants the manager of another storage, not {target!r:.80}")
        if isinstance(chosen, str):
            raise ConfigurationError("copy_to takes a list of ids, not one")
        chosen = None if chosen is None else list(map(as_id, chosen))
        copy = Copy(self._common, target._common, progress, verify)
        return copy.crossing(lambda cursor: self._list("created", False, None, PAGE, cursor), chosen, store)

    def _list(
        self,
        by: Literal["created", "updated"],
        descending: bool,
        filter: Mapping[str, Any] | None,
        limit: int,
        cursor: str | None,
    ) -> Plan[SessionPage]:
        if by not in ("created", "updated"):
            raise ConfigurationError(f"sessions are listed by 'created' or 'updated', not by {by!r:.80}")
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 1000:
            raise ConfigurationError(f"limit is a number from 1 to 1000, not {limit!r:.80}")
        wanted, after = as_metadata(filter), _position(cursor, by)
        infos: list[SessionInfo] = []
        tools, lines = self._common.checkpointer.tools(), max(limit, _LINES) if wanted else limit
        for _ in range(_PAGES if wanted else 1):
            left = limit - len(infos)
            found = yield from sessions.page(tools, by, descending, after, lines, wanted, now())
            infos += [each.info for each in found.found[:left]]
            if len(found.found) > left:
                after = yield from sessions.cursor_behind(by, descending, after, found.places[left - 1] + 1)
            else:
                after = found.cursor
            if not after or len(infos) == limit:
                break
        return SessionPage(infos, base64.urlsafe_b64encode(after).decode("ascii") if after else None)

    def _before(self, filter: Mapping[str, Any] | None, older_than: Duration | datetime | None) -> int | None:
        """The moment before which sessions were last used that shall go."""
        if not as_metadata(filter) and older_than is None:
            raise ConfigurationError("delete_sessions needs a filter or older_than=; older_than=0 takes all")
        return None if older_than is None else as_moment(older_than, now())

    def _delete_all(self, filter: Mapping[str, Any], before: int | None) -> Plan[int]:
        deleted, cursor = 0, b""
        while True:
            page = self._delete_page(filter, before, cursor)
            count, cursor = yield from afterwards(page) if deleted else page
            deleted += count
            if not cursor:
                return deleted

    def _delete_page(self, filter: Mapping[str, Any], before: int | None, cursor: bytes) -> Plan[tuple[int, bytes]]:
        tools = self._common.checkpointer.tools()
        watch = before is not None
        page = yield from sessions.page(tools, "updated", False, cursor, PAGE, filter, now(), watch=watch)
        old = [before is None or active <= before for active in page.actives]
        chosen = [each for each, goes in zip(page.found, old, strict=True) if goes]
        deleted = yield from sessions.delete_many(self._common.chance, chosen, self._common.stays)
        return deleted, page.cursor if all(old) else b""  # those behind were used later still


def _position(cursor: str | None, by: str) -> bytes:
    """Where a page begins, from the cursor of the one before."""
    if cursor is None:
        return b""
    try:
        position = base64.urlsafe_b64decode(cursor)
    except (TypeError, ValueError, binascii.Error) as exc:
        raise ConfigurationError("this is no cursor of list_sessions") from exc
    if position[:1] != {"created": b"c", "updated": b"a"}[by] or b"\0" in position:
        raise ConfigurationError("this cursor is of a list in another order")
    return position
