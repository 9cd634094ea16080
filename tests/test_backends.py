"""Every backend keeps the contract."""

from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from support.servers import RedisCluster, RedisServer, SentinelGroup

from langgraph_sessionstore import open_backend
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.backends.redis import RedisBackend
from langgraph_sessionstore.testing import BackendContract
from langgraph_sessionstore.testing.worker import Storage


class TestMemory(BackendContract):
    @pytest.fixture
    def storage(self) -> Storage:
        only = MemoryBackend()
        return lambda: only


class TestFilesystem(BackendContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return lambda: open_backend(tmp_path / "store")


class TestFilesystemFull(BackendContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return lambda: open_backend(f"file:{tmp_path}/store?durability=full")


class TestRedis62(BackendContract):
    @pytest.fixture
    def storage(self, redis62: RedisServer) -> Storage:
        return lambda: open_backend(redis62.url)


class TestRedis7(BackendContract):
    @pytest.fixture
    def storage(self, redis7: RedisServer) -> Storage:
        return lambda: open_backend(redis7.url)


class TestSentinel(BackendContract):
    @pytest.fixture
    def storage(self, sentinel: SentinelGroup) -> Storage:
        return lambda: open_backend(sentinel.url)


class TestCluster(BackendContract):
    @pytest.fixture
    def storage(self, cluster: RedisCluster) -> Storage:
        return lambda: open_backend(cluster.url)


class _WithItsClients(RedisBackend):
    """Closes the clients that it was given, which a backend leaves to their owner."""

    def __init__(self, client: Any, async_client: Any) -> None:
        super().__init__(client, async_client)
        self.clients = client, async_client

    def close(self) -> None:
        super().close()
        self.clients[0].close()

    async def aclose(self) -> None:
        await super().aclose()
        await self.clients[1].aclose()


class TestGivenClients(BackendContract):
    """Clients that decode, speak the newer protocol, and have their own database."""

    @pytest.fixture
    def storage(self, redis7: RedisServer) -> Storage:
        url = redis7.url.rpartition("/")[0] + "/1"
        return lambda: _WithItsClients(
            redis.Redis.from_url(url, decode_responses=True, protocol=3),
            redis.asyncio.Redis.from_url(url, decode_responses=True, protocol=3),
        )


class TestGivenClusterClients(BackendContract):
    @pytest.fixture
    def storage(self, cluster: RedisCluster) -> Storage:
        node = cluster.nodes[0]
        return lambda: _WithItsClients(
            redis.RedisCluster(host=node.host, port=node.port),
            redis.asyncio.RedisCluster(host=node.host, port=node.port),
        )
