"""Conversations on graphs and agents, in both forms, and a model that does what it is told to.

Rule: what a test has left behind is whole: `Stage.sound` says so at the end of each.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Annotated, Any
from uuid import uuid4

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from pydantic import Field
from support import raw
from support.lifetimes import Look
from support.sittings import Form
from typing_extensions import TypedDict

from langgraph_sessionstore import Conversation, Interrupted, Session, SessionManager, keys

NO_CONTEXT = sys.version_info < (3, 11)
"""There asyncio hands no context to tasks, and LangGraph's `interrupt` and tasks do not work in async runs."""


class Talker(BaseChatModel):
    """Calls the tools that a human names, as `double:3`, and answers to all else with what it has heard.

    To `data {...}` it answers with a call of the tool that it was told of last; to `data aloud {...}` with words, too.
    """

    sent: list[list[BaseMessage]] = Field(default_factory=list)
    """What it was sent, call by call."""
    options: list[dict[str, Any]] = Field(default_factory=list)
    faults: dict[int, BaseException] = Field(default_factory=dict)
    """What happens in its calls, counted from 1."""
    meanwhile: Any = None
    """What somebody else does while it answers."""

    @property
    def _llm_type(self) -> str:
        return "talker"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        """It knows the tools by name."""
        return self.bind(told=[each.name for each in tools], **kwargs)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages, kwargs))])

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        answer = self._answer(messages, kwargs)
        calls = [_chunk(each) for each in answer.tool_calls]
        for word in re.findall(r"\S+\s*", answer.text):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=word, id=answer.id))
            if run_manager is not None:
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk
        last = AIMessageChunk(
            content="",
            id=answer.id,
            tool_call_chunks=calls,
            usage_metadata=answer.usage_metadata,
            response_metadata=answer.response_metadata,
        )
        yield ChatGenerationChunk(message=last)

    def _answer(self, messages: list[BaseMessage], options: dict[str, Any]) -> AIMessage:
        told = options.pop("told", [])
        options.pop("tool_choice", None)
        self.sent.append(list(messages))
        self.options.append(options)
        if self.meanwhile is not None:
            self.meanwhile()
        if fault := self.faults.get(len(self.sent)):
            raise fault
        last = messages[-1]
        text, calls = f"I heard {last.text}", []
        data = re.match(r"data (aloud )?(.*)", last.text) if isinstance(last, HumanMessage) else None
        if data is not None:
            text, calls = "Here it is" if data[1] else "", [(told[-1], json.loads(data[2]))]
        elif isinstance(last, HumanMessage) and (named := re.findall(r"(\w+):(\w+)", last.text)):
            text, calls = "", [(name, {"of": of}) for name, of in named]
        return AIMessage(
            text,
            id=f"ai-{uuid4()}",
            tool_calls=[{"name": name, "args": args, "id": f"call-{uuid4()}"} for name, args in calls],
            usage_metadata=UsageMetadata(input_tokens=len(messages), output_tokens=1, total_tokens=len(messages) + 1),
            response_metadata={"model_name": "talker"},
        )


def _chunk(call: Any) -> Any:
    return tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=0)


@tool
def double(of: int) -> str:
    """Double a number."""
    return str(of * 2)


@tool
def broken(of: int) -> str:
    """Not working."""
    raise RuntimeError(f"broken at {of}")


TOOLS: list[BaseTool] = [double, broken]


# -- graphs


class State(TypedDict):
    """A conversation."""

    messages: Annotated[list[AnyMessage], add_messages]


def graph(*nodes: Callable[..., Any], state: Any = State, checkpointer: Any = None, **options: Any) -> Any:
    """Nodes one after the other, named as their functions."""
    schemas = {name: options.pop(name) for name in ("context_schema", "output_schema") if name in options}
    builder: Any = StateGraph(state, **schemas)
    before = START
    for node in nodes:
        name = getattr(node, "__name__", "node")
        builder.add_node(name, node)
        builder.add_edge(before, name)
        before = name
    return builder.compile(checkpointer=checkpointer, **options)


def say(text: str, **more: Any) -> dict[str, Any]:
    """What a node answers."""
    return {"messages": [AIMessage(text)], **more}


def echo(state: Any) -> Any:
    """A node that answers with what it has heard last, and how many messages there were."""
    messages = state["messages"]
    return say(f"{len(messages)}: {messages[-1].text}")


def asking(model: Any) -> Callable[..., Any]:
    """A node that asks a model."""

    def speak(state: Any, config: RunnableConfig) -> Any:
        return {"messages": [model.invoke(state["messages"], config)]}

    return speak


def remove_all(state: Any) -> Any:
    """A node that forgets the conversation."""
    return {"messages": [RemoveMessage(message.id) for message in state["messages"]]}


class Thing(State, total=False):
    """A conversation with something beside it."""

    thing: Any


def remembering(node: Callable[..., Any]) -> Any:
    """A graph with a subgraph that keeps its own state for ever, and this node behind it."""

    def own(state: State) -> Any:
        return echo(state)

    return graph(graph(own, state=Thing, checkpointer=True), node, state=Thing)


# -- driving


def texts(messages: Sequence[BaseMessage]) -> list[str]:
    """Messages in short; a call of tools as the names of the tools."""
    return [
        message.text or "+".join(call["name"] for call in getattr(message, "tool_calls", ())) for message in messages
    ]


def kinds(messages: Sequence[BaseMessage]) -> str:
    """One letter for each message: human, ai, tool, system."""
    return "".join(message.type[0] for message in messages)


def results(messages: Sequence[BaseMessage]) -> list[str]:
    """What tools have said."""
    return [message.text for message in messages if isinstance(message, ToolMessage)]


class Meanwhile:
    """A node in which somebody else does something to a session, in the form of the test."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.acts: list[tuple[Any, ...]] = []
        """What is done, each once: on what, which method, with what."""
        self.errors: list[Exception] = []
        self.runs = 0

    def node(self) -> Callable[..., Any]:
        """The node; it answers."""

        def other(state: Any) -> Any:
            self.runs += 1
            while self.acts:
                subject, name, *args = self.acts.pop()
                try:
                    getattr(subject, name)(*args)
                except Exception as exc:
                    self.errors.append(exc)
            return echo(state)

        async def aother(state: Any) -> Any:
            self.runs += 1
            while self.acts:
                subject, name, *args = self.acts.pop()
                try:
                    await getattr(subject, f"a{name}")(*args)
                except Exception as exc:
                    self.errors.append(exc)
            return echo(state)

        return other if self.form.loop is None else aother


class Stage:
    """A session, and all that can be seen of it."""

    def __init__(self, form: Form, manager: SessionManager, session: Session, look: Look) -> None:
        self.form, self.manager, self.session, self._look = form, manager, session, look
        self.others: list[Session] = []
        """Sessions that are looked at in the end as well."""

    @property
    def context(self) -> bool:
        """Whether a model in an agent knows of the run that it is part of."""
        return self.form.loop is None or not NO_CONTEXT

    def do(self, name: str, *args: Any, **options: Any) -> Any:
        """Something with the session."""
        return self.form.do(self.session, name, *args, **options)

    def texts(self) -> list[str]:
        """The messages."""
        return texts(self.do("messages"))

    def run(self, conversation: Conversation, given: Any, **options: Any) -> str:
        """A turn; the text of its answer."""
        return str(self.form.do(conversation, "run", given, **options).text)

    def stream(self, conversation: Conversation, given: Any, most: int | None = None, **options: Any) -> list[Any]:
        """The chunks of a turn; it is closed after so many."""
        if self.form.loop is None:
            return _some(conversation.stream(given, **options), most)
        return self.form.loop.run_until_complete(_asome(conversation.astream(given, **options), most)) or []

    def checkpoints(self) -> list[Any]:
        """All checkpoints in all namespaces."""
        saver, config = self.manager.checkpointer, {"configurable": {"thread_id": self.session.id}}
        if self.form.loop is None:
            return list(saver.list(config))  # type: ignore[arg-type]

        async def gather() -> list[Any]:
            return [each async for each in saver.alist(config)]  # type: ignore[arg-type]

        return self.form.loop.run_until_complete(gather())

    def values(self) -> dict[str, Any]:
        """The state of the graph."""
        found = self.form.do(self.manager.checkpointer, "get_tuple", self.session.config)
        return found.checkpoint["channel_values"] if found else {}

    def rows(self) -> raw.Rows:
        """All that is stored, but usage, and what goes with recording it: operation ids, and the list of sessions."""
        found = {
            name: sorted(row for row in part if not row.startswith(_USED))
            for name, part in self._look().items()
            if b"registry" not in name
        }
        return {name: part for name, part in found.items() if part}

    def kept(self) -> list[Any]:
        """All that a turn that has failed leaves as it was."""
        return [self.do("messages"), self.checkpoints(), self.rows()]

    def everything(self) -> raw.Rows:
        """All that is stored."""
        return {name: sorted(part) for name, part in self._look().items() if part}

    def calls(self) -> dict[str, int]:
        """How many calls of models are recorded, by phase."""
        return {phase: used.calls for phase, used in self.do("metrics").by_phase.items()}

    def line(self) -> None:
        """The checkpoints are one line: each comes from the one before."""
        own = [each for each in self.checkpoints() if not each.config["configurable"]["checkpoint_ns"]]
        ids = [each.config["configurable"]["checkpoint_id"] for each in own]
        parents = [each.parent_config and each.parent_config["configurable"]["checkpoint_id"] for each in own]
        assert ids == sorted(ids, reverse=True)
        assert parents == [*ids[1:], None][: len(ids)]

    def sound(self) -> None:
        """What is stored is whole."""
        for session in (self.session, *self.others):
            assert self.form.do(self.manager.checkpointer, "check", session.id) == []


def waits(stage: Stage, conversation: Conversation, given: Any, *said: Any, **options: Any) -> None:
    """This given, it waits, and asks this."""
    with pytest.raises(Interrupted, match="waits for an answer") as error:
        stage.run(conversation, given, **options)
    assert tuple(each.value for each in error.value.interrupts) == said


_USED = (keys.encode("n"), keys.OPERATIONS)


def _some(stream: Any, most: int | None) -> list[Any]:
    chunks: list[Any] = []
    try:
        while most is None or len(chunks) < most:
            chunks.append(next(stream))
    except StopIteration:
        return chunks
    stream.close()
    return chunks


async def _asome(stream: AsyncIterator[Any], most: int | None) -> list[Any]:
    chunks: list[Any] = []
    try:
        while most is None or len(chunks) < most:
            chunks.append(await stream.__anext__())
    except StopAsyncIteration:
        return chunks
    await stream.aclose()  # type: ignore[attr-defined]
    return chunks
