"""Items that live for a time: when they end, what lets them live on, what is left of them; alone and among workers.

Nothing waits here for an end: the clock of the store is moved instead, but for one test with the real one.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from langgraph.store.base import GetOp, IndexConfig, PutOp, SearchOp
from support import raw
from support.proxy import Proxy
from support.servers import RedisServer
from support.sittings import Form
from support.waiting import wait_until

from langgraph_sessionstore import (
    SESSION_NAMESPACE,
    Backend,
    BackendClosed,
    ConfigurationError,
    CorruptData,
    Session,
    SessionManager,
    SessionStore,
    SessionStoreError,
    codec,
    keys,
    open_backend,
    run,
)
from langgraph_sessionstore.adapters import store as module
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import Call, Page, Put, Range, must
from langgraph_sessionstore.plans.items import (
    CREATED,
    END,
    HINT,
    STORE,
    TEXTS,
    VALUE,
    VECTORS,
    VERSION,
    namespace_of,
    place_of,
)
from langgraph_sessionstore.testing import Fault, FaultyBackend

Managers = Callable[..., SessionManager]
Look = Callable[[], raw.Rows]
Namespace = tuple[str, ...]
N = ("n",)
BEGIN = 1_800_000_000_123_000
"""Where the clock stands at first, in microseconds; no round number of minutes, nor of sixteenths of one."""
MINUTE, MILLISECOND = 60_000_000, 1_000
SECRET = "violet"
cheap = pytest.mark.parametrize("kind", ["memory", "redis7"])


class Clock:
    """The time that the stores see, in microseconds."""

    def __init__(self) -> None:
        self.now = BEGIN

    def pass_(self, minutes: float = 0, milliseconds: int = 0) -> None:
        self.now += round(minutes * MINUTE) + milliseconds * MILLISECOND

    def at(self, minutes: float, milliseconds: int = 0) -> None:
        """Stand so long behind the beginning."""
        self.now = BEGIN
        self.pass_(minutes, milliseconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "_now", lambda: clock.now)
    return clock


@pytest.fixture
def look(kind: str, storage: Callable[[], Backend], request: pytest.FixtureRequest, tmp_path: Path) -> Look:
    """Everything that lies in the storage."""
    backend: Any = storage()
    if kind == "memory":
        return lambda: raw.of_memory(backend)
    if kind == "file":
        return lambda: raw.of_directory(tmp_path / "sessions")
    server = request.getfixturevalue(kind)
    urls = [f"redis://{node.host}:{node.port}" for node in server.nodes] if kind == "cluster" else [server.url]
    return lambda: raw.of_redis(urls, backend._prefix)


def left(look: Look, word: str = SECRET) -> list[bytes]:
    """The names and rows that hold a word."""
    rows = look()
    return [each for name, own in rows.items() for each in [name, *own] if word.encode() in each]


def rows(backend: Backend, namespace: Namespace = N) -> dict[int, dict[tuple[Any, ...], bytes]]:
    """The rows of a namespace's partition, by their kind and by what follows it."""
    place = place_of(namespace)
    (found,) = run(backend, must(place.partition, Range(b"", None)))
    sorted_: dict[int, dict[tuple[Any, ...], bytes]] = {}
    for key, value in found:
        head, own = keys.decode(key)[: len(place.head)], keys.decode(key)[len(place.head) :]
        if head == place.head:
            sorted_.setdefault(int(own[0]), {})[own[1:]] = value
    return sorted_


def unsound(backend: Backend, namespace: Namespace = N) -> list[str]:
    """What is wrong with the rows of a namespace: halves of items, and ends that nobody would find."""
    own = rows(backend, namespace)
    there = own.get(VALUE, {}).keys()
    wrong = [f"kind {kind}: {where}" for kind in (END, TEXTS, VECTORS) for where in own.get(kind, {}).keys() - there]
    wrong += [f"half an item: {where}" for where in own.get(CREATED, {}).keys() ^ there]
    for where, stored in own.get(END, {}).items():
        ttl, at = codec.unpack(stored, "an end")
        hints = [hint[0] for hint in own.get(HINT, {}) if hint[1:] == where]
        if not any(at - max(1, ttl // 64) <= moment <= at for moment in hints):
            wrong.append(f"no hint at the end of {where}")
    return wrong


def listed(backend: Backend) -> list[Namespace]:
    """The list of all namespaces, as it is stored."""
    (entries,) = run(backend, must(STORE, Page("name", limit=1000)))
    return [namespace_of(entry.name) for entry in entries.rows]


def names(items: Sequence[Any]) -> list[str]:
    return [item.key for item in items]


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Texts that are numbers, as directions."""
    return [[math.cos(float(text)), math.sin(float(text))] for text in texts]


INDEX: IndexConfig = {"dims": 2, "embed": embed, "fields": ["text"]}
PEEK = {"refresh_ttl": False}


# -- when they end


def test_an_item_is_there_until_its_end_and_nowhere_from_then_on(
    manager_on: Managers, form: Form, clock: Clock
) -> None:
    store = manager_on(index=INDEX).store
    form.do(store, "put", N, "ends", {"text": "0", "n": 1}, ttl=10)
    form.do(store, "put", N, "stays", {"text": "1", "n": 1})
    searches: list[dict[str, Any]] = [{}, {"filter": {"n": 1}}, {"query": "0"}, {"query": "0", "filter": {"n": 1}}]
    for prefix, search in itertools.product(((), N), searches):
        clock.at(10, -1)
        assert names(form.do(store, "search", prefix, **search, **PEEK)) == ["ends", "stays"]
        assert names(form.do(store, "search", prefix, **search, limit=1, offset=1, **PEEK)) == ["stays"]
        assert form.do(store, "get", N, "ends", **PEEK).value == {"text": "0", "n": 1}
        clock.at(10)
        assert names(form.do(store, "search", prefix, **search)) == ["stays"]
        assert form.do(store, "search", prefix, **search, limit=1, offset=1) == []
        assert form.do(store, "get", N, "ends") is None
    assert form.do(store, "get", N, "stays") is not None


def test_a_namespace_is_listed_until_its_last_item_ends(manager_on: Managers, form: Form, clock: Clock) -> None:
    store = manager_on().store
    form.do(store, "put", ("u",), "k", {})
    for options in ({}, {"suffix": ("ends",)}, {"prefix": ("u",), "limit": 1, "offset": 1}, {"max_depth": 2}):
        for key, minutes in (("k", 5), ("l", 100)):
            form.do(store, "put", ("u", "ends"), key, {}, ttl=minutes)
        wanted = form.do(store, "list_namespaces", **options)
        assert ("u", "ends") in wanted
        clock.pass_(100, -1)
        assert form.do(store, "list_namespaces", **options) == wanted
        clock.pass_(milliseconds=1)
        assert form.do(store, "list_namespaces", **options) == [name for name in wanted if name != ("u", "ends")]


def test_a_sweep_takes_what_has_ended_and_the_namespaces_without_items(
    manager_on: Managers, storage: Callable[[], Backend], form: Form, clock: Clock, look: Look
) -> None:
    store = manager_on(index=INDEX).store
    ops = [PutOp((SECRET,), f"{n}", {"text": f"{n}"}, ttl=100) for n in range(130)]
    ops += [PutOp(N, SECRET, {"text": "1"}, ttl=100), PutOp(N, "stays", {"text": "2"})]
    ops += [PutOp(("longer",), "k", {"text": "3"}, ttl=200)]
    form.do(store, "batch", ops)
    clock.at(100, -1)
    assert form.do(store, "sweep_ttl") == 0
    clock.at(110)
    assert form.do(store, "sweep_ttl") == 131
    assert form.do(store, "sweep_ttl") == 0
    assert left(look) == []
    assert listed(storage()) == [("longer",), N]
    assert names(form.do(store, "search", (), **PEEK)) == ["k", "stays"]
    assert [unsound(storage(), each) for each in (N, ("longer",))] == [[], []]
    clock.at(220)
    assert form.do(manager_on().store, "sweep_ttl") == 1
    assert listed(storage()) == [N]


@cheap
def test_a_sweep_takes_all_that_has_ended_up_to_its_moment(
    storage: Callable[[], Backend], clock: Clock, look: Look
) -> None:
    store = SessionStore(storage())
    for minutes in (3, 7, 10, 100):
        store.put((SECRET,), f"{minutes}", {}, ttl=minutes)
    for minutes, there in ((3, 3), (7, 2), (10, 1), (100, 0)):
        clock.at(minutes, -1)
        assert store.sweep_ttl() == 0
        clock.at(minutes)
        assert store.sweep_ttl() == 1, minutes
        assert len(rows(storage(), (SECRET,)).get(VALUE, {})) == there
    assert left(look) == []


def test_the_real_clock_ends_items_too(manager_on: Managers, form: Form) -> None:
    store = manager_on(store_ttl={"default_ttl": 0.001}).store
    form.do(store, "put", N, "k", {"v": 1})
    form.do(store, "put", N, "stays", {}, ttl=None)
    before = time.monotonic()
    found = form.do(store, "get", N, "k", **PEEK)
    assert found is not None or time.monotonic() - before > 0.05
    form.pause(0.08)
    assert form.do(store, "get", N, "k") is None
    assert names(form.do(store, "search", ())) == ["stays"]
    assert form.do(store, "sweep_ttl") == 1


# -- what a put says


def test_the_last_put_says_how_long_an_item_lives(manager_on: Managers, form: Form, clock: Clock) -> None:
    store = manager_on(store_ttl={"default_ttl": 10, "refresh_on_read": False}).store

    def end_of(key: str) -> float | None:
        """After how many minutes it ends."""
        here = clock.now
        found = None
        for minutes in (1, 2, 10, 20, 40):
            clock.now = here + minutes * MINUTE - MILLISECOND
            assert form.do(store, "get", N, key) is not None
            clock.now += MILLISECOND
            if form.do(store, "get", N, key) is None:
                found = minutes
                break
        clock.now = here
        return found

    steps: list[tuple[dict[str, Any], float | None]] = [
        ({}, 10),
        ({"ttl": 20}, 20),
        ({"ttl": 2}, 2),
        ({"ttl": None}, None),
        ({}, 10),
        ({"ttl": None}, None),
        ({"ttl": 1}, 1),
        ({"ttl": 40.0}, 40),
    ]
    for options, minutes in steps:
        form.do(store, "put", N, "k", {"n": str(options)}, **options)
        assert end_of("k") == minutes, options
        clock.pass_(0.5)
    form.do(store, "batch", [PutOp(N, "k", {"n": 1}), PutOp(N, "l", {}, ttl=2), PutOp(N, "l", {}, ttl=1)])
    assert end_of("k") is None  # as an operation says it itself
    assert end_of("l") == 1
    clock.pass_(1e6)
    assert names(form.do(store, "search", ())) == ["k"]


def test_an_item_begins_anew_after_its_end_and_not_before(manager_on: Managers, form: Form, clock: Clock) -> None:
    store = manager_on(index=INDEX).store
    form.do(store, "put", N, "k", {"text": "1"}, ttl=10)
    first = form.do(store, "get", N, "k", **PEEK)
    clock.at(10, -1)
    form.do(store, "put", N, "k", {"text": "1"}, ttl=10)
    second = form.do(store, "get", N, "k", **PEEK)
    assert second.created_at == first.created_at < second.updated_at
    for options in ({"ttl": 10}, {}, {"ttl": 1}):
        clock.pass_(20)
        form.do(store, "put", N, "k", {"text": "2"}, **options)
        found = form.do(store, "search", N, query="2", **PEEK)[0]
        assert found.value == {"text": "2"}
        if options == {"ttl": 1}:
            assert found.created_at < found.updated_at  # it was there
        else:
            assert found.created_at == found.updated_at
        last = form.do(store, "get", N, "k", **PEEK)
        assert (last.created_at, last.updated_at) == (found.created_at, found.updated_at)
    clock.pass_(1)
    form.do(store, "delete", N, "k")
    clock.pass_(1)
    form.do(store, "put", N, "k", {"text": "3"})
    third = form.do(store, "get", N, "k")
    assert third.created_at == third.updated_at


def test_an_item_put_again_has_nothing_of_the_old_one(
    manager_on: Managers, storage: Callable[[], Backend], form: Form, clock: Clock
) -> None:
    store = manager_on(index=INDEX).store
    form.do(store, "put", N, "k", {"text": "1"}, ttl=10)
    form.do(store, "put", N, "other", {"text": "2"}, index=False)
    clock.at(11)
    form.do(store, "put", N, "k", {"said": "nothing"})
    assert {kind: len(own) for kind, own in rows(storage()).items() if kind in (END, TEXTS, VECTORS, HINT)} == {}
    found = form.do(store, "search", N, query="1")
    assert [(item.key, item.score) for item in found] == [("k", None), ("other", None)]


# -- what lets them live on


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


@cheap
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


# -- what is left of them


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


@cheap
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


@pytest.mark.parametrize("namespace", [(SECRET,), (SESSION_NAMESPACE, "s", SECRET)])
def test_a_delete_of_an_ended_item_leaves_no_rows(
    namespace: Namespace, manager_on: Managers, form: Form, clock: Clock, look: Look
) -> None:
    store = manager_on(index=INDEX).store
    form.do(store, "put", namespace, "k", {"text": "1"}, ttl=10)
    clock.at(30)
    form.do(store, "delete", namespace, "k")
    assert left(look) == []


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


@cheap
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


@cheap
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


def test_what_it_costs(redis7: RedisServer, form: Form, tmp_path: Path, clock: Clock) -> None:
    with Proxy(redis7.host, redis7.port) as proxy:
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


# -- items of sessions


def test_items_of_sessions_live_for_a_time_too(
    manager_on: Managers, storage: Callable[[], Backend], form: Form, clock: Clock, tmp_path: Path
) -> None:
    manager = manager_on(index=INDEX, store_ttl={"default_ttl": 10})
    session: Session = form.do(manager, "create_session", "s")
    own = (SESSION_NAMESPACE, "s")
    form.do(session.store, "put", ("a",), "ends", {"text": "1"})
    form.do(session.store, "put", ("a", "b"), "stays", {"text": "2"}, ttl=None)
    form.do(session.store, "put", ("a", "c"), "longer", {"text": "3"}, ttl=100)
    form.do(session, "fork", "copy")
    form.do(session, "export", tmp_path / "s.jsonl")
    clock.at(10, -1)
    subjects: list[tuple[Any, Namespace]] = [(session.store, ()), (manager.store, own)]
    for store, base in subjects:
        wanted = [(*base, "a", *rest) for rest in ((), ("b",), ("c",))]
        assert form.do(store, "list_namespaces", prefix=(*base, "a")) == wanted
        assert names(form.do(store, "search", base, **PEEK)) == ["ends", "stays", "longer"]
    clock.at(10)
    form.do(manager, "import_", tmp_path / "s.jsonl", session_id="back")
    for name in ("s", "copy", "back"):
        store, base = manager.store, (SESSION_NAMESPACE, name)
        assert form.do(store, "get", (*base, "a"), "ends") is None
        assert names(form.do(store, "search", base, **PEEK)) == ["stays", "longer"]
        assert names(form.do(store, "search", base, query="1", **PEEK)) == ["stays", "longer"]
        assert names(form.do(store, "search", base, limit=1, offset=1, **PEEK)) == ["longer"]
        assert form.do(store, "list_namespaces", prefix=base) == [(*base, "a", "b"), (*base, "a", "c")]
        assert form.do(store, "list_namespaces", prefix=base, max_depth=3) == [(*base, "a")]
    assert form.do(session.store, "list_namespaces") == [("a", "b"), ("a", "c")]
    form.do(session.store, "put", ("a",), "ends", {"text": "1"})
    again = form.do(session.store, "get", ("a",), "ends")
    assert again.created_at == again.updated_at
    clock.at(99)
    assert form.do(session.store, "get", ("a", "c"), "longer") is not None
    clock.at(120)
    assert names(form.do(manager.store, "search", own, **PEEK)) == ["stays", "longer"]
    assert names(form.do(manager.store, "search", (SESSION_NAMESPACE, "copy"), **PEEK)) == ["stays"]
    assert form.do(manager.store, "sweep_ttl") == 0
    assert unsound(storage(), own) == []
    assert form.do(manager.store, "list_namespaces") == []
    assert form.do(session, "delete")
    assert form.do(manager.store, "search", own) == []


class Between(Backend):
    """A backend on which something else happens before the trip with this number."""

    def __init__(self, inner: Backend, before: dict[int, Callable[[], object]]) -> None:
        self.inner, self.before, self.trips = inner, before, 0

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        self._next()
        return self.inner.execute(calls, ordered=ordered)

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        self._next()
        return await self.inner.aexecute(calls, ordered=ordered)

    def close(self) -> None: ...

    async def aclose(self) -> None: ...

    def _next(self) -> None:
        self.trips += 1
        self.before.get(self.trips, lambda: None)()


def test_reading_an_item_brings_no_session_back(manager_on: Managers, form: Form, clock: Clock) -> None:
    one, two = manager_on(), manager_on()
    session: Session = form.do(one, "create_session", "s")
    form.do(session.store, "put", N, "k", {"v": 1}, ttl=10)
    clock.pass_(5)
    backend = Between(one.backend, {2: lambda: two.delete_session("s")})
    assert form.do(SessionStore(backend), "get", (SESSION_NAMESPACE, "s", *N), "k").value == {"v": 1}
    assert form.do(two.store, "search", (SESSION_NAMESPACE, "s")) == []
    assert form.do(two, "get_session", "s") is None


# -- several workers


ACTS: dict[str, Callable[[SessionStore, Namespace], object]] = {
    "get": lambda store, ns: store.get(ns, "k"),
    "search": lambda store, ns: store.search(ns),
    "put for a time": lambda store, ns: store.put(ns, "k", {"by": "a put"}, ttl=20),
    "put for ever": lambda store, ns: store.put(ns, "k", {"by": "another put"}),
    "put another": lambda store, ns: store.put(ns, "l", {"by": "a put"}, ttl=20),
    "delete": lambda store, ns: store.delete(ns, "k"),
    "delete another": lambda store, ns: store.delete(ns, "l"),
    "sweep": lambda store, ns: store.sweep_ttl(),
    "list": lambda store, ns: store.list_namespaces(),
}
OF_SESSIONS = [name for name in ACTS if name not in ("search", "sweep", "list")]


@pytest.mark.parametrize(
    ("kind", "base", "first"),
    [
        *(("memory", (), name) for name in ACTS),
        *(("memory", (SESSION_NAMESPACE,), name) for name in OF_SESSIONS),
        *(("redis7", (), name) for name in ("get", "put for ever", "delete")),
    ],
)
def test_whatever_another_worker_does_meanwhile_it_ends_as_if_one_came_after_the_other(
    first: str, base: Namespace, storage: Callable[[], Backend], clock: Clock
) -> None:
    inner, numbers = storage(), itertools.count()
    other, wrong = SessionStore(inner), list[str]()

    def begun(minutes: float) -> Namespace:
        """A namespace with an item that was put so many minutes ago, for ten."""
        namespace = (*base, f"{next(numbers)}")
        clock.at(-minutes)
        other.put(namespace, "k", {"by": "the beginning"}, ttl=10)
        clock.at(0)
        return namespace

    def state(namespace: Namespace) -> Any:
        """What is to be seen, and for how long; when it was first put is told in a step of its own."""
        ends = rows(inner, namespace).get(END, {})
        seen = other.search(namespace, refresh_ttl=False)
        return [(item.key, item.value, ends.get((*namespace[2:], 0, item.key))) for item in seen]

    def clear(namespace: Namespace) -> list[str]:
        """What is left of it that should not."""
        halves = unsound(inner, namespace)
        clock.pass_(1000)
        other.sweep_ttl()
        own = rows(inner, namespace)
        nothing = not own and namespace not in listed(inner)
        rest = [f"{sorted(own)} are left"] if not base and not own.get(VALUE) and not nothing else []
        other.batch([PutOp(namespace, key, None) for key in "kl"])
        return halves + rest

    for minutes, second in itertools.product((5, 11), OF_SESSIONS if base else ACTS):
        serial = []
        for acts in ([first, second], [second, first]):
            namespace = begun(minutes)
            for act in acts:
                ACTS[act](other, namespace)
            serial.append(state(namespace))
            assert clear(namespace) == []
        for at in range(2, 9):
            namespace = begun(minutes)
            between = Between(inner, {at: partial(ACTS[second], other, namespace)})
            ACTS[first](SessionStore(between), namespace)
            found = state(namespace)
            rest = clear(namespace)
            if between.trips < at:
                break
            case = f"{second} before trip {at} of {first}, {minutes} minutes after the put"
            wrong += [f"{case}: {found}, and not one of {serial}"] if found not in serial else []
            wrong += [f"{case}: {each}" for each in rest]
    assert wrong == []


@cheap
def test_threads_that_use_put_and_sweep_neither_lose_nor_mix(storage: Callable[[], Backend], clock: Clock) -> None:
    stores = [SessionStore(storage()) for _ in range(4)]
    for n in range(8):
        stores[0].put(N, f"used {n}", {"n": n}, ttl=1)
    go_on, lost = threading.Event(), list[Any]()

    def use() -> None:
        for turn in range(60):
            clock.pass_(0.2)
            if len(stores[0].search(N, filter={"n": {"$gte": 0}}, limit=99)) != 8:
                lost.append(turn)
        go_on.set()

    def change() -> None:
        turn = 0
        while not go_on.is_set():
            turn += 1
            stores[1].put(N, "changed", {"turn": turn, "text": f"{turn}" * 50}, ttl=0.3)
            found = stores[1].get(N, "changed")
            if found and found.value["text"] != f"{found.value['turn']}" * 50:
                lost.append(found)
            stores[1].delete(N, "changed")
            stores[1].put((f"own {turn % 3}",), "k", {}, ttl=0.1)

    def sweep(store: SessionStore) -> None:
        while not go_on.is_set():
            store.sweep_ttl()
            store.list_namespaces()

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(use), pool.submit(change), *(pool.submit(sweep, store) for store in stores[2:])]:
            done.result()
    assert lost == []
    assert unsound(storage()) == []
    clock.pass_(10)
    stores[0].sweep_ttl()
    assert listed(storage()) == [] == stores[1].search(())
    assert rows(storage()) == {}


@cheap
@pytest.mark.parametrize("name", ["put over an end", "put", "delete", "sweep", "list_namespaces"])
def test_a_fault_at_any_call_is_told_and_heals(name: str, storage: Callable[[], Backend], clock: Clock) -> None:
    inner = storage()
    good = SessionStore(inner)
    acts: dict[str, Callable[[SessionStore, Namespace], object]] = {
        "put over an end": lambda store, ns: store.put(ns, "0", {"v": 2}, ttl=10),
        "put": lambda store, ns: store.put(ns, "new", {"v": 2}, ttl=10),
        "delete": lambda store, ns: store.delete(ns, "0"),
        "sweep": lambda store, _: store.sweep_ttl(),
        "list_namespaces": lambda store, _: store.list_namespaces(),
    }
    seen = {"put over an end": {"0"}, "put": {"new"}}.get(name, set())
    for fault, at in itertools.product((Fault.FAIL, Fault.CUT_BEFORE, Fault.CUT_AFTER), range(1, 20)):
        namespace = (f"{fault.name} {at}",)
        good.batch([PutOp(namespace, f"{n}", {"v": 1}, ttl=10) for n in range(3)])
        clock.pass_(20)
        faulty = FaultyBackend(inner, {at: fault})
        try:
            acts[name](SessionStore(faulty), namespace)
        except SessionStoreError:
            acts[name](SessionStore(inner), namespace)
        found = {item.key: item for item in good.search(namespace, refresh_ttl=False)}
        assert found.keys() == seen, (fault, at)
        assert unsound(inner, namespace) == [], (fault, at)
        clock.pass_(20)
        SessionStore(inner).sweep_ttl()
        assert rows(inner, namespace) == {}, (fault, at)
        assert listed(inner) == [], (fault, at)


# -- against a model


class Kept(NamedTuple):
    """What the model knows of an item. It ends somewhere between two moments, in milliseconds."""

    value: dict[str, Any]
    created: int
    updated: int
    ttl: int | None
    least: int
    most: int


class Model:
    """Items as a dict."""

    def __init__(self, clock: Clock) -> None:
        self.items: dict[tuple[Namespace, str], Kept] = {}
        self._clock = clock

    @property
    def _now(self) -> int:
        return self._clock.now // 1000

    def put(self, address: tuple[Namespace, str], value: dict[str, Any], ttl: int | None) -> None:
        old, now = self.items.get(address), self._clock.now
        end = 0 if ttl is None else self._now + ttl
        self.items[address] = Kept(value, old.created if old else now, now, ttl, end, end)

    def use(self, address: tuple[Namespace, str]) -> None:
        kept = self.items[address]
        if kept.ttl is not None:
            most = max(kept.most, self._now + kept.ttl + kept.ttl // 16)
            self.items[address] = kept._replace(least=self._now + kept.ttl, most=most)

    def forget(self, there: Callable[[tuple[Namespace, str]], bool]) -> None:
        """What has ended is gone; and what may have, when it is not there."""
        for address, kept in list(self.items.items()):
            if kept.ttl is not None and kept.least <= self._now and (kept.most <= self._now or not there(address)):
                del self.items[address]

    def below(self, prefix: Namespace) -> list[tuple[Namespace, str]]:
        of_sessions = prefix[:1] == (SESSION_NAMESPACE,)
        return sorted(
            address
            for address in self.items
            if address[0][: len(prefix)] == prefix and (of_sessions or address[0][0] != SESSION_NAMESPACE)
        )


OWN: list[Namespace] = [("a",), ("a", "b"), ("ab",), ("ü ", "%")]
SPACES: list[Namespace] = [*OWN, (SESSION_NAMESPACE, "s"), (SESSION_NAMESPACE, "s", "n")]


@cheap
@pytest.mark.parametrize(("seed", "unit"), [(0, 1), (1, 60_000)])
def test_it_does_what_a_dict_with_ends_does(
    seed: int, unit: int, manager_on: Managers, storage: Callable[[], Backend], form: Form, clock: Clock
) -> None:
    chance, model = random.Random(seed), Model(clock)
    stores = [manager_on().store for _ in range(2)]
    prefixes: list[Namespace] = [(), *SPACES]

    def there(address: tuple[Namespace, str]) -> bool:
        return form.do(stores[0], "get", *address, **PEEK) is not None

    for turn in range(120):
        clock.pass_(milliseconds=unit * chance.choice((0, 0, 1, 1, 2, 5)) + chance.randrange(unit))
        clock.now += chance.randrange(1, 900)  # so that no two moments are the same
        model.forget(there)
        store, address = chance.choice(stores), (chance.choice(SPACES), chance.choice("kl"))
        refresh = chance.random() < 0.5
        match chance.randrange(9):
            case 0 | 1 | 2:
                ttl = chance.choice((None, *range(1, 12)))
                form.do(store, "put", *address, {"turn": turn}, ttl=ttl and ttl * unit / 60_000)
                model.put(address, {"turn": turn}, ttl and ttl * unit)
            case 3:
                form.do(store, "delete", *address)
                model.items.pop(address, None)
            case 4:
                found = form.do(store, "get", *address, refresh_ttl=refresh)
                assert (found is not None) == (address in model.items), (turn, address)
                if found is not None and refresh:
                    model.use(address)
            case 5 | 6:
                prefix, limit = chance.choice(prefixes), chance.choice((1, 2, 99))
                skip = chance.choice((0, 0, 1))
                items = form.do(store, "search", prefix, limit=limit, offset=skip, refresh_ttl=refresh)
                wanted = model.below(prefix)[skip : skip + limit]
                assert [(item.namespace, item.key) for item in items] == wanted, (turn, prefix, limit)
                for item in items:
                    kept = model.items[item.namespace, item.key]
                    times = [round(each.timestamp() * 1_000_000) for each in (item.created_at, item.updated_at)]
                    assert (item.value, *times) == (kept.value, kept.created, kept.updated), turn
                for each in wanted if refresh else ():
                    model.use(each)
            case 7:
                prefix = chance.choice(prefixes)
                spaces = sorted({ns for ns, _ in model.below(prefix)})
                assert form.do(store, "list_namespaces", prefix=prefix) == spaces, (turn, prefix)
            case 8:
                form.do(store, "sweep_ttl")
                for namespace in OWN:
                    own = rows(storage(), namespace)
                    assert {where[-1] for where in own.get(VALUE, {})} == {
                        key for ns, key in model.items if ns == namespace
                    }, turn
                    assert bool(own.get(VALUE)) == bool(own) == (namespace in listed(storage())), turn
        for namespace in SPACES if turn % 10 == 9 else ():
            assert unsound(storage(), namespace) == [], turn


# -- the sweeper


def sweepers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sessionstore-sweeper"]


@pytest.fixture
def memory(clock: Clock) -> Iterator[Backend]:
    """A memory backend with an item that has ended; all sweepers are stopped in the end."""
    backend = open_backend("memory:")
    SessionStore(backend).put(N, "k", {}, ttl=1)
    clock.pass_(2)
    yield backend
    assert sweepers() == []


def test_a_sweeper_sweeps_until_the_store_is_closed(memory: Backend) -> None:
    with SessionStore(memory, ttl={"sweep_interval_minutes": 1}) as store:
        store.start_ttl_sweeper(0.0002)
        (thread,) = sweepers()
        assert thread.daemon
        store.start_ttl_sweeper(0.0002)
        store.start_ttl_sweeper()
        assert sweepers() == [thread]
        wait_until(lambda: rows(memory) == {}, "the item is swept")
    assert not thread.is_alive()
    assert store.stop_ttl_sweeper() is True
    assert listed(memory) == []


def test_a_sweeper_ends_with_the_manager_in_both_forms(memory: Backend, form: Form) -> None:
    manager = SessionManager(memory, store_ttl={"sweep_interval_minutes": 1})
    manager.store.start_ttl_sweeper()
    assert len(sweepers()) == 1
    form.do(manager, "close")
    assert sweepers() == []
    form.do(manager, "close")


def test_a_sweeper_is_stopped_and_started_again(memory: Backend) -> None:
    store = SessionStore(memory)
    assert store.stop_ttl_sweeper() is True
    assert store.stop_ttl_sweeper(timeout=1) is True
    for _ in range(3):
        store.start_ttl_sweeper(100)
        assert store.stop_ttl_sweeper(timeout=5) is True
        assert sweepers() == []
    store.start_ttl_sweeper(0.0002)
    wait_until(lambda: rows(memory) == {}, "the item is swept")
    store.stop_ttl_sweeper()


def test_a_sweeper_that_cannot_stop_yet_says_so_and_starts_again(memory: Backend) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        assert go_on.wait(20)

    between = Between(memory, {1: wait})
    store = SessionStore(between)
    store.start_ttl_sweeper(0.0002)
    assert entered.wait(20)
    assert store.stop_ttl_sweeper(timeout=0.01) is False
    store.start_ttl_sweeper(0.0002)
    go_on.set()
    reached = between.trips
    wait_until(lambda: between.trips > reached + 20, "it goes on", timeout=1)
    assert store.stop_ttl_sweeper() is True


def test_sweepers_that_are_started_at_once_are_one(memory: Backend) -> None:
    store, barrier = SessionStore(memory), threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        store.start_ttl_sweeper(100)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            with ThreadPoolExecutor(8) as pool:
                for done in [pool.submit(start) for _ in range(8)]:
                    done.result()
            there = sweepers()
            for thread in there if len(there) > 1 else ():  # of which the store knows one
                stop: threading.Event = thread._args[0]  # type: ignore[attr-defined]
                stop.set()
            assert store.stop_ttl_sweeper(timeout=5) is True
            assert len(there) == 1
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("fault", [Fault.FAIL, Fault.CUT_AFTER])
def test_a_sweeper_outlives_trouble_and_tells_of_it(
    fault: Fault, memory: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = FaultyBackend(memory, {1: fault, 2: fault})
    store = SessionStore(faulty)
    store.start_ttl_sweeper(0.0002)
    wait_until(lambda: rows(memory) == {}, "the item is swept")
    store.close()
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert all("on purpose" in record.getMessage() for record in warnings)


def test_a_sweeper_outlives_errors_of_any_kind(memory: Backend) -> None:
    def fail() -> None:
        raise OSError("a fault on purpose")

    store = SessionStore(Between(memory, {1: fail, 2: fail}))
    store.start_ttl_sweeper(0.0002)
    try:
        wait_until(lambda: rows(memory) == {}, "the item is swept", timeout=1)
    finally:
        store.close()


def test_a_sweeper_ends_when_its_backend_is_closed(memory: Backend) -> None:
    def closed() -> None:
        raise BackendClosed("closed on purpose")

    store = SessionStore(Between(memory, {1: closed}))
    store.start_ttl_sweeper(0.0002)
    wait_until(lambda: sweepers() == [], "it has ended")
    store.start_ttl_sweeper(0.0002)
    wait_until(lambda: rows(memory) == {}, "a new one sweeps")
    store.close()


def test_a_sweeper_may_close_its_own_store(memory: Backend) -> None:
    closing = list[Callable[[], None]]()
    store = SessionStore(Between(memory, {1: lambda: closing[0]()}))
    closing.append(store.close)
    store.start_ttl_sweeper(0.0002)
    wait_until(lambda: sweepers() == [], "it has ended")


@pytest.mark.parametrize("minutes", [1e6, 2e8, 9e8])
def test_a_sweeper_waits_as_long_as_it_is_told(minutes: float, memory: Backend) -> None:
    store = SessionStore(memory)
    store.start_ttl_sweeper(minutes)
    (thread,) = sweepers()
    thread.join(0.05)
    assert thread.is_alive()
    store.close()


def test_a_forked_child_has_no_sweeper_until_it_starts_its_own(tmp_path: Path) -> None:
    script = f"""
import os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from langgraph_sessionstore import SessionStore
store = SessionStore.from_url("file:{tmp_path}/s")
for n in range(2):
    store.put(("n", str(n)), "k", {{}}, ttl=0.0001)
store.start_ttl_sweeper(100)
child = os.fork()
if child == 0:
    signal.alarm(20)
    try:
        assert store.stop_ttl_sweeper(timeout=1) is True
        store.start_ttl_sweeper(0.0002)
        store.start_ttl_sweeper(0.0002)
        assert threading.active_count() == 2
        while store._sweeper.running and any(name == ("n", "0") for name in store.list_namespaces()):
            time.sleep(0.01)
        store.close()
        assert threading.active_count() == 1
        os._exit(0)
    finally:
        os._exit(3)
assert os.waitpid(child, 0)[1] == 0
assert [thread.name for thread in threading.enumerate() if "sweeper" in thread.name]
assert store.stop_ttl_sweeper(timeout=5) is True
store.close()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_closing_in_a_loop_does_not_block_it(memory: Backend) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        assert go_on.wait(20)

    async def main() -> None:
        store = SessionStore(Between(memory, {1: wait}))
        store.start_ttl_sweeper(0.0002)
        assert await asyncio.to_thread(entered.wait, 20)
        closing = asyncio.create_task(store.aclose())
        await asyncio.sleep(0.01)
        assert not closing.done()
        go_on.set()
        await closing

    asyncio.run(main())


# -- bad input


@pytest.mark.parametrize(
    "config",
    [
        {"default_ttl": 0},
        {"default_ttl": -1},
        {"default_ttl": float("nan")},
        {"default_ttl": float("inf")},
        {"default_ttl": True},
        {"default_ttl": "5"},
        {"sweep_interval_minutes": 0},
        {"sweep_interval_minutes": "5"},
        {"refresh_on_read": "no"},
        {"refresh_on_read": None},
        {"default": 5},
        {1: 2},
        [("default_ttl", 5)],
        5,
    ],
)
def test_a_configuration_that_cannot_work_is_refused(config: Any, memory: Backend) -> None:
    with pytest.raises(ConfigurationError):
        SessionStore(memory, ttl=config)
    with pytest.raises(ConfigurationError):
        SessionManager(memory, store_ttl=config)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), True, "5", 1e9])
def test_a_lifetime_that_cannot_be_is_refused(minutes: Any, memory: Backend) -> None:
    store = SessionStore(memory)
    with pytest.raises(ConfigurationError, match="minutes"):
        store.start_ttl_sweeper(minutes)
    with pytest.raises(ConfigurationError, match="minutes"):
        store.put(N, "l", {}, ttl=minutes)
    with pytest.raises(ConfigurationError, match="minutes"):
        SessionManager(memory).create_session("s").store.put(N, "l", {}, ttl=minutes)
    assert store.search(()) == []


@pytest.mark.parametrize("minutes", [1e-12, 1 / 60_000, 999_999_999])
def test_the_shortest_and_the_longest_lifetime_work(minutes: float, memory: Backend, clock: Clock) -> None:
    store = SessionStore(memory)
    store.put(N, "l", {}, ttl=minutes)
    assert store.get(N, "l") is not None
    clock.pass_(0.99 * minutes)
    assert minutes < 1 or names(store.search(N)) == ["l"]
    clock.pass_(1.1 * minutes, 1)
    assert store.get(N, "l") is None
    assert store.search(()) == []


def test_configurations_that_can_work_are_taken(memory: Backend) -> None:
    config: Any
    for config in (
        None,
        {},
        {"default_ttl": None, "sweep_interval_minutes": None},
        {"default_ttl": 0.5, "refresh_on_read": False, "omit_expired": False, "sweep_interval_minutes": 2},
    ):
        with SessionStore(memory, ttl=config) as store:
            assert store.ttl_config == config
            assert store.supports_ttl
            store.start_ttl_sweeper()
            assert store.get(N, "k") is None  # whatever `omit_expired` says


DAMAGED = [b"", b"\xc1", b"\x01\x92\x01\xa1x", codec.pack([1, 2, 3]), codec.pack([0, 5]), codec.pack([5, -1])]


@pytest.mark.parametrize("namespace", [N, (SESSION_NAMESPACE, "s", "n")])
def test_a_damaged_end_is_told_to_readers_and_stops_nobody_else(
    namespace: Namespace, manager_on: Managers, storage: Callable[[], Backend], form: Form, clock: Clock
) -> None:
    store, place = manager_on(index=INDEX).store, place_of(namespace)
    for row in DAMAGED:
        for key in ("bad", "ends", "good"):
            form.do(store, "put", namespace, key, {"text": "1"}, ttl=None if key == "good" else 10)
        run(storage(), must(place.partition, Put(place.row(END, place.where("bad")), row)))
        clock.pass_(20)
        for name, args, options in (
            ("get", (namespace, "bad"), {}),
            ("search", (namespace,), {}),
            ("search", (namespace,), {"query": "1"}),
        ):
            with pytest.raises(CorruptData, match="bad"):
                form.do(store, name, *args, **options)
        assert form.do(store, "get", namespace, "good") is not None
        assert form.do(store, "get", namespace, "ends") is None
        assert form.do(store, "list_namespaces", prefix=namespace) == [namespace]
        assert form.do(store, "sweep_ttl") == 0
        form.do(store, "put", namespace, "bad", {"text": "2"}, ttl=10)
        assert form.do(store, "get", namespace, "bad").value == {"text": "2"}
        form.do(store, "batch", [PutOp(namespace, key, None) for key in ("bad", "good")])
        assert form.do(store, "search", namespace) == []


@cheap
def test_what_is_damaged_in_one_namespace_does_not_keep_others_from_being_swept(
    storage: Callable[[], Backend], clock: Clock
) -> None:
    backend = storage()
    store = SessionStore(backend)
    for namespace in (("a",), ("b",), ("c",)):
        store.put(namespace, "k", {}, ttl=10)
    for odd in (*(keys.encode(HINT, 5, *where) for where in ((), ("x",), (0, 0))), keys.encode(HINT, 5) + b"y"):
        run(backend, must(keys.encode("store", "a"), Put(odd, b"")))
    clock.at(20)
    with suppress(CorruptData):
        store.sweep_ttl()
    assert listed(backend) in ([], [("a",)])
