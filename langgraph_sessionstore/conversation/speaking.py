"""A turn of a model, or of anything that takes messages and gives one."""

from __future__ import annotations

from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import ValidationError

from ..ops import Plan
from ..plans import accounts, editing
from ..plans.drafts import Draft
from ..script import Ask, Do, Script
from .answers import Chunks, as_answer, as_text, instructions, invalid, parsed
from .turn import Turn, answered

WHO = "the model"


class SpokenTurn(Turn):
    """Asks with the messages of the session, and appends what was given with the answer."""

    def take(self) -> Script[None]:
        """Carry the turn out, and store it."""
        _, draft = yield Do(editing.begin(self.session._desk, history=False, turn=True))
        history = [item.get() for item in draft.items]
        if (yield from self.settled(history)):
            return
        prompt = self.system(draft)
        system: list[BaseMessage] = [] if prompt is None else [SystemMessage(prompt)]
        sent = [*system, *(yield from self.chosen(draft, history)), *self.given]
        said = yield from (self._data(sent) if self.schema is not None else self._words(sent))
        self.spending.of(self.answer)
        desk, op_id = self.session._desk, self.session._common.chance.new_id()
        new, beside = [*self.given, *said], accounts.adding(self.spending.calls)
        begins = self.conversation.system if self.keeps_system(draft) else None

        def store() -> Plan[None]:
            if begins is None and not self.named:
                return editing.append(desk, new, beside=beside, op_id=op_id)
            return self._meet(editing.edit(desk, change, messages=self.named, beside=beside, op_id=op_id))

        def change(draft: Draft) -> AIMessage | None:
            there = answered(draft.messages, self.given) if self.named else None
            if there is None:
                if begins is not None and draft.details.system is None:
                    draft.system = begins
                draft.extend(new)
            return there

        yield from self.keep(store)

    def _meet(self, plan: Plan[AIMessage | None]) -> Plan[None]:
        """Store it, unless another worker was faster with the same turn: then its answer is the one."""
        there = yield from plan
        if there is not None:
            self.found(there)
            yield from accounts.record(self.session._desk, self.spending.calls)

    def _words(self, sent: list[BaseMessage]) -> Script[list[BaseMessage]]:
        model = self.conversation.model
        output = yield Ask(model, sent, self.config, self.options, Chunks())
        said = as_answer(output, WHO)
        assert isinstance(said[-1], AIMessage)
        self.answer = said[-1]
        return said

    def _data(self, sent: list[BaseMessage]) -> Script[list[BaseMessage]]:
        """Ask for data in the way that the model knows, or in words."""
        schema, model = self.schema, self.conversation.model
        assert schema is not None
        native = _structured(model, schema)
        try:
            if native is not None:
                output: Any = yield Ask(native, sent, self.config, self.options)
            else:
                told = [*sent, HumanMessage(instructions(schema))]
                output = as_answer((yield Ask(model, told, self.config, self.options)), WHO)[-1]
        except (OutputParserException, ValidationError) as exc:
            raise invalid(f"{WHO} has not answered with a {schema.__name__}: {exc}", self.spending.said) from exc
        said = output if isinstance(output, AIMessage) else self.spending.said
        self.value = parsed(schema, output.text if isinstance(output, AIMessage) else output, WHO, said)
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
