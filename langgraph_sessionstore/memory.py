"""`SessionMemory`: messages of any session by its id."""

from __future__ import annotations

from collections.abc import Callable

from langchain_core.messages import BaseMessage

from .plans.given import GivenMessage
from .session import Session


class SessionMemory:
    """The messages of all sessions. A session that is not there begins with its first message."""

    def __init__(self, open_: Callable[[str], Session]) -> None:
        self._open = open_

    def append(self, session_id: str, message: GivenMessage, text: str | None = None) -> None:
        """Add a message to a session: a message, or a role and a text."""
        self._open(session_id).append(message, text)

    async def aappend(self, session_id: str, message: GivenMessage, text: str | None = None) -> None:
        """The async form of `append`."""
        await self._open(session_id).aappend(message, text)

    def load(self, session_id: str) -> list[BaseMessage]:
        """The messages of a session; none when it is not there."""
        return self._open(session_id).messages

    async def aload(self, session_id: str) -> list[BaseMessage]:
        """The async form of `load`."""
        return await self._open(session_id).amessages()

    def clear(self, session_id: str) -> None:
        """Take all messages of a session away."""
        self._open(session_id).clear()

    async def aclear(self, session_id: str) -> None:
        """The async form of `clear`."""
        await self._open(session_id).aclear()
