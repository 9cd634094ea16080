"""Being read lets an item live for its time again, as the configuration and the caller say, for few writes."""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import GetOp, PutOp, SearchOp
from support.lifetimes import INDEX, PEEK, Clock, Managers, N, Namespace, names, rows, unsound
from support.places import two_kinds, two_places
from support.proxy import Proxy
from support.sittings import Form

from langgraph_sessionstore import SESSION_NAMESPACE, Backend, SessionManager, SessionStore
from langgraph_sessionstore.plans.items import END, HINT
from langgraph_sessionstore.testing import Fault, FaultyBackend


@two_places
@pytest.mark.parametrize("namespace", [("u", "n"), (SESSION_NAMESPACE, "s", "n")])
def test_a_use_lets_an_item_live_for_its_time_and_hardly_longer(
    namespace: Namespace, manager_on: Managers, storage: Callable[[], Backend], form: Form, clock: Clock
) -> None:
    store, chance = manager_on(index=INDEX).store, random.Random(1)
    uses: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("get", (namespace, "k"), {}),
        ("search", (namespace,), {}),
        ("search", (namespace[:-1],), {"filter": {"n": {"$gte": 0}}}),
        ("search", (namespace,), {"query": "1"}),
        ("batch", ([GetOp(namespace, "k"), SearchOp(namespace), GetOp(namespace, "k")],), {}),
    ]
    for name, args, options in uses:
        form.do(store, "put", namespace, "k", {"text": "1", "n": 0}, ttl=16)
        for longest in (0, 1, 1000, 16 * 60_000, 16 * 60_000):
            clock.pass_(milliseconds=chance.randint(0, longest))
            assert form.do(store, name, *args, **options)
            used = clock.now
            clock.pass_(16, -1)
            assert form.do(store, "get", namespace, "k", **PEEK) is not None, name
            clock.pass_(1, 2)
            assert form.do(store, "get", namespace, "k", **PEEK) is None, name
            clock.now = used
        assert unsound(storage(), namespace) == []
        clock.pass_(17, 1)
        found = form.do(store, name, *args, **options)
        assert found in ([], None, [None, [], None]), name  # being asked about again does not bring it back
        assert form.do(store, "get", namespace, "k") is None


@two_places
def test_reads_refresh_as_the_configuration_and_the_caller_say(manager_on: Managers, form: Form, clock: Clock) -> None:
    stores = {on: manager_on(store_ttl={"refresh_on_read": on}, index=INDEX).store for on in (True, False)}
    reads: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("get", (N, "k"), {}),
        ("search", (N,), {}),
        ("search", ((),), {"query": "1"}),
    ]
    for (default, store), said, (name, args, options) in itertools.product(stores.items(), (None, True, False), reads):
        form.do(store, "put", N, "k", {"text": "1"}, ttl=10)
        clock.pass_(9)
        assert form.do(store, name, *args, **options, refresh_ttl=said)
        clock.pass_(9)
        lives = default if said is None else said
        assert (form.do(store, "get", N, "k", **PEEK) is not None) == lives, (default, said, name)
        clock.pass_(2)
        assert form.do(store, "get", N, "k", **PEEK) is None


@two_places
@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"limit": 2}, "ab"),
        ({"limit": 2, "offset": 1}, "bc"),
        ({"filter": {"odd": True}, "limit": 1, "offset": 1}, "d"),
        ({"query": "0.4", "limit": 1}, "e"),
        ({"query": "0.4", "limit": 1, "offset": 1}, "d"),
        ({"query": "0.4", "filter": {"odd": False}, "limit": 1, "offset": 1}, "c"),
        ({"limit": 0}, ""),
    ],
)
def test_a_search_refreshes_what_it_returns_and_nothing_else(
    options: dict[str, Any], found: str, manager_on: Managers, form: Form, clock: Clock
) -> None:
    store = manager_on(index=INDEX).store
    ops = [PutOp(N, key, {"text": f"{n / 10}", "odd": n % 2 == 1}, ttl=10) for n, key in enumerate("abcde")]
    form.do(store, "batch", ops)
    clock.pass_(9)
    assert names(form.do(store, "search", (), **options)) == list(found)
    clock.pass_(9)
    assert sorted(names(form.do(store, "search", (), **PEEK))) == sorted(found)


@two_places
def test_what_has_no_end_gets_none_by_being_read(
    manager_on: Managers, storage: Callable[[], Backend], form: Form, clock: Clock
) -> None:
    store = manager_on(store_ttl={"default_ttl": 10}).store
    form.do(store, "put", N, "k", {}, ttl=None)
    for _ in range(2):
        form.do(store, "get", N, "k", refresh_ttl=True)
        form.do(store, "search", N, refresh_ttl=True)
        clock.pass_(1e6)
    assert {END, HINT}.isdisjoint(rows(storage()))
    assert form.do(store, "sweep_ttl") == 0
    assert form.do(store, "get", N, "k") is not None


@two_places
def test_a_read_tells_what_it_has_read_whatever_becomes_of_the_refresh(
    manager: SessionManager, storage: Callable[[], Backend], form: Form, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    form.do(manager.store, "put", N, "k", {"v": 1}, ttl=10)
    for number, fault in enumerate((Fault.FAIL, Fault.CUT_BEFORE, Fault.CUT_AFTER), 1):
        clock.pass_(2)
        store = SessionStore(FaultyBackend(manager.backend, {2: fault}))
        assert form.do(store, "get", N, "k").value == {"v": 1}
        assert [record.levelno for record in caplog.records] == [logging.WARNING] * number
        assert unsound(storage()) == []
    clock.at(15)  # the last one was done
    assert form.do(manager.store, "get", N, "k", **PEEK) is not None


@two_kinds
def test_used_again_and_again_an_item_has_few_rows_and_costs_few_writes(
    storage: Callable[[], Backend], clock: Clock
) -> None:
    counting = FaultyBackend(storage(), {})
    store = SessionStore(counting)
    store.put(N, "k", {}, ttl=16)
    store.get(N, "k")
    counting.calls = 0
    for _ in range(160):
        clock.pass_(0.1)
        store.get(N, "k")
    assert counting.calls <= 160 + 16
    for turn in range(200):
        clock.pass_(0.1)
        store.put(N, "k", {"n": turn}, ttl=16)
    assert len(rows(storage())[HINT]) <= 18
    assert sum(map(len, rows(storage()).values())) <= 22


def test_what_it_costs(proxy: Proxy, form: Form, tmp_path: Path, clock: Clock) -> None:
    store = SessionStore.from_url(f"redis://{proxy.host}:{proxy.port}/0", prefix=f"{tmp_path}")
    form.do(store, "batch", [PutOp(N, f"{n}", {"n": n}, ttl=10) for n in range(50)])
    clock.pass_(1)
    costs: list[tuple[int, str, tuple[Any, ...], dict[str, Any]]] = [
        (2, "put", (N, "0", {}), {"ttl": 10}),
        (1, "put", (N, "0", {}), {"ttl": 10}),
        (2, "put", (N, "0", {}), {"ttl": None}),
        (1, "put", (N, "0", {}), {"ttl": 10}),
        (1, "get", (N, "1"), PEEK),
        (2, "get", (N, "1"), {}),
        (1, "get", (N, "1"), {}),
        (2, "search", (N,), {"limit": 50}),
        (1, "search", (N,), {"limit": 50}),
    ]
    for trips, name, args, options in costs:
        proxy.reset()
        form.do(store, name, *args, **options)
        assert proxy.round_trips == trips, (name, args, options)
    form.do(store, "close")
