"""What operations cost, counted on the wire of a real Redis: round trips and bytes, never time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from support.proxy import Proxy
from support.savers import Saver, checkpoint, config
from support.servers import RedisServer
from support.turns import run_turns

from langgraph_sessionstore import SessionCheckpointer, keys, open_backend, run
from langgraph_sessionstore.ops import Range, must


@pytest.fixture
def proxy(redis7: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis7.host, redis7.port) as proxy:
        yield proxy


@pytest.fixture(params=["sync", "async"])
def worker(proxy: Proxy, request: pytest.FixtureRequest) -> Iterator[Callable[..., Saver]]:
    """Makes connected workers behind the proxy; the counters start when a test resets them."""
    import asyncio

    loop = asyncio.new_event_loop() if request.param == "async" else None
    made: list[Saver] = []

    def make(**options: Any) -> Saver:
        backend = open_backend(f"redis://{proxy.host}:{proxy.port}/0")
        made.append(Saver(SessionCheckpointer(backend, **options), loop))
        warm = f"warm-{id(made[-1])}"
        made[-1].put(config(warm), checkpoint({"a": 1}))
        made[-1].get(config(warm))
        made[-1].delete_thread(warm)
        return made[-1]

    yield make
    for saver in made:
        saver.close()
        saver.checkpointer.backend.close()
    if loop:
        loop.close()


def message(number: int) -> AnyMessage:
    """400 bytes of text."""
    text = f"{number:08}" * 50
    return HumanMessage(text, id=f"m{number}") if number % 2 else AIMessage(text, id=f"m{number}")


class Chat:
    """A conversation that a saver carries on, one message at a step."""

    def __init__(self, thread: str) -> None:
        self.thread = thread
        self.config: RunnableConfig = config(thread)
        self.messages: list[AnyMessage] = []
        self.version: str | None = None

    def grow(self, saver: Saver, to: int) -> None:
        """Put one checkpoint with so many messages."""
        self.messages = self.messages + [message(n) for n in range(len(self.messages), to)]
        self.version = saver.checkpointer.get_next_version(self.version, None)
        versions = {"messages": self.version, "other": "1"}
        new = {"messages": self.version} if "checkpoint_id" in self.config["configurable"] else versions
        made = checkpoint({"messages": self.messages, "other": "kept"}, versions)
        self.config = saver.put(self.config, made, None, new)

    def load(self, saver: Saver) -> None:
        """Go on from what is stored, as a run on another worker does."""
        found = saver.load(config(self.thread))
        assert found.checkpoint["channel_values"]["messages"] == self.messages
        self.messages = found.checkpoint["channel_values"]["messages"]
        self.config = found.config


def cost(proxy: Proxy, what: Callable[[], Any]) -> tuple[int, int, int]:
    """Round trips, bytes up and bytes down of something."""
    proxy.reset()
    what()
    assert proxy.connections == 0
    return proxy.round_trips, proxy.bytes_up, proxy.bytes_down


def test_each_operation_is_one_round_trip(worker: Callable[..., Saver], proxy: Proxy, thread: str) -> None:
    saver, chat = worker(), Chat(thread)
    assert cost(proxy, lambda: chat.grow(saver, 2))[0] == 1  # the first, which lists the thread as well
    assert cost(proxy, lambda: chat.grow(saver, 4))[0] == 1
    writes = [("messages", [message(5)]), ("branch:to:tools", None)]
    assert cost(proxy, lambda: saver.put_writes(chat.config, writes, "task", "path"))[0] == 1
    assert cost(proxy, lambda: saver.get(config(thread)))[0] == 1
    assert cost(proxy, lambda: saver.get(chat.config))[0] == 1
    assert cost(proxy, lambda: saver.list(config(thread)))[0] == 1
    assert cost(proxy, lambda: saver.list(config(thread, None), limit=1))[0] == 1
    assert cost(proxy, lambda: saver.history(config(thread), ["other"]))[0] == 1
    assert cost(proxy, lambda: saver.history(chat.config, ["messages"]))[0] == 2  # with a seed of some size
    assert cost(proxy, lambda: saver.copy_thread(thread, thread + "-copy"))[0] == 1
    assert cost(proxy, lambda: saver.delete_thread(thread))[0] == 1
    assert cost(proxy, lambda: saver.get(config(thread)))[0] == 1
    assert saver.get(config(thread)) is None


def test_a_cold_worker_reads_a_usual_thread_in_one_round_trip(
    worker: Callable[..., Saver], proxy: Proxy, thread: str
) -> None:
    saver, chat = worker(), Chat(thread)
    for size in range(2, 42, 2):
        chat.grow(saver, size)
        saver.put_writes(chat.config, [("messages", [message(size)])], "task")
    reader = worker()
    assert cost(proxy, lambda: reader.get(config(thread)))[0] == 1
    lister = worker()
    assert cost(proxy, lambda: lister.list(config(thread)))[0] == 1
    assert len(lister.list(config(thread))) == 20


def test_a_cold_worker_reads_a_large_thread_in_two_round_trips(
    worker: Callable[..., Saver], proxy: Proxy, thread: str
) -> None:
    saver, chat = worker(), Chat(thread)
    chat.grow(saver, 1000)
    assert cost(proxy, lambda: saver.get(config(thread)))[0] == 1  # who wrote it remembers it
    cold = worker()
    assert cost(proxy, lambda: chat.load(cold))[0] == 2
    assert cost(proxy, lambda: chat.load(cold))[0] == 1
    assert cost(proxy, lambda: cold.list(config(thread)))[0] == 1


@pytest.mark.parametrize("other_worker", [False, True])
def test_what_a_step_writes_does_not_grow_with_the_conversation(
    worker: Callable[..., Saver], proxy: Proxy, thread: str, other_worker: bool
) -> None:
    """Also when another worker wrote the step before, and this one has only read it."""
    saver, chat = worker(), Chat(thread)
    written = {}
    for size in (100, 1000, 2000):
        chat.grow(saver, size - 2)
        chat.grow(saver, size - 1)
        writer = worker() if other_worker else saver
        if other_worker:
            chat.load(writer)
        trips, written[size], _ = cost(proxy, partial(chat.grow, writer, size))
        assert trips == 1
        if other_worker:
            chat.load(saver)
    assert written[2000] <= written[1000] + 32 <= written[100] + 64
    assert written[2000] < 2500, written


def test_what_a_warm_worker_reads_does_not_grow_with_the_conversation(
    worker: Callable[..., Saver], proxy: Proxy, thread: str
) -> None:
    saver, other, chat = worker(), worker(), Chat(thread)
    read = {}
    for size in (100, 1000, 2000):
        chat.grow(saver, size - 1)
        chat.load(other)
        chat.grow(saver, size)
        trips, _, read[size] = cost(proxy, lambda: chat.load(other))
        assert trips == 1
        chat.load(saver)
    assert read[2000] <= read[1000] + 32 <= read[100] + 64
    assert read[2000] < 2500, read


def test_writes_are_only_what_was_written(worker: Callable[..., Saver], proxy: Proxy, thread: str) -> None:
    saver, chat = worker(), Chat(thread)
    chat.grow(saver, 1000)
    _, up, _ = cost(proxy, lambda: saver.put_writes(chat.config, [("messages", [message(1)])], "task", "path"))
    assert up < 1200


# -- what a long conversation takes: a tool agent, each turn human, AI with a tool call, tool, AI; 400 bytes each

TURNS = 300
MEGABYTE = 1_000_000


def partition_size(checkpointer: SessionCheckpointer, thread: str) -> int:
    """The bytes of all keys and values of a thread."""
    (rows,) = run(checkpointer.backend, must(keys.session(thread), Range(b"", None)))
    return sum(len(key) + len(value) for key, value in rows)


@pytest.mark.long
def test_300_turns_of_a_tool_agent_on_redis(redis7: RedisServer, thread: str, record_property: Any) -> None:
    with SessionCheckpointer.from_url(redis7.url) as checkpointer:
        state = run_turns(checkpointer, thread, TURNS)
        assert len(state["messages"]) == 4 * TURNS
        size = partition_size(checkpointer, thread)
        assert checkpointer.check(thread) == []
    with redis7.client() as client:
        name = next(name for name in client.scan_iter(f"*{thread}*") if client.type(name) == b"zset")
        used = client.memory_usage(name, samples=0)
    record_property("bytes of keys and values", size)
    record_property("MEMORY USAGE", used)
    assert size <= 4 * MEGABYTE, size
    assert used <= 6 * MEGABYTE, used


@pytest.mark.long
def test_300_turns_of_a_tool_agent_on_files(tmp_path: Any, thread: str, record_property: Any) -> None:
    with SessionCheckpointer.from_url(tmp_path / "sessions") as checkpointer:
        run_turns(checkpointer, thread, TURNS)
        assert partition_size(checkpointer, thread) <= 4 * MEGABYTE
    used = sum(file.stat().st_size for file in (tmp_path / "sessions").rglob("*") if file.is_file())
    record_property("bytes of files", used)
    assert used <= 6 * MEGABYTE, used
