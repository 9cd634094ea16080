"""What the type checker of a user sees: mypy holds each `assert_type` below, and they run as well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.store.base import BaseStore, Item, SearchItem
from pydantic import BaseModel
from typing_extensions import assert_type

from langgraph_sessionstore import (
    Backend,
    Conversation,
    Copied,
    Metrics,
    Session,
    SessionCheckpointer,
    SessionInfo,
    SessionManager,
    SessionPage,
    SessionStore,
    SessionStoreError,
    Usage,
    open_backend,
)


class Mood(BaseModel):
    """An answer."""

    mood: str


def test_managers_and_sessions() -> None:
    with SessionManager.from_url("memory:") as manager:
        assert_type(manager, SessionManager)
        session = manager.create_session("a", messages=[("user", "x"), "y"], metadata={"k": 1})
        assert_type(session, Session)
        assert_type(manager.get_session("a"), Session | None)
        assert_type(manager.list_sessions(), SessionPage)
        assert_type(manager.list_sessions()[0], SessionInfo)
        assert_type(manager.iter_sessions(), Iterator[SessionInfo])
        assert_type(manager.count_sessions(), int)
        assert_type(session.messages, list[BaseMessage])
        assert_type(session.at(0), BaseMessage)
        assert_type(session.summary, str | None)
        assert_type(session.metadata, dict[str, Any])
        session.append("user", "z")
        assert_type(session.undo(), str)
        assert_type(session.fork(), Session)
        assert_type(session.usage, Usage)
        assert_type(session.metrics, Metrics)
        assert_type(session.config, RunnableConfig)
        assert_type(session.to_dict(), dict[str, Any])
        with session.lease(5) as turn:
            assert_type(turn, Session)
        with SessionManager.from_url("memory:") as other:
            assert_type(manager.copy_to(other), Copied)
        assert_type(manager.delete_session("a"), bool)


def test_what_langgraph_takes() -> None:
    with SessionManager.from_url("memory:") as manager:
        saver: BaseCheckpointSaver[str] = manager.checkpointer
        store: BaseStore = manager.store
        assert_type(manager.checkpointer, SessionCheckpointer)
        assert_type(manager.store, SessionStore)
        assert_type(saver.get_tuple({"configurable": {"thread_id": "a"}}), CheckpointTuple | None)
        assert_type(store.get(("a",), "b"), Item | None)
        assert_type(store.search(("a",)), list[SearchItem])
        assert_type(manager.backend, Backend)
    with open_backend("memory:") as backend:
        assert_type(backend, Backend)


def test_conversations() -> None:
    with SessionManager.from_url("memory:") as manager:
        chat = manager.create_session().conversation(FakeListChatModel(responses=["x", "y", '{"mood": "glad"}']))
        assert_type(chat, Conversation)
        assert_type(chat.run("a"), AIMessage)
        assert_type(list(chat.stream("b")), list[AIMessage])
        assert_type(chat.json("c", Mood), Mood)


async def _async_forms(manager: SessionManager) -> None:
    """Never called: the types of the async forms."""
    assert_type(await manager.acreate_session(), Session)
    assert_type(await manager.aget_session("a"), Session | None)
    assert_type(manager.aiter_sessions(), AsyncIterator[SessionInfo])


def test_errors() -> None:
    try:
        open_backend("nonsense://")
    except SessionStoreError as error:
        assert_type(error, SessionStoreError)
