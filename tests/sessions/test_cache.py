"""The cache: what was set comes back until it ends; what cannot be read is not there."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy
from support.proxy import Proxy
from support.servers import RedisServer
from support.sittings import Form
from typing_extensions import TypedDict

from langgraph_sessionstore import (
    Backend,
    BackendUnavailable,
    ConfigurationError,
    SessionCache,
    SessionManager,
    keys,
    run,
)
from langgraph_sessionstore.ops import Count, Put, must
from langgraph_sessionstore.testing import Fault, FaultyBackend

A, B, C = (("a",), "k"), (("a", "b"), "k"), ((), "k")


def test_entries_come_back_with_their_namespaces(manager_on: Callable[..., SessionManager], form: Form) -> None:
    cache, other = manager_on().cache, manager_on().cache
    given = {A: ({"m": AIMessage("Hi", id="1")}, None), B: ((1, {2}), 60), C: (None, None), (("ab",), "k"): ("x", 1.5)}
    form.do(cache, "set", given)
    wanted = {address: value for address, (value, _) in given.items()}
    assert form.do(other, "get", [*given, (("a",), "other"), (("x",), "k")]) == wanted
    form.do(other, "set", {A: ("new", None)})
    assert form.do(cache, "get", [A]) == {A: "new"}
    form.do(other, "clear", [("a",), ("unknown",)])
    assert form.do(cache, "get", list(given)) == {key: value for key, value in wanted.items() if key != A}
    form.do(cache, "set", {A: ("again", None)})
    form.do(other, "clear")
    assert form.do(cache, "get", list(given)) == {}
    form.do(cache, "set", {A: ("after", None)})
    form.do(manager_on().cache, "clear")
    assert form.do(cache, "get", []) == {} == form.do(cache, "get", [A])


def test_what_has_ended_is_gone_and_is_taken_along(
    manager: SessionManager, storage: Callable[[], Backend], form: Form
) -> None:
    cache, backend = manager.cache, storage()
    form.do(cache, "set", {(("n",), f"{at}"): (at, 0.2) for at in range(30)})
    form.do(cache, "set", {(("n",), "0"): ("stays", 60), (("n",), "over"): (1, 0), (("n",), "before"): (1, -5)})
    addresses = [(("n",), name) for name in ("0", "1", "over", "before")]
    found = form.do(cache, "get", addresses)
    assert found.get(addresses[0]) == "stays"
    assert set(found) <= set(addresses[:2])
    time.sleep(0.25)
    assert form.do(cache, "get", addresses) == {addresses[0]: "stays"}
    for _ in range(3):
        form.do(cache, "set", {(("n",), "last"): (1, None)})
    assert form.do(cache, "get", [addresses[0]]) == {addresses[0]: "stays"}
    rows, hints = run(backend, must(keys.encode("cache", "n"), Count(*keys.below(0)), Count(*keys.below(1))))
    assert (rows, hints) == (2, 1)


@pytest.mark.parametrize("row", [b"", b"x", b"\x01\xc0", pickle.dumps({"a": 1}), b"\x01\x92\x00\xc4\x02\x01\xc0"])
def test_what_cannot_be_read_is_not_there(
    row: bytes, manager: SessionManager, storage: Callable[[], Backend], form: Form
) -> None:
    cache = manager.cache
    form.do(cache, "set", {A: (1, None), (("a",), "good"): (2, None)})
    run(storage(), must(keys.encode("cache", "a"), Put(keys.encode(0, "k"), row)))
    assert form.do(cache, "get", [A, (("a",), "good")]) == {(("a",), "good"): 2}
    form.do(cache, "set", {A: (3, None)})
    assert form.do(cache, "get", [A]) == {A: 3}


def test_bad_input_is_refused(manager: SessionManager, form: Form) -> None:
    for name, given in (
        ("get", ["ab"]),
        ("get", [("n", "k")]),
        ("get", [(("n",), 1)]),
        ("set", {(("n", 1), "k"): (1, None)}),
        ("set", {A: (1, "60")}),
        ("set", {A: (1, float("nan"))}),
        ("clear", ["n"]),
    ):
        with pytest.raises(ConfigurationError):
            form.do(manager.cache, name, given)


def test_a_graph_computes_once_for_all_workers(manager_on: Callable[..., SessionManager], form: Form) -> None:
    class State(TypedDict):
        n: int

    ran = []

    def square(state: State) -> State:
        ran.append(state["n"])
        return {"n": state["n"] ** 2}

    for manager in (manager_on(), manager_on()):
        builder = StateGraph(State).add_node("square", square, cache_policy=CachePolicy()).add_edge(START, "square")
        graph = builder.compile(cache=manager.cache)
        assert [form.do(graph, "invoke", {"n": n})["n"] for n in (3, 4, 3)] == [9, 16, 9]
    assert ran == [3, 4]


def test_what_it_costs(redis7: RedisServer, form: Form) -> None:
    with Proxy(redis7.host, redis7.port) as proxy:
        cache = SessionCache[Any].from_url(f"redis://{proxy.host}:{proxy.port}/0", prefix="cost of a cache")
        form.do(cache, "set", {A: (1, None), C: (1, None)})
        for trips, name, given in (
            (1, "set", {A: (2, 60), C: (1, None)}),
            (1, "get", [A, B, C]),
            (3, "clear", [("a",)]),
        ):
            proxy.reset()
            form.do(cache, name, given)
            assert proxy.round_trips == trips, name
        form.do(cache, "close")


def test_a_cache_does_not_stop_a_graph(manager: SessionManager, form: Form, caplog: pytest.LogCaptureFixture) -> None:
    faults = dict.fromkeys(range(1, 100), Fault.FAIL)
    cache = SessionCache[Any](FaultyBackend(manager.backend, faults))
    form.do(cache, "set", {A: (1, None)})
    assert form.do(cache, "get", [A]) == {}
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    with pytest.raises(BackendUnavailable):
        form.do(cache, "clear")
    form.do(manager.cache, "set", {A: (test_bad_input_is_refused, None), B: (1, None)})
    assert form.do(manager.cache, "get", [A, B]) == {B: 1}
    assert "not cached" in caplog.text
