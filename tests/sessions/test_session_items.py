"""What a store holds below a session's namespace lives, is copied and dies with the session."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import BaseStore, GetOp, InvalidNamespaceError, PutOp
from support.between import Between
from support.ends import let_end
from support.sittings import Form

from langgraph_sessionstore import (
    SESSION_NAMESPACE,
    Backend,
    Session,
    SessionDeleted,
    SessionManager,
    SessionNotFound,
    keys,
    run,
)
from langgraph_sessionstore.ops import Range, must


def test_they_are_found_when_the_session_is_named(manager: SessionManager, form: Form) -> None:
    store, odd = manager.store, "odd id *%_ {x} 💬"
    for name in ("s", odd):
        form.do(manager, "create_session", name)
        own = (SESSION_NAMESPACE, name)
        ops = [
            PutOp((*own, *rest), "k", {"at": "/".join(rest)}) for rest in ((), ("a",), ("a", "b"), ("ab",), ("x", "y"))
        ]
        form.do(store, "batch", ops)
        assert form.do(store, "get", (*own, "a"), "k").value == {"at": "a"}
        assert form.do(store, "get", (*own, "a"), "l") is None
        assert [item.value["at"] for item in form.do(store, "search", own)] == ["", "a", "a/b", "ab", "x/y"]
        assert [item.value["at"] for item in form.do(store, "search", (*own, "a"))] == ["a", "a/b"]
        assert [item.namespace for item in form.do(store, "search", own, filter={"at": "x/y"})] == [(*own, "x", "y")]
        assert len(form.do(store, "search", own, limit=2, offset=2)) == 2
        names = form.do(store, "list_namespaces", prefix=own)
        assert names == [own, (*own, "a"), (*own, "a", "b"), (*own, "ab"), (*own, "x", "y")]
        assert form.do(store, "list_namespaces", prefix=(*own, "a"), max_depth=3) == [(*own, "a")]
        assert form.do(store, "list_namespaces", prefix=own, suffix=("b",)) == [(*own, "a", "b")]
        form.do(store, "delete", (*own, "a"), "k")
        assert form.do(store, "list_namespaces", prefix=(*own, "a")) == [(*own, "a", "b")]
    assert form.do(store, "search", ()) == [] == form.do(store, "list_namespaces")
    many = [PutOp((SESSION_NAMESPACE, "s", "m", f"{n:03}"), "k", {"n": n}) for n in range(450)]
    form.do(store, "batch", many)
    found = form.do(store, "search", (SESSION_NAMESPACE, "s", "m"), filter={"n": {"$gte": 445}}, limit=99)
    assert [item.value["n"] for item in found] == list(range(445, 450))
    assert len(form.do(store, "list_namespaces", prefix=(SESSION_NAMESPACE, "s", "m"), limit=999)) == 450


def test_a_session_has_a_store_of_its_own(manager: SessionManager, form: Form) -> None:
    for name in ("ann@example.org", "other", "a.b.c 💬 {}"):
        store = form.do(manager, "create_session", name).store
        assert form.do(store, "search", ()) == [] == form.do(store, "list_namespaces")
        ops = [
            PutOp(rest, "k", {"at": "/".join(rest), "of": name}) for rest in (("a",), ("a", "b"), ("ab",), ("x", "y"))
        ]
        assert form.do(store, "batch", [*ops, GetOp(("a",), "k")]) == [None] * 5
        assert form.do(store, "get", ("a",), "k").value == {"at": "a", "of": name}
        assert form.do(store, "get", ("a",), "k").namespace == ("a",)
        assert [item.value["at"] for item in form.do(store, "search", ("a",))] == ["a", "a/b"]
        assert [item.namespace for item in form.do(store, "search", (), filter={"at": "x/y"})] == [("x", "y")]
        assert form.do(store, "list_namespaces") == [("a",), ("a", "b"), ("ab",), ("x", "y")]
        assert form.do(store, "list_namespaces", suffix=("*", "b")) == [("a", "b")]
        assert form.do(store, "list_namespaces", suffix=("*", "*"), max_depth=1) == [("a",), ("x",)]
        assert form.do(store, "list_namespaces", prefix=("*", "b")) == [("a", "b")]
        form.do(store, "put", ("a",), "short", {}, ttl=1)
        form.do(store, "delete", ("a",), "k")
        assert [item.key for item in form.do(store, "search", ("a",))] == ["short", "k"]
        for bad in (("a.b",), ("",), ("a", 1)):
            with pytest.raises(InvalidNamespaceError):
                form.do(store, "search", bad)
    there = form.do(manager.store, "get", (SESSION_NAMESPACE, "other", "a", "b"), "k")
    assert there.value == {"at": "a/b", "of": "other"}
    assert form.do(manager.store, "search", ()) == []


def test_a_handle_of_a_session_that_is_gone_reaches_no_items(manager: SessionManager, form: Form) -> None:
    old = form.do(manager, "create_session", "s")
    form.do(old.store, "put", ("a",), "k", {"n": 1})
    held = old.store
    form.do(old, "delete")
    calls: list[tuple[str, Any]] = [("get", (("a",), "k")), ("search", ((),)), ("list_namespaces", ())]
    calls += [("put", (("a",), "k", {})), ("delete", (("a",), "k"))]
    for name, arguments in calls:
        with pytest.raises(SessionDeleted):
            form.do(held, name, *arguments)
    new = form.do(manager, "create_session", "s")
    form.do(new.store, "put", ("a",), "k", {"n": 2})
    for name, arguments in calls:
        with pytest.raises(SessionNotFound):
            form.do(held, name, *arguments)
    assert form.do(new.store, "get", ("a",), "k").value == {"n": 2}


@pytest.mark.parametrize(("what", "arguments"), [("search", ((),)), ("list_namespaces", ())])
def test_what_is_read_in_several_steps_is_of_one_session(
    what: str, arguments: tuple[Any, ...], manager: SessionManager, form: Form, storage: Callable[[], Backend]
) -> None:
    def begin_anew() -> None:
        other = SessionManager(storage())
        other.delete_session("s")
        other.create_session("s").store.batch([PutOp(("n", f"{n:03}"), "k", {"of": "another"}) for n in range(600)])

    session = form.do(manager, "create_session", "s")
    form.do(session.store, "batch", [PutOp(("n", f"{n:03}"), "k", {"of": "this"}) for n in range(600)])
    assert len(form.do(session.store, what, *arguments, limit=999)) == 600
    slow = SessionManager(Between(manager.backend, {3: begin_anew}))
    with pytest.raises((SessionNotFound, SessionDeleted)):
        form.do(form.do(slow, "get_session", "s").store, what, *arguments, limit=999)


def test_the_last_item_that_goes_leaves_nothing(
    manager: SessionManager, form: Form, storage: Callable[[], Backend]
) -> None:
    store = manager.history("begun by an item").session.store
    assert form.do(store, "get", ("a",), "k") is None
    form.do(store, "put", ("a",), "k", {"n": 1}, ttl=1)
    form.do(store, "put", ("a",), "l", {"n": 1})
    form.do(store, "delete", ("a",), "k")
    assert form.do(store, "get", ("a",), "l") is not None
    form.do(store, "delete", ("a",), "l")
    form.do(manager.checkpointer, "delete_thread", "begun by an item")
    assert run(storage(), must(keys.session("begun by an item"), Range(b"", None))) == [[]]
    assert form.everything(manager) == []


def test_they_go_with_the_session(
    manager: SessionManager, form: Form, storage: Callable[[], Backend], tmp_path: Path
) -> None:
    store, session = manager.store, form.do(manager, "create_session", "mine")
    form.do(manager, "create_session", "other")
    for name in ("mine", "other"):
        form.do(store, "put", (SESSION_NAMESPACE, name, "notes"), "k", {"of": name})
    created = form.do(store, "get", (SESSION_NAMESPACE, "mine", "notes"), "k").created_at
    form.do(session, "fork", "copy")
    form.do(session, "export", tmp_path / "mine.jsonl")
    form.do(store, "put", (SESSION_NAMESPACE, "copy", "notes"), "k", {"of": "copy"})
    assert form.do(session, "delete")
    assert form.do(store, "search", (SESSION_NAMESPACE, "mine")) == []
    assert run(storage(), must(keys.session("mine"), Range(b"", None))) == [[]]
    with pytest.raises(SessionDeleted):
        form.do(store, "put", (SESSION_NAMESPACE, "mine", "notes"), "k", {})
    form.do(store, "delete", (SESSION_NAMESPACE, "mine", "notes"), "k")
    assert form.do(manager, "get_session", "mine") is None
    form.do(manager, "import_", tmp_path / "mine.jsonl", session_id="back")
    for name, of in (("other", "other"), ("copy", "copy"), ("back", "mine")):
        found = form.do(store, "get", (SESSION_NAMESPACE, name, "notes"), "k")
        assert found.value == {"of": of}
        assert found.created_at == created or name == "other"


def test_they_expire_with_it_and_count_as_use(
    manager_on: Callable[..., SessionManager], storage: Callable[[], Backend], form: Form
) -> None:
    manager = manager_on(ttl=60)
    form.do(manager.store, "put", (SESSION_NAMESPACE, "begun by an item"), "k", {"n": 0})
    assert [info.id for info in form.everything(manager)] == ["begun by an item"]
    session = form.do(manager, "get_session", "begun by an item")
    for n in range(4):
        before = form.do(session, "info").expires_at
        time.sleep(0.002)
        form.do(manager.store, "put", (SESSION_NAMESPACE, "begun by an item"), "k", {"n": n})
        assert form.do(session, "info").expires_at > before
    assert form.do(manager.store, "get", (SESSION_NAMESPACE, "begun by an item"), "k").value == {"n": 3}
    let_end(storage(), "begun by an item")
    assert form.do(manager.store, "search", (SESSION_NAMESPACE, "begun by an item")) == []
    assert form.everything(manager) == []


def test_a_graph_on_a_lease_keeps_notes(session: Session, manager: SessionManager, form: Form) -> None:
    def note(state: MessagesState, *, store: BaseStore) -> dict[str, Any]:
        store.put((SESSION_NAMESPACE, session.id), "last", {"said": state["messages"][-1].text})
        return {"messages": [("ai", "Noted.")]}

    builder = StateGraph(MessagesState).add_node("note", note).add_edge(START, "note")
    graph = builder.compile(checkpointer=manager.checkpointer, store=manager.store, cache=manager.cache)
    lease = session.lease(10)
    turn = form.enter(lease)
    form.do(graph, "invoke", {"messages": [("user", "Hi")]}, turn.config)
    form.leave(lease)
    assert form.texts(session) == ["Hi", "Noted."]
    assert form.do(manager.store, "get", (SESSION_NAMESPACE, session.id), "last").value == {"said": "Hi"}
    assert manager.checkpointer.check(session.id) == []
