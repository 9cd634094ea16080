"""The data of sessions as a store: it says what the sessions and the checkpointer say, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage, messages_from_dict
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import GetOp, InvalidNamespaceError, ListNamespacesOp, PutOp, SearchOp
from support.ends import let_end
from support.proxy import Proxy
from support.savers import checkpoint, config
from support.sittings import Form

from langgraph_sessionstore import (
    Backend,
    ConfigurationError,
    CorruptData,
    Session,
    SessionData,
    SessionManager,
    keys,
    run,
)
from langgraph_sessionstore.ops import Drop, Put, must
from langgraph_sessionstore.plans import browsing, places

ODD = ["a.b", "{x}", "emoji 🙂.", "\0/../x", "*", "langgraph", " ", "\ud800"]


def names(items: Any) -> list[tuple[tuple[str, ...], str]]:
    return [(item.namespace, item.key) for item in items]


def pages(form: Form, data: SessionData, name: str, *args: Any, size: int, **options: Any) -> list[Any]:
    """All that a search or a listing finds, so many at a time."""
    found: list[Any] = []
    while page := form.do(data, name, *args, limit=size, offset=len(found), **options):
        found += page
    return found


def talk(form: Form, manager: SessionManager, session_id: str, *texts: str) -> Any:
    """A graph in a graph, which says something on a session."""
    inner: Any = StateGraph(MessagesState)
    inner.add_node("answer", lambda state: {"messages": [AIMessage(f"re: {state['messages'][-1].text}")]})
    outer: Any = StateGraph(MessagesState)
    outer.add_node("inner", inner.add_edge(START, "answer").compile(checkpointer=True))
    graph = outer.add_edge(START, "inner").compile(checkpointer=manager.checkpointer)
    for text in texts:
        graph.invoke({"messages": [("user", text)]}, config(session_id))
    return graph


def test_it_says_what_the_session_says(manager: SessionManager, form: Form) -> None:
    said = [
        HumanMessage("Hi", id="1"),
        AIMessage("", tool_calls=[{"name": "f", "args": {"x": [1]}, "id": "c"}]),
        ToolMessage("ü\ud800", tool_call_id="c", artifact={"n": 1}),
    ]
    options: Any = {"title": "T", "system": "S", "metadata": {"user": {"name": "ann"}}, "ttl": 1000}
    session = form.do(manager, "create_session", "s", messages=said, summary="short", **options)
    form.do(session, "record_usage", "chat", "m", input_tokens=3, output_tokens=4, cost=0.5, seconds=1.5)
    form.do(session, "fork", "t")
    data = manager.data
    for each in (session, form.do(manager, "get_session", "t")):
        info, own = form.do(each, "info"), (("memory", each.id), ("usage", each.id))
        item = form.do(data, "get", ("sessions",), each.id)
        assert item.value == asdict(info)
        times = datetime.fromisoformat(info.created_at), datetime.fromisoformat(info.updated_at)
        messages, summary, usage = form.do(data, "batch", [GetOp(own[0], "messages"), GetOp(own[0], "summary"),
                                                           GetOp(own[1], "usage")])  # fmt: skip
        assert messages_from_dict(messages.value["messages"]) == form.do(each, "messages") == said
        assert summary.value == {"summary": "short"} == {"summary": form.do(each, "summary")}
        metrics = form.do(each, "metrics")
        assert usage.value["total"] == metrics.total._asdict()
        assert usage.value["by_model"] == {"m": metrics.by_model["m"]._asdict()}
        assert usage.value["by_phase"] == {"chat": metrics.by_phase["chat"]._asdict()}
        for name in ("total_cost", "total_calls", "total_tokens", "total_seconds", "breakdown"):
            assert usage.value[name] == getattr(metrics, name)
        for one in (item, messages, summary, usage):
            assert (one.created_at, one.updated_at) == times
            assert one.created_at.utcoffset() == timezone.utc.utcoffset(None)
            assert json.loads(json.dumps(one.value)) == one.value
    form.do(session, "set_summary", None)
    assert form.do(data, "get", ("memory", "s"), "summary") is None
    assert names(form.do(data, "search", ())) == [
        (("memory", "s"), "messages"), (("memory", "t"), "messages"), (("memory", "t"), "summary"),
        (("sessions",), "s"), (("sessions",), "t"), (("usage", "s"), "usage"), (("usage", "t"), "usage"),
    ]  # fmt: skip


def test_it_says_what_graph_and_checkpointer_say(manager: SessionManager, form: Form) -> None:
    graph = talk(form, manager, "g", "a", "b")
    form.do(manager, "create_session", "without a graph", messages=["x"])
    data, session = manager.data, form.do(manager, "get_session", "g")
    found = form.do(data, "get", ("memory", "g"), "messages").value["messages"]
    assert messages_from_dict(found) == graph.get_state(config("g")).values["messages"] == form.do(session, "messages")
    everything = list(manager.checkpointer.list({"configurable": {"thread_id": "g"}}))
    assert len({each.config["configurable"]["checkpoint_ns"] for each in everything}) > 1
    expected = []
    for each in everything:
        ns, name = (each.config["configurable"][f"checkpoint_{part}"] for part in ("ns", "id"))
        value = {
            "checkpoint_id": name,
            "checkpoint_ns": ns,
            "parent_checkpoint_id": (each.parent_config or {"configurable": {}})["configurable"].get("checkpoint_id"),
            "ts": each.checkpoint["ts"],
            "metadata": each.metadata,
            "channel_versions": each.checkpoint["channel_versions"],
        }
        expected.append((f"{ns}|{name}" if ns else name, value))
    shown = form.do(data, "search", ("checkpoints", "g"), limit=100)
    assert [(item.key, item.value) for item in shown] == expected
    assert form.do(data, "search", ("checkpoints",), limit=100) == shown
    for size in (1, 2, 3):
        assert pages(form, data, "search", ("checkpoints", "g"), size=size) == shown
    inputs = form.do(data, "search", ("checkpoints",), filter={"metadata": {"source": "input"}, "checkpoint_ns": ""})
    assert [item.value["metadata"]["step"] for item in inputs] == [2, -1]
    for item in shown:
        assert form.do(data, "get", ("checkpoints", "g"), item.key).value == item.value
        assert item.created_at == item.updated_at == datetime.fromisoformat(item.value["ts"])
        json.dumps(item.value)
    assert form.do(data, "get", ("checkpoints", "g"), shown[0].key + "x") is None
    assert form.do(data, "list_namespaces", prefix=("checkpoints",)) == [("checkpoints", "g")]


def test_odd_ids(manager: SessionManager, form: Form) -> None:
    data = manager.data
    for name in ODD:
        form.do(manager, "create_session", name, messages=[name], summary=name)
        form.do(manager.checkpointer, "put", config(name), checkpoint(id=name), {"source": "input", "step": 1}, {})
    for name in ODD:
        assert form.do(data, "get", ("sessions",), name).value["id"] == name
        assert form.do(data, "get", ("memory", name), "summary").value == {"summary": name}
        assert form.do(data, "get", ("checkpoints", name), name).value["checkpoint_id"] == name
        assert names(form.do(data, "search", ("memory", name))) == [
            (("memory", name), "messages"), (("memory", name), "summary"),
        ]  # fmt: skip
        found = form.do(data, "list_namespaces", prefix=("memory", name), limit=99)
        assert found == [("memory", each) for each in (sorted(ODD) if name == "*" else [name])]
    assert [item.key for item in form.do(data, "search", ("sessions",))] == sorted(ODD)
    roots = ("checkpoints", "memory", "usage")
    for name in ODD[:2]:
        assert form.do(data, "list_namespaces", suffix=(name,)) == [(root, name) for root in roots]


def test_namespaces(manager: SessionManager, form: Form) -> None:
    data = manager.data
    assert form.do(data, "list_namespaces") == [] == form.do(data, "search", ())
    for name in "cab":
        form.do(manager, "create_session", name)
    form.do(manager.checkpointer, "put", config("b"), checkpoint(id="1"), {"source": "input", "step": 1}, {})
    memory: list[tuple[str, ...]] = [("memory", name) for name in "abc"]
    usage: list[tuple[str, ...]] = [("usage", name) for name in "abc"]
    everything = [("checkpoints", "b"), *memory, ("sessions",), *usage]
    assert form.do(data, "list_namespaces") == everything
    assert pages(form, data, "list_namespaces", size=2) == everything
    cases: list[tuple[dict[str, Any], list[tuple[str, ...]]]] = [
        ({"max_depth": 1}, [("checkpoints",), ("memory",), ("sessions",), ("usage",)]),
        ({"max_depth": 1, "offset": 1, "limit": 2}, [("memory",), ("sessions",)]),
        ({"prefix": ("memory",)}, memory),
        ({"prefix": ("memory", "b")}, [("memory", "b")]),
        ({"prefix": ("memory", "b", "c")}, []),
        ({"prefix": ("memory", "nobody")}, []),
        ({"prefix": ("checkpoints", "a")}, []),
        ({"prefix": ("mem",)}, []),
        ({"prefix": ("*", "b")}, [("checkpoints", "b"), ("memory", "b"), ("usage", "b")]),
        ({"suffix": ("b",), "prefix": ("usage", "*")}, [("usage", "b")]),
        ({"suffix": ("sessions",)}, [("sessions",)]),
        ({"limit": 0}, []),
    ]
    for options, expected in cases:
        assert form.do(data, "list_namespaces", **options) == expected, options


def test_more_sessions_than_a_page(manager: SessionManager, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsing, "PAGE", 7)
    monkeypatch.setattr(browsing, "_FEW", 3)
    monkeypatch.setattr(browsing, "_AT_ONCE", 2)
    data, ids = manager.data, [f"s{number:02}" for number in range(24)]
    for number, name in enumerate(ids):
        metadata = {"odd": number % 2 == 1}
        form.do(manager, "create_session", name, metadata=metadata, summary=name if number % 3 else None)
    form.do(manager.checkpointer, "put", config("s20"), checkpoint(id="1"), {"source": "input", "step": 1}, {})
    assert [item.key for item in form.do(data, "search", ("sessions",), limit=99)] == ids
    assert [item.key for item in form.do(data, "search", ("sessions",), limit=3, offset=15)] == ids[15:18]
    odd = form.do(data, "search", ("sessions",), filter={"metadata": {"odd": True}}, limit=4, offset=6)
    assert [item.key for item in odd] == ids[13:21:2]
    assert names(form.do(data, "search", ("checkpoints",))) == [(("checkpoints", "s20"), "1")]
    summaries = [name for number, name in enumerate(ids) if number % 3]
    found = form.do(data, "search", ("memory",), filter={"summary": {"$ne": None}}, limit=99)
    assert [item.value["summary"] for item in found] == summaries
    everything = form.do(data, "search", (), limit=999)
    assert len(everything) == 1 + 24 + len(summaries) + 24 + 24
    assert pages(form, data, "search", (), size=10) == everything
    assert form.do(data, "search", (), limit=0) == []
    assert form.do(data, "search", ("memory",), limit=99, query="s03") == everything[1 : 1 + 24 + len(summaries)]
    assert len(form.do(data, "list_namespaces", limit=999)) == 1 + 24 + 1 + 24


def test_who_is_gone_does_not_show(manager: SessionManager, storage: Callable[[], Backend], form: Form) -> None:
    data = manager.data
    for name, ttl in (("deleted", None), ("expired", 60), ("lost", None), ("stays", None)):
        form.do(manager, "create_session", name, messages=["a"], summary="b", ttl=ttl)
        form.do(manager.checkpointer, "put", config(name), checkpoint(id="1"), {"source": "input", "step": 1}, {})
    form.do(manager, "delete_session", "deleted")
    run(storage(), must(keys.session("lost"), Drop()))  # and the list still names it
    let_end(storage(), "expired")
    for name in ("deleted", "expired", "lost", "nobody"):
        assert form.do(data, "get", ("sessions",), name) is None
        for root, key in (("memory", "messages"), ("memory", "summary"), ("usage", "usage"), ("checkpoints", "1")):
            assert form.do(data, "get", (root, name), key) is None
            assert form.do(data, "search", (root, name)) == []
            assert form.do(data, "list_namespaces", prefix=(root, name)) == []
    assert {item.namespace[1:] or item.key for item in form.do(data, "search", (), limit=99)} == {("stays",), "stays"}
    assert len(form.do(data, "list_namespaces")) == 4
    begun = form.do(manager, "create_session", "deleted", messages=["new"])
    shown = form.do(data, "get", ("memory", "deleted"), "messages").value["messages"]
    assert messages_from_dict(shown) == form.do(begun, "messages")


def test_what_is_not_there(manager: SessionManager, session: Session, form: Form) -> None:
    for namespace, key in (
        (("sessions", session.id), session.id), (("memory",), "messages"), (("memory", session.id), "else"),
        (("memory", session.id, "x"), "messages"), (("usage", session.id), "messages"), (("x", session.id), "usage"),
        (("checkpoints", session.id), "|"), (("__session__", session.id), "k"),
    ):  # fmt: skip
        assert form.do(manager.data, "get", namespace, key) is None
    for prefix in (("sessions", session.id), ("memory", session.id, "x"), ("x",), ("sess",), ("x", session.id)):
        assert form.do(manager.data, "search", prefix) == []


def test_nothing_can_be_written(manager: SessionManager, session: Session, form: Form) -> None:
    data, own = manager.data, ("memory", session.id)
    before = form.do(session, "info")
    for name, args in (
        ("put", (own, "messages", {})),
        ("put", (("memory", "a.b"), "messages", {})),
        ("delete", (own, "messages")),
        ("batch", ([GetOp(own, "messages"), PutOp(own, "messages", {})],)),
        ("batch", ([PutOp(("sessions",), session.id, None), SearchOp("no namespace")],)),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigurationError, match=r"read-only.*manager\.delete_session.*manager\.store"):
            form.do(data, name, *args)
    assert form.do(session, "info") == before
    item = form.do(data, "get", ("sessions",), session.id)
    item.value["metadata"]["x"] = 1
    form.do(data, "get", own, "messages").value["messages"].append({})
    assert form.do(data, "get", ("sessions",), session.id).value["metadata"] == {}
    assert form.do(data, "get", own, "messages").value == {"messages": []}


def test_bad_input_reads_nothing(manager: SessionManager, form: Form) -> None:
    form.do(manager, "close")
    for op in (
        "get", SearchOp((), {"n": {"$in": [1]}}), SearchOp((), None, -1), SearchOp((), None, 1, True),
        GetOp(("sessions",), 3), ListNamespacesOp(max_depth=0), ListNamespacesOp(limit=-1),  # type: ignore[arg-type]
    ):  # fmt: skip
        with pytest.raises(ConfigurationError):
            form.do(manager.data, "batch", [GetOp(("sessions",), "s"), op])
    for name, args in (("get", ((), "k")), ("get", (("",), "k")), ("search", (("a", 1),)), ("search", ("text",))):
        with pytest.raises(InvalidNamespaceError):
            form.do(manager.data, name, *args)
    with pytest.raises(ConfigurationError, match=r"manager\.data"):
        SessionData(manager)  # type: ignore[arg-type]


def test_what_json_has_nothing_for_is_shown_as_text(manager: SessionManager, form: Form) -> None:
    given = {"at": datetime(2020, 1, 1), "of": {1: (2, {3})}, "by": b"\xff", "said": HumanMessage("x"), "n\ud800": 1j}
    said = ToolMessage("x", tool_call_id="1", artifact=datetime(2020, 1, 1))
    form.do(manager, "create_session", "s", metadata=given, messages=[said])
    form.do(manager.checkpointer, "put", config("s"), checkpoint(id="1"), {"source": "input", "writes": given}, {})
    metadata = form.do(manager.data, "get", ("sessions",), "s").value["metadata"]
    assert metadata["at"] == "2020-01-01T00:00:00"
    assert metadata["of"] == {"1": [2, [3]]}
    assert metadata["said"]["content"] == "x"
    for item in form.do(manager.data, "search", ()):
        assert json.loads(json.dumps(item.value)) == item.value


def test_damage_is_told(manager: SessionManager, storage: Callable[[], Backend], form: Form) -> None:
    session = form.do(manager, "create_session", "s", messages=["a"], summary="b")
    for row, key in ((places.message(0), "messages"), (places.SUMMARY, "summary")):
        run(storage(), must(keys.session("s"), Put(row, b"\xc1")))
        with pytest.raises(CorruptData, match="'s'"):
            form.do(manager.data, "get", ("memory", "s"), key)
    for prefix in ((), ("memory",), ("memory", "s")):
        with pytest.raises(CorruptData, match="'s'"):
            form.do(manager.data, "search", prefix)
    assert len(form.do(manager.data, "search", ("sessions",))) == 1
    form.do(session, "delete")


def test_what_it_costs(proxy: Proxy, form: Form, tmp_path: Path) -> None:
    url = f"redis://{proxy.host}:{proxy.port}/0"
    with SessionManager.from_url(url, prefix=f"{tmp_path}") as writer:
        talk(form, writer, "g", "a", "b")
        for number in range(20):
            writer.create_session(f"s{number:02}", messages=["a"] * 9, summary="b")
    manager = SessionManager.from_url(url, prefix=f"{tmp_path}")
    data, own = manager.data, ("memory", "s03")
    (newest,) = form.do(data, "search", ("checkpoints", "g"), limit=1, filter={"checkpoint_ns": ""})
    costs: list[tuple[int, str, tuple[Any, ...], dict[str, Any]]] = [
        (1, "get", (("sessions",), "s03"), {}),
        (1, "get", (own, "messages"), {}),
        (1, "get", (own, "summary"), {}),
        (2, "get", (("memory", "g"), "messages"), {}),  # as this process has not written to it
        (1, "get", (("usage", "s03"), "usage"), {}),
        (1, "get", (("checkpoints", "g"), newest.key), {}),
        (1, "batch", ([GetOp(own, "messages"), GetOp(own, "summary"), GetOp(("sessions",), "s04")],), {}),
        (0, "get", (("memory",), "messages"), {}),
        (0, "search", (("memory",),), {"limit": 0}),
        (1, "search", (own,), {}),
        (2, "search", (("checkpoints", "g"),), {}),  # as there are subgraphs
        (2, "search", (("sessions",),), {}),
        (4, "search", (("memory",),), {}),
        (2, "list_namespaces", (), {"prefix": ("memory",)}),
        (3, "list_namespaces", (), {"prefix": ("checkpoints",)}),
        (1, "list_namespaces", (), {"prefix": own}),
    ]
    for trips, name, args, options in costs:
        proxy.reset()
        form.do(data, name, *args, **options)
        assert proxy.round_trips == trips, (name, args)
    form.do(manager, "close")
