"""A deleted session: nothing of it is left in the raw storage but a mark without content, and it does not come back."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import redis
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from support.lifetimes import Look
from support.proxy import Proxy
from support.savers import checkpoint, config
from support.servers import RedisCluster, RedisServer
from support.sittings import Form
from support.waiting import wait_until

from langgraph_sessionstore import SESSION_NAMESPACE, Session, SessionDeleted, SessionManager, keys

SECRET = "violet"
TOMBSTONE = keys.TOMBSTONE + b"\0"


class Slow:
    """A graph with a subgraph, whose last node waits until somebody lets it go on."""

    def __init__(self, manager: SessionManager) -> None:
        self.waits, self.go_on = threading.Event(), threading.Event()
        inner = StateGraph(MessagesState).add_node("inner", self._inner).add_edge(START, "inner")
        builder = (
            StateGraph(MessagesState).add_node("sub", inner.compile(checkpointer=True)).add_node("slow", self._slow)
        )
        builder.add_edge(START, "sub").add_edge("sub", "slow")
        self.graph: CompiledStateGraph[Any] = builder.compile(checkpointer=manager.checkpointer)

    def _inner(self, state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", f"inner {SECRET}")]}

    def _slow(self, state: MessagesState) -> dict[str, Any]:
        self.waits.set()
        assert self.go_on.wait(60)
        return {"messages": [("ai", f"slow {SECRET}")]}


def full(form: Form, manager: SessionManager, name: str) -> Session:
    """A session with something of every kind."""
    session: Session = form.do(
        manager, "create_session", name, title=SECRET, summary=SECRET, metadata={"m": SECRET}, system=SECRET
    )
    slow = Slow(manager)
    slow.go_on.set()
    slow.graph.invoke({"messages": [("user", SECRET)]}, {**session.config, "metadata": {"run_id": f"run {name}"}})
    form.do(session, "append", "user", SECRET)
    form.do(session, "replace", 0, "user", f"edited {SECRET}")
    form.do(session, "undo")
    form.do(session, "record_usage", f"phase {SECRET}", "m", cost=1)
    form.do(manager.store, "put", (SESSION_NAMESPACE, name, SECRET), SECRET, {"v": SECRET})
    saved = form.do(manager.checkpointer, "get_tuple", session.config)
    form.do(manager.checkpointer, "put_writes", saved.config, [("messages", SECRET)], "a pending task")
    return session


def test_nothing_is_left_and_it_stays_away(
    manager_on: Callable[..., SessionManager], form: Form, look: Look, kind: str
) -> None:
    one, two = manager_on(), manager_on()
    name, other = f"gone-{uuid.uuid4()}", f"kept-{uuid.uuid4()}"
    session, kept = full(form, one, name), full(form, one, other)
    untouched = {place: sorted(rows) for place, rows in look().items() if other.encode() in place}
    slow, ends = Slow(one), []

    def run() -> None:
        try:
            slow.graph.invoke({"messages": [("user", "again")]}, {"configurable": {"thread_id": name}})
        except SessionDeleted as exc:
            ends.append(exc)

    def append() -> None:
        handle = two.get_session(name)
        assert handle is not None
        try:
            while True:
                handle.append("user", SECRET)
        except SessionDeleted as exc:
            ends.append(exc)

    others = [Session(two._common, name, None), two.get_session(name), session]
    threads = [threading.Thread(target=run)]
    threads[0].start()
    assert slow.waits.wait(60)
    threads += [threading.Thread(target=append) for _ in range(2)]
    for thread in threads[1:]:
        thread.start()
    time.sleep(0.05)
    assert form.do(two, "delete_session", name) is True
    slow.go_on.set()
    for thread in threads:
        thread.join(60)
    assert len(ends) == len(threads)
    for handle in others:
        for act, args in (("append", ("user", SECRET)), ("set_summary", (SECRET,)), ("undo", ()), ("messages", ())):
            with pytest.raises(SessionDeleted):
                form.do(handle, act, *args)
    for manager in (one, two):
        with pytest.raises(SessionDeleted):
            manager.checkpointer.put({"configurable": {"thread_id": name, "checkpoint_ns": ""}}, checkpoint({}), {}, {})
        with pytest.raises(SessionDeleted):
            form.do(manager.history(name), "add_messages", [("user", SECRET)])
        assert form.do(manager.checkpointer, "get_tuple", config(name)) is None
        assert form.do(manager, "get_session", name) is None
        assert form.do(manager, "delete_session", name) is False
        assert [info.id for info in form.everything(manager)] == [other]

    left = look()
    places = [place for place in left if name.encode() in place]
    assert len(places) == 1
    assert [row[: len(TOMBSTONE)] for row in left[places[0]]].count(TOMBSTONE) == 1
    assert all(row.startswith(b"\x02") and len(row) < 40 for row in left[places[0]])
    assert not [row for rows in left.values() for row in rows if name.encode() in row]
    assert {place: sorted(rows) for place, rows in left.items() if other.encode() in place} == untouched
    assert form.texts(kept) == [SECRET, f"inner {SECRET}", f"slow {SECRET}", SECRET]

    new = form.do(two, "create_session", name)
    assert (form.do(new, "len"), form.do(new, "summary"), form.do(new, "usage").calls) == (0, None, 0)
    assert form.do(one.checkpointer, "get_tuple", config(name)) is None


def test_the_mark_goes_by_itself(manager_on: Callable[..., SessionManager], form: Form, look: Look) -> None:
    manager = manager_on(tombstone=1)
    name = f"gone-{uuid.uuid4()}"
    form.do(full(form, manager, name), "delete")
    assert [place for place in look() if name.encode() in place]
    another = form.do(manager, "create_session", "another")

    def gone() -> bool:
        form.do(another, "append", "user", "a write")  # by which a file is swept, once a second
        form.do(manager, "get_session", name)
        return not [place for place, rows in look().items() if name.encode() in place and rows]

    wait_until(gone, "the mark has gone", every=0.1)
    form.do(manager.history(name), "add_messages", [("user", "a new life")])
    assert [info.id for info in form.everything(manager)] == ["another", name]


@pytest.mark.long
def test_one_of_ten_thousand_and_one_with_five_thousand_checkpoints_take_one_trip(
    redis7: RedisServer, proxy: Proxy, form: Form
) -> None:
    prefix = f"gone-{uuid.uuid4()}"
    with SessionManager.from_url(redis7.url, prefix=prefix) as maker:
        for number in range(10_000):
            maker.create_session(f"{number}", messages=["a"])
        where: Any = config("5000")
        for number in range(5000):
            values = checkpoint({"n": number}, {"n": f"{number}"}, id=f"{number:06}")
            where = maker.checkpointer.put(where, values, {"step": number}, {"n": f"{number}"})
    manager = SessionManager.from_url(f"redis://{proxy.host}:{proxy.port}/0", prefix=prefix)
    form.do(manager, "get_session", "1")
    for name in ("1", "5000"):
        proxy.reset()
        assert form.do(manager, "delete_session", name) is True
        assert proxy.round_trips == 1
        assert proxy.bytes_up < 5000
        assert proxy.bytes_down < 500
    assert form.do(manager, "count_sessions") == 9998
    assert form.texts(form.do(manager, "get_session", "4999")) == ["a"]
    form.do(manager, "close")


def test_on_a_cluster_it_is_two_commands(cluster: RedisCluster) -> None:
    nodes = [redis.Redis(host=node.host, port=node.port) for node in cluster.nodes]

    def scripts() -> int:
        counted: list[Any] = [node.info("commandstats") for node in nodes]
        return sum(each.get(f"cmdstat_{name}", {}).get("calls", 0) for each in counted for name in ("evalsha", "eval"))

    with SessionManager.from_url(cluster.url, prefix=f"gone-{uuid.uuid4()}") as manager:
        for name in ("warm", "x"):
            for number in range(20):
                manager.create_session(f"{name} {number}", messages=["a"])
        for number in range(20):
            manager.delete_session(f"warm {number}")  # each node knows the script now
        before = scripts()
        assert manager.delete_session("x 7") is True
        assert scripts() - before == 2
        assert manager.count_sessions() == 19
    for node in nodes:
        node.close()
