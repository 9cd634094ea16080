"""A turn of a graph, or of an agent with tools: its state is the truth, and the session's messages are in it.

Rule 1: the graph runs on a checkpointer that keeps back what it stores. Released is all of it, in one step, and only
        if the state is still the one that the turn began from.
Rule 2: graphs of one session run one after the other, whichever worker runs them.
"""

from __future__ import annotations

import re
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.types import Command

from ..adapters.configs import Target
from ..adapters.held import INTERRUPT, Held
from ..errors import ConfigurationError, ConflictError, Interrupted
from ..ops import Expect, Op, Plan, Put
from ..plans import accounts, adopting, steering
from ..plans.contents import Contents
from ..plans.details import pack_details
from ..plans.drafts import Draft
from ..plans.editing import state_of
from ..plans.places import DETAILS
from ..script import Ask, Do, Hold, Script
from ..session.line import Line
from .answers import Steps, as_text, invalid, parsed
from .models import agents, is_graph
from .turn import Turn

_OURS = re.compile(r"__pregel_.*|checkpoint_(id|ns|map)|thread_id")
"""What a config says of the graph in which this one runs, if it does: this one has a thread of its own."""
STRUCTURED = "structured_response"
"""Where a graph keeps its answer when it is data."""


class GraphTurn(Turn):
    """Runs a graph that keeps its state in the session."""

    command: Any = None
    """How an interrupt is answered."""

    def usual_phase(self) -> str | None:
        """In a graph of the user's: the node in which a model is called."""
        return None if is_graph(self.conversation.model) else "chat"

    def messages(self, given: Any) -> list[BaseMessage]:
        """What is given: messages, or the answer to an interrupt."""
        if isinstance(given, Command):
            self.command = given
            return []
        return super().messages(given)

    def take(self) -> Script[None]:
        """Carry the turn out, and store it."""
        session, channel = self.session, self.conversation.channel
        if not session._lease:
            yield Hold(Line(session, self.conversation.wait))
        found, draft = yield Do(adopting.adopt(session._desk, channel))
        if found.channel not in (None, channel):
            raise ConfigurationError(f"the messages of session {session.id!r} are in channel {found.channel!r}")
        history = [item.get() for item in draft.items]
        if self.named and any(message.id == self.given[-1].id for message in history):
            yield from self._still_waits()
        if (yield from self.settled(history)):
            return
        held = Held(session._common.checkpointer, session.config)
        graph, options = yield from self._graph(held, draft, history)
        config = self._config()
        yield Ask(graph, self._input(channel), config, {**options, "durability": "exit"}, Steps())
        interrupts = held.interrupts
        waits = bool(interrupts) or self._stops(graph, config, options)
        if not waits:
            self._answer(held, history, channel)
        yield from self.keep(self._release(held, found, draft))
        if self.command is not None:
            self.conversation.open_turns.clear()  # what waited for this has gone on
        if waits:
            raise self._interrupted(interrupts)

    def _input(self, channel: str) -> Any:
        return self.command if self.command is not None else {channel: self.given}

    def _config(self) -> RunnableConfig:
        config = self.config.copy()
        own = {name: value for name, value in (config.get("configurable") or {}).items() if not _OURS.fullmatch(name)}
        config["configurable"] = own
        return merge_configs(config, self.session.config)

    def _graph(self, held: Held, draft: Draft, history: list[BaseMessage]) -> Script[tuple[Any, dict[str, Any]]]:
        """The graph as it runs in this turn, and the options with which it is called."""
        model = self.conversation.model
        if is_graph(model):
            return model.copy({"checkpointer": held}), dict(self.options)  # type: ignore[attr-defined]
        assert isinstance(model, BaseChatModel)
        chosen = (yield from self.chosen(draft, history)) if self.conversation.strategy is not None else None
        kind, store = agents(), self.session._common.store
        sent = kind.Sent(history, chosen, self.options)
        system = self.system(draft)
        return kind.build(model, self.conversation.tools, system, sent, self.schema, held, store), {}

    # -- what came of it

    def _answer(self, held: Held, history: list[BaseMessage], channel: str) -> None:
        """Find the answer in the state."""
        messages = held.values.get(channel) or []
        known = {message.id for message in history}
        new = [each for each in messages if isinstance(each, AIMessage) and each.id not in known] or messages[-1:]
        if not new or not isinstance(new[-1], AIMessage):
            raise invalid("the graph has ended without an answer", messages)
        self.answer = new[-1]
        if self.schema is not None:
            given = STRUCTURED in held.changed and held.values.get(STRUCTURED) is not None
            said = held.values[STRUCTURED] if given else self.answer.text
            self.value = parsed(self.schema, said, "the graph", self.answer)
            self.answer = as_text(self.value, self.answer, "the graph")

    def _release(self, held: Held, found: Contents, draft: Draft) -> Any:
        desk, op_id = self.session._desk, self.session._common.chance.new_id()
        guards: list[Op] = steering.newest(found.latest)
        ops = accounts.adding(self.spending.calls)
        if self.keeps_system(draft):
            details = pack_details(desk.tools, draft.details._replace(system=self.conversation.system))
            guards.append(Expect(DETAILS, state_of(found.details)))
            ops.append(Put(DETAILS, details or b""))

        def store() -> Plan[None]:
            if not (yield from held.release(guards, ops, op_id)):
                name = self.session.id
                raise ConflictError(f"session {name!r} was changed while its graph was running: nothing was stored")

        return store

    # -- what waits for an answer

    def _stops(self, graph: Any, config: RunnableConfig, options: dict[str, Any]) -> bool:
        """Whether the graph has stopped where it was told to, before its end."""
        told = [options.get("interrupt_before"), options.get("interrupt_after")]
        told += [graph.interrupt_before_nodes, graph.interrupt_after_nodes]
        return any(told) and bool(graph.get_state(config).next)

    def _still_waits(self) -> Script[None]:
        """Given again, a turn that waits for an answer still does."""
        checkpointer = self.session._common.checkpointer
        state = yield Do(checkpointer._get(Target(self.session.config)))
        writes = state.pending_writes if state is not None else []
        asked = [each for _, channel, values in writes if channel == INTERRUPT for each in values]
        if asked:
            raise self._interrupted(tuple(asked))

    def _interrupted(self, interrupts: tuple[Any, ...]) -> Interrupted:
        error = Interrupted(
            f"the graph of session {self.session.id!r} waits for an answer: run(Command(resume=...)) goes on"
        )
        error.interrupts = interrupts
        return error
