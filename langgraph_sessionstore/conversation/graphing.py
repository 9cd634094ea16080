"""A turn of a graph, or of an agent with tools: its state is the truth, and the session's messages are in it.

Rule 1: the graph runs on a checkpointer that keeps back what it stores. Released is all of it, in one step, and only
        if the state is still the one that the turn began from.
Rule 2: graphs of one session run one after the other, whichever worker runs them.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import DEFAULT_RECURSION_LIMIT, merge_configs
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.types import Command

from ..adapters.configs import LEASE, Target
from ..adapters.held import Held
from ..adapters.search import echoed
from ..errors import ConfigurationError, ConflictError, Interrupted, LeaseHeld, MessagesElsewhere, SessionError
from ..ops import Expect, Get, Op, Plan, must
from ..plans import accounts, adopting, reading, steering
from ..plans.accounts import Call
from ..plans.adopting import Move
from ..plans.contents import Contents
from ..plans.details import pack_details, unpack_details
from ..plans.drafts import Draft
from ..plans.editing import put_or_delete, state_of
from ..plans.places import DETAILS
from ..script import Ask, Do, Hold, Script
from ..session.line import Line
from .answers import Steps, invalid, parsed
from .models import agents, is_graph
from .turn import Turn, as_turn

RUNNING = "__sessionstore_running__"
"""Where a config carries the sessions on which a graph runs, for conversations inside of its nodes."""
STRUCTURED = "structured_response"
"""Where a graph keeps its answer when it is data."""
_OURS = re.compile(rf"__pregel_.*|checkpoint_(id|ns|map)|thread_id|{LEASE}")
"""What a config says of the graph in which this one runs, if it does: this one has a thread of its own."""
_FIXED = {"durability", "stream_mode", "subgraphs", "version"}
"""Options of a graph that a turn sets itself."""


class GraphTurn(Turn):
    """Runs a graph that keeps its state in the session."""

    goes_on: bool = False
    """Whether the turn is the answer to an interrupt, or lets a graph go on that has stopped."""
    input: Any
    """What the graph is given."""
    ended: str | None = None
    """The state in which it has ended."""
    interrupts: tuple[Any, ...] | None = None
    """What it waits for; None: for nothing."""

    def usual_phase(self) -> str | None:
        """In a graph of the user's: the node in which a model is called."""
        return None if is_graph(self.conversation.model) else "chat"

    def messages(self, given: Any) -> list[BaseMessage]:
        """What is given: messages, perhaps with other parts of the graph's input; or what lets it go on."""
        if given is None or isinstance(given, Command):
            self.goes_on, self.input = given is None or given.resume is not None, given
            return []
        channel = self.conversation.channel
        self.input = {}
        if is_graph(self.conversation.model):
            if isinstance(given, Mapping) and channel in given and "content" not in given:
                self.input = {name: value for name, value in given.items() if name != channel}
                given = given[channel]
            return as_turn(given)
        return super().messages(given)

    def take(self) -> Script[None]:
        """Carry the turn out, and store it."""
        session, channel = self.session, self.conversation.channel
        running = (self.given_config.get("configurable") or {}).get(RUNNING) or ()
        if session._place in running:
            raise LeaseHeld(f"a graph of session {session.id!r} is running around this: a turn would wait for itself")
        if not session._lease:
            yield Hold(Line(session, self.conversation.wait))
        yield from self.forgo()
        found, draft = yield Do(adopting.opening(session._desk))
        if found.channel not in (None, channel):
            raise ConfigurationError(f"the messages of session {session.id!r} are in channel {found.channel!r}")
        move = adopting.move(session._desk, found, draft, channel) if found.channel is None and draft.items else None
        history = [item.get() for item in draft.items]
        if move is not None:
            history = move.given.checkpoint["channel_values"][channel]
        held = Held(session._common.checkpointer, session.config, self._begun(found, move))
        if self._ended_before(found) or self._still_waits(held, draft, history):
            self._end()
            return (yield from self.say())
        if (yield from self.settled(history)):
            return None
        self.storable()
        strategy = self.conversation.strategy
        chosen = (yield from self.chosen(draft, history)) if strategy is not None else None
        graph = self._graph(held, draft, history, chosen)
        config, options = self._config(graph, running), self.options if is_graph(self.conversation.model) else {}
        yield Ask(graph, self._input(), config, {**options, "durability": "exit"}, Steps())
        state = graph.get_state(config)
        ended = state.config["configurable"].get("checkpoint_id")
        self.ended = ended if found.latest is None or ended != found.latest.record.id else None
        if state.next or held.interrupts:
            self.interrupts = held.interrupts
        else:
            self._answer(held, state.values, history)
        yield from self.keep(lambda calls, op_id: self._store(held, found, move, calls, op_id))
        return self._end()

    # -- before the run

    def _begun(self, found: Contents, move: Move | None) -> Callable[[], CheckpointTuple] | None:
        """The newest state of the graph, as it was read."""
        session = self.session
        tools, target, config_of = session._common.checkpointer.tools(), Target(session.config), reading.config_of
        latest, elements = found.latest, found.reading

        def stored() -> CheckpointTuple:
            assert latest is not None
            assert elements is not None
            return echoed(target, reading.as_tuple(tools, session.id, latest, elements))

        def moved() -> CheckpointTuple:
            assert move is not None
            before = stored() if latest is not None else None
            values = {**before.checkpoint["channel_values"]} if before is not None else {}
            checkpoint: Any = copy.deepcopy(dict(move.given.checkpoint))  # LangGraph changes what it is given
            checkpoint["channel_values"] = {**values, **checkpoint["channel_values"]}
            config = target.echo(config_of(session.id, "", checkpoint["id"]))
            metadata: Any = dict(move.given.metadata)
            return CheckpointTuple(config, checkpoint, metadata, before.config if before is not None else None, [])

        if move is not None:
            return moved
        return stored if latest is not None else None

    def _graph(self, held: Held, draft: Draft, history: list[BaseMessage], chosen: Any = None) -> Any:
        """The graph as it runs in this turn."""
        model: Any = self.conversation.model
        if is_graph(model):
            if wrong := _FIXED & self.options.keys():
                raise ConfigurationError(f"a turn of a conversation sets {', '.join(sorted(wrong))} itself")
            return model.copy({"checkpointer": held})
        assert isinstance(model, BaseChatModel)
        kind, store = agents(), self.session._common.store
        sent = kind.Sent(history, chosen, self.options, self.config)
        prompt = self.system(draft)
        text = "\n\n".join(str(message.text) for message in prompt) or None
        system = prompt[0] if len(prompt) == 1 else text
        return kind.build(model, self.conversation.tools, system, sent, self.schema, held, store)

    def _input(self) -> Any:
        return {**self.input, self.conversation.channel: self.given} if self.given else self.input

    def _config(self, graph: Any, running: tuple[str, ...]) -> RunnableConfig:
        """The user's config, with the session's in it; and nothing of another graph in which this one may run."""
        config = self.config.copy()
        if config.get("recursion_limit", DEFAULT_RECURSION_LIMIT) == DEFAULT_RECURSION_LIMIT:
            # LangChain's own, that nobody has asked for, is not the one of graphs
            usual = int(os.environ.get("LANGGRAPH_DEFAULT_RECURSION_LIMIT", "10000"))
            config["recursion_limit"] = (graph.config or {}).get("recursion_limit", usual)
        own = {name: value for name, value in (config.get("configurable") or {}).items() if not _OURS.fullmatch(name)}
        config["configurable"] = {**own, RUNNING: (*running, self.session._place)}
        return merge_configs(config, self.session.config)

    def _still_waits(self, held: Held, draft: Draft, history: list[BaseMessage]) -> bool:
        """Whether this is said once more to a graph that waits for something else."""
        if self.given:
            last = next((each for each in reversed(history) if isinstance(each, HumanMessage)), None)
            if last is None or (last.id != self.given[-1].id and last.content != self.given[-1].content):
                return False
        elif not self.goes_on:
            return False
        waits = held.interrupts or self._graph(held, draft, history).get_state(self.session.config).next
        if self.goes_on and not waits:
            raise SessionError(f"the graph of session {self.session.id!r} waits for nothing: there is no going on")
        self.interrupts = held.interrupts if waits and self.given else None
        return self.interrupts is not None

    def _ended_before(self, found: Contents) -> bool:
        """Whether the state is the one in which an earlier try has ended."""
        before = self.earlier.turn if self.earlier is not None else None
        if not isinstance(before, GraphTurn) or before.ended is None or found.latest is None:
            return False
        self.answer, self.value, self.interrupts = before.answer, before.value, before.interrupts
        return found.latest.record.id == before.ended

    def result(self) -> Any:
        """A graph that waits has no answer yet."""
        return super().result() if self.interrupts is None else None

    def _end(self) -> None:
        """The end of a turn that is stored: an answer, or a question."""
        if self.interrupts is not None:
            raise self._interrupted(self.interrupts)

    # -- what came of it

    def _answer(self, held: Held, values: Any, history: list[BaseMessage]) -> None:
        """Find the answer in the state."""
        messages = values.get(self.conversation.channel) or []
        known = {message.id for message in history}
        new = [each for each in messages if isinstance(each, AIMessage) and each.id not in known] or messages[-1:]
        if not new or not isinstance(new[-1], AIMessage):
            raise invalid("the graph has ended without an answer", messages)
        self.answer = new[-1]
        if self.schema is not None:
            given = STRUCTURED in held.changed and values.get(STRUCTURED) is not None
            said = values[STRUCTURED] if given else str(self.answer.text)
            self.value = parsed(self.schema, said, "the graph", self.answer)

    def _store(self, held: Held, found: Contents, move: Move | None, calls: list[Call], op_id: bytes) -> Plan[None]:
        desk = self.session._desk
        guards: list[Op] = steering.newest(found.latest)
        ops = accounts.adding(calls)
        if move is not None:
            guards, ops = [*guards, *move.guards], [*ops, *move.ops]
        first = move.given if move is not None else None
        details, system = found.details, self.conversation.system
        while True:
            more: tuple[list[Op], list[Op]] = [], []
            known = unpack_details(desk.tools, details, desk.session_id)
            if system is not None and known.system is None:
                row = pack_details(desk.tools, known._replace(system=system))
                more = [Expect(DETAILS, state_of(details))], put_or_delete({DETAILS: row})
            try:
                if (yield from held.release(first, [*guards, *more[0]], [*ops, *more[1]], op_id)):
                    note = desk.writer.noted.of(desk.partition)
                    if move is not None and note is not None:
                        desk.writer.noted.note(desk.partition, note._replace(graph=True))
                    return
            except MessagesElsewhere:  # somebody has begun a log meanwhile: the next try moves it
                pass
            before = details
            (details,) = yield from must(desk.partition, Get(DETAILS))
            if not more[0] or details == before:  # else a tool, or whoever, has given the session a title
                name = self.session.id
                raise ConflictError(f"session {name!r} was changed while its graph was running: nothing was stored")

    def _interrupted(self, interrupts: tuple[Any, ...]) -> Interrupted:
        name = self.session.id
        if interrupts:
            error = Interrupted(f"the graph of session {name!r} waits for an answer: run(Command(resume=...)) gives it")
        else:
            error = Interrupted(f"the graph of session {name!r} has stopped before its end: run(None) goes on")
        error.interrupts = tuple(interrupts)
        return error
