"""The fixtures of these tests; see `load`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis_faults.load import (
    Wiretap,
)
from support.binaries import find_binary
from support.pair import Pair
from support.servers import RedisCluster
from support.workers import Use, workers

from langgraph_sessionstore.backends.redis import delivery
from langgraph_sessionstore.backends.redis.sharing import Sharing
from langgraph_sessionstore.backends.redis.steps import Arrival, Trip, Trips
from langgraph_sessionstore.backends.redis.wires import SyncWire


@pytest.fixture
def both() -> Iterator[Use]:
    """Makes workers on a URL whose backends serve threads and tasks at once, see `work_in_both_forms_during`."""
    with workers(asyncio.new_event_loop()) as both:
        yield both


@pytest.fixture(scope="module", params=["6.2", "7"])
def moving(request: pytest.FixtureRequest) -> Iterator[RedisCluster]:
    """A cluster of either line, for what concerns the servers' own ways with a slot that moves."""
    if request.param == "7":
        yield request.getfixturevalue("fragile")
    else:
        with RedisCluster(find_binary(request.param)) as cluster:
            yield cluster


@pytest.fixture(scope="module")
def fragile() -> Iterator[RedisCluster]:
    """A cluster without replicas, whole at the beginning and at the end of each test."""
    with RedisCluster(find_binary("7")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def replicated() -> Iterator[RedisCluster]:
    """A cluster with replicas, which is healed after each kill."""
    with RedisCluster(find_binary("7"), replicas=1) as cluster:
        yield cluster


@pytest.fixture(scope="module", params=["7"])
def servers(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A master and its replica, of any line that a test names."""
    with Pair(find_binary(request.param)) as servers:
        yield servers


@pytest.fixture
def pair(servers: Pair) -> Iterator[Pair]:
    """With a replica that confirms; it does again at the end of each test."""
    yield servers
    if servers.replica.paused:
        servers.replica.resume()


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """The errors with which servers have refused attempts, as the backend met them."""
    errors: list[Exception] = []
    refused = delivery._refused

    def record(*args: Any) -> None:
        errors.extend(arg for arg in args if isinstance(arg, Exception))
        refused(*args)

    monkeypatch.setattr(delivery, "_refused", record)
    return errors


@pytest.fixture
def tap(monkeypatch: pytest.MonkeyPatch) -> Wiretap:
    tap = Wiretap()
    exchange, make = SyncWire._exchange, Sharing.make

    def tapped_exchange(wire: SyncWire, step: Trips) -> list[Arrival]:
        return tap.after(step.trips, exchange(wire, step))

    async def tapped_make(trips: Sharing, trip: Trip) -> Arrival:
        return tap.after([trip], [await make(trips, trip)])[0]

    monkeypatch.setattr(SyncWire, "_exchange", tapped_exchange)
    monkeypatch.setattr(Sharing, "make", tapped_make)
    return tap
