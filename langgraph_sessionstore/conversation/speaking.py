"""A turn of a model, or of anything that takes messages and gives one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from pydantic import BaseModel, ValidationError

from ..ops import Plan
from ..plans import accounts, editing
from ..plans.accounts import Call
from ..plans.drafts import Draft
from ..script import Ask, Do, Script
from .answers import Chunks, as_answer, as_text, instructions, invalid, parsed
from .turn import Turn, answered

WHO = "the model"


class SpokenTurn(Turn):
    """Asks with the messages of the session, and appends what was given with the answer."""

    def take(self) -> Script[None]:
        """Carry the turn out, and store it."""
        yield from self.forgo()
        _, draft = yield Do(editing.begin(self.session._desk, history=False, turn=True))
        history = [item.get() for item in draft.items]
        if (yield from self.settled(history)):
            return
        self.storable()
        chosen = yield from self.chosen(draft, history)
        sent = [*self.system(draft), *chosen, *self._new(history)]
        said = yield from (self._data(sent) if self.schema is not None else self._words(sent))
        self.spending.of(self.answer)
        keeps_system = self.keeps_system(draft)
        yield from self.keep(lambda calls, op_id: self._store(said, keeps_system, calls, op_id))

    def _new(self, history: Iterable[BaseMessage]) -> list[BaseMessage]:
        """What of the given messages is not there yet."""
        there = {message.id for message in history} if self.named else ()
        return [message for message in self.given if message.id not in there]

    def _store(self, said: list[BaseMessage], keeps_system: bool, calls: list[Call], op_id: bytes) -> Plan[None]:
        desk, beside = self.session._desk, accounts.adding(calls)
        if not self.named and not keeps_system:
            return (yield from editing.append(desk, [*self.given, *said], beside=beside, op_id=op_id))

        def change(draft: Draft) -> AIMessage | None:
            messages = draft.messages if self.named else []
            there = answered(messages, self.given)
            if there is None:
                if keeps_system and draft.details.system is None:
                    draft.system = self.conversation.system
                draft.extend([*self._new(messages), *said])
            return there

        there = yield from editing.edit(desk, change, messages=self.named, beside=beside, op_id=op_id)
        if there is not None:  # another worker was faster with the same turn: its answer is the one
            self.found(there)
            self.spending.calls = calls
        return None

    def _words(self, sent: list[BaseMessage]) -> Script[list[BaseMessage]]:
        output = yield Ask(self.conversation.model, sent, self.config, self.options, Chunks())
        said = as_answer(output, WHO)
        assert isinstance(said[-1], AIMessage)
        self.answer = said[-1]
        return said

    def _data(self, sent: list[BaseMessage]) -> Script[list[BaseMessage]]:
        """Ask for data in the way that the model knows, or in words."""
        schema, model = self.schema, self.conversation.model
        assert schema is not None
        native = _structured(model, schema)
        told = sent if native is not None else [*sent, HumanMessage(instructions(schema))]
        try:
            output: Any = yield Ask(native or model, told, self.config, self.options)
        except (OutputParserException, ValidationError) as exc:
            raise invalid(f"{WHO} has not answered with a {schema.__name__}: {exc}", self.spending.said) from exc
        said: Any = self.spending.said
        if native is None and (isinstance(output, BaseMessage) or not isinstance(output, (BaseModel, Mapping))):
            said = as_answer(output, WHO)[-1]  # else it is data already
            output = str(said.text)
        self.value = parsed(schema, output, WHO, said)
        self.answer = as_text(self.value, said, WHO)
        return [self.answer]


def _structured(model: Any, schema: Any) -> Any:
    """The model as one that answers with data, if it knows how to."""
    if isinstance(model, BaseChatModel):
        try:
            return model.with_structured_output(schema)
        except NotImplementedError:
            pass
    return None
