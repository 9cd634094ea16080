"""An observed backend keeps the contract of the one below."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.servers import RedisServer

from langgraph_sessionstore import BackendCall, ObservedBackend, open_backend
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.testing import BackendContract
from langgraph_sessionstore.testing.worker import Storage

pytestmark = pytest.mark.long


class Observed(BackendContract):
    """The contract; and all that is told is numbers and names."""

    @pytest.fixture
    def told(self) -> Iterator[list[BackendCall]]:
        told: list[BackendCall] = []
        yield told
        assert all(isinstance(part, (int, float, str, tuple, type(None))) for call in told for part in call)


class TestMemory(Observed):
    @pytest.fixture
    def storage(self, told: list[BackendCall]) -> Storage:
        only = ObservedBackend(MemoryBackend(), told.append)
        return lambda: only


class TestFilesystem(Observed):
    @pytest.fixture
    def storage(self, told: list[BackendCall], tmp_path: Path) -> Storage:
        return lambda: open_backend(tmp_path / "store", observe=told.append)


class TestRedis(Observed):
    @pytest.fixture
    def storage(self, told: list[BackendCall], redis7: RedisServer) -> Storage:
        prefix = f"observed-{uuid.uuid4()}"
        return lambda: open_backend(redis7.url, prefix=prefix, observe=told.append)
