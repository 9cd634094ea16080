"""Lifetimes and configurations that cannot be are refused; a damaged end is told to its readers, and to nobody else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from langgraph.store.base import PutOp
from support.lifetimes import INDEX, Clock, Managers, N, Namespace, listed, names, sweepers
from support.places import two_kinds, two_places
from support.sittings import Form

from langgraph_sessionstore import (
    SESSION_NAMESPACE,
    Backend,
    ConfigurationError,
    CorruptData,
    SessionManager,
    SessionStore,
    codec,
    keys,
    run,
)
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.ops import Put, must
from langgraph_sessionstore.plans.items import END, HINT, place_of


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
def test_a_configuration_that_cannot_work_is_refused(config: Any) -> None:
    with pytest.raises(ConfigurationError):
        SessionStore(MemoryBackend(), ttl=config)
    with pytest.raises(ConfigurationError):
        SessionManager(MemoryBackend(), store_ttl=config)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), True, "5", 1e9])
def test_a_lifetime_that_cannot_be_is_refused(minutes: Any) -> None:
    store = SessionStore(MemoryBackend())
    with pytest.raises(ConfigurationError, match="minutes"):
        store.start_ttl_sweeper(minutes)
    with pytest.raises(ConfigurationError, match="minutes"):
        store.put(N, "l", {}, ttl=minutes)
    with pytest.raises(ConfigurationError, match="minutes"):
        SessionManager(store.backend).create_session("s").store.put(N, "l", {}, ttl=minutes)
    assert store.search(()) == []
    assert sweepers() == []


@pytest.mark.parametrize("minutes", [1e-12, 1 / 60_000, 999_999_999])
def test_the_shortest_and_the_longest_lifetime_work(minutes: float, clock: Clock) -> None:
    store = SessionStore(MemoryBackend())
    store.put(N, "l", {}, ttl=minutes)
    assert store.get(N, "l") is not None
    clock.pass_(0.99 * minutes)
    assert minutes < 1 or names(store.search(N)) == ["l"]
    clock.pass_(1.1 * minutes, 1)
    assert store.get(N, "l") is None
    assert store.search(()) == []


DAMAGED = [b"", b"\xc1", b"\x01\x92\x01\xa1x", codec.pack([1, 2, 3]), codec.pack([0, 5]), codec.pack([5, -1])]


@two_places
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
        assert form.do(store, "sweep_ttl") == (1 if namespace == N else 0)
        form.do(store, "put", namespace, "bad", {"text": "2"}, ttl=10)
        assert form.do(store, "get", namespace, "bad").value == {"text": "2"}
        form.do(store, "batch", [PutOp(namespace, key, None) for key in ("bad", "good")])
        assert form.do(store, "search", namespace) == []


@two_kinds
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
