"""An item is there until its end and nowhere from then on, and the last put says when that is.

The clock of the store is moved; one test waits for the real one.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

from langgraph.store.base import PutOp
from support.lifetimes import (
    INDEX,
    MILLISECOND,
    MINUTE,
    PEEK,
    SECRET,
    Clock,
    Look,
    Managers,
    N,
    left,
    listed,
    names,
    rows,
    unsound,
)
from support.places import every_place, two_kinds, two_places
from support.sittings import Form
from support.waiting import wait_until

from langgraph_sessionstore import Backend, SessionStore
from langgraph_sessionstore.plans.items import END, HINT, TEXTS, VALUE, VECTORS


@every_place
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


@every_place
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


@every_place
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


@two_kinds
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


@two_places
def test_the_real_clock_ends_items_too(manager_on: Managers, form: Form) -> None:
    store = manager_on(store_ttl={"default_ttl": 0.001}).store
    form.do(store, "put", N, "stays", {}, ttl=None)
    before = time.monotonic()
    form.do(store, "put", N, "k", {"v": 1})
    wait_until(lambda: form.do(store, "get", N, "k", **PEEK) is None, "it has ended")
    assert time.monotonic() - before > 0.05
    assert names(form.do(store, "search", ())) == ["stays"]
    assert form.do(store, "sweep_ttl") == 1


@two_places
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


@two_places
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


@two_places
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
