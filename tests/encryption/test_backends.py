"""An encrypted backend keeps the contract of those that it stands on; what it does is the same on all of them."""

import uuid

import pytest
from support.servers import RedisServer

from langgraph_sessionstore import Backend, CorruptData, keys, open_backend
from langgraph_sessionstore.backends.encrypted import EncryptedBackend
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.ops import Add, Append, Linked, Links, Put, Range, named, with_links
from langgraph_sessionstore.testing import BackendContract
from langgraph_sessionstore.testing.worker import Storage, Worker

pytestmark = pytest.mark.long

KEY = b"0123456789abcdef" * 2
COUNTED = [b"a", b"m", *(keys.encode(*name) for name in (("log",), ("other",), ("a",), ("b",), ("a", 1, "part")))]
"""Where the tests of the contract append; sums elsewhere are encrypted."""


def encrypted(inner: Backend) -> Backend:
    return EncryptedBackend(inner, KEY, counted=COUNTED)


class Encrypted(BackendContract):
    """The contract, but for appending where it was not said that the storage counts."""

    def test_append_needs_a_counter_of_records(self, worker: Worker, name: bytes) -> None:
        worker.do(name, Add(b"n", -1))
        with pytest.raises((ValueError, CorruptData), match=r"nothing can be appended|not a counter of records"):
            worker.do(name, Put(b"k", b"1"), Append(b"n", b"x"))
        assert worker.rows(name) == {b"n": b"-1"}

    def test_links_are_found_behind_a_name(self, worker: Worker, name: bytes) -> None:
        value = named(b"0123456789abcdef", with_links(Links((b"k",)), b"head"))
        worker.do(name, Put(b"head", value), Put(b"k1", b"x"))
        assert worker.do(name, Range(b"h", b"i", follow=True)) == [Linked([(b"head", value)], [], True)]  # sealed whole


class TestMemory(Encrypted):
    @pytest.fixture
    def storage(self) -> Storage:
        only = encrypted(MemoryBackend())
        return lambda: only


class TestMemoryThatCounts(Encrypted):
    """With the sums counted by the storage, as they are without encryption."""

    @pytest.fixture
    def storage(self) -> Storage:
        only = EncryptedBackend(MemoryBackend(), KEY, counted=[*COUNTED, b"n", b"sum"])
        return lambda: only


class TestRedis(Encrypted):
    @pytest.fixture
    def storage(self, redis7: RedisServer) -> Storage:
        prefix = f"encrypted-{uuid.uuid4()}"
        return lambda: encrypted(open_backend(redis7.url, prefix=prefix))
