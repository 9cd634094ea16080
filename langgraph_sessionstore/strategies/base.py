"""What a strategy is, and what all of them do in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from langchain_core.messages import BaseMessage, SystemMessage
from langchain_core.runnables import RunnableConfig

from ..plans.details import Details
from ..plans.drafts import Draft
from ..script import Script
from ..session import Session


class Strategy(Protocol):
    """What a conversation sends of what was said before: `session.conversation(model, strategy=Window(20))`."""

    def choose(
        self, session: Session, draft: Draft, history: list[BaseMessage], config: RunnableConfig
    ) -> Script[list[BaseMessage]]:
        """The messages to send, before those that are new; the system prompt comes in front of them."""


def size_of_head(messages: Sequence[BaseMessage]) -> int:
    """How many system messages stand at the beginning."""
    return next((at for at, message in enumerate(messages) if not isinstance(message, SystemMessage)), len(messages))


def system(details: Details) -> list[BaseMessage]:
    return [SystemMessage(details.system)] if details.system is not None else []
