"""Nothing is left of what has ended or was deleted, and it makes nothing longer until it is swept."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langgraph.store.base import PutOp
from support.between import Between
from support.lifetimes import INDEX, SECRET, Clock, Look, Managers, N, Namespace, left, listed, names, rows, unsound
from support.places import every_place, two_kinds, two_places
from support.sittings import Form

from langgraph_sessionstore import SESSION_NAMESPACE, Backend, BackendFull, SessionStore
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import Call
from langgraph_sessionstore.plans.items import END, HINT, VALUE, VERSION
from langgraph_sessionstore.testing import FaultyBackend


@every_place
def test_a_write_takes_along_some_of_what_has_ended(
    manager_on: Managers, storage: Callable[[], Backend], form: Form, clock: Clock
) -> None:
    store = manager_on().store
    for namespace in (N, (SESSION_NAMESPACE, "s", "n")):
        form.do(store, "batch", [PutOp(namespace, f"{n}", {}, ttl=10) for n in range(50)])
        form.do(store, "put", namespace, "stays", {})
        clock.pass_(11)
        there = [len(rows(storage(), namespace)[VALUE])]
        for _ in range(4):
            form.do(store, "put", namespace, "new", {})
            there.append(len(rows(storage(), namespace)[VALUE]))
        assert there == [51, 32, 12, 2, 2]
        assert {END, HINT}.isdisjoint(rows(storage(), namespace))
        assert unsound(storage(), namespace) == []


NAMESPACES: list[Namespace] = [N, (SESSION_NAMESPACE, "s"), (SESSION_NAMESPACE, "s", "n")]


@every_place
def test_a_delete_leaves_no_rows(
    manager_on: Managers, storage: Callable[[], Backend], form: Form, clock: Clock, look: Look
) -> None:
    store = manager_on(index=INDEX).store
    for namespace, alone in itertools.product(NAMESPACES, (True, False)):
        if not alone:
            form.do(store, "put", namespace, "other", {"text": "2"}, ttl=50)
        other = rows(storage(), namespace)
        for used in (False, True):
            form.do(store, "put", namespace, SECRET, {"text": "1"}, ttl=10)
            clock.pass_(1)
            assert not used or form.do(store, "get", namespace, SECRET)
            form.do(store, "delete", namespace, SECRET)
            assert rows(storage(), namespace).keys() in (other.keys(), {VERSION})
            assert left(look) == [], namespace


@two_kinds
@pytest.mark.parametrize("history", [[10, 20], [20, 10], [10, None], [10, 0, 5, 0, None, 7]])
def test_a_delete_leaves_no_rows_of_ends_that_were_replaced(
    history: list[float | None], storage: Callable[[], Backend], clock: Clock, look: Look
) -> None:
    store = SessionStore(storage())
    for namespace in NAMESPACES:
        store.put(namespace, "other", {})
        for minutes in history:
            clock.pass_(0.01)
            if minutes == 0:
                store.get(namespace, SECRET)
            else:
                store.put(namespace, SECRET, {}, ttl=minutes)
        store.delete(namespace, SECRET)
        assert left(look) == [], namespace


@two_places
@pytest.mark.parametrize("namespace", [(SECRET,), (SESSION_NAMESPACE, "s", SECRET)])
def test_a_delete_of_an_ended_item_leaves_no_rows(
    namespace: Namespace, manager_on: Managers, form: Form, clock: Clock, look: Look
) -> None:
    store = manager_on(index=INDEX).store
    form.do(store, "put", namespace, "k", {"text": "1"}, ttl=10)
    clock.at(30)
    form.do(store, "delete", namespace, "k")
    assert left(look) == []


@two_places
def test_a_longer_end_that_was_replaced_leaves_no_rows_behind_a_sweep(
    manager_on: Managers, form: Form, clock: Clock, look: Look
) -> None:
    store = manager_on().store
    for minutes in (1000, None, 5000, 10):
        form.do(store, "put", (SECRET,), "k", {}, ttl=minutes)
    clock.at(11)
    assert form.do(store, "sweep_ttl") == 1
    assert left(look) == []
    for minutes in (1000, None):
        form.do(store, "put", (SECRET,), "k", {}, ttl=minutes)
    clock.pass_(2000)
    assert form.do(store, "sweep_ttl") == 0
    assert form.do(store, "get", (SECRET,), "k") is not None


@two_kinds
def test_many_namespaces_are_swept_and_listed_page_by_page(
    storage: Callable[[], Backend], clock: Clock, look: Look
) -> None:
    store = SessionStore(storage())
    ops = [PutOp((f"{n:04}", "deep"), "k", {}, ttl=10 if n % 3 else None) for n in range(450)]
    ops += [PutOp((f"{n:04}", SECRET), "k", {}, ttl=10) for n in range(150)]
    store.batch(ops)
    clock.at(11)
    wanted = [(f"{n:04}", "deep") for n in range(0, 450, 3)]
    assert store.list_namespaces(limit=3, offset=100) == wanted[100:103]
    assert store.sweep_ttl() <= 450
    assert listed(storage()) == wanted == store.list_namespaces(limit=1000)
    assert left(look) == []
    assert store.sweep_ttl() == 0


@two_kinds
def test_what_has_ended_does_not_make_a_search_long(storage: Callable[[], Backend], clock: Clock) -> None:
    counting = FaultyBackend(storage(), {})
    store = SessionStore(counting, index=INDEX)
    store.batch([PutOp(N, f"{n:04}", {"text": "1"}, ttl=10) for n in range(1000)])
    store.put(N, "last", {"text": "2"})
    store.search(N, query="1", limit=1, refresh_ttl=False)
    clock.at(11)
    searches: list[dict[str, Any]] = [
        {"limit": 1, "query": "1"},
        {"limit": 1, "filter": {"text": "2"}},
        {"limit": 10},
        {"limit": 1},
    ]
    for options in searches:
        counting.calls = 0
        assert names(store.search(N, **options)) == ["last"]
        assert counting.calls <= 20, options


@two_places
def test_a_list_is_right_where_nothing_can_be_written(manager_on: Managers, form: Form, clock: Clock) -> None:
    class Full(Between):
        def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
            if any(call.batch.writes for call in calls):
                raise BackendFull("no space")
            return super().execute(calls, ordered=ordered)

        async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
            if any(call.batch.writes for call in calls):
                raise BackendFull("no space")
            return await super().aexecute(calls, ordered=ordered)

    store = manager_on().store
    ops = [PutOp(("all end",), f"{n}", {}, ttl=10) for n in range(600)]
    ops += [PutOp(("one stays",), f"{n:03}", {}, ttl=10 if n < 599 else None) for n in range(600)]
    form.do(store, "batch", ops)
    clock.pass_(11)
    assert form.do(SessionStore(Full(store.backend, {})), "list_namespaces") == [("one stays",)]
    assert form.do(store, "list_namespaces") == [("one stays",)]
