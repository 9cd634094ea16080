"""Graphs as applications build them, and a way to drive them on a checkpointer, sync or async.

Rule 1: everything is deterministic but ids: two checkpointers that are given the same script hold the same.
Rule 2: whatever a node or a tool does is noted in a file, so that tests in several processes can count it.
"""

from __future__ import annotations

import asyncio
import json
import operator
import os
import re
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar
from uuid import UUID

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel, Field
from support.nursery import NURSERY
from support.waiting import wait_until
from typing_extensions import TypedDict

from langgraph_sessionstore import Backend, open_backend
from langgraph_sessionstore.adapters.checkpointer import SessionCheckpointer

T = TypeVar("T")
NO_CONTEXT = sys.version_info < (3, 11)
"""There asyncio hands no context to tasks, and LangGraph's `interrupt` and tasks do not work in async runs."""
FORMS = ("sync first", "async first")
"""Calls are sync and async in turns, on one checkpointer; with the two forms each call is once this and once that."""
FIRST = dict(zip(("memory", "file", "redis62", "redis7", "cluster"), (*FORMS, *FORMS, FORMS[1]), strict=True))
"""Which form on which backend."""


# -- states, with types of the application's own


class Talk(TypedDict):
    """A conversation."""

    messages: Annotated[list[AnyMessage], add_messages]


class Log(TypedDict, total=False):
    """What has been done, in order, and a word to go on with."""

    done: Annotated[list[str], operator.add]
    word: str


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Pair(NamedTuple):
    left: int
    right: str


@dataclass
class Point:
    """A dataclass with another one in it."""

    x: int
    y: int
    colour: Colour = Colour.RED
    of: Point | None = None


class Item(BaseModel):
    """A model in a model."""

    name: str
    price: Decimal
    at: Point | None = None


class Order(BaseModel):
    """What a shop would keep."""

    id: UUID
    items: list[Item] = Field(default_factory=list)
    by_day: dict[int, Item] = Field(default_factory=dict)
    placed: datetime | None = None


class Facts(TypedDict, total=False):
    """Values of all sorts in a plain dict."""

    order: Order
    points: Annotated[list[Point], operator.add]
    pair: Pair
    colours: set[Colour]
    numbers: dict[int, tuple[int, ...]]
    raw: bytes
    steps: Annotated[int, operator.add]


class FactsModel(BaseModel):
    """The same as a pydantic model."""

    order: Order | None = None
    points: Annotated[list[Point], operator.add] = Field(default_factory=list)
    steps: Annotated[int, operator.add] = 0


@dataclass
class FactsData:
    """The same as a dataclass."""

    order: Order | None = None
    points: Annotated[list[Point], operator.add] = field(default_factory=list)
    steps: Annotated[int, operator.add] = 0


# -- what happened


def note(ledger: Path, line: str) -> None:
    """Write down that something was done; lines of several processes do not mix."""
    with ledger.open("ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


def noted(ledger: Path) -> list[str]:
    """What was done, in order."""
    return ledger.read_text().splitlines() if ledger.exists() else []


# -- a model and tools


class Scripted(BaseChatModel):
    """Answers by what it reads: "double:4 ask:sure" calls these tools, results are told, the rest echoed."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """It knows the tools by name."""
        return self

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        return ChatResult(generations=[ChatGeneration(message=_answer(messages))])


def _answer(messages: Sequence[BaseMessage]) -> AIMessage:
    size = len(messages)
    text = str(messages[-1].content)
    told = [str(message.content) for message in messages[_since_call(messages) :]]
    calls = re.findall(r"(\w+):(\w+)", text) if isinstance(messages[-1], HumanMessage) else []
    return AIMessage(
        "" if calls else f"I heard {', '.join(told)}",
        id=f"ai-{size}",
        tool_calls=[{"name": name, "args": {"of": of}, "id": f"call-{size}-{n}"} for n, (name, of) in enumerate(calls)],
        usage_metadata={"input_tokens": size, "output_tokens": 1, "total_tokens": size + 1},
        response_metadata={"model_name": "scripted", "finish_reason": "tool_calls" if calls else "stop"},
    )


def _since_call(messages: Sequence[BaseMessage]) -> int:
    at = len(messages) - 1
    while at > 0 and isinstance(messages[at], ToolMessage) and isinstance(messages[at - 1], ToolMessage):
        at -= 1
    return at


def make_tools(ledger: Path) -> list[BaseTool]:
    """`double` a number, `ask` the user; both are noted when they end."""

    @tool
    def double(of: int) -> str:
        """Double a number."""
        note(ledger, f"double {of}")
        return str(of * 2)

    @tool
    def ask(of: str) -> str:
        """Ask the user."""
        answer = interrupt({"question": of})
        note(ledger, f"ask {of}: {answer}")
        return str(answer)

    return [double, ask]


def built_agent(ledger: Path, checkpointer: Any) -> Any:
    """An agent by hand: a node that asks the model, a node for each call of a tool, an edge that decides."""
    tools = {each.name: each for each in make_tools(ledger)}
    model = Scripted().bind_tools(list(tools.values()))

    def agent(state: Any) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    def act(call: Any) -> Any:
        result = tools[call["name"]].invoke(call["args"])
        return {"messages": [ToolMessage(result, name=call["name"], tool_call_id=call["id"], id=f"done-{call['id']}")]}

    def decide(state: Any) -> Any:
        return [Send("act", call) for call in state["messages"][-1].tool_calls] or END

    graph: Any = StateGraph(Talk)
    graph.add_node("agent", agent)
    graph.add_node("act", act)
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", decide, ["act", END])
    graph.add_edge("act", "agent")
    return graph.compile(checkpointer=checkpointer)


def made_agent(ledger: Path, checkpointer: Any) -> Any:
    """The same agent as LangChain makes it."""
    from langchain.agents import create_agent

    return create_agent(Scripted(), make_tools(ledger), checkpointer=checkpointer)


def say(text: str, number: int) -> Any:
    """The input of a turn; its message has an id."""
    return {"messages": [HumanMessage(text, id=f"human-{number}")]}


# -- graphs without a model


def steps(ledger: Path, checkpointer: Any, **nodes: Callable[[Any], Any]) -> Any:
    """Nodes one after the other, each noted when it ends."""
    graph: Any = StateGraph(Log)
    before = START
    for name, node in nodes.items():
        graph.add_node(name, noting(ledger, name, node))
        graph.add_edge(before, name)
        before = name
    return graph.compile(checkpointer=checkpointer)


def noting(ledger: Path, name: str, node: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The node, noted when it ends."""

    def run(state: Any) -> Any:
        result = node(state)
        note(ledger, name)
        return result

    return run


def fan(ledger: Path, checkpointer: Any, *, last: Callable[[Any], Any], width: int = 3) -> Any:
    """Plain branches and packets side by side, one of which does what it is told; then they are joined."""

    def branch(name: str) -> Callable[[Any], Any]:
        return noting(ledger, name, lambda state: {"done": [name]})

    def packet(state: Any) -> Any:
        note(ledger, f"packet {state['number']}")
        return {"done": [f"packet {state['number']}"]}

    graph: Any = StateGraph(Log)
    graph.add_node("left", branch("left"))
    graph.add_node("right", branch("right"))
    graph.add_node("last", noting(ledger, "last", last))
    graph.add_node("packet", packet)
    graph.add_node("join", noting(ledger, "join", lambda state: {"word": ",".join(sorted(state["done"]))}), defer=True)
    for name in ("left", "right", "last"):
        graph.add_edge(START, name)
        graph.add_edge(name, "join")
    graph.add_conditional_edges(START, lambda state: [Send("packet", {"number": n}) for n in range(width)], ["packet"])
    graph.add_edge("packet", "join")
    return graph.compile(checkpointer=checkpointer)


def review(ledger: Path, checkpointer: Any) -> Any:
    """Write, let somebody look at it beside two tasks that finish, publish."""

    def look(state: Any) -> Any:
        answer = interrupt({"text": state["word"]})
        return {"done": [f"look: {answer}"]}

    return fan(ledger, checkpointer, last=look)


# -- driving


class Driver:
    """Runs graphs, sync and async in turns."""

    def __init__(self, form: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._async = form != FORMS[1]

    def turns_async(self) -> bool:
        """Whether this call is async; the next one is not."""
        self._async = not self._async
        return self._async

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run something async to its end."""
        return self.loop.run_until_complete(coroutine)

    def call(self, of: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method or its async form."""
        if self.turns_async():
            return self.wait(getattr(of, f"a{name}")(*args, **kwargs))
        return getattr(of, name)(*args, **kwargs)

    def items(self, of: Any, name: str, *args: Any, **kwargs: Any) -> list[Any]:
        """The items of an iterator or of its async form."""
        if not self.turns_async():
            return list(getattr(of, name)(*args, **kwargs))

        async def everything() -> list[Any]:
            return [item async for item in getattr(of, f"a{name}")(*args, **kwargs)]

        return self.wait(everything())

    def invoke(self, graph: Any, value: Any, config: Any, **options: Any) -> Any:
        if NO_CONTEXT:
            return graph.invoke(value, config, **options)
        return self.call(graph, "invoke", value, config, **options)

    def stream(self, graph: Any, value: Any, config: Any, **options: Any) -> list[Any]:
        if NO_CONTEXT:
            return list(graph.stream(value, config, **options))
        return self.items(graph, "stream", value, config, **options)

    def state(self, graph: Any, config: Any, **options: Any) -> Any:
        return self.call(graph, "get_state", config, **options)

    def update(self, graph: Any, config: Any, values: Any, **options: Any) -> Any:
        return self.call(graph, "update_state", config, values, **options)

    def history(self, graph: Any, config: Any, **options: Any) -> list[Any]:
        return self.items(graph, "get_state_history", config, **options)

    def list(self, saver: Any, config: Any, **options: Any) -> list[Any]:
        return self.items(saver, "list", config, **options)


class Work(Driver):
    """A checkpointer that graphs run on, other workers on the same storage, and LangGraph's own one to compare with."""

    def __init__(self, storage: Callable[[], Backend], form: str, thread: str, ledger: Path) -> None:
        super().__init__(form)
        self.thread, self.ledger = thread, ledger
        self.peer = InMemorySaver()
        self._storage = storage
        self._made: list[SessionCheckpointer] = []
        self._threads: set[str] = set()
        self.saver = self.other()

    def other(self, **options: Any) -> SessionCheckpointer:
        """Another worker, which remembers nothing."""
        self._made.append(SessionCheckpointer(self._storage(), **options))
        return self._made[-1]

    def config(self, thread: str | None = None, **configurable: Any) -> Any:
        """The config of a thread."""
        self._threads.add(thread or self.thread)
        return {"configurable": {"thread_id": thread or self.thread, **configurable}}

    def check(self) -> None:
        """What is stored is whole; and once what nobody refers to is collected, there is nothing to say at all."""
        for thread in sorted(self._threads):
            assert [str(each) for each in self.saver.check(thread) if each.kind != "unreferenced"] == []
            self.saver.collect(thread)
            assert [str(each) for each in self.saver.check(thread)] == []

    def close(self) -> None:
        for saver in self._made:
            self.wait(saver.backend.aclose())
        self.wait(self.loop.shutdown_asyncgens())
        self.wait(self.loop.shutdown_default_executor())
        self.loop.close()


@contextmanager
def working(storage: Callable[[], Backend], form: str, thread: str, ledger: Path) -> Iterator[Work]:
    """Work, and look at the end whether what is stored is whole."""
    work = Work(storage, form, thread, ledger)
    try:
        yield work
        work.check()
    finally:
        work.close()


# -- comparing


_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32}\b")


def normal(found: Any) -> list[str]:
    """States or pieces of streams as text, without moments; ids are numbered as they appear.

    LangGraph's own checkpointer makes lists of the tuples in metadata.
    """
    numbers: dict[str, int] = {}
    return [
        _ID.sub(lambda match: f"#{numbers.setdefault(match[0], len(numbers))}", repr(_plain(each))) for each in found
    ]


def _plain(value: Any) -> Any:
    if hasattr(value, "_fields") and "created_at" in value._fields:
        metadata = value.metadata and {name: _as_json(each) for name, each in value.metadata.items()}
        return [type(value).__name__, *map(_plain, value._replace(created_at=None, metadata=metadata))]
    if isinstance(value, BaseMessage):
        return [type(value).__name__, {name: _plain(each) for name, each in sorted(value.__dict__.items())}]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in sorted(value.items(), key=repr)}
    if isinstance(value, (set, frozenset)):
        return [type(value).__name__, *sorted(map(repr, value))]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(_plain, value)]
    return value


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


# -- other processes


def child(action: str, form: str, url: str, thread: str, ledger: Path, status: int = 0) -> Any:
    """Do one action on one thread, in a process of its own; what it answers."""
    ours, theirs = NURSERY.Pipe(duplex=False)
    process = NURSERY.Process(target=_do, args=(action, form, url, thread, ledger, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        answer = ours.recv() if ours.poll(60) else None
    except EOFError:
        answer = None
    process.join(60)
    assert process.exitcode == status
    return answer


def _do(action: str, form: str, url: str, thread: str, ledger: Path, told: Connection) -> None:
    driver = Driver(form)
    with open_backend(url) as backend:
        config = {"configurable": {"thread_id": thread}}
        answer = ACTIONS[action](driver, SessionCheckpointer(backend), config, ledger)
        driver.wait(backend.aclose())
    driver.loop.close()
    told.send(answer)


def _start_review(driver: Driver, saver: Any, config: Any, ledger: Path) -> Any:
    result = driver.invoke(review(ledger, saver), {"word": "draft", "done": ["start"]}, config)
    return [each.value for each in result["__interrupt__"]]


def _resume_review(driver: Driver, saver: Any, config: Any, ledger: Path) -> Any:
    return driver.invoke(review(ledger, saver), Command(resume="fine"), config)


def _turn(driver: Driver, saver: Any, config: Any, ledger: Path) -> Any:
    agent = built_agent(ledger, saver)
    number = len(driver.state(agent, config).values.get("messages", ()))
    return len(driver.invoke(agent, say(f"double:{number}", number), config)["messages"])


def _answer_tool(driver: Driver, saver: Any, config: Any, ledger: Path) -> Any:
    result = driver.invoke(built_agent(ledger, saver), Command(resume="yes"), config)
    return [str(message.content) for message in result["messages"]]


def _die(driver: Driver, saver: Any, config: Any, ledger: Path) -> Any:
    """The process dies in one branch, when the writes of the others are stored."""

    def last(state: Any) -> Any:
        wait_until(lambda: finished(saver, config) == 5, "the writes of the others are stored")
        os._exit(3)

    driver.invoke(fan(ledger, saver, last=last), {"word": "", "done": []}, config)


def finished(saver: Any, config: Any) -> int:
    """How many tasks of the newest step have written what they did."""
    found = saver.get_tuple(config)
    return len({task for task, channel, _ in found.pending_writes if channel == "done"}) if found else 0


def add_facts(checkpointer: Any, schema: Any = Facts) -> Any:
    """A graph with values of many types, which each run changes by what it finds there."""

    def work(state: Any) -> Any:
        old = state if isinstance(state, dict) else vars(state)
        order = old["order"].model_copy(deep=True)
        assert isinstance(order, Order)
        assert all(isinstance(point, Point) for point in old["points"])
        name = f"item {len(order.items)}"
        item = Item(name=name, price=Decimal("1.10"), at=Point(len(order.items), 2, Colour.BLUE, Point(0, 0)))
        order.items.append(item)
        order.by_day[len(order.items)] = item
        return {"order": order, "points": [Point(len(order.items), 0)], "steps": 1}

    graph: Any = StateGraph(schema)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    return graph.compile(checkpointer=checkpointer)


def _add_facts(driver: Driver, saver: Any, config: Any, ledger: Path) -> Any:
    result = driver.invoke(add_facts(saver), {"steps": 1}, config)
    return [len(result["order"].items), len(result["points"]), result["steps"]]


ACTIONS = {
    "start-review": _start_review,
    "resume-review": _resume_review,
    "turn": _turn,
    "answer-tool": _answer_tool,
    "die": _die,
    "add-facts": _add_facts,
}
