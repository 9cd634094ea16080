"""A store that meets bad input, damaged rows or faults says so, and changes nothing or heals; and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore, InvalidNamespaceError, PutOp, SearchOp
from support.places import two_places
from support.proxy import Proxy
from support.servers import RedisServer
from support.sittings import Form
from typing_extensions import TypedDict

from langgraph_sessionstore import (
    SESSION_NAMESPACE,
    Backend,
    ConfigurationError,
    CorruptData,
    OutcomeUnknown,
    SessionManager,
    SessionStore,
    SessionStoreError,
    Unstorable,
    keys,
    run,
)
from langgraph_sessionstore.ops import Delete, Forget, Page, Put, Range, must
from langgraph_sessionstore.plans.items import STORE
from langgraph_sessionstore.testing import Fault, FaultyBackend


@two_places
def test_a_line_without_items_is_no_namespace_and_one_is_listed_by_the_next_process(
    manager_on: Callable[..., SessionManager], storage: Callable[[], Backend], form: Form
) -> None:
    form.do(manager_on().store, "put", ("n",), "k", {"v": 1})
    run(storage(), must(STORE, Forget(keys.encode("store", "n"))))  # as a worker that died in between leaves it
    assert form.do(manager_on().store, "search", ()) == []
    store = manager_on().store
    form.do(store, "put", ("n",), "l", {"v": 1})
    assert [item.key for item in form.do(store, "search", ())] == ["k", "l"]


@pytest.mark.parametrize("kind", ["memory"])
@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("put", ((), "k", {})),
        ("put", (("a", ""), "k", {})),
        ("put", (("a.b",), "k", {})),
        ("put", (("langgraph",), "k", {})),
        ("get", (("a", 1), "k")),
        ("batch", ([PutOp("text", "k", {})],)),  # type: ignore[arg-type]
        ("batch", ([PutOp(("a", ""), "k", {})],)),
        ("batch", ([PutOp((), "k", {})],)),
        ("batch", ([SearchOp(("a.b",))],)),
    ],
)
def test_bad_namespaces_are_refused(name: str, args: Any, manager: SessionManager, form: Form) -> None:
    with pytest.raises(InvalidNamespaceError):
        form.do(manager.store, name, *args)


@two_places
def test_bad_input_changes_nothing(manager: SessionManager, form: Form) -> None:
    store = manager.store
    for ops in (
        [PutOp(("a",), "k", {}), PutOp(("a",), 1, {})],  # type: ignore[arg-type]
        [PutOp(("a",), "k", {}), PutOp(("a",), "l", "text")],  # type: ignore[arg-type]
        [PutOp(("a",), "k", {}), PutOp(("a",), "l", {1: 2})],  # type: ignore[dict-item]
        [PutOp(("a",), "k", {}), "get"],
        [PutOp(("a",), "k", {}), SearchOp((), {"n": {"$in": [1]}})],
        [PutOp(("a",), "k", {}), SearchOp((), {"n": {"$gt": "much"}})],
        [PutOp(("a",), "k", {}), SearchOp((), "n")],  # type: ignore[arg-type]
        [PutOp(("a",), "k", {}), SearchOp((), None, -1)],
        [PutOp(("a",), "k", {}), SearchOp((), None, 1, -1)],
        [PutOp(("a",), "k", {}), PutOp(("__session__",), "k", {})],
        [PutOp(("a",), "k", {}), SearchOp(("__session__",))],
    ):
        with pytest.raises(ConfigurationError):
            form.do(store, "batch", ops)
    with pytest.raises(ConfigurationError):
        form.do(store, "list_namespaces", max_depth=0)
    for ttl in (0, -1, float("nan"), float("inf"), True, "5"):
        with pytest.raises(ConfigurationError, match="minutes"):
            form.do(store, "put", ("a",), "k", {}, ttl=ttl)
    with pytest.raises(Unstorable):
        form.do(store, "batch", [PutOp(("a",), "k", {}), PutOp(("a",), "l", {"f": test_bad_namespaces_are_refused})])
    with pytest.raises(ConfigurationError, match=r"SessionStore\.from_url"):
        SessionStore("memory:")  # type: ignore[arg-type]
    assert form.do(store, "search", ()) == []


@two_places
def test_damaged_rows_say_where_they_are(manager: SessionManager, storage: Callable[[], Backend], form: Form) -> None:
    store = manager.store
    form.do(store, "put", ("n",), "good", {"v": 1})
    for row, at in ((b"\xc1", keys.encode(0, 0, "bad")), (b"\x01\x92\x01\xa1x", keys.encode(0, 0, "bad"))):
        run(storage(), must(keys.encode("store", "n"), Put(at, row)))
        for name, args in (("get", (("n",), "bad")), ("search", (("n",),))):
            with pytest.raises(CorruptData, match="bad"):
                form.do(store, name, *args)
    odd = Put(keys.encode(0, "odd"), b"x")
    run(storage(), must(keys.encode("store", "n"), Delete(keys.encode(0, 0, "bad")), odd))
    with pytest.raises(CorruptData, match="no item"):
        form.do(store, "search", ("n",))
    assert form.do(store, "get", ("n",), "good").value == {"v": 1}


def test_a_graph_uses_it_and_a_directory_keeps_it(tmp_path: Path) -> None:
    class State(TypedDict):
        name: str

    def remember(state: State, *, store: BaseStore) -> State:
        seen = store.get(("people",), state["name"])
        store.put(("people",), state["name"], {"times": (seen.value["times"] if seen else 0) + 1})
        return state

    for _ in range(3):
        with SessionStore.from_url(f"file:{tmp_path}/s") as store:
            graph = StateGraph(State).add_node("remember", remember).add_edge(START, "remember").compile(store=store)
            graph.invoke({"name": "Ann"})
    with SessionStore.from_url(f"file:{tmp_path}/s") as store:
        found = store.get(("people",), "Ann")
        assert found is not None
        assert found.value == {"times": 3}


def test_what_it_costs(proxy: Proxy, form: Form, tmp_path: Path) -> None:
    store = SessionStore.from_url(f"redis://{proxy.host}:{proxy.port}/0", prefix=f"{tmp_path}")
    form.do(store, "put", ("warm",), "k", {})
    form.do(store, "batch", [PutOp(("cost",), f"{n}", {"n": n}) for n in range(20)])
    form.do(store, "batch", [PutOp(("deep", "er"), f"{n}", {"n": n}) for n in range(20)])
    costs: list[tuple[int, str, tuple[Any, ...]]] = [
        (2, "put", (("new",), "k", {})),
        (1, "put", (("new",), "l", {})),
        (1, "put", (("cost",), "k", {})),
        (1, "get", (("cost",), "k")),
        (1, "search", (("cost",),)),
        (2, "search", (("deep",),)),
        (1, "delete", (("cost",), "k")),
        (1, "batch", ([PutOp(("cost",), f"{n}", {"n": n}) for n in range(1000)],)),
        (2, "list_namespaces", ()),
    ]
    for trips, name, args in costs:
        proxy.reset()
        form.do(store, name, *args)
        assert proxy.round_trips == trips, (name, args)
    form.do(store, "close")


CHANGES: dict[str, list[PutOp]] = {
    "a new namespace": [PutOp(("new",), "k", {"v": 1})],
    "one that is there": [PutOp(("old",), "k", {"v": 1}), PutOp(("old",), "l", {"v": 2})],
    "the last item": [PutOp(("old",), "k", None)],
    "several": [PutOp(("old",), "k", {"v": 1}), PutOp(("new",), "k", {"v": 1}), PutOp(("newer",), "k", {"v": 1})],
    "beside a session": [PutOp(("new",), "k", {"v": 1}), PutOp((SESSION_NAMESPACE, "s"), "k", {"v": 1})],
}


@pytest.mark.parametrize(
    ("kind", "form", "name"),
    [
        *((kind, form, name) for kind, form in (("memory", "sync"), ("redis7", "async")) for name in CHANGES),
        *(("memory", "async", name) for name in ("several", "beside a session")),
        *((kind, "sync", "several") for kind in ("file", "cluster")),
    ],
    indirect=["kind", "form"],
)
def test_a_fault_at_any_call_is_told_and_heals(name: str, manager: SessionManager, form: Form) -> None:
    def seen() -> Any:
        everything = [*manager.store.search((), limit=99), *manager.store.search((SESSION_NAMESPACE, "s"))]
        return {(item.namespace, item.key): item.value for item in everything}

    def attempt(faults: dict[int, Fault]) -> tuple[Any, Any, int, Exception | None]:
        for namespace in (("old",), ("new",), ("newer",), (SESSION_NAMESPACE, "s")):
            manager.store.batch([PutOp(namespace, key, None) for key in "kl"])
        manager.store.put(("old",), "k", {"v": 0})
        manager.create_session("s", exist_ok=True)
        before, faulty, error = seen(), FaultyBackend(manager.backend, faults), None
        try:
            form.do(SessionStore(faulty), "batch", CHANGES[name])
        except SessionStoreError as exc:
            error = exc
        return before, seen(), faulty.calls, error

    before, right, calls, error = attempt({})
    assert error is None
    assert right != before
    for at in range(1, calls + 1):
        for fault in (Fault.FAIL, Fault.CUT_BEFORE, Fault.CUT_AFTER):
            was, is_, _, error = attempt({at: fault})
            assert was == before
            if not isinstance(error, OutcomeUnknown):
                assert is_ == (right if error is None else before), (at, fault, error)
            form.do(SessionStore(manager.backend), "batch", CHANGES[name])  # again, by another worker
            assert seen() == right, (at, fault)


@two_places
@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize("fault", [Fault.FAIL, Fault.CUT_BEFORE])
def test_what_is_there_is_found_whatever_broke(at: int, fault: Fault, manager: SessionManager, form: Form) -> None:
    """Also by a worker that has told the list of a namespace which somebody else has taken away since."""
    store = SessionStore(FaultyBackend(manager.backend, {at: fault}))
    known = FaultyBackend(manager.backend, {})
    other = SessionStore(known)
    form.do(other, "put", ("known",), "k", {"v": 0})
    manager.store.delete(("known",), "k")
    known.faults = {known.calls + at: fault}
    for each, namespace in ((store, ("new",)), (other, ("known",))):
        with suppress(SessionStoreError):
            form.do(each, "put", namespace, "k", {"v": 1})
        found = manager.store.get(namespace, "k")
        assert [item.value for item in manager.store.search(())] == ([] if found is None else [found.value])
        manager.store.delete(namespace, "k")


def test_a_lost_answer_leaves_nothing_unlisted(redis7: RedisServer, form: Form, tmp_path: Path) -> None:
    with Proxy(redis7.host, redis7.port) as proxy, SessionManager.from_url(redis7.url, prefix=f"{tmp_path}") as other:
        manager = SessionManager.from_url(f"redis://{proxy.host}:{proxy.port}/0", prefix=f"{tmp_path}")
        form.do(manager.store, "put", ("n",), "k", {"v": 1})
        form.do(manager.cache, "set", {(("n",), "k"): (1, None)})
        other.store.delete(("n",), "k")
        other.cache.clear()
        proxy.cut_after_reply_bytes(0)
        form.do(manager.store, "put", ("n",), "k", {"v": 2})
        assert other.store.list_namespaces() == [("n",)]
        assert [item.value for item in other.store.search(())] == [{"v": 2}]
        proxy.cut_after_reply_bytes(0)
        form.do(manager.cache, "set", {(("n",), "k"): ("new", None)})
        assert other.cache.get([(("n",), "k")]) == {(("n",), "k"): "new"}
        other.cache.clear()
        assert form.do(manager.cache, "get", [(("n",), "k")]) == {}
        form.do(manager, "close")


@two_places
def test_a_delete_that_is_repeated_takes_the_namespace_along(
    manager: SessionManager, storage: Callable[[], Backend], form: Form
) -> None:
    form.do(manager.store, "put", ("n",), "k", {"v": 1})
    with pytest.raises(OutcomeUnknown):
        form.do(SessionStore(FaultyBackend(manager.backend, {2: Fault.FAIL})), "delete", ("n",), "k")
    form.do(manager.store, "delete", ("n",), "k")
    rows, lines = run(storage(), _look())
    assert rows == []
    assert lines.rows == []


def _look() -> Any:
    (rows,) = yield from must(keys.encode("store", "n"), Range(b"", None))
    (lines,) = yield from must(STORE, Page("name"))
    return rows, lines


@two_places
def test_what_was_stored_beside_a_delete_of_nothing_is_not_denied(manager: SessionManager, form: Form) -> None:
    ops = [PutOp(("a",), "k", {"n": 1}), PutOp(("never",), "k", None), PutOp(("nowhere",), "k", None)]
    told = set()
    for at in range(1, 12):
        good = SessionStore(manager.backend)
        form.do(good, "batch", [PutOp(("a",), "k", {"n": 0}), PutOp(("a",), "l", {})])
        faulty = FaultyBackend(manager.backend, {at: Fault.FAIL})
        try:
            form.do(SessionStore(faulty), "batch", ops)
        except OutcomeUnknown:
            told.add("unknown")
        except SessionStoreError:
            told.add("nothing")
            assert form.do(good, "get", ("a",), "k").value == {"n": 0}
    assert "unknown" in told
    form.do(good, "batch", [PutOp(("a",), "k", None), PutOp(("never",), "k", {}), PutOp(("nowhere",), "k", None)])
    assert form.do(good, "list_namespaces") == [("a",), ("never",)]
