"""What a backend must do, as a pytest class: one body of tests, each run through the sync and the async form.

    class TestMine(BackendContract):
        @pytest.fixture
        def storage(self, tmp_path):
            return lambda: MyBackend(tmp_path)

`storage` gives a function that opens the storage; called again, it opens the same storage again (another
worker). Tests use partitions with random names and clean up nothing, so the storage may be shared.
After every test the rows it touched are checked.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .. import keys
from ..backends.base import Backend
from ..drive import arun, run
from ..errors import BackendClosed
from ..ops import (
    Add,
    Append,
    Batch,
    Call,
    Calls,
    Conflict,
    Expect,
    Get,
    Plan,
    Put,
    etag,
)
from .checks import check_partition
from .contract_life import LifeContract
from .contract_links import LinkContract
from .contract_registry import RegistryContract
from .contract_rows import RowContract
from .worker import Storage, Worker


class BackendContract(RowContract, LifeContract, LinkContract, RegistryContract):
    """Subclass it, give it a `storage` fixture, and collect it with pytest."""

    @pytest.fixture
    def storage(self) -> Storage:
        """A function that opens the storage, each time it is called."""
        raise NotImplementedError("a contract class needs a fixture `storage`")

    @pytest.fixture(params=["sync", "async"])
    def worker(self, request: pytest.FixtureRequest, storage: Storage) -> Iterator[Worker]:
        """The backend under test, through one of its two forms."""
        loop = asyncio.new_event_loop() if request.param == "async" else None
        worker = Worker(storage(), loop)
        try:
            yield worker
            for partition in worker.touched:
                wrong = worker.run(check_partition(partition))
                assert not wrong, (partition, wrong)
        finally:
            worker.close()
            if loop:
                loop.close()

    @pytest.fixture
    def name(self) -> bytes:
        """A partition that nobody else uses."""
        return keys.session(str(uuid.uuid4()))

    # -- many at once

    def test_threads_and_tasks_never_lose_an_append(self, worker: Worker, name: bytes) -> None:
        backend = worker.backend
        batches = [Batch(Append(b"a", b"%d" % n), Add(b"sum", n)) for n in range(200)]
        worker.touched.add(name)
        if worker._loop:

            async def all_at_once() -> list[Any]:
                return await asyncio.gather(*[backend.aexecute([Call(name, batch)]) for batch in batches])

            answers = worker._loop.run_until_complete(all_at_once())
        else:
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda batch: backend.execute([Call(name, batch)]), batches))
        made = [answer[0][0] for answer in answers]
        assert sorted(made) == [keys.sequence(b"a", n) for n in range(200)]
        rows: dict[Any, bytes] = {**worker.rows(name)}
        assert all(rows[key] == b"%d" % n for n, key in enumerate(made))
        assert rows[b"sum"] == b"%d" % sum(range(200))

    def test_guarded_edits_are_applied_once_or_refused(self, worker: Worker, name: bytes) -> None:
        backend = worker.backend
        worker.do(name, Put(b"version", b"0"))
        refused = []
        lock = threading.Lock()

        def edit() -> Plan[None]:
            while True:
                answer: Any = yield Calls([Call(name, Batch(Get(b"version")))])
                seen = answer[0][0]
                new = Put(b"version", b"%d" % (int(seen) + 1))
                (outcome,) = yield Calls([Call(name, Batch(Expect(b"version", etag(seen)), new))])
                if not isinstance(outcome, Conflict):
                    return
                with lock:
                    refused.append(seen)

        if worker._loop:

            async def all_at_once() -> None:
                await asyncio.gather(*[arun(backend, edit()) for _ in range(40)])

            worker._loop.run_until_complete(all_at_once())
        else:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda _: run(backend, edit()), range(40)))
        assert worker.do(name, Get(b"version")) == [b"40"]

    def test_another_worker_sees_what_was_written(
        self, worker: Worker, storage: Callable[[], Backend], name: bytes
    ) -> None:
        other = storage()
        try:
            worker.do(name, Put(b"k", b"1"))
            assert other.execute([Call(name, Batch(Get(b"k"), Put(b"l", b"2")))]) == [[b"1", None]]
            assert worker.do(name, Get(b"l")) == [b"2"]
        finally:
            if other is not worker.backend:
                other.close()

    # -- the end

    def test_a_closed_backend_says_so(self, worker: Worker, name: bytes) -> None:
        worker.close()
        worker.close()
        with pytest.raises(BackendClosed):
            worker.do(name, Get(b"k"))
        with pytest.raises(BackendClosed):
            worker.copy(name, keys.session("x"))
        worker.touched.clear()
