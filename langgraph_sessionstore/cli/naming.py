"""What a user names: a session by its id, a checkpoint by the beginning of its id; and what may have been meant."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from typing import Any

from .. import keys
from ..drive import run
from ..errors import SessionError, SessionNotFound
from ..manager import SessionManager
from ..ops import Entries, Page, must
from ..plans.places import REGISTRY, session_named
from ..session import Session

_PAGE = 500
_LOOKED_AT = 10_000  # of the sessions used last
_NAMED = 3


def session(manager: SessionManager, session_id: str) -> Session:
    """The session with this id; an error that names the nearest ones when there is none."""
    found = manager.get_session(session_id) if session_id else None
    if found is None:
        meant = near(manager, session_id)
        hint = f"; did you mean {', '.join(map(repr, meant))}?" if meant else ""
        raise SessionNotFound(f"there is no session {session_id!r}{hint}")
    return found


def near(manager: SessionManager, wrong: str) -> list[str]:
    """Ids that begin like this one, and those that are written like it."""
    beginning = keys.encode("session", wrong)[: -len(keys.END)]
    found = _names(manager, Page("name", beginning, limit=_NAMED))[0] if wrong else []
    seen: list[str] = []
    cursor: bytes | None = b""
    while cursor is not None and len(seen) < _LOOKED_AT and len(found) < _NAMED:
        names, cursor = _names(manager, Page("active", after=cursor, limit=_PAGE, reverse=True))
        seen += names
    folded: dict[str, str] = {}
    for each in seen:
        folded.setdefault(each.casefold(), each)
    alike = [folded[each] for each in get_close_matches(wrong.casefold(), folded, n=_NAMED)]
    return [each for each in dict.fromkeys([*found, *alike]) if each != wrong][:_NAMED]


def _names(manager: SessionManager, page: Page) -> tuple[list[str], bytes | None]:
    entries: Entries
    (entries,) = run(manager.backend, must(REGISTRY, page))
    names = [name for entry in entries.rows if (name := session_named(entry.name)) is not None]
    return names, entries.cursor or None


def checkpoints(manager: SessionManager, session_id: str, limit: int = sys.maxsize) -> list[dict[str, Any]]:
    """What the checkpoints of a session say of themselves, the newest first: all, or so many."""
    return [item.value for item in manager.data.search(("checkpoints", session_id), limit=limit)]


def checkpoint(manager: SessionManager, session_id: str, ns: str, given: str) -> str:
    """The id of the checkpoint that begins like this."""
    ids = [each["checkpoint_id"] for each in checkpoints(manager, session_id) if each["checkpoint_ns"] == ns]
    where = place(session_id, ns)
    if not ids:
        raise SessionError(f"{where} has no checkpoint")
    if given == "latest":
        return str(max(ids))
    fitting = [each for each in ids if each == given] or [each for each in ids if each.startswith(given)]
    if len(fitting) == 1:
        return str(fitting[0])
    if not fitting:
        raise SessionError(f"{where} has no checkpoint {given!r}; `sessionstore show {session_id}` names all")
    raise SessionError(f"{given!r} is the beginning of {len(fitting)} checkpoints: {', '.join(fitting[:4])} ...")


def place(session_id: str, ns: str) -> str:
    """Where checkpoints are, in words."""
    return f"session {session_id!r}" + (f", namespace {ns!r}" if ns else "")
