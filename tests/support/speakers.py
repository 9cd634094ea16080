"""Models that remember what they were sent, and what listens to conversations in one of the two forms."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from langchain_core.language_models import FakeListChatModel, LanguageModelInput
from langchain_core.language_models.fake_chat_models import FakeListChatModelError
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import Field
from support.sittings import Form

from langgraph_sessionstore import BackendUnavailable, Metrics, OutcomeUnknown, Session, SessionManager, Usage
from langgraph_sessionstore.testing import Fault, FaultyBackend

Sent = list[BaseMessage]


class Speaker(FakeListChatModel):
    """Says what it was given to say, one after the other; without that, it answers "X" with "re: X"."""

    responses: list[str] = Field(default_factory=list)
    fails: set[int] = Field(default_factory=set)
    """The numbers of the calls that fail, from 1 on."""
    used: tuple[int, int, int] | None = None
    """Tokens of each call: input, of it from the cache, and output."""
    name_: str = ""
    sent: list[Sent] = Field(default_factory=list)
    """What it was sent in each call."""
    options: list[dict[str, Any]] = Field(default_factory=list)
    """With which options."""
    meanwhile: Callable[[], Any] | None = None
    """Happens while it thinks."""
    ameanwhile: Callable[[], Awaitable[Any]] | None = None
    """The same for the async form."""

    @property
    def calls(self) -> int:
        """How often it was asked."""
        return len(self.sent)

    def texts(self, at: int = -1) -> list[str]:
        """What it was sent in one of its calls, as texts."""
        return [message.text for message in self.sent[at]]

    def bytes(self, at: int = -1) -> list[str]:
        """What it was sent in one of its calls, as a provider's cache compares it."""
        return [message.model_dump_json() for message in self.sent[at]]

    def _hear(self, messages: Sent, options: dict[str, Any]) -> AIMessage:
        self.sent.append([message.model_copy(deep=True) for message in messages])
        self.options.append({name: value for name, value in options.items() if value is not None})
        if self.calls in self.fails:
            raise FakeListChatModelError(f"call {self.calls}")
        return self._answer(messages)

    def _answer(self, messages: Sent) -> AIMessage:
        said = self.responses[(self.calls - 1) % len(self.responses)] if self.responses else f"re: {messages[-1].text}"
        return AIMessage(said, usage_metadata=self._usage(), response_metadata=self._metadata())

    def _usage(self) -> UsageMetadata | None:
        if self.used is None:
            return None
        given, cached, made = self.used
        details: Any = {"cache_read": cached}
        return UsageMetadata(
            input_tokens=given, output_tokens=made, total_tokens=given + made, input_token_details=details
        )

    def _metadata(self) -> dict[str, Any]:
        return {"model_name": self.name_} if self.name_ else {}

    def _generate(
        self, messages: Sent, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        answer = self._hear(messages, {"stop": stop, **kwargs})
        if self.meanwhile is not None:
            self.meanwhile()
        return ChatResult(generations=[ChatGeneration(message=answer)])

    async def _agenerate(
        self, messages: Sent, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        await asyncio.sleep(0)
        if self.ameanwhile is not None:
            await self.ameanwhile()
        return self._generate(messages, stop, **kwargs)

    def _stream(
        self, messages: Sent, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        answer = self._hear(messages, {"stop": stop, **kwargs})
        if self.meanwhile is not None:
            self.meanwhile()
        for number, word in enumerate(re.findall(r"\S*\s*", answer.text)[:-1]):
            if number == self.error_on_chunk_number:
                raise FakeListChatModelError(f"chunk {number}")
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        told: Any = {"usage_metadata": answer.usage_metadata, "response_metadata": answer.response_metadata}
        yield ChatGenerationChunk(message=AIMessageChunk(content="", **told))

    async def _astream(
        self, messages: Sent, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        if self.ameanwhile is not None:
            await self.ameanwhile()
        for chunk in self._stream(messages, stop, **kwargs):
            await asyncio.sleep(0)
            yield chunk


class Caller(Speaker):
    """A model that knows tools: it gives its answers, which are JSON, as arguments of the first tool it has."""

    def _answer(self, messages: Sent) -> AIMessage:
        said = super()._answer(messages)
        tools = self.options[-1].get("tools")
        if tools and said.text.startswith("{"):
            import json

            call = {"name": tools[0].__name__, "args": json.loads(said.text), "id": f"call {self.calls}"}
            return said.model_copy(update={"content": "", "tool_calls": [{**call, "type": "tool_call"}]})
        return said

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """See LangChain."""
        return self.bind(tools=tools, **kwargs)


class Worker:
    """A session as one worker has it, whose storage fails at the calls of a turn that a test names."""

    def __init__(self, form: Form, manager: SessionManager, session_id: str) -> None:
        self.form = form
        self.faulty = FaultyBackend(manager.backend, {})
        self.session: Session = form.do(SessionManager(self.faulty), "get_session", session_id)

    def fails(self, faults: dict[int, Fault]) -> None:
        """From here on: 1 is the next call."""
        self.faulty.faults = {self.faulty.calls + number: fault for number, fault in faults.items()}

    def again(self, act: Callable[[], Any], most: int = 6) -> tuple[Any, int]:
        """Do it until the storage lets it be done: the result, and how many tries it took."""
        for number in range(1, most):
            try:
                return act(), number
            except (OutcomeUnknown, BackendUnavailable):
                pass
        raise AssertionError("it fails for ever")


def listen(form: Form, subject: Any, given: Any, *args: Any, **options: Any) -> list[Any]:
    """Stream to the end: all pieces."""
    if form.loop is None:
        return list(subject.stream(given, *args, **options))

    async def pieces() -> list[Any]:
        return [piece async for piece in subject.astream(given, *args, **options)]

    return list(form.loop.run_until_complete(pieces()))


def untimed(form: Form, session: Session, by: str = "by_phase") -> dict[str, Usage]:
    """What was used, without the seconds, which were measured."""
    metrics: Metrics = form.do(session, "metrics")
    found: dict[str, Usage] = getattr(metrics, by)
    assert all(0 <= usage.seconds < 60 for usage in found.values())
    return {name: usage._replace(seconds=0) for name, usage in found.items()}


def at_once(form: Form, acts: list[tuple[Any, str, tuple[Any, ...]]]) -> list[Any]:
    """Do all of these side by side, in threads or in tasks: results, and errors."""
    if form.loop is None:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(len(acts)) as pool:
            futures = [pool.submit(getattr(subject, name), *args) for subject, name, args in acts]
            return [future.exception() or future.result() for future in futures]

    async def together() -> list[Any]:
        doing = (getattr(subject, f"a{name}")(*args) for subject, name, args in acts)
        return await asyncio.gather(*doing, return_exceptions=True)

    return form.loop.run_until_complete(together())


def talk(url: str, session_id: str, turns: int, line: Any) -> None:
    """In a process of its own: take turns, and hand back what each has sent, byte by byte."""
    with SessionManager.from_url(url) as manager:
        session = manager.get_session(session_id)
        assert session is not None
        model = Speaker(used=(3, 1, 2), name_="m")
        conversation = session.conversation(model, system="be kind")
        for number in range(turns):
            conversation.run(f"\u00e4 {number}") if number % 2 else list(conversation.stream(f"\u00e4 {number}"))
        line.send([model.bytes(at) for at in range(model.calls)])
