"""What sessions cost, counted on the wire of a real Redis: round trips and bytes, never time."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph
from support.proxy import Proxy
from support.sittings import Form

from langgraph_sessionstore import Session, SessionManager

PREFIX = f"costs-{uuid.uuid4()}"


@pytest.fixture
def manager(proxy: Proxy, form: Form) -> Iterator[SessionManager]:
    manager = SessionManager.from_url(f"redis://{proxy.host}:{proxy.port}/0", prefix=f"{PREFIX}-{uuid.uuid4()}")
    form.do(manager, "create_session", "warm")
    yield manager
    form.do(manager, "close")


def long(form: Form, manager: SessionManager, messages: int) -> Session:
    """A session with so many messages of 400 bytes."""
    given = [("user" if number % 2 == 0 else "ai", f"{number:08}" * 50) for number in range(messages)]
    session: Session = form.do(manager, "create_session", messages=given)
    return session


@pytest.mark.parametrize("ttl", [None, 3600])
def test_the_round_trips_of_operations(ttl: int | None, proxy: Proxy, manager: SessionManager, form: Form) -> None:
    for number in range(30):
        form.do(manager, "create_session", f"{number}", messages=["a"], metadata={"n": number}, ttl=ttl)
    session = form.do(manager, "get_session", "1")
    trips: list[tuple[int, Any, str, tuple[Any, ...]]] = [
        (1, manager, "create_session", ("new",)),
        (1, manager.memory(), "append", ("begins with this", "user", "a")),
        (1, manager, "get_session", ("2",)),
        (2, manager, "list_sessions", ()),
        (1, manager, "count_sessions", ()),
        (1, session, "info", ()),
        (1, session, "append", ("user", "b")),
        (1, session, "extend", ([("user", f"{n}") for n in range(100)],)),
        (1, session, "messages", ()),
        (1, session, "len", ()),
        (2, session, "at", (-1,)),
        (2, session, "insert", (1, "user", "c")),
        (2, session, "undo", ()),
        (2, session, "redo", ()),
        (2, session, "set_summary", ("S",)),
        (1, session, "summary", ()),
        (1, session, "record_usage", ("p",)),
        (1, session, "usage", ()),
        (1, session, "fork", ("fork",)),
        (1, manager, "delete_session", ("fork",)),
        (1, session, "delete", ()),
    ]
    for wanted, subject, name, args in trips:
        proxy.reset()
        form.do(subject, name, *args)
        assert proxy.round_trips == wanted, name


def test_a_graph_session_costs_what_its_checkpointer_costs(proxy: Proxy, manager: SessionManager, form: Form) -> None:
    """The gate in front of every write adds no trip, also when leases and lifetimes are used."""
    graph = StateGraph(MessagesState).add_node("n", lambda state: {"messages": [("ai", "ok")]}).add_edge(START, "n")
    app = graph.compile(checkpointer=manager.checkpointer)
    session = form.do(manager, "create_session", ttl=3600)

    def trips(config: Any) -> int:
        counts = []
        for _ in range(4):
            proxy.reset()
            form.do(app, "invoke", {"messages": [("user", "hi")]}, config, durability="sync")
            counts.append(proxy.round_trips)
        return min(counts)  # now and then two threads of a run write at once, and open another connection for that

    bare, held = trips({"configurable": {"thread_id": "a thread"}}), trips(session.config)
    lease = session.lease(60)
    leased = trips(form.enter(lease).config)
    form.leave(lease)
    assert (held, leased) == (bare, bare)
    assert bare <= 7  # the newest is read, three checkpoints and the writes of two tasks are put


def test_an_append_and_an_edit_do_not_grow_with_the_session(proxy: Proxy, manager: SessionManager, form: Form) -> None:
    acts: dict[str, Callable[[Session], Any]] = {
        "append": lambda session: form.do(session, "append", "user", "x" * 400),
        "replace": lambda session: form.do(session, "replace", 5, "user", "x" * 400),
        "undo": lambda session: form.do(session, "undo"),
        "delete": lambda session: form.do(session, "delete"),
    }
    up: dict[int, list[int]] = {}
    for size in (10, 1000):
        session = long(form, manager, size)
        for act in acts.values():
            proxy.reset()
            act(session)
            up.setdefault(size, []).append(proxy.bytes_up)
    for name, few, many in zip(acts, up[10], up[1000], strict=True):
        assert many < few + 300, name
        assert many < 4000, name
    session = long(form, manager, 1000)
    proxy.reset()
    assert len(form.do(session, "messages")) == 1000
    assert proxy.bytes_down < 1000 * 600
    proxy.reset()
    form.do(session, "append", "user", "x")
    form.do(session, "len")
    assert proxy.bytes_down < 1000
