"""One turn of a conversation: what is read before it, and what becomes of it.

Rule 1: a turn is stored in one step when it has succeeded: what was given, what was answered, what it has used. One
        that fails, or that nobody listens to any more, leaves nothing but what it has used.
Rule 2: a turn is stored once. What was given is told apart by the ids of its messages: is it in the session already,
        its answer is there as well, and no model is asked again. When it is not known whether a turn was stored, that
        is found out at once; and if the storage does not answer, when the same is given again.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, message_chunk_to_message
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from pydantic import BaseModel

from ..adapters.usage_handler import UsageHandler
from ..errors import ConfigurationError, NotReplicated, OutcomeUnknown, SessionStoreError
from ..ops import Plan
from ..plans import accounts, editing
from ..plans.accounts import Call
from ..plans.drafts import Draft
from ..plans.given import as_messages
from ..script import Do, Say, Script
from ..strategies.summarizing import mark_of
from .answers import as_chunk, parsed
from .spending import Spending

if TYPE_CHECKING:
    from ..session import Session
    from .conversation import Conversation

_PATIENCE = 5.0  # seconds for which a turn whose storing got no answer asks what became of it
_LOG = logging.getLogger(__name__)


class Open(NamedTuple):
    """A turn of which it is not known whether it was stored."""

    turn: Turn
    op_id: bytes
    calls: list[Call]


def as_turn(given: Any) -> list[BaseMessage]:
    """What a user says, in any of the forms that LangChain takes, as messages."""
    if isinstance(given, PromptValue):
        given = given.to_messages()
    elif isinstance(given, Mapping) and given.keys() == {"messages"}:
        given = given["messages"]
    one = isinstance(given, (str, BaseMessage, Mapping)) or _is_pair(given)
    messages = [message_chunk_to_message(each) for each in as_messages([given] if one else given)]
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
        self.spending = Spending(self.session, conversation.phase or self.usual_phase())
        self.given_config = config
        self.config = self.watched(self.spending)
        self.prompt: list[SystemMessage] = []
        """The system messages of a prompt, in place of those of the conversation and the session."""
        self.given = self.messages(given)
        self.named = bool(self.given) and all(message.id for message in self.given)
        """Whether the same turn may have been given before, or elsewhere."""
        self.key = (mark_of(self.given), self.named, repr(given) if not self.given else "", schema)
        earlier, conversation.open = conversation.open, None
        self.earlier = earlier if earlier is not None and earlier.turn.key == self.key else None
        if self.earlier is not None:
            self.given, self.named = self.earlier.turn.given, True
        self.given = [_with_id(message) for message in self.given]

    def usual_phase(self) -> str | None:
        """What usage is recorded under, unless the user says."""
        return "chat"

    def messages(self, given: Any) -> list[BaseMessage]:
        """What is given, as messages; the system messages of a prompt template are for this turn only."""
        messages = as_turn(given)
        while isinstance(given, PromptValue) and len(messages) > 1 and isinstance(messages[0], SystemMessage):
            self.prompt.append(messages.pop(0))  # type: ignore[arg-type]
        return messages

    def watched(self, spending: Spending) -> RunnableConfig:
        """The config of the user with a callback that sees what is used; and no other that records it here too."""
        config = merge_configs(self.given_config, {"callbacks": [spending]})
        callbacks = config["callbacks"]
        if isinstance(callbacks, BaseCallbackManager):
            for each in [*callbacks.handlers]:
                if isinstance(each, UsageHandler) and each is not spending and each.place == self.session._place:
                    callbacks.remove_handler(each)
                    if isinstance(each, Spending):
                        each.seen = True
        return config

    def script(self) -> Script[None]:
        """Carry the turn out."""
        try:
            yield from self.take()
        except BaseException:
            if self.conversation.open is None:  # of the earlier try as little is known as before
                self.conversation.open = self.earlier
            yield from self.spend()
            raise
        yield from self.spend()

    def spend(self) -> Script[None]:
        """Record the calls that were not stored with the turn: what was spent is spent."""
        if self.spending.calls:
            try:
                yield Do(accounts.record(self.session._desk, self.spending.calls))
            except NotReplicated as doubt:
                _LOG.warning("the usage of a turn of session %r was recorded, but %s", self.session.id, doubt)
            except SessionStoreError as lost:
                _LOG.warning("the usage of a turn of session %r was not recorded: %s", self.session.id, lost)

    @abstractmethod
    def take(self) -> Script[None]:
        """Carry the turn out, and store it."""

    # -- for all kinds of turns

    def keep(self, store: Callable[[list[Call], bytes], Plan[None]]) -> Script[None]:
        """Store the turn with the calls that it has made, under an operation id."""
        calls, self.spending.calls = self.spending.calls, []
        for last in (False, False, True):
            op_id = self.session._common.chance.new_id()
            try:
                yield Do(store(calls, op_id))
                return
            except NotReplicated as unsure:
                self.conversation.open = Open(self, op_id, calls)  # given again, it is there, and waits for replicas
                raise unsure.of(self.result()) from None
            except BaseException as exc:
                if isinstance(exc, SessionStoreError) and not isinstance(exc, OutcomeUnknown):
                    self.spending.calls = calls  # nothing was stored
                    raise
                self.conversation.open = Open(self, op_id, calls)  # no answer came, or nobody has waited for it
                doubt: NotReplicated | None = None
                try:
                    stored = yield Do(editing.forgo(self.session._desk, op_id), patience=_PATIENCE)
                except NotReplicated as unsure:
                    stored, doubt = unsure.result, unsure
                except SessionStoreError:
                    raise exc from None  # which says more
                if stored and not isinstance(exc, OutcomeUnknown):
                    raise  # given again, it is there already
                if stored and doubt is not None:
                    raise doubt.of(self.result()) from exc
                self.conversation.open = None
                if stored:
                    return
                if last or not isinstance(exc, OutcomeUnknown):
                    self.spending.calls = calls
                    raise

    def chosen(self, draft: Draft, history: list[BaseMessage]) -> Script[list[BaseMessage]]:
        """What is sent of what was said before."""
        strategy = self.conversation.strategy
        if strategy is None:
            return history
        spending = Spending(self.session, "summary")
        try:
            return (yield from strategy.choose(self.session, draft, history, self.watched(spending)))
        finally:
            self.spending.calls += spending.calls

    def system(self, draft: Draft) -> list[SystemMessage]:
        """The system prompt: that of the turn, else the conversation's own, else the session's."""
        if self.prompt:
            return self.prompt
        own = self.conversation.system
        prompt = draft.details.system if own is None else own
        return [] if prompt is None else [SystemMessage(prompt)]

    def keeps_system(self, draft: Draft) -> bool:
        """Whether the session has no system prompt yet, and gets that of the conversation."""
        return self.conversation.system is not None and draft.details.system is None

    def forgo(self) -> Script[None]:
        """See to it that an earlier try, if it was not stored, never will be."""
        if self.earlier is not None:
            try:
                stored = yield Do(editing.forgo(self.session._desk, self.earlier.op_id))
            except NotReplicated as doubt:
                stored = doubt.result
                if stored:
                    raise doubt.of(self.earlier.turn.result()) from None
            if not stored:
                self.spending.calls = [*self.earlier.calls, *self.spending.calls]
                self.earlier = self.earlier._replace(calls=[])

    def storable(self) -> None:
        """What could not be stored is refused before a model is asked."""
        for message in self.given:
            editing.pack_message(self.session._desk, message)

    def settled(self, history: Sequence[BaseMessage]) -> Script[bool]:
        """Whether this turn has been taken already, so that its answer is known."""
        answer = answered(history, self.given) if self.named else None
        if answer is None:
            return False
        self.found(answer)
        yield from self.say()
        return True

    def say(self) -> Script[None]:
        """Let whoever listens hear an answer that is there already."""
        chunk = as_chunk(self.answer)
        if chunk is not None:
            yield Say(chunk)

    def result(self) -> Any:
        """What whoever has asked for the turn gets."""
        return self.answer if self.schema is None else self.value

    def found(self, answer: AIMessage) -> None:
        """Take an answer that is stored already."""
        self.answer = answer
        if self.schema is not None:
            said = answer.tool_calls[-1]["args"] if answer.tool_calls else answer.text
            self.value = parsed(self.schema, said, f"session {self.session.id!r}", answer)


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
