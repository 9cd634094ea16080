"""A page of the registry costs the same whether it lists a hundred partitions or a hundred thousand.

Counted, not timed: the commands that Redis ran, the steps of SQLite's machine, the rows that memory touched.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.servers import RedisServer

from langgraph_sessionstore import Backend, keys, open_backend, run
from langgraph_sessionstore.backends import filesystem, sqlite_file
from langgraph_sessionstore.backends.sorted_map import SortedMap
from langgraph_sessionstore.ops import Page, Touch, must

pytestmark = pytest.mark.long

Counting = tuple[Backend, Callable[[], int]]
QUERIES = [
    Page("created"),
    Page("created", reverse=True),
    Page("active", after=b"a%012x" % 1040),
    Page("name", prefix=keys.encode("session", 1)),
    Page("run", prefix=keys.encode("run", "1")),
]


@pytest.fixture
def counting_redis(redis7: RedisServer) -> Iterator[Counting]:
    with open_backend(redis7.url, prefix=str(uuid.uuid4())) as backend, redis7.client() as client:

        def commands() -> int:
            stats = client.info("commandstats")
            ours = ("cmdstat_z", "cmdstat_eval", "cmdstat_exists", "cmdstat_time")
            return sum(stats[name]["calls"] for name in stats if name.startswith(ours))

        yield backend, commands
        for key in client.scan_iter(f"{backend._prefix}*"):  # type: ignore[attr-defined]
            client.unlink(key)


@pytest.fixture
def counting_filesystem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    def connect(file: Path, durability: str) -> sqlite3.Connection:
        db = original(file, durability)
        db.set_progress_handler(step, 10)
        return db

    original = sqlite_file.connect
    monkeypatch.setattr(filesystem, "connect", connect)
    with open_backend(tmp_path) as backend:
        yield backend, lambda: steps


@pytest.fixture
def counting_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    touched = 0
    get, keys_of = SortedMap.get, SortedMap.keys

    def counting_get(self: SortedMap, key: bytes) -> bytes | None:
        nonlocal touched
        touched += 1
        return get(self, key)

    def counting_keys(self: SortedMap, lo: bytes, hi: bytes | None, reverse: bool = False) -> Iterator[bytes]:
        nonlocal touched
        for key in keys_of(self, lo, hi, reverse):
            touched += 1
            yield key

    monkeypatch.setattr(SortedMap, "get", counting_get)
    monkeypatch.setattr(SortedMap, "keys", counting_keys)
    with open_backend("memory:") as backend:
        yield backend, lambda: touched


@pytest.mark.parametrize("kind", ["redis", "filesystem", "memory"])
def test_a_page_costs_the_same_with_a_hundred_thousand(kind: str, request: pytest.FixtureRequest) -> None:
    backend, count = request.getfixturevalue(f"counting_{kind}")
    small, large = keys.registry("small"), keys.registry("large")
    fill(backend, small, 100)
    fill(backend, large, 100_000)
    for query in QUERIES:
        costs = []
        for registry in (small, large):
            run(backend, must(registry, query))
            before = count()
            assert run(backend, must(registry, query))[0].rows
            costs.append(count() - before)
        # a tree is a little deeper for more rows; a scan would be a thousand times as much
        assert 0 < costs[1] <= costs[0] * 1.2 + 20, (query, costs)


def fill(backend: Backend, registry: bytes, size: int) -> None:
    for begin in range(0, size, 1000):
        touches = [
            Touch(keys.encode("session", n % 2, n), at=1000 + n, runs=(keys.encode("run", str(n // 50)),))
            for n in range(begin, min(begin + 1000, size))
        ]
        run(backend, must(registry, *touches))
