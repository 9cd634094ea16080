"""Every backend keeps the contract."""

from collections.abc import Callable
from pathlib import Path

import pytest

from langgraph_sessionstore import Backend, open_backend
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.testing import BackendContract


class TestMemory(BackendContract):
    @pytest.fixture
    def storage(self) -> Callable[[], Backend]:
        only = MemoryBackend()
        return lambda: only


class TestFilesystem(BackendContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Callable[[], Backend]:
        return lambda: open_backend(tmp_path / "store")


class TestFilesystemFull(BackendContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Callable[[], Backend]:
        return lambda: open_backend(f"file:{tmp_path}/store?durability=full")


class TestRedisX(BackendContract):
    @pytest.fixture
    def storage(self) -> Callable[[], Backend]:
        return lambda: open_backend("redis://127.0.0.1:7777")
