"""What a process remembers is bounded, however many sessions, namespaces, event loops and calls it has seen.

Rule: what is weighed is all that can be reached from a manager or a backend, whatever it is called. Bounds are made
small, so that half of the way is beyond them; the other half may add nothing.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import types
import uuid
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from support.meanings import index

from langgraph_sessionstore import Backend, SessionManager, forks, open_backend, run
from langgraph_sessionstore.adapters import usage_handler
from langgraph_sessionstore.adapters.usage_handler import UsageHandler
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.backends.redis.steps import Arrival, Trips
from langgraph_sessionstore.backends.redis.topology import Topology
from langgraph_sessionstore.ops import Add, Batch, Call, Expire, Put
from langgraph_sessionstore.ops import call as call_of
from langgraph_sessionstore.plans import noted, shelves
from langgraph_sessionstore.plans.cache import Cache
from langgraph_sessionstore.plans.layout import Slice
from langgraph_sessionstore.plans.likeness import Element

pytestmark = pytest.mark.long

MANY, MOST = 600, 100
CACHE, VECTORS = 1 << 18, 50_000
_OTHERS = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds by number that a test reaches soon."""
    for module in (noted, shelves, usage_handler):
        monkeypatch.setattr(module, "_MOST", MOST)


def weight(thing: Any, *without: Any) -> int:
    """The bytes of all that is reached from here, but not through these."""
    gc.collect()
    seen = {id(each) for each in without}
    found, total = [thing], 0
    while found:
        each = found.pop()
        if id(each) not in seen and not isinstance(each, _OTHERS):
            seen.add(id(each))
            total += sys.getsizeof(each)
            found += gc.get_referents(each)
    return total


def on(backend: Backend) -> SessionManager:
    """A manager with bounds by size that a test reaches soon."""

    def embed(texts: Any) -> Any:
        return [[1.0] * 8 for _ in texts]

    index: Any = {"dims": 8, "embed": embed, "fields": ["text"]}
    manager = SessionManager(backend, cache_bytes=CACHE, index=index)
    assert manager.store._embedder is not None
    manager.store._embedder.vectors._limit = VECTORS
    return manager


def fill(manager: SessionManager, name: str) -> None:
    """A thread and a namespace."""
    config: Any = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
    state = {"messages": [("user", name * 20)] * 3}
    checkpoint: Any = {**empty_checkpoint(), "channel_values": state, "channel_versions": {"messages": 1}}
    manager.checkpointer.put(config, checkpoint, {}, {"messages": 1})
    manager.store.put(("users", name), "k", {"text": name})


def look(manager: SessionManager, name: str) -> None:
    """Whatever is remembered of it by one who reads and writes."""
    session = manager.get_session(name)
    assert session is not None
    assert manager.checkpointer.get_tuple(session.config) is not None
    session.update(title="T")
    assert manager.store.search(("users", name), query="x")
    manager.store.put(("users", name), "k", {"text": f"new {name}"})
    manager.cache.set({(("n", name), "k"): (1, None)})


def test_a_manager_that_has_seen_many_sessions_holds_no_more(small: None) -> None:
    with open_backend("memory:") as backend:
        first, names = on(backend), [str(uuid.uuid4()) for _ in range(MANY)]
        for name in names:
            fill(first, name)
        second, weights = on(backend), []
        for half in (names[: MANY // 2], names[MANY // 2 :]):
            for name in half:
                look(second, name)
            weights.append(weight(second, backend))
        assert weights[1] < 1.05 * weights[0]
        remembered = second.store._embedder
        assert remembered is not None
        assert weight(second.checkpointer._cache, backend) < 2 * CACHE
        assert weight(remembered.vectors, backend) < 2 * VECTORS
        for told in (second.checkpointer.writer.noted._notes, second.store._shelves._told, second.cache._shelves._told):
            assert len(told) == MOST


@pytest.mark.parametrize("kind", ["file", "redis7", "cluster"], indirect=True)
def test_a_backend_that_has_served_many_holds_no_more(url: str) -> None:
    async def use(part: range) -> None:
        calls = [[Call(b"p%d" % number, Batch(Add(b"n", 1), Expire(ttl=60_000)))] for number in part]
        await asyncio.gather(*map(backend.aexecute, calls))

    with open_backend(url) as backend:
        weights = []
        for count in (20, 20):
            for number in range(count):
                part = range(number * 10, number * 10 + 10)
                asyncio.run(use(part))
                backend.execute([Call(b"p%d" % number, Batch(Add(b"n", 1)))])
            weights.append(weight(backend))
        assert weights[1] < 1.05 * weights[0]


def test_moments_that_were_moved_are_forgotten() -> None:
    with MemoryBackend() as backend:
        for number in range(2000):
            run(backend, call_of(b"p%d" % (number % 10), Put(b"k", b""), Expire(ttl=60_000 + number)))
        assert len(backend._expiries) < 200
    assert weight(backend) < 10_000


def test_calls_of_models_that_never_end_are_forgotten(small: None) -> None:
    handler = UsageHandler(lambda *args, **options: None)
    for _ in range(3 * MOST):
        handler.on_llm_start({}, ["Hello"], run_id=uuid.uuid4())
    assert len(handler._begun) == MOST


def test_values_too_large_to_be_remembered_leave_nothing() -> None:
    cache = Cache(10_000)
    for branch in range(1000):
        cache.learn(b"p", b"i", elements=[(Slice(branch, 0, 1), [Element(("msgpack", bytes(5000)))])])
    thread = cache._threads[b"p"]
    assert thread.elements == {}
    assert weight(cache) < 100_000


def test_nodes_of_a_cluster_that_are_gone_are_forgotten() -> None:
    topology = Topology([("seed", 1)])
    for number in range(100):
        topology.distrust((f"node {number}", 1))
        refresh = topology.refresh()
        asked = next(refresh)
        assert isinstance(asked, Trips)
        reply = [[0, 16383, [b"node %d" % (number + 1), 1]]]
        with pytest.raises(StopIteration):
            refresh.send([Arrival([reply])])
    assert len(topology._distrusted) <= 2
    assert len({*topology._slots.values()}) == 1


def test_managers_that_are_gone_leave_no_locks() -> None:
    def make() -> int:
        for _ in range(20):
            with SessionManager.from_url("memory:", index=index()) as manager:
                manager.create_session().usage_handler()
        gc.collect()
        return len(forks._forks.things)

    assert make() == make()
