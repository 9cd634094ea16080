"""What an operation relied on has to stand when it is stored; and nothing of what was erased stays."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, MessagesState, StateGraph
from support.servers import RedisServer
from support.sittings import Form

from langgraph_sessionstore import (
    Backend,
    BackendFull,
    ConfigurationError,
    ConflictError,
    Session,
    SessionError,
    SessionManager,
    keys,
    run,
)
from langgraph_sessionstore.ops import Range, must
from langgraph_sessionstore.strategies import select, summarize, window


def rows(backend: Backend, session: Session) -> list[tuple[bytes, bytes]]:
    (found,) = run(backend, must(keys.session(session.id), Range(b"", None)))
    return list(found)


@pytest.mark.parametrize(
    ("look", "change"),
    [
        (lambda tx: tx.metadata, lambda other: other.update(metadata={"budget": 0})),
        (lambda tx: tx.title, lambda other: other.update(title="another")),
        (lambda tx: tx.summary, lambda other: other.set_summary("another")),
        (lambda tx: len(tx), lambda other: other.append("user", "another")),
        (lambda tx: tx.at(0), lambda other: other.replace(0, "user", "another")),
        (lambda tx: tx.messages, lambda other: (other.clear(purge=True), other.extend(["a", "b", "c"]))),
    ],
)
@pytest.mark.parametrize("write", ["title", "summary", "append", "remove"])
def test_a_transaction_relies_on_what_it_looked_at(
    look: Callable[[Any], Any], change: Callable[[Any], Any], write: str, manager: SessionManager, form: Form
) -> None:
    session = form.do(manager, "create_session", messages=["a", "b", "c"], summary="S", metadata={"budget": 1})
    transaction = session.transaction()
    tx = form.enter(transaction)
    look(tx)
    if write == "title":
        tx.title = "mine"
    elif write == "summary":
        tx.summary = "mine"
    elif write == "append":
        tx.append("user", "mine")
    else:
        tx.remove(1)
    change(manager.get_session(session.id))
    seen = session.messages, session.summary, session.metadata, session.title
    with pytest.raises(ConflictError):
        form.leave(transaction)
    assert (session.messages, session.summary, session.metadata, session.title) == seen
    with pytest.raises(SessionError, match="has ended"):
        tx.append("user", "too late")
    with pytest.raises(SessionError, match="has ended"):
        tx.metadata = {}


def test_what_was_not_looked_at_may_change(manager: SessionManager, form: Form) -> None:
    session = form.do(manager, "create_session", messages=["a"])
    first, second = session.transaction(), session.transaction()
    form.enter(first).append("user", "mine")
    form.enter(second).summary = "mine"
    other = form.do(manager, "get_session", session.id)
    form.do(other, "update", title="theirs")
    form.do(other, "append", "user", "theirs")
    form.leave(first)
    form.leave(second)
    assert form.texts(session) == ["a", "theirs", "mine"]
    assert (form.do(session, "title"), form.do(session, "summary")) == ("theirs", "mine")


def test_values_that_python_calls_equal_are_others(session: Session, form: Form) -> None:
    for value in (1, True, 1.0):
        form.do(session, "update", metadata={"flag": value})
        assert type(form.do(session, "metadata")["flag"]) is type(value)


def test_a_change_that_cannot_be_done_is_refused(session: Session, form: Form) -> None:
    async def change(tx: Any) -> None:
        tx.append("user", "no")

    with pytest.raises(ConfigurationError, match="plain function"):
        form.do(session, "transact", change)
    for retries in (-1, "3", True):
        with pytest.raises(ConfigurationError, match="retries"):
            form.do(session, "transact", len, retries=retries)
    assert form.texts(session) == []


def test_what_nobody_needs_any_more_is_taken(
    session: Session, form: Form, storage: Callable[[], Backend], manager: SessionManager
) -> None:
    backend = storage()
    form.do(session, "extend", ["violet", "b"])
    form.do(session, "remove", 0)
    for number in range(90):
        form.do(session, "update", title=f"{number}")
    assert not [key for key, value in rows(backend, session) if b"violet" in value]
    session = form.do(manager, "create_session", messages=["violet"])
    form.do(session, "clear")
    graph = StateGraph(MessagesState).add_node("n", lambda state: {"messages": [("ai", "ok")]}).add_edge(START, "n")
    form.do(graph.compile(checkpointer=manager.checkpointer), "invoke", {"messages": [("user", "hi")]}, session.config)
    assert [key for key, value in rows(backend, session) if b"violet" in value]
    form.do(session, "clear", purge=True)
    assert not [key for key, value in rows(backend, session) if b"violet" in value or b"hi" in value]


def call(*names: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": {}, "id": name} for name in names])


def test_interleaved_calls_stay_with_their_results(manager: SessionManager) -> None:
    session = manager.create_session(
        messages=["hi", call("a"), call("b"), ToolMessage("ra", tool_call_id="a"), ToolMessage("rb", tool_call_id="b")]
    )
    session.append("user", "more")
    for last in range(1, 8):
        kinds = [message.type for message in window(session, last)]
        assert kinds == ["human"] if last < 5 else kinds[-5:] == ["ai", "ai", "tool", "tool", "human"]
    chosen = select(session, lambda message: message.text == "rb")
    assert [message.type for message in chosen] == ["ai", "ai", "tool", "tool"]


def test_an_edit_does_not_lose_what_a_summary_knows(manager: SessionManager) -> None:
    session = manager.create_session(messages=[f"old {number}" for number in range(8)])
    summarize(session, FakeListChatModel(responses=["The name is Ann."]), keep=2, drop=True)
    session.extend([f"new {number} {{earlier}}" for number in range(8)])
    summarize(session, FakeListChatModel(responses=["The name is Ann. And {conversation}."]), keep=2)
    session.replace(1, "user", "old 7, corrected")
    asked = []

    def model(prompt: Any) -> str:
        asked.append(prompt[-1].text)
        return "All of it."

    sent = summarize(session, RunnableLambda(model), keep=2)
    assert "The name is Ann. And {conversation}." in asked[0]
    assert asked[0].count("old 7, corrected") == 1
    assert next(message.text for message in sent).endswith("All of it.")


@pytest.mark.parametrize("form", ["async"], indirect=True)
def test_a_cancelled_holder_gives_its_lease_back(manager: SessionManager, form: Form) -> None:
    async def hold() -> None:
        session = await manager.acreate_session("held")

        async def work() -> None:
            async with session.lease(30) as turn:
                await turn.aappend("user", "x")
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_soon(task.cancel)
            pytest.fail("the cancellation was lost")

        task = asyncio.create_task(work())
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(100):
            await asyncio.sleep(0.02)
            try:
                return await session.aappend("user", "free")
            except ConflictError:
                continue
        pytest.fail("it was not given back")

    assert form.loop is not None
    form.loop.run_until_complete(hold())


def test_a_forked_child_goes_on(manager: SessionManager, kind: str) -> None:
    """Whatever lock another thread of the parent held at that moment."""
    if kind == "memory":  # which a child has a copy of
        manager.create_session("s")
    session = manager.get_session("s") or manager.create_session("s")
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            manager.checkpointer.writer.noted.of(b"x")

    threads = [threading.Thread(target=busy, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                try:
                    session.append("user", "from a child")
                    os._exit(0)
                finally:
                    os._exit(3)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(session) == (0 if kind == "memory" else 10)


def test_sessions_can_be_deleted_from_a_full_server(own_redis: RedisServer) -> None:
    with SessionManager.from_url(own_redis.url) as manager, redis.Redis.from_url(own_redis.url) as client:
        for number in range(5):
            manager.create_session(f"{number}", messages=["x" * 1000] * 20)
        info: Any = client.info("memory")
        client.config_set("maxmemory", int(info["used_memory"]) + 300_000)
        for number in range(100_000):
            try:
                client.set(f"filler {number}", "z" * 200)
            except redis.OutOfMemoryError:
                break
        with pytest.raises(BackendFull):
            manager.create_session("new")
        assert [manager.delete_session(f"{number}") for number in range(4)] == [True] * 4
        assert manager.delete_sessions(older_than=0) == 1
        assert manager.count_sessions() == 0
