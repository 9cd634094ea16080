"""A storage with something of everything, its rows below the library, and all that can be asked of it.

Rule: one session is never harmed, and nobody harms the lists of partitions at the same time: it has to work as before.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Annotated, Any, Protocol, TypedDict

import redis
from fuzz.harm import Changes, Rows, Storage
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from support.meanings import index
from support.savers import checkpoint, config
from support.sittings import Form

from langgraph_sessionstore import (
    SESSION_NAMESPACE,
    Backend,
    Session,
    SessionManager,
    keys,
)
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.backends.redis.commands import partition_key
from langgraph_sessionstore.strategies import aselect, asummarize, awindow, select, summarize, window

IDS = "log", "graph", "raw"
OTHER = "bystander"
WIDE = "x" * 120
VALUES = {"items": [HumanMessage(WIDE)], "messages": [HumanMessage(WIDE)]}


class Raw(Protocol):
    """The rows of a storage as they lie there."""

    def read(self, partition: bytes) -> Rows: ...
    def change(self, partition: bytes, changes: Changes) -> None: ...


class InMemory:
    def __init__(self, backend: MemoryBackend) -> None:
        self._parts: dict[bytes, Any] = backend._partitions

    def read(self, partition: bytes) -> Rows:
        found = self._parts.get(partition)
        return dict(found.range(b"", None, None, 0, False)) if found is not None else {}

    def change(self, partition: bytes, changes: Changes) -> None:
        if partition not in self._parts:
            self._parts[partition] = type(next(iter(self._parts.values())))()
        part = self._parts[partition]
        for key, value in changes.items():
            part.delete(key) if value is None else part.put(key, value)
        if not len(part):
            del self._parts[partition]


class InFile:
    def __init__(self, directory: Path) -> None:
        self._file = directory / "sessions.sqlite3"

    def _do(self, query: str, *values: Any) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self._file, timeout=20, isolation_level=None)) as db:
            return db.execute(query, values).fetchall()

    def read(self, partition: bytes) -> Rows:
        query = "SELECT key, value FROM rows JOIN partitions ON partition = id WHERE name = ?"
        return dict(self._do(query, partition))

    def change(self, partition: bytes, changes: Changes) -> None:
        with contextlib.closing(sqlite3.connect(self._file, timeout=20, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT OR IGNORE INTO partitions(name) VALUES (?)", (partition,))
            (number,) = db.execute("SELECT id FROM partitions WHERE name = ?", (partition,)).fetchone()
            for key, value in changes.items():
                db.execute("DELETE FROM rows WHERE partition = ? AND key = ?", (number, key))
                if value is not None:
                    db.execute("INSERT INTO rows VALUES (?, ?, ?)", (number, key, value))
            db.execute("COMMIT")


class InRedis:
    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._client: Any = client
        self._prefix = prefix.encode()

    def read(self, partition: bytes) -> Rows:
        members = self._client.zrange(partition_key(self._prefix, partition), 0, -1)
        return dict(member.split(b"\0", 1) for member in members)

    def change(self, partition: bytes, changes: Changes) -> None:
        name = partition_key(self._prefix, partition)
        with self._client.pipeline() as pipe:
            for key, value in changes.items():
                pipe.zremrangebylex(name, b"[" + key + b"\0", b"(" + key + b"\1")
                if value is not None:
                    pipe.zadd(name, {key + b"\0" + value: 0})
            pipe.execute()


class Talk(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def _say(state: Talk) -> dict[str, Any]:
    return {"messages": [AIMessage(f"{len(state['messages'])} {WIDE}")]}


def _graph(manager: SessionManager) -> Any:
    graph: Any = StateGraph(Talk).add_node("say", _say).add_edge(START, "say")
    return graph.compile(checkpointer=manager.checkpointer)


def fill(manager: SessionManager) -> None:
    """Store something of everything."""
    for name in ("log", OTHER):
        session = manager.create_session(name, messages=[("user", "one"), ("ai", "two")], title="T", ttl=360_000)
        session.append(AIMessage("", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "1"}]))
        session.append(ToolMessage("done", tool_call_id="1"))
        session.replace(0, "user", "ONE")
        session.update(system="S", metadata={"user": "ann", "n": [1, (2, {3})]})
        session.extend([HumanMessage("three", id="3"), AIMessage(WIDE)])
        session.remove(1)
        summarize(session, FakeListChatModel(responses=["short"]), keep=2)
        session.undo()
        session.record_usage("p", "m", input_tokens=3, output_tokens=2, seconds=0.5, cost=0.25)
        session.store.put(("notes",), "k", {"text": "of a session"})
    graph = _graph(manager)
    talk = manager.create_session("graph", metadata={"user": "bob"})
    for number in range(3):
        graph.invoke({"messages": [HumanMessage(f"{number} {WIDE}")]}, talk.config)
    talk.replace(0, "user", WIDE)
    talk.remove(1)
    talk.undo()
    _checkpoints(manager)
    store = manager.store
    for number in range(4):
        store.put(("docs",), f"k{number}", {"text": f"text {number}", "n": number}, ttl=60)
    store.put(("docs", "sub"), "k", {"text": "below"})
    manager.cache.set({(("c",), "k"): ([1], 3600), (("c",), "other"): ("x", None)})


def _checkpoints(manager: SessionManager) -> None:
    """A thread with lists and dicts that are shared, pending writes, a subgraph, and a channel of changes."""
    saver, where, many = manager.checkpointer, config("raw"), [HumanMessage(f"{n} {WIDE}") for n in range(4)]
    for step in range(3):
        values = {"items": many[: step + 2], "files": {f"f{n}": WIDE * (n + 4) for n in range(step + 2)}, "n": step}
        metadata: Any = {"source": "loop", "step": step, "run_id": "run"}
        where = saver.put(where, checkpoint({**values, "text": WIDE * 2}), metadata, {})
        saver.put_writes(where, [("items", many[0]), ("delta", [step])], f"task{step}")
    saver.put(config("raw", "inner"), checkpoint({"items": many}), {"source": "input", "step": -1}, {})


PARTITIONS = [
    *(keys.session(name) for name in (*IDS, OTHER)),
    *(keys.registry(kind) for kind in ("session", "store", "cache")),
    *(keys.encode("store", *labels) for labels in (("docs",), ("docs", "sub"))),
    keys.encode("cache", "c"),
]
HARMED = [name for name in PARTITIONS if name != keys.session(OTHER)]
LISTS = PARTITIONS[4:7]

Act = Callable[[], Any]


class World:
    """The storage, as it was filled, and as it is now."""

    def __init__(self, kind: str, form: Form, backend: Backend, raw: Raw, folder: Path) -> None:
        self.kind = kind
        self.form = form
        self.raw = raw
        self._file = folder / "exported"
        self._backend = backend
        fill(self.manager())
        self.whole: Storage = {name: raw.read(name) for name in PARTITIONS}

    def manager(self) -> SessionManager:
        """One that remembers nothing."""
        return SessionManager(self._backend, index=index(), store_ttl={"refresh_on_read": True})

    def restore(self) -> None:
        """Everything as it was."""
        made = [keys.session(f"{each} of {name}") for each in ("fork", "copy", "arrival") for name in IDS]
        for name in (*PARTITIONS, *made):
            rows, there = self.whole.get(name, {}), self.raw.read(name)
            changes: Changes = dict.fromkeys(there.keys() - rows.keys())
            changes |= {key: value for key, value in rows.items() if there.get(key) != value}
            if changes:
                self.raw.change(name, changes)

    def reads(self, manager: SessionManager, name: str) -> dict[str, Act]:
        """All that can be asked of a session, without changing it."""
        do = self.form.do
        session = Session(manager._common, name, None)
        acts: dict[str, Act] = {}

        def add(subject: Any, method: str, *args: Any, **options: Any) -> None:
            acts[f"{type(subject).__name__}.{method}{args}{options}"] = lambda: do(subject, method, *args, **options)

        for method in ("info", "status", "show_messages", "messages", "len", "summary", "title", "system", "metadata"):
            add(session, method)
        for method in ("usage", "last_usage", "metrics", "show_cost", "show_cost_summary", "to_dict"):
            add(session, method)
        add(manager, "get_session", name)
        add(session, "at", 0)
        add(session, "at", -1)
        add(session, "export", self._file)
        add(session.store, "search", (), limit=100)
        add(session.store, "get", ("notes",), "k")
        add(session.store, "list_namespaces")
        saver = manager.checkpointer
        for ns in ("", "inner"):
            add(saver, "get_tuple", config(name, ns))
        acts["list"] = lambda: self._list(manager, config(name, None))
        acts["filtered"] = lambda: self._list(manager, config(name, ""), filter={"source": "loop"}, limit=2)
        add(saver, "get_delta_channel_history", config=config(name), channels=["delta", "items"])
        add(saver, "check", name)
        data = manager.data
        for root in ("memory", "checkpoints", "usage"):
            add(data, "search", (root, name), limit=100)
        add(data, "get", ("memory", name), "messages")
        add(data, "get", ("sessions",), name)
        model = FakeListChatModel(responses=["short"])
        acts["window"] = lambda: self._either(window, awindow, session, last=2)
        acts["select"] = lambda: self._either(select, aselect, session, keep=lambda message: bool(message.text))
        acts["summarize"] = lambda: self._either(summarize, asummarize, session, model=model, keep=1)
        return acts

    def writes(self, manager: SessionManager, name: str) -> dict[str, Act]:
        """All that changes a session, but for its end."""
        do = self.form.do
        session = Session(manager._common, name, None)
        saver = manager.checkpointer
        acts: dict[str, Act] = {}

        def add(subject: Any, method: str, *args: Any, **options: Any) -> None:
            acts[f"{type(subject).__name__}.{method}{args}{options}"] = lambda: do(subject, method, *args, **options)

        for method, *args in (
            *(("append", "user", "hello"), ("insert", 0, "user", "first"), ("replace", 0, "user", "other")),
            *(
                ("remove", 0),
                ("prune", 1),
                ("truncate", 1, 1),
                ("set_messages", [("user", "all")]),
                ("undo",),
                ("redo",),
            ),
            *(("set_summary", "new"), ("rewind", 1), ("set_ttl", 3600), ("clear",), ("fork", f"fork of {name}")),
        ):
            add(session, str(method), *args)
        add(session, "update", title="new", metadata={"n": 1})
        add(session, "clear", purge=True)
        add(session, "record_usage", "p", "m", input_tokens=1, output_tokens=1)
        add(session.store, "put", ("notes",), "k", {"text": "new"})
        add(session.store, "delete", ("notes",), "k")
        add(manager, "create_session", name, exist_ok=True)
        acts["transaction"] = lambda: self._transaction(session)
        acts["lease"] = lambda: self._lease(session)
        acts["append of a reader"] = lambda: [do(session, "messages"), do(session, "append", "user", "x")]
        acts["put"] = lambda: self._put(manager, name, {})
        acts["put after reading"] = lambda: [do(saver, "get_tuple", config(name)), self._put(manager, name, VALUES)]
        add(saver, "collect", name)
        add(saver, "copy_thread", name, f"copy of {name}")
        add(saver, "prune", [name])
        add(saver, "delete_for_runs", ["run"])
        acts["arrive"] = lambda: do(manager, "from_dict", do(session, "to_dict"), session_id=f"arrival of {name}")
        acts["conversation"] = lambda: do(session.conversation(FakeListChatModel(responses=["yes"])), "run", "hi")
        return acts

    def together(self, manager: SessionManager) -> dict[str, Act]:
        """What is asked of all sessions, of the store and of the cache."""
        do, form = self.form.do, self.form
        acts: dict[str, Act] = {}

        def add(subject: Any, method: str, *args: Any, **options: Any) -> None:
            acts[f"{type(subject).__name__}.{method}{args}{options}"] = lambda: do(subject, method, *args, **options)

        for by in ("created", "updated"):
            add(manager, "list_sessions", by=by)
        add(manager, "list_sessions", filter={"user": "ann"}, descending=True, limit=2)
        add(manager, "count_sessions")
        add(manager, "delete_sessions", filter={"user": "nobody"})
        acts["iter"] = lambda: form.everything(manager)
        acts["list of all"] = lambda: self._list(manager, None)
        store = manager.store
        add(store, "search", (), limit=100)
        add(store, "search", ("docs",), query="text 1", limit=3)
        add(store, "search", ("docs",), query="text 1", filter={"n": {"$gt": 1}})
        add(store, "search", ("docs",), filter={"n": 1})
        add(store, "search", (SESSION_NAMESPACE, "log"))
        add(store, "list_namespaces")
        add(store, "list_namespaces", max_depth=1, suffix=("sub",))
        for key in ("k1", "k2"):
            add(store, "get", ("docs",), key)
        add(store, "put", ("docs",), "k2", {"text": "new"}, ttl=5)
        add(store, "put", ("new",), "k", {"text": "new"})
        add(store, "delete", ("new",), "k")
        add(store, "delete", ("docs",), "k3")
        add(store, "sweep_ttl")
        add(manager.data, "search", (), limit=100)
        add(manager.data, "list_namespaces")
        add(manager.cache, "get", [(("c",), "k"), (("c",), "other")])
        add(manager.cache, "set", {(("c",), "new"): (1, 60)})
        add(manager.cache, "clear", [("c",)])
        add(manager.cache, "clear")
        return acts

    def acts(self, manager: SessionManager, chance: Random | None = None) -> Iterator[tuple[str, Act]]:
        """All of it in some order, what ends sessions at last; with chance some of it, in any order."""
        named = [(f"{name} {what}", act) for name in IDS for what, act in self.reads(manager, name).items()]
        named += self.together(manager).items()
        named += [(f"{name} {what}", act) for name in IDS for what, act in self.writes(manager, name).items()]
        if chance is not None:
            chance.shuffle(named)
            named = named[: len(named) // 4]
        yield from named
        for name in IDS:
            yield from ((f"{name} {what}", act) for what, act in self.ends(manager, name).items())

    def ends(self, manager: SessionManager, name: str) -> dict[str, Act]:
        """What takes a session away, whatever it has become."""
        return {
            "delete thread": lambda: self.form.do(manager.checkpointer, "delete_thread", name),
            "delete": lambda: self.form.do(manager, "delete_session", name),
        }

    def _either(self, sync: Any, async_: Any, *args: Any, **options: Any) -> Any:
        if self.form.loop is None:
            return sync(*args, **options)
        return self.form.loop.run_until_complete(async_(*args, **options))

    def _list(self, manager: SessionManager, where: Any, **options: Any) -> list[Any]:
        if self.form.loop is None:
            return list(manager.checkpointer.list(where, **options))

        async def everything() -> list[Any]:
            return [found async for found in manager.checkpointer.alist(where, **options)]

        return self.form.loop.run_until_complete(everything())

    def _put(self, manager: SessionManager, name: str, values: dict[str, Any]) -> Any:
        saver, do = manager.checkpointer, self.form.do
        where = do(
            saver, "put", config(name), checkpoint(values), {"source": "loop", "step": 9}, dict.fromkeys(values, 1)
        )
        return do(saver, "put_writes", where, [("items", 1)], "task")

    def _transaction(self, session: Session) -> None:
        transaction = session.transaction()
        draft = self.form.enter(transaction)
        draft.append("user", f"{len(draft)} {draft.summary} {draft.metadata}")
        draft.messages  # noqa: B018  looks at all of them
        self.form.leave(transaction)

    def _lease(self, session: Session) -> None:
        lease = session.lease(30)
        turn = self.form.enter(lease)
        try:
            self.form.do(turn, "append", "user", "mine")
        finally:
            self.form.leave(lease)
