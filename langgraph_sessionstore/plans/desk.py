"""What the plans of one session work with."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .. import keys
from ..errors import SessionDeleted, SessionNotFound
from .entry import Entry, Writer
from .tools import Tools


class Chance(NamedTuple):
    """What plans do not have by themselves: the time, and names that nobody had before."""

    now: Callable[[], int]
    """Milliseconds since 1970."""
    new_id: Callable[[], bytes]
    """16 bytes that were never used."""
    new_checkpoint: Callable[[str | None, int], tuple[str, str]]
    """The id of a checkpoint greater than this one, at this step; and its time stamp."""


class Desk(NamedTuple):
    """One session, and what is needed to work on it."""

    tools: Tools
    chance: Chance
    writer: Writer
    session_id: str
    depth: int
    """How many operations can be undone."""

    @property
    def partition(self) -> bytes:
        return keys.session(self.session_id)

    def check(self, incarnation: bytes | None, tombstone: bytes | None) -> None:
        """The session that is meant is the one that is there."""
        if tombstone is not None:
            raise SessionDeleted(
                f"session {self.session_id!r} was deleted; create_session({self.session_id!r}) begins a new one"
            )
        if self.writer.incarnation is not None and incarnation != self.writer.incarnation:
            raise SessionNotFound(f"session {self.session_id!r} is no longer there: it has expired, or was deleted")

    def entry(self, channel: str | None = None, *, exclusive: bool = True) -> Entry:
        """A write to the session, on its way in."""
        return Entry(self.writer, self.session_id, channel=channel, exclusive=exclusive)
