"""What a process holds: threads, descriptors, tasks; and a use of everything that a manager has.

Rule: whoever closes what it has opened holds what it held before. What warns when it is collected unclosed is collected
within the test, and a warning is an error.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from support.meanings import index
from support.speakers import Speaker
from support.waiting import wait_until

from langgraph_sessionstore import SessionManager

Open = Callable[..., SessionManager]
"""Opens a manager on the storage of a test, with all that it can have."""


def options() -> dict[str, Any]:
    """Of a manager that has all that it can have."""
    return {"index": index(), "store_ttl": {"default_ttl": 1000, "sweep_interval_minutes": 1000}}


def descriptors() -> Counter[str]:
    """The files and sockets that this process has open."""
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            found[os.readlink(f"/proc/self/fd/{name}")] += 1
    return found


def held() -> tuple[set[threading.Thread], Counter[str]]:
    """What this process holds now."""
    return set(threading.enumerate()), descriptors()


@contextmanager
def nothing_left() -> Iterator[None]:
    """Inside of this, whatever is begun or opened is ended and closed as well."""
    threads, files = held()
    gc.freeze()  # what is there already need not be looked through
    yield
    gc.collect()
    gc.unfreeze()
    try:  # executors of asyncio's that were not waited for end by themselves
        wait_until(lambda: set(threading.enumerate()) <= threads, "the threads have ended", timeout=5)
    except TimeoutError:
        raise AssertionError(f"still running: {set(threading.enumerate()) - threads}") from None
    left = descriptors() - files
    assert not left, f"still open: {left}"


def answer(state: MessagesState) -> Any:
    """A node."""
    return {"messages": [AIMessage("yes")]}


def graph() -> Any:
    """A graph with that node."""
    return StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")


def use(manager: SessionManager) -> None:
    """Use all that there is, in the sync form."""
    session = manager.create_session(messages=["Hello"])
    session.conversation(Speaker()).run("one")
    session.fork().conversation(graph().compile()).run("two")
    thread: Any = manager.create_session().config
    graph().compile(checkpointer=manager.checkpointer).invoke({"messages": [HumanMessage("three")]}, thread)
    with session.lease(30) as turn:
        turn.append("user", "four")
    manager.store.put(("notes",), "k", {"text": "five"})
    session.store.put(("notes",), "k", {"text": "six"})
    assert manager.store.search(("notes",), query="five")
    manager.cache.set({(("n",), "k"): (1, None)})
    assert manager.count_sessions() >= 3
    assert manager.data.get(("memory", session.id), "messages") is not None
    manager.store.start_ttl_sweeper()


async def ause(manager: SessionManager) -> None:
    """The same in the async form, some of it at once."""
    session = await manager.acreate_session(messages=["Hello"])
    conversation = session.conversation(Speaker())
    await asyncio.gather(*[conversation.arun(f"one {number}") for number in range(3)])
    await (await session.afork()).conversation(graph().compile()).arun("two")
    thread: Any = (await manager.acreate_session()).config
    await graph().compile(checkpointer=manager.checkpointer).ainvoke({"messages": [HumanMessage("three")]}, thread)
    async with session.lease(30) as turn:
        await turn.aappend("user", "four")
    await manager.store.aput(("notes",), "k", {"text": "five"})
    await session.store.aput(("notes",), "k", {"text": "six"})
    assert await manager.store.asearch(("notes",), query="five")
    await manager.cache.aset({(("n",), "k"): (1, None)})
    assert await manager.acount_sessions() >= 3
    assert await manager.data.aget(("memory", session.id), "messages") is not None
    manager.store.start_ttl_sweeper()
