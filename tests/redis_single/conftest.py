"""The fixtures of these tests; see `wire`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from redis_single.wire import (
    Use,
)
from support.proxy import Proxy
from support.servers import RedisServer

from langgraph_sessionstore import (
    Backend,
    keys,
    open_backend,
)
from langgraph_sessionstore.testing.worker import Worker


@pytest.fixture(params=["sync", "async"])
def use(request: pytest.FixtureRequest) -> Iterator[Use]:
    """Makes workers on a URL or backend, all through one of the two forms."""
    loop = asyncio.new_event_loop() if request.param == "async" else None
    workers: list[Worker] = []

    def make(target: str | Backend, **options: Any) -> Worker:
        backend = open_backend(target, **options) if isinstance(target, str) else target
        workers.append(Worker(backend, loop))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()
    if loop:
        loop.close()


@pytest.fixture(scope="module")
def redis_of_the_module() -> Iterator[RedisServer]:
    from support.binaries import find_binary

    with RedisServer(find_binary("7")) as server:
        yield server


@pytest.fixture
def proxy(redis_of_the_module: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_of_the_module.host, redis_of_the_module.port) as proxy:
        yield proxy


@pytest.fixture
def name() -> bytes:
    return keys.session(str(uuid.uuid4()))
