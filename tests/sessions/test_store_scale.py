"""Stores with many items, many namespaces and many operations at once: trips, bytes and memory, never time."""

from __future__ import annotations

import tracemalloc
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from langgraph.store.base import GetOp, PutOp, SearchOp
from support.places import every_place
from support.proxy import Proxy
from support.servers import RedisServer
from support.sittings import Form

from langgraph_sessionstore import Backend, SessionManager, SessionStore, codec, keys, open_backend, run
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import Batch, Call, Calls, Plan, Put, Touch
from langgraph_sessionstore.plans.items import CREATED, STORE, Namespace, place_of
from langgraph_sessionstore.testing import FaultyBackend

pytestmark = pytest.mark.long

ITEMS = 10_000
SIZE = 2_000
MOST = 1 << 20
"""So many bytes may one answer of the storage have, here."""


class Watched(FaultyBackend):
    """Notes how large the answers to a trip are, and how many trips there are."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner, {})
        self.reset()

    def reset(self) -> None:
        self.largest = self.total = self.trips = 0

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        return self._note(self.inner.execute(calls, ordered=ordered))

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        return self._note(await self.inner.aexecute(calls, ordered=ordered))

    def _note(self, answers: list[Answer]) -> list[Answer]:
        size = sum(map(weight, answers))
        self.trips += 1
        self.total += size
        self.largest = max(self.largest, size)
        return answers


def weight(answer: Any) -> int:
    """So many bytes are in an answer."""
    if isinstance(answer, (bytes, str)):
        return len(answer)
    return sum(map(weight, answer)) if isinstance(answer, (list, tuple)) else 8


def peak(act: Callable[[], Any]) -> int:
    """So much memory does this need, above what there is."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@every_place
def test_a_search_through_many_items_holds_few_of_them(kind: str, storage: Callable[[], Backend], form: Form) -> None:
    items = ITEMS if kind == "redis7" or (kind == "memory" and form.loop is None) else ITEMS // 5
    watched = Watched(storage())
    store = SessionStore(watched)
    for start in range(0, items, 1000):
        puts = [PutOp(("n",), f"{n:05}", {"n": n, "text": "x" * SIZE}) for n in range(start, start + 1000)]
        form.do(store, "batch", puts)

    def keys_of(**options: Any) -> list[str]:
        watched.reset()
        return [item.key for item in form.do(store, "search", ("n",), **options)]

    found: list[str] = []
    needed = peak(lambda: found.extend(keys_of(filter={"n": {"$gte": items - 3}})))
    assert found == [f"{n:05}" for n in range(items - 3, items)]
    assert needed < 4 * MOST
    assert watched.largest < MOST
    assert watched.total < 1.2 * items * SIZE
    assert watched.trips <= 6 + items * SIZE // (1 << 17)
    # it ends with the last one that is wanted
    assert keys_of(filter={"n": {"$gte": 100}}, limit=10) == [f"{n:05}" for n in range(100, 110)]
    assert watched.total < 400 * SIZE
    assert watched.trips <= 5
    assert keys_of(filter={"n": {"$gte": 0}}, limit=5) == [f"{n:05}" for n in range(5)]
    assert watched.total < 20 * SIZE
    assert keys_of(limit=5, offset=3) == [f"{n:05}" for n in range(3, 8)]
    assert watched.total < 10 * SIZE
    assert watched.trips == 1
    form.do(watched, "close")


@pytest.fixture
def distant(proxy: Proxy, form: Form) -> Iterator[SessionStore]:
    """A store behind the proxy, which is warm."""
    store = SessionStore.from_url(f"redis://{proxy.host}:{proxy.port}/0", prefix=f"scale-{uuid.uuid4()}")
    form.do(store, "put", ("warm",), "k", {})
    yield store
    form.do(store, "close")


SMALLEST = Batch(Put(keys.encode(CREATED, 0, "k"), codec.pack(1)))


def lay(namespaces: Sequence[Namespace]) -> Plan[None]:
    """Write an item's smallest row into each of these namespaces, and list them."""
    names = [place_of(namespace).partition for namespace in namespaces]
    yield Calls([*(Call(name, SMALLEST) for name in names), Call(STORE, Batch(*map(Touch, names)))])


def listed(store: SessionStore, options: dict[str, Any], found: list[Namespace]) -> None:
    found += store.list_namespaces(**options)


def test_the_first_page_of_many_namespaces_is_as_cheap_as_of_few(redis7: RedisServer, proxy: Proxy) -> None:
    many, prefix = 100_000, f"scale-{uuid.uuid4()}"
    names: list[Namespace] = [("users", f"{n:06}", "notes") for n in range(many)]
    with open_backend(redis7.url, prefix=prefix) as maker:
        for start in range(0, many, 5000):
            run(maker, lay(names[start : start + 5000]))
        run(maker, lay([("z",), ("users", "%")]))
    with open_backend(f"redis://{proxy.host}:{proxy.port}/0", prefix=prefix) as backend:
        watched = Watched(backend)
        store = SessionStore(watched)
        assert store.list_namespaces(prefix=("z",)) == [("z",)]
        pages: list[tuple[dict[str, Any], list[Namespace], int]] = [
            ({"limit": 10}, [("users", "%"), *names[:9]], 2),
            ({"limit": 100, "offset": 1}, names[:100], 2),
            ({"limit": 3, "offset": 1000}, names[999:1002], 12),
            ({"prefix": ("users", "050000")}, [names[50_000]], 2),
            ({"prefix": ("users", "*", "notes"), "limit": 2}, names[:2], 2),
            ({"prefix": ("users", "05")}, [], 1),
            ({"suffix": ("notes",), "limit": 2}, names[:2], 2),
            ({"max_depth": 2, "limit": 2, "offset": 1}, [names[0][:2], names[1][:2]], 2),
            ({"prefix": ("z",), "max_depth": 1}, [("z",)], 2),
        ]
        for options, right, trips in pages:
            watched.reset()
            proxy.reset()
            found: list[Namespace] = []
            needed = peak(partial(listed, store, options, found))
            assert found == right, options
            assert watched.trips <= trips, options
            assert watched.largest < 50_000, options
            assert proxy.round_trips <= trips
            assert proxy.bytes_down < 40_000 * trips
            assert needed < 10 * MOST, options


def ops_of(count: int, namespaces: int, value: Any) -> list[Any]:
    return [PutOp(("many", f"{n % namespaces}"), f"{n:04}", value and {"n": n}) for n in range(count)]


def took(proxy: Proxy, trips: int) -> bool:
    """Whether it took so many round trips; what a client cannot send at once may be answered in pieces."""
    return trips <= proxy.round_trips <= trips + proxy.bytes_up // 50_000


def test_a_batch_is_one_trip_for_what_it_reads_and_one_for_what_it_writes(
    proxy: Proxy, distant: SessionStore, form: Form
) -> None:
    def do(ops: list[Any], trips: int) -> list[Any]:
        proxy.reset()
        results: list[Any] = form.do(distant, "batch", ops)
        assert took(proxy, trips), (proxy.round_trips, trips)
        return results

    puts = ops_of(1000, 50, True)
    do(puts, 2)  # these namespaces begin with it
    do(puts, 1)
    gets = [GetOp(op.namespace, op.key) for op in puts]
    items = do([*gets, *gets[:3]], 1)
    assert [item.value["n"] for item in items] == [*range(1000), 0, 1, 2]
    items = do([*gets[:400], *ops_of(300, 50, True), *ops_of(100, 50, None)], 2)
    assert [item.value["n"] for item in items[:400]] == list(range(400))
    searches = [SearchOp(("many", f"{n}"), limit=3) for n in range(50)]
    do([*gets[:100], *searches], 1)
    do([*gets[:100], *searches, *ops_of(10, 5, True), PutOp(("warm",), "k", {})], 2)
    do([SearchOp(("many",), limit=3)], 2)
    do([PutOp(("new", f"{n}"), "k", {}) for n in range(1000)], 2)
    do([PutOp(("new", f"{n}"), "k", {}) for n in range(1000)], 1)


def test_a_thousand_searches_are_one_trip(proxy: Proxy, distant: SessionStore, form: Form) -> None:
    form.do(distant, "batch", [PutOp((f"{n}",), f"{k}", {"n": n, "k": k}) for n in range(1000) for k in range(2)])
    form.do(distant, "put", ("999", "below"), "k", {"k": 0})
    for wanted, expected in ((None, [0, 1]), ({"k": 1}, [1])):
        ops = [SearchOp((f"{n}",), wanted) for n in range(999)]
        proxy.reset()
        found = form.do(distant, "batch", ops)
        assert took(proxy, 1)
        assert [[item.value["k"] for item in items] for items in found] == [expected] * 999
    proxy.reset()
    (*_, last) = form.do(distant, "batch", [SearchOp((f"{n}",)) for n in range(1000)])
    assert took(proxy, 2)  # one of them has a namespace below it
    assert len(last) == 3


@pytest.mark.parametrize("below", [0, 1, 5])
def test_a_search_takes_a_second_trip_only_for_what_lies_below(
    below: int, proxy: Proxy, distant: SessionStore, form: Form
) -> None:
    here, near = ("here", "it is"), [("here",), ("here", "it is not"), ("here", "it"), ("here it is", "it is")]
    puts = [PutOp(namespace, f"{n}", {"n": n}) for namespace in (here, *near) for n in range(20)]
    puts += [PutOp((*here, f"{at}", "deep"), f"{n}", {"n": n}) for at in range(below) for n in range(20)]
    form.do(distant, "batch", puts)
    for offset, query in ((0, None), (0, "words"), (30, None)):
        proxy.reset()
        found = form.do(distant, "search", here, query=query, limit=1000, offset=offset)
        assert len(found) == max(0, 20 * (1 + below) - offset)
        assert proxy.round_trips == (2 if below else 1)
    for options in ({"limit": 20}, {"limit": 1, "filter": {"n": 3}}):
        proxy.reset()
        assert {item.namespace for item in form.do(distant, "search", here, **options)} == {here}
        assert proxy.round_trips == 1
    proxy.reset()
    assert form.do(distant, "search", ("nowhere",)) == []
    assert proxy.round_trips == 1


@every_place
def test_a_thousand_operations_at_once_do_what_they_would_do_one_by_one(manager: SessionManager, form: Form) -> None:
    store, wide = manager.store, [("wide", f"{n}") for n in range(300)]
    form.do(store, "batch", [PutOp(namespace, "k", {"at": at}) for at, namespace in enumerate(wide)])
    ops: list[Any] = [GetOp(namespace, "k") for namespace in wide]
    ops += [SearchOp(namespace, {"at": {"$gte": 0}}) for namespace in wide]
    ops += [PutOp(namespace, "k", None) for namespace in wide[:200]]
    ops += [PutOp((*namespace, "new"), "k", {"at": at}) for at, namespace in enumerate(wide[100:])]
    results = form.do(store, "batch", ops)
    assert len(results) == 1000
    assert [item.value["at"] for item in results[:300]] == list(range(300))
    assert [[item.value["at"] for item in items] for items in results[300:600]] == [[at] for at in range(300)]
    assert results[600:] == [None] * 400
    left = sorted([*wide[200:], *((*namespace, "new") for namespace in wide[100:])])
    assert form.do(store, "list_namespaces", limit=1000) == left
    assert [item.namespace for item in form.do(store, "search", (), limit=1000)] == left
