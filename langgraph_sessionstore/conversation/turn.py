"""One turn of a conversation: what is read before it, and what becomes of it.

Rule 1: a turn is stored in one step when it has succeeded: what was given, what was answered, what it has used. One
        that fails, or that nobody listens to any more, leaves nothing but what it has used.
Rule 2: a turn is stored once. What was given is told apart by the ids of its messages: is it in the session already,
        its answer is there as well, and no model is asked again. When it is not known whether a turn was stored, the
        conversation remembers it, and given the same again it finds that out first.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from pydantic import BaseModel

from ..errors import ConfigurationError, Interrupted, OutcomeUnknown, SessionStoreError
from ..ops import Plan
from ..plans import accounts
from ..plans.drafts import Draft
from ..plans.given import as_messages
from ..script import Do, Script
from ..strategies.summarizing import mark_of
from .answers import parsed
from .spending import Spending

if TYPE_CHECKING:
    from ..session import Session
    from .conversation import Conversation

_LOG = logging.getLogger(__name__)


def as_turn(given: Any) -> list[BaseMessage]:
    """What a user says, in any of the forms that LangChain takes, as messages."""
    if isinstance(given, PromptValue):
        given = given.to_messages()
    elif isinstance(given, Mapping) and "messages" in given and "content" not in given:
        given = given["messages"]
    one = isinstance(given, (str, BaseMessage, Mapping)) or _is_pair(given)
    messages = as_messages([given] if one else given)
    if not messages:
        raise ConfigurationError("a turn begins with a message: give a text, a message, or a list of messages")
    return messages


def _is_pair(given: Any) -> bool:
    return isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str)


class Turn(ABC):
    """One turn, from what was given to its answer."""

    def __init__(
        self,
        conversation: Conversation,
        given: Any,
        config: RunnableConfig,
        options: Mapping[str, Any],
        schema: type[BaseModel] | None,
    ) -> None:
        self.conversation = conversation
        self.session: Session = conversation.session
        self.options = options
        self.schema = schema
        self.answer: AIMessage = AIMessage("")
        self.value: Any = None
        """The answer as data, when that was asked for."""
        self.store: Callable[[], Plan[None]] | None = None
        """Stores the turn. Done again, it is stored once."""
        self.spending = Spending(self.session, conversation.phase or self.usual_phase())
        self.given_config = config
        self.config = merge_configs(config, {"callbacks": [self.spending]})
        self.given = self.messages(given)
        self.named = bool(self.given) and all(message.id for message in self.given)
        """Whether somebody else may give the same turn."""
        self.key = mark_of(self.given) + repr(schema).encode()
        self.earlier = conversation.open_turns.get(self.key)
        if self.earlier is not None:
            self.given, self.named = self.earlier.given, True
        else:
            self.given = [_with_id(message) for message in self.given]

    def usual_phase(self) -> str | None:
        """What usage is recorded under, unless the user says."""
        return "chat"

    def messages(self, given: Any) -> list[BaseMessage]:
        """What is given, as messages."""
        return as_turn(given)

    def script(self) -> Script[None]:
        """Carry the turn out."""
        try:
            yield from self.take()
        except BaseException as exc:
            if (isinstance(exc, OutcomeUnknown) and self.store is not None) or isinstance(exc, Interrupted):
                self.conversation.remember(self)
            elif self.spending.calls:  # what was spent is spent
                try:
                    yield Do(accounts.record(self.session._desk, self.spending.calls))
                except SessionStoreError as lost:
                    _LOG.warning("the usage of a turn of session %r was not recorded: %s", self.session.id, lost)
            raise
        self.conversation.forget(self)

    def keep(self, store: Callable[[], Plan[None]]) -> Script[None]:
        """Store the turn. It has an operation id, so that when no answer comes it can be given again."""
        self.store = store
        yield Do(store())
        self.spending.calls = []

    @abstractmethod
    def take(self) -> Script[None]:
        """Carry the turn out, and store it."""

    # -- for all kinds of turns

    def chosen(self, draft: Draft, history: list[BaseMessage]) -> Script[list[BaseMessage]]:
        """What is sent of what was said before."""
        strategy = self.conversation.strategy
        if strategy is None:
            return history
        spending = Spending(self.session, "summary")
        try:
            config = merge_configs(self.given_config, {"callbacks": [spending]})
            return (yield from strategy.choose(self.session, draft, history, config))
        finally:
            self.spending.calls += spending.calls

    def system(self, draft: Draft) -> str | None:
        """The system prompt: the conversation's own, else the session's."""
        return draft.details.system if self.conversation.system is None else self.conversation.system

    def keeps_system(self, draft: Draft) -> bool:
        """Whether the session has no system prompt yet, and gets that of the conversation."""
        return self.conversation.system is not None and draft.details.system is None

    def settled(self, history: Sequence[BaseMessage]) -> Script[bool]:
        """Whether this turn has been taken already, so that its answer is known."""
        answer = answered(history, self.given) if self.named else None
        earlier = self.earlier
        if answer is None and earlier is not None and earlier.store is not None:
            yield from self.keep(earlier.store)
            self.answer, self.value = earlier.answer, earlier.value
            return True
        if answer is None:
            return False
        self.found(answer)
        return True

    def found(self, answer: AIMessage) -> None:
        """Take an answer that is stored already."""
        self.answer = answer
        if self.schema is not None:
            said = answer.text or next((call["args"] for call in reversed(answer.tool_calls)), "")
            self.value = parsed(self.schema, said, f"session {self.session.id!r}")


def answered(history: Sequence[BaseMessage], given: Sequence[BaseMessage]) -> AIMessage | None:
    """The answer to this, if it is in the history."""
    last = given[-1].id
    at = next((at for at, message in enumerate(history) if message.id == last), None)
    found: AIMessage | None = None
    for message in history[at + 1 :] if at is not None else ():
        if isinstance(message, HumanMessage):
            break
        found = message if isinstance(message, AIMessage) else found
    return found


def _with_id(message: BaseMessage) -> BaseMessage:
    return message if message.id else message.model_copy(update={"id": str(uuid4())})
