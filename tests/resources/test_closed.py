"""What is used after its backend was closed says so: every public method of every object, in both forms.

Rule: the tables below name what asks the storage and what does not; a method that is in none of them fails the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from operator import attrgetter, methodcaller
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import BaseStore, GetOp
from pydantic import BaseModel
from support.leftovers import graph
from support.speakers import Speaker

from langgraph_sessionstore import (
    BackendClosed,
    Conversation,
    Session,
    SessionCache,
    SessionChatHistory,
    SessionCheckpointer,
    SessionManager,
    SessionStore,
    open_backend,
)
from langgraph_sessionstore.memory import SessionMemory
from langgraph_sessionstore.ops import Batch, Call, Get

pytestmark = pytest.mark.long


class Reply(BaseModel):
    """An answer as data."""

    said: str


THREAD: Any = {"configurable": {"thread_id": "s", "checkpoint_ns": "", "checkpoint_id": "1"}}
N = ("n",)
MESSAGE = HumanMessage("Hello")
Tries = dict[str, Callable[[Any], Any]]
QUIET = {"close", "aclose", "from_url", "InputType", "OutputType"}
"""What may be used of every object."""
ASYNC_ONLY = {"count", "get_messages"}

MANAGER: Tries = {
    "copy_to": lambda it: it.copy_to(SessionManager.from_url("memory:")),
    "count_sessions": lambda it: it.count_sessions(),
    "create_session": lambda it: it.create_session(),
    "delete_session": lambda it: it.delete_session("s"),
    "delete_sessions": lambda it: it.delete_sessions(older_than=0),
    "from_dict": lambda it: it.from_dict(EXPORTED[0]),
    "get_session": lambda it: it.get_session("s"),
    "import_": lambda it: it.import_(EXPORTED[1]),
    "iter_sessions": lambda it: it.iter_sessions(),
    "list_sessions": lambda it: it.list_sessions(),
    "check_session": lambda it: it.check_session("s"),
    "check_sessions": lambda it: it.check_sessions(),
    "stats": lambda it: it.stats(),
}
SESSION: Tries = {
    **{name: methodcaller(name) for name in (
        "clear", "delete", "fork", "prune", "prune_checkpoints", "redo", "rewind", "show_cost", "show_cost_summary",
        "show_messages", "size", "status", "to_dict", "undo",
    )},
    **{name: attrgetter(name) for name in (
        "info", "last_usage", "messages", "metadata", "metrics", "summary", "system", "title", "usage",
    )},
    "append": lambda it: it.append(MESSAGE),
    "at": lambda it: it.at(0),
    "export": lambda it: it.export(EXPORTED[1].with_suffix(".new")),
    "extend": lambda it: it.extend([MESSAGE]),
    "insert": lambda it: it.insert(0, MESSAGE),
    "len": len,
    "lease": lambda it: it.lease().__enter__(),
    "prune": lambda it: it.prune(1),
    "record_usage": lambda it: it.record_usage("chat"),
    "remove": lambda it: it.remove(0),
    "replace": lambda it: it.replace(0, MESSAGE),
    "rewind": lambda it: it.rewind(turns=1),
    "set_messages": lambda it: it.set_messages([MESSAGE]),
    "set_summary": lambda it: it.set_summary("short"),
    "set_ttl": lambda it: it.set_ttl(60),
    "transact": lambda it: it.transact(len),
    "transaction": lambda it: it.transaction().__enter__(),
    "truncate": lambda it: it.truncate(1, 1),
    "update": lambda it: it.update(title="T"),
}  # fmt: skip
CONVERSATION: Tries = {
    "batch": lambda it: it.batch(["Hello"]),
    "fork": lambda it: it.fork(),
    "invoke": lambda it: it.invoke("Hello"),
    "json": lambda it: it.json("Hello", Reply),
    "run": lambda it: it.run("Hello"),
    "stream": lambda it: it.stream("Hello"),
}
CHECKPOINTER: Tries = {
    "check": lambda it: it.check("s"),
    "collect": lambda it: it.collect("s"),
    "copy_thread": lambda it: it.copy_thread("s", "t"),
    "delete_for_runs": lambda it: it.delete_for_runs(["run"]),
    "delete_thread": lambda it: it.delete_thread("s"),
    "get": lambda it: it.get(THREAD),
    "get_delta_channel_history": lambda it: it.get_delta_channel_history(config=THREAD, channels=["c"]),
    "get_tuple": lambda it: it.get_tuple(THREAD),
    "list": lambda it: it.list(None),
    "prune": lambda it: it.prune(["s"]),
    "put": lambda it: it.put(THREAD, empty_checkpoint(), {}, {}),
    "put_writes": lambda it: it.put_writes(THREAD, [("c", 1)], "task"),
}
STORE: Tries = {
    "batch": lambda it: it.batch([GetOp(N, "k")]),
    "delete": lambda it: it.delete(N, "k"),
    "get": lambda it: it.get(N, "k"),
    "list_namespaces": lambda it: it.list_namespaces(),
    "put": lambda it: it.put(N, "k", {}),
    "search": lambda it: it.search(N),
}
SWEPT: Tries = {
    "sweep_ttl": lambda it: it.sweep_ttl(),
    "start_ttl_sweeper": lambda it: it.start_ttl_sweeper(),
}
DATA: Tries = {
    "batch": lambda it: it.batch([GetOp(("sessions",), "s")]),
    "get": lambda it: it.get(("sessions",), "s"),
    "list_namespaces": lambda it: it.list_namespaces(),
    "search": lambda it: it.search(("sessions",)),
}
CACHE: Tries = {
    "clear": lambda it: it.clear(),
    "get": lambda it: it.get([(N, "k")]),
    "set": lambda it: it.set({(N, "k"): (1, None)}),
}
HISTORY: Tries = {
    "add_ai_message": lambda it: it.add_ai_message("Hello"),
    "add_message": lambda it: it.add_message(MESSAGE),
    "add_messages": lambda it: it.add_messages([MESSAGE]),
    "add_user_message": lambda it: it.add_user_message("Hello"),
    "clear": lambda it: it.clear(),
    "messages": lambda it: it.messages,
}
MEMORY: Tries = {
    "append": lambda it: it.append("s", "user", "Hello"),
    "clear": lambda it: it.clear("s"),
    "load": lambda it: it.load("s"),
}
OBJECTS: dict[str, tuple[Callable[[SessionManager, Session], Any], Any, Tries, set[str]]] = {
    "manager": (
        lambda manager, _: manager, SessionManager, MANAGER,
        {"cache", "checkpointer", "data", "history", "memory", "store"},
    ),
    "session": (lambda _, session: session, Session, SESSION, {"config", "conversation", "store", "usage_handler"}),
    "conversation": (lambda _, session: session.conversation(Speaker()), Conversation, CONVERSATION, set()),
    "graph": (lambda _, session: session.conversation(graph().compile()), Conversation, CONVERSATION, set()),
    "checkpointer": (
        lambda manager, _: manager.checkpointer, SessionCheckpointer, CHECKPOINTER,
        {"config_specs", "entering", "get_next_version", "serde", "tools", "with_allowlist"},
    ),
    "store": (
        lambda manager, _: manager.store, SessionStore, STORE | SWEPT,
        {"carry_out", "errand", "stop_ttl_sweeper", "supports_ttl", "ttl_config"},
    ),
    "items": (lambda _, session: session.store, BaseStore, STORE, {"supports_ttl", "ttl_config"}),
    "data": (lambda manager, _: manager.data, BaseStore, DATA, {"put", "delete", "supports_ttl", "ttl_config"}),
    "cache": (lambda manager, _: manager.cache, SessionCache, CACHE, {"serde"}),
    "history": (lambda manager, _: manager.history("s"), SessionChatHistory, HISTORY, set()),
    "memory": (lambda manager, _: manager.memory(), SessionMemory, MEMORY, set()),
}  # fmt: skip
EXPORTED: list[Any] = []


@pytest.fixture
def closed(url: str, tmp_path: Path, manager: SessionManager) -> tuple[SessionManager, Session]:
    """A manager that was closed, and its session."""
    session = manager.create_session("s", messages=["Hello"])
    session.export(tmp_path / "exported")
    EXPORTED[:] = [session.to_dict(), tmp_path / "exported"]
    manager.close()
    return manager, session


def test_every_method_of_a_closed_object_says_so(closed: tuple[SessionManager, Session]) -> None:
    silent = []
    for name, (make, _, tries, quiet) in OBJECTS.items():
        made = make(*closed)
        silent += [f"{name}.{what}" for what, act in tries.items() if not _refused(act, made)]
        for each in quiet:
            getattr(made, each)

    async def main() -> None:
        for name, (make, _, tries, _) in OBJECTS.items():
            made = make(*closed)
            for what, act in tries.items():
                if _has_async(made, what) and not await _arefused(act, _Async(made)):
                    silent.append(f"{name}.a{what}")

    asyncio.run(main())
    assert not silent


def test_no_method_is_forgotten() -> None:
    for name, (_, cls, tries, quiet) in OBJECTS.items():
        ours = [base for base in cls.__mro__ if "sessionstore" in base.__module__ or base is BaseStore]
        public = {each for base in ours for each in vars(base) if not each.startswith("_")} - QUIET - quiet
        sync = {each for each in public if not (each[0] == "a" and each[1:] in {*tries, *quiet, *ASYNC_ONLY})}
        assert sync <= {*tries}, name


def test_a_graph_that_runs_while_its_backend_is_closed_says_so(url: str, manager: SessionManager) -> None:
    def close(state: Any) -> Any:
        manager.close()
        return {"messages": [("ai", "closed")]}

    builder = StateGraph(MessagesState).add_node("close", close).add_edge(START, "close")
    session = manager.create_session()
    running = builder.compile(checkpointer=manager.checkpointer)
    with pytest.raises(BackendClosed):
        running.invoke({"messages": [MESSAGE]}, session.config)
    with pytest.raises(BackendClosed):
        asyncio.run(running.ainvoke({"messages": [MESSAGE]}, session.config))


def test_what_is_under_way_when_the_backend_is_closed_ends(url: str) -> None:
    async def main() -> None:
        manager = SessionManager.from_url(url)
        transaction = (await manager.acreate_session()).transaction()
        (await transaction.__aenter__()).append("user", "Hello")
        await manager.aclose()
        with pytest.raises(BackendClosed):
            await transaction.__aexit__(None)
        await manager.aclose()

    manager = SessionManager.from_url(url)
    transaction = manager.create_session(messages=["one"]).transaction()
    transaction.__enter__().append("user", "Hello")
    stream = manager.create_session().conversation(Speaker(responses=["one two three"])).stream("Hello")
    next(stream)
    with manager, manager.create_session().lease(5):
        manager.close()
    with pytest.raises(BackendClosed):
        transaction.__exit__(None)
    with pytest.raises(BackendClosed):
        list(stream)
    asyncio.run(main())


def test_a_closed_backend_says_so_whatever_it_is_asked(url: str) -> None:
    backend = open_backend(url)
    asyncio.run(backend.aexecute([]))
    backend.close()
    nothing: list[Call] = []
    for calls in (nothing, [Call(b"p", Batch(Get(b"k")))]):
        with pytest.raises(BackendClosed):
            backend.execute(calls)
        with pytest.raises(BackendClosed):
            asyncio.run(backend.aexecute(calls))


class _Async:
    """The same object, whose methods and properties are those of the async form."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._made, _async_name(self._made, name))
        if name in ("lease", "transaction"):
            return lambda: _Entered(found())
        return found() if isinstance(getattr(type(self._made), name, None), property) else found

    def __len__(self) -> int:
        raise AssertionError("there is acount()")


class _Entered:
    def __init__(self, context: Any) -> None:
        self._context = context

    def __enter__(self) -> Any:
        return self._context.__aenter__()


def _async_name(made: Any, name: str) -> str:
    if name in ("lease", "transaction"):
        return name
    if name == "messages" and not hasattr(made, "amessages"):
        return "aget_messages"
    return f"a{name}"


def _has_async(made: Any, name: str) -> bool:
    return name != "len" and hasattr(made, _async_name(made, name))


def _refused(act: Callable[[Any], Any], made: Any) -> bool:
    try:
        result = act(made)
        for _ in result if isinstance(result, Iterator) else ():
            pass
    except BackendClosed:
        return True
    return False


async def _arefused(act: Callable[[Any], Any], made: Any) -> bool:
    try:
        result = act(made)
        if not isinstance(result, AsyncIterator):
            await result
            return False
        async for _ in result:
            pass
    except BackendClosed:
        return True
    return False
