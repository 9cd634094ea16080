"""The items of sessions are found by meaning, also after a fork, a move and a return; and so are those of a graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import BaseStore, PutOp
from support.meanings import Model, belong, index, near, texts_of
from support.places import every_place, two_places
from support.sittings import Form

from langgraph_sessionstore import SESSION_NAMESPACE, ConfigurationError, SessionDeleted, SessionManager
from langgraph_sessionstore.backends.memory import MemoryBackend


@every_place
def test_the_items_of_a_session_are_found(manager_on: Callable[..., SessionManager], form: Form) -> None:
    model = Model()
    manager, other = manager_on(index=index(model)), manager_on(index=index())
    session = form.do(manager, "create_session", "s", messages=["Hi"])
    form.do(form.do(manager, "create_session", "t").store, "put", ("a",), "k", {"text": "apart"})
    form.do(session.store, "batch", [PutOp(("a", f"{n}"), "k", {"text": f"t{n}"}) for n in range(5)])
    form.do(manager.store, "put", (SESSION_NAMESPACE, "s", "ab"), "k", {"text": "b"})
    form.do(manager.store, "put", (SESSION_NAMESPACE, "s"), "top", {"text": "top"})
    model.news()
    form.do(session.store, "put", ("a", "1"), "k", {"text": "t1", "more": 1})
    assert model.news() == []
    everything = [*(f"t{n}" for n in range(5)), "b", "top"]
    for store in (manager.store, other.store):
        for _ in range(2):
            for rest, right in (((), everything), (("a",), everything[:5]), (("a", "3"), ["t3"]), (("x",), [])):
                found = form.do(store, "search", (SESSION_NAMESPACE, "s", *rest), query="q", limit=20)
                assert texts_of(found) == sorted(right, key=lambda text: -near("q", text))
                belong("q", found)
                assert all(item.namespace[:2] == (SESSION_NAMESPACE, "s") for item in found)
    found = form.do(session.store, "search", ("a",), query="t3", limit=1)
    assert [(item.namespace, item.value) for item in found] == [(("a", "3"), {"text": "t3"})]
    assert form.do(manager.store, "search", (), query="q") == []
    assert form.texts(session) == ["Hi"]
    assert manager.checkpointer.check("s") == []
    with pytest.raises(ConfigurationError, match="session"):
        form.do(manager.store, "search", (SESSION_NAMESPACE,), query="q")
    form.do(session, "delete")
    assert form.do(other.store, "search", (SESSION_NAMESPACE, "s"), query="q") == []
    with pytest.raises(SessionDeleted):
        form.do(session.store, "search", ("a",), query="q")
    with pytest.raises(SessionDeleted):
        form.do(session.store, "put", ("a",), "k", {"text": "late"})


@every_place
def test_forked_and_moved_sessions_find_their_items(
    manager_on: Callable[..., SessionManager], form: Form, tmp_path: Path
) -> None:
    model = Model()
    manager = manager_on(index=index(model))
    session = form.do(manager, "create_session", "s")
    form.do(session.store, "batch", [PutOp(("n",), key, {"text": f"old {key}"}) for key in "abc"])
    form.do(session.store, "search", ("n",), query="q")
    data = form.do(session, "to_dict")
    form.do(session, "export", tmp_path / "s.jsonl")
    elsewhere = SessionManager(MemoryBackend(), index=index(model))
    model.news()
    copies = [
        form.do(session, "fork", "fork"),
        form.do(manager, "from_dict", data, session_id="from dict"),
        form.do(manager, "import_", tmp_path / "s.jsonl", session_id="from file"),
        form.do(elsewhere, "from_dict", data),
    ]
    form.do(session.store, "put", ("n",), "a", {"text": "new a"})
    form.do(session.store, "delete", ("n",), "b")
    model.news()
    for copy in copies:
        for _ in range(2):
            found = form.do(copy.store, "search", ("n",), query="q")
            assert texts_of(found) == sorted(("old a", "old b", "old c"), key=lambda text: -near("q", text))
            belong("q", found)
        form.do(copy.store, "put", ("n",), "a", {"text": "old a", "more": 1})
        assert set(model.news()) == {"q"}
        form.do(copy.store, "put", ("n",), "a", {"text": copy.id})
        found = form.do(copy.store, "search", ("n",), query=copy.id, limit=1)
        assert texts_of(found) == [copy.id]
        model.news()
    found = form.do(session.store, "search", ("n",), query="q")
    assert sorted(texts_of(found)) == ["new a", "old c"]
    belong("q", found)


@two_places
@pytest.mark.parametrize("through", ["its store", "all items"])
def test_a_session_that_comes_back_finds_what_it_had(
    through: str, manager_on: Callable[..., SessionManager], form: Form
) -> None:
    """Also in a process that remembers it with less."""
    manager = manager_on(index=index(), tombstone=0)
    session = form.do(manager, "create_session", "s")
    form.do(session.store, "batch", [PutOp(("n",), key, {"text": key}) for key in "abc"])
    data, origin = form.do(session, "to_dict"), form.do(session, "fork", "origin")
    copy = form.do(origin, "fork", "copy")
    for each in (session, copy):
        form.do(each.store, "delete", ("n",), "a")
        assert sorted(texts_of(form.do(each.store, "search", ("n",), query="a"))) == ["b", "c"]
        form.do(each, "delete")
    for again in (form.do(manager, "from_dict", data), form.do(origin, "fork", "copy")):
        store = manager.store if through == "all items" else again.store
        base = (SESSION_NAMESPACE, again.id) if through == "all items" else ()
        assert sorted(texts_of(form.do(store, "search", (*base, "n")))) == ["a", "b", "c"]
        found = form.do(store, "search", (*base, "n"), query="a")
        assert sorted(texts_of(found)) == ["a", "b", "c"]
        belong("a", found)


@two_places
def test_a_graph_searches_its_store(manager_on: Callable[..., SessionManager], form: Form) -> None:
    manager = manager_on(index=index())

    def remember(state: MessagesState, *, store: BaseStore) -> dict[str, Any]:
        text = str(state["messages"][-1].text)
        seen = store.search(("memories",), query=text, limit=1)
        store.put(("memories",), text, {"text": text})
        return {"messages": [("ai", f"{seen[0].key} {seen[0].score:.2f}" if seen else "nothing")]}

    builder = StateGraph(MessagesState).add_node("remember", remember).add_edge(START, "remember")
    graph = builder.compile(checkpointer=manager.checkpointer, store=manager.store)
    said = [
        form.do(graph, "invoke", {"messages": [("user", text)]}, {"configurable": {"thread_id": f"{at}"}})["messages"][
            -1
        ]
        for at, text in enumerate(["tea", "tea", "coffee"])
    ]
    assert [message.text for message in said] == ["nothing", "tea 1.00", f"tea {near('tea', 'coffee'):.2f}"]
