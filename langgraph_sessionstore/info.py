"""What there is to know about a session without opening it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, overload


@dataclass(frozen=True)
class SessionInfo:
    """What is known about a session. Times are ISO timestamps in UTC."""

    id: str
    created_at: str
    updated_at: str
    """When it was last written to; of a graph's session, when its last turn began."""
    title: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    """The session that it is a fork of."""
    expires_at: str | None = None
    system: str | None = None
    """The system prompt."""


class SessionPage(Sequence[SessionInfo]):
    """A page of sessions. `cursor` is where the next one begins, to be given to `list_sessions`; None at the end."""

    def __init__(self, sessions: Sequence[SessionInfo], cursor: str | None) -> None:
        self._sessions = tuple(sessions)
        self.cursor = cursor

    @overload
    def __getitem__(self, index: int) -> SessionInfo: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[SessionInfo]: ...
    def __getitem__(self, index: int | slice) -> SessionInfo | Sequence[SessionInfo]:
        return self._sessions[index]

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[SessionInfo]:
        return iter(self._sessions)

    def __repr__(self) -> str:
        return f"SessionPage({list(self._sessions)!r}, cursor={self.cursor!r})"


_LAST = 253_402_300_799_000
"""The last second that a timestamp can name; the list may hold any."""


def timestamp(milliseconds: int) -> str:
    """A moment as an ISO timestamp."""
    return datetime.fromtimestamp(min(milliseconds, _LAST) / 1000, timezone.utc).isoformat(timespec="milliseconds")
