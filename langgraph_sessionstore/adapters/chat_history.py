"""LangChain's chat history on a session.

Rule: only this module imports LangChain's class, which is deprecated there: the rest lives on without it. The warning
is about LangChain's plans and not about what the user does here, so it does not reach the user.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langchain_core.chat_history import BaseChatMessageHistory

if TYPE_CHECKING:
    from ..session import Session


class SessionChatHistory(BaseChatMessageHistory):
    """The messages of a session, for `RunnableWithMessageHistory` and whatever else takes a chat history."""

    def __init__(self, session: Session) -> None:  # that of LangChain's class would do nothing but warn
        self.session = session

    @property
    def messages(self) -> list[BaseMessage]:
        """All messages."""
        return self.session.messages

    @messages.setter
    def messages(self, messages: Any) -> None:
        self.session.set_messages(messages)

    async def aget_messages(self) -> list[BaseMessage]:
        """The async form of `messages`."""
        return await self.session.amessages()

    def add_message(self, message: BaseMessage) -> None:
        """Add one message."""
        self.session.append(message)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages, as one operation."""
        self.session.extend(messages)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """The async form of `add_messages`."""
        await self.session.aextend(messages)

    def clear(self) -> None:
        """Take all messages away."""
        self.session.clear()

    async def aclear(self) -> None:
        """The async form of `clear`."""
        await self.session.aclear()
