"""The fixtures of these tests; see `wire`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from support.proxy import Proxy
from support.servers import RedisServer

from langgraph_sessionstore import (
    keys,
)


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
