"""Whatever others do meanwhile and whatever fails, items with ends stay whole, as if one act came after the other."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from langgraph.store.base import PutOp
from support.between import Between
from support.lifetimes import Clock, N, Namespace, listed, rows, unsound
from support.places import two_kinds

from langgraph_sessionstore import SESSION_NAMESPACE, Backend, SessionStore, SessionStoreError
from langgraph_sessionstore.plans.items import END, VALUE
from langgraph_sessionstore.testing import Fault, FaultyBackend

pytestmark = pytest.mark.long

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
        *(("redis7", (), name) for name in ("put for ever", "delete")),
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


@two_kinds
def test_threads_that_use_put_and_sweep_neither_lose_nor_mix(storage: Callable[[], Backend], clock: Clock) -> None:
    stores = [SessionStore(storage()) for _ in range(4)]
    for n in range(8):
        stores[0].put(N, f"used {n}", {"n": n}, ttl=1)
    go_on, lost = threading.Event(), list[Any]()

    def use() -> None:
        try:
            for turn in range(60):
                clock.pass_(0.2)
                if len(stores[0].search(N, filter={"n": {"$gte": 0}}, limit=99)) != 8:
                    lost.append(turn)
        finally:
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


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("memory", name) for name in ("put over an end", "put", "delete", "sweep", "list_namespaces")),
        *(("redis7", name) for name in ("put over an end", "sweep")),
    ],
    indirect=["kind"],
)
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
    done = set[Fault]()  # those that have met every call
    for at, fault in itertools.product(range(1, 20), (Fault.FAIL, Fault.CUT_BEFORE, Fault.CUT_AFTER)):
        if fault in done:
            continue
        namespace = (f"{fault.name} {at}",)
        good.batch([PutOp(namespace, f"{n}", {"v": 1}, ttl=10) for n in range(3)])
        clock.pass_(20)
        faulty = FaultyBackend(inner, {at: fault})
        try:
            acts[name](SessionStore(faulty), namespace)
        except SessionStoreError:
            acts[name](SessionStore(inner), namespace)
        done |= {fault} if faulty.calls < at else set()
        found = {item.key: item for item in good.search(namespace, refresh_ttl=False)}
        assert found.keys() == seen, (fault, at)
        assert unsound(inner, namespace) == [], (fault, at)
        clock.pass_(20)
        SessionStore(inner).sweep_ttl()
        assert rows(inner, namespace) == {}, (fault, at)
        assert listed(inner) == [], (fault, at)
    assert len(done) == 3
