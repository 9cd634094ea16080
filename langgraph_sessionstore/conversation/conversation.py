"""`Conversation`: a model, an agent or a graph that talks on a session, as a LangChain Runnable.

Rule: a conversation holds nothing of the session. So any number of them, with different models, in any number of
workers, talk on one session.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_config_list
from pydantic import BaseModel

from ..errors import ConfigurationError
from ..plans.given import Duration, as_milliseconds, as_text
from ..script import afinish, aperform, finish, perform
from ..strategies import GivenStrategy, Strategy, as_strategy
from .answers import as_schema
from .models import GivenModel, agents, as_model, is_graph
from .turn import Open, Turn

if TYPE_CHECKING:
    from ..session import Session

M = TypeVar("M", bound=BaseModel)
AGENTS = "messages"
"""The channel in which agents of langchain's keep the messages."""


class Conversation(Runnable[Any, AIMessage]):
    """A model, an agent or a graph that talks on a session; see `Session.conversation`.

    `run` and `stream` take what a user says, `json` gives data; `invoke`, `ainvoke`, `batch` and the rest are those of
    every LangChain Runnable. A turn is stored in one step when it has succeeded, else not at all.
    """

    def __init__(
        self,
        session: Session,
        model: GivenModel,
        *,
        system: str | None = None,
        tools: Sequence[Any] | None = None,
        strategy: GivenStrategy | None = None,
        phase: str | None = None,
        wait: Duration = 60,
    ) -> None:
        self.session = session
        """The session: its messages, its usage, undo, and all the rest."""
        self.model = as_model(model)
        self.system = as_text(system, "a system prompt")
        self.tools = list(tools or ())
        self.strategy: Strategy | None = as_strategy(strategy)
        self.phase = as_text(phase, "a phase")
        self.wait = as_milliseconds(wait, "wait") / 1000
        self.channel = session._common.checkpointer._channel
        self.open: Open | None = None
        """The last turn, if it is not known whether it was stored."""
        self._check()

    def __repr__(self) -> str:
        return f"Conversation({self.session.id!r}, {self.model.get_name()})"

    # -- a turn

    def run(self, text: Any, *, config: RunnableConfig | None = None, **options: Any) -> AIMessage:
        """Say something, and get the answer. Options go to the model, as `temperature` and `stop`."""
        return self.invoke(text, config, **options)

    async def arun(self, text: Any, *, config: RunnableConfig | None = None, **options: Any) -> AIMessage:
        """The async form of `run`."""
        return await self.ainvoke(text, config, **options)

    def json(self, text: Any, schema: type[M], *, config: RunnableConfig | None = None, **options: Any) -> M:
        """Say something, and get the answer as data. `InvalidAnswer` when it is none: then the session is as it was."""
        value: M = self._call_with_config(self._take_data, (text, as_schema(schema)), config, options=options)  # type: ignore[arg-type, assignment]
        return value

    async def ajson(self, text: Any, schema: type[M], *, config: RunnableConfig | None = None, **options: Any) -> M:
        """The async form of `json`."""
        value: M = await self._acall_with_config(self._atake_data, (text, as_schema(schema)), config, options=options)  # type: ignore[arg-type, assignment]
        return value

    def fork(self, session_id: str | None = None, *, ttl: Duration | None = None) -> Conversation:
        """The same conversation on a copy of the session: from here on they go apart."""
        return self._on(self.session.fork(session_id, ttl=ttl))

    async def afork(self, session_id: str | None = None, *, ttl: Duration | None = None) -> Conversation:
        """The async form of `fork`."""
        return self._on(await self.session.afork(session_id, ttl=ttl))

    # -- as a Runnable

    @property
    def InputType(self) -> Any:
        """A text, a message, a list of messages, or a prompt."""
        return Any

    @property
    def OutputType(self) -> type[AIMessage]:
        """The answer."""
        return AIMessage

    def invoke(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> AIMessage:
        """A turn; as `run`, with the arguments of a Runnable."""
        return self._call_with_config(self._take, input, config, options=options)  # type: ignore[arg-type]

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> AIMessage:
        """The async form of `invoke`."""
        return await self._acall_with_config(self._atake, input, config, options=options)  # type: ignore[arg-type]

    def stream(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> Iterator[AIMessage]:
        """A turn whose answer comes in pieces. It is stored when the stream has ended, and not before."""
        heard: list[Generator[AIMessageChunk, None, None]] = []

        def listen(given: Iterator[Any], config: RunnableConfig) -> Iterator[AIMessage]:
            (one,) = given
            turn = self._turn(one, config, options)
            heard.append(perform(self._backend, turn.script(), stream=True))
            yield from heard[0]

        try:
            yield from self._transform_stream_with_config(iter([input]), listen, config)  # type: ignore[arg-type]
        finally:
            for each in heard:
                each.close()

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **options: Any
    ) -> AsyncIterator[AIMessage]:
        """The async form of `stream`."""

        async def listen(given: AsyncIterator[Any], config: RunnableConfig) -> AsyncIterator[AIMessage]:
            (one,) = [each async for each in given]
            turn = self._turn(one, config, options)
            stream: Any = aperform(self._backend, turn.script(), stream=True, results=[])
            async with aclosing(stream) as chunks:
                async for chunk in chunks:
                    yield chunk

        stream: Any = self._atransform_stream_with_config(_one(input), listen, config)  # type: ignore[arg-type]
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                yield chunk

    def batch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **options: Any,
    ) -> list[AIMessage]:
        """Turns one after the other: each knows of those before it."""
        answers: list[Any] = []
        for given, each in zip(inputs, get_config_list(config, len(inputs)), strict=True):
            try:
                answers.append(self.invoke(given, each, **options))
            except Exception as exc:
                if not return_exceptions:
                    raise
                answers.append(exc)
        return answers

    async def abatch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **options: Any,
    ) -> list[AIMessage]:
        """The async form of `batch`."""
        answers: list[Any] = []
        for given, each in zip(inputs, get_config_list(config, len(inputs)), strict=True):
            try:
                answers.append(await self.ainvoke(given, each, **options))
            except Exception as exc:
                if not return_exceptions:
                    raise
                answers.append(exc)
        return answers

    # --

    @property
    def _backend(self) -> Any:
        return self.session._common.backend

    def _turn(self, given: Any, config: RunnableConfig, options: Any, schema: Any = None) -> Turn:
        from .speaking import SpokenTurn

        if not self.tools and not is_graph(self.model):
            return SpokenTurn(self, given, config, options, schema)
        from .graphing import GraphTurn  # which needs langgraph

        return GraphTurn(self, given, config, options, schema)

    def _take(self, given: Any, config: RunnableConfig, options: Any) -> AIMessage:
        turn = self._turn(given, config, options)
        finish(self._backend, turn.script())
        return turn.answer

    async def _atake(self, given: Any, config: RunnableConfig, options: Any) -> AIMessage:
        turn = self._turn(given, config, options)
        await afinish(self._backend, turn.script())
        return turn.answer

    def _take_data(self, given: Any, config: RunnableConfig, options: Any) -> Any:
        turn = self._turn(given[0], config, options, given[1])
        finish(self._backend, turn.script())
        return turn.value

    async def _atake_data(self, given: Any, config: RunnableConfig, options: Any) -> Any:
        turn = self._turn(given[0], config, options, given[1])
        await afinish(self._backend, turn.script())
        return turn.value

    def _on(self, session: Session) -> Conversation:
        return Conversation(
            session,
            self.model,
            system=self.system,
            tools=self.tools,
            strategy=self.strategy,
            phase=self.phase,
            wait=self.wait,
        )

    def _check(self) -> None:
        """What cannot work is said before the first turn."""
        if is_graph(self.model):
            _check_graph(self.model, self.channel, self.session._common.backend)
            for name, given in (("system", self.system), ("tools", self.tools), ("strategy", self.strategy)):
                if given:
                    raise ConfigurationError(f"a graph decides by itself what it sends: give it no {name} here")
        elif self.tools:
            agents()
            if self.channel != AGENTS:
                raise ConfigurationError(
                    f"agents keep their messages in channel {AGENTS!r}, and this manager's sessions in {self.channel!r}"
                )
            if not isinstance(self.model, BaseChatModel):
                raise ConfigurationError(
                    f"tools need a chat model, which calls them, and not a {type(self.model).__name__}"
                )


def _check_graph(graph: Any, channel: str, backend: Any) -> None:
    checkpointer = graph.checkpointer
    if checkpointer not in (None, True) and getattr(checkpointer, "backend", None) is not backend:
        raise ConfigurationError(
            "the graph keeps its state elsewhere: compile it with the manager's checkpointer, or with none"
        )
    delta = sys.modules.get("langgraph.channels.delta")
    if delta is not None and isinstance(graph.channels.get(channel), delta.DeltaChannel):
        raise ConfigurationError(f"channel {channel!r} is a DeltaChannel, which a conversation cannot read")
    if channel not in graph.channels:
        raise ConfigurationError(
            f"the graph has no channel {channel!r} for the messages: give it one, or name the one it has with "
            "SessionManager(channel=...)"
        )


async def _one(given: Any) -> AsyncIterator[Any]:
    yield given
