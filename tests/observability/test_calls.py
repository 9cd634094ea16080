"""What a hook is told of each call to the storage."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from contextlib import closing
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from support.proxy import Proxy
from support.servers import RedisServer
from support.workers import Use

from langgraph_sessionstore import (
    BackendCall,
    BackendClosed,
    BackendUnavailable,
    ConfigurationError,
    ObservedBackend,
    SessionManager,
    keys,
    open_backend,
)
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.ops import Append, Batch, Call, Conflict, Expect, Get, Page, Put, PutNew, Range, Touch
from langgraph_sessionstore.testing import Fault, FaultyBackend
from langgraph_sessionstore.testing.worker import Worker

NAME = keys.session("s3cret")
KEY = b"0123456789abcdef" * 2


def facts(call: BackendCall) -> dict[str, Any]:
    """What does not depend on the clock."""
    return {name: value for name, value in call._asdict().items() if name not in ("started", "seconds")}


def test_what_is_told(use: Use) -> None:
    told: list[BackendCall] = []
    worker = use("memory:", observe=told.append)
    before = time.time_ns()
    worker.execute(
        Call(NAME, Batch(PutNew(b"key", b"value"), Expect(b"none", False), Append(b"log", b"0123456789"))),
        Call(keys.registry("x"), Batch(Touch(NAME, runs=(b"run",)))),
    )
    worker.do(NAME, Get(b"key"), Range(b"l", b"m"))
    worker.answers(Call(NAME, Batch(Expect(b"key", False), Put(b"key", b"other"))))
    worker.copy(NAME, keys.session("copy"))
    worker.do(keys.registry("x"), Page())
    usual = {"backend": "MemoryBackend", "calls": 1, "partitions": 1, "retries": 0, "conflicts": 0, "error": None}
    record = len(keys.sequence(b"log", 0))
    assert [facts(call) for call in told] == [
        usual
        | {"operation": "write", "kinds": ("Append", "Expect", "PutNew", "Touch"), "calls": 2, "partitions": 2}
        | {"sent": 3 + 5 + 4 + 3 + 10 + len(NAME) + 3, "received": record},
        usual | {"operation": "read", "kinds": ("Get", "Range"), "sent": 5, "received": 5 + 3 + 1 + record + 10},
        usual | {"operation": "write", "kinds": ("Expect", "Put"), "sent": 3 + 3 + 5, "received": 0, "conflicts": 1},
        usual | {"operation": "copy", "kinds": (), "sent": 0, "received": 0},
        usual | {"operation": "read", "kinds": ("Page",), "sent": 0, "received": len(NAME)},
    ]
    assert before <= told[0].started <= told[-1].started <= time.time_ns()
    assert all(0 <= call.seconds < 60 for call in told)
    assert told[2].conflicts == 1
    assert isinstance(worker.answers(Call(NAME, Batch(Expect(b"key", False))))[0], Conflict)


def test_nothing_is_in_between_when_nobody_observes() -> None:
    with open_backend("memory:") as backend:
        assert type(backend) is MemoryBackend


def test_it_is_told_below_the_encryption() -> None:
    told: list[BackendCall] = []
    with SessionManager.from_url("memory:", encryption=KEY, observe=told.append) as manager:
        assert repr(manager) == "SessionManager(EncryptedBackend(ObservedBackend(MemoryBackend())))"
        manager.create_session("a", messages=["Hello"])
        begun = len(told)
        manager.create_session("b", messages=["Hello" * 100])
    assert told[begun].sent > 500  # sealed, and not what was given


def test_what_is_told_has_no_content() -> None:
    told: list[BackendCall] = []
    with SessionManager.from_url("memory:", observe=told.append) as manager:
        session = manager.create_session("s3cret", title="s3cret", metadata={"s3cret": "s3cret"}, messages=["s3cret"])
        session.summary = "s3cret"
        session.fork("a s3cret").delete()
        manager.store.put(("s3cret",), "s3cret", {"s3cret": "s3cret"})
        assert [item.key for item in manager.store.search(("s3cret",))] == ["s3cret"]
    assert len(told) > 6
    assert "s3cret" not in repr(told)


@pytest.mark.parametrize("fault", [Fault.FAIL, Fault.CUT_AFTER, Fault.UNCONFIRMED])
def test_what_went_wrong_is_told_by_its_name(use: Use, fault: Fault) -> None:
    told: list[BackendCall] = []
    loop = use("memory:")._loop
    worker = Worker(ObservedBackend(FaultyBackend(MemoryBackend(), {2: fault}), told.append), loop)
    worker.answers(Call(NAME, Batch(Put(b"k", b"v"))), Call(NAME, Batch(Append(b"log", b"v"))))
    names = {Fault.FAIL: "BackendUnavailable", Fault.CUT_AFTER: "OutcomeUnknown", Fault.UNCONFIRMED: "NotReplicated"}
    assert told[0].error == names[fault]
    assert (told[0].received > 0) == (fault is Fault.UNCONFIRMED)


def test_what_is_raised_is_told_too(use: Use) -> None:
    told: list[BackendCall] = []
    worker = use("memory:", observe=told.append)
    with pytest.raises(ValueError, match="copied onto itself"):
        worker.answers(Call(NAME, Batch(), NAME))
    worker.close()
    with pytest.raises(BackendClosed):
        worker.do(NAME, Get(b"k"))
    assert [call.error for call in told] == ["ValueError", "BackendClosed"]


def test_a_call_that_is_cancelled_is_told() -> None:
    told: list[BackendCall] = []
    backend = ObservedBackend(FaultyBackend(MemoryBackend(), {1: Fault.DELAY}, delay=60), told.append)

    async def main() -> None:
        task = asyncio.ensure_future(backend.aexecute([Call(NAME, Batch(Get(b"k")))]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert [call.error for call in told] == ["CancelledError"]


def test_a_call_that_is_closed_in_another_context_is_told() -> None:
    told: list[BackendCall] = []
    backend = ObservedBackend(FaultyBackend(MemoryBackend(), {1: Fault.DELAY}, delay=60), told.append)

    async def main() -> None:
        call = backend.aexecute([Call(NAME, Batch(Get(b"k")))])
        copy_context().run(call.send, None)
        call.close()  # as when it is collected

    asyncio.run(main())
    assert [call.error for call in told] == ["GeneratorExit"]


# -- hooks


def test_a_hook_that_fails_is_in_nobodys_way(use: Use, caplog: pytest.LogCaptureFixture) -> None:
    def hook(call: BackendCall) -> None:
        raise ZeroDivisionError

    worker = use("memory:", observe=hook)
    for _ in range(3):
        worker.do(NAME, Put(b"k", b"v"))
    assert worker.rows(NAME)[b"k"] == b"v"
    assert [(record.name, record.levelno) for record in caplog.records] == [
        ("langgraph_sessionstore.backends.observed", logging.WARNING)
    ]
    assert "ZeroDivisionError" in caplog.text


async def _later(call: BackendCall) -> None: ...


class _Later:
    async def __call__(self, call: BackendCall) -> None: ...


@pytest.mark.parametrize("hook", [_later, _Later(), "log"])
def test_what_is_no_hook_is_refused(hook: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a plain function of one"):
        open_backend(tmp_path, observe=hook)


# -- what was tried again


def test_redis_tries_again(use: Use, redis7: RedisServer) -> None:
    told: list[BackendCall] = []
    with Proxy(redis7.host, redis7.port) as proxy:
        worker = use(f"redis://{proxy.host}:{proxy.port}", observe=told.append)
        worker.do(NAME, Put(b"k", b"v"))  # the script may be new to this server
        for number in range(2):
            proxy.cut_after_reply_bytes(0)
            assert worker.do(NAME, Get(b"k")) == [b"v"]
            assert told[-1].retries == 1, number
            assert worker.do(NAME, Get(b"k")) == [b"v"]
            assert told[-1].retries == 0
        worker.close()
    assert {call.error for call in told} == {None}
    assert told[0].backend == "RedisBackend"


def test_tasks_that_share_a_trip_each_have_their_own_count(redis7: RedisServer) -> None:
    told: list[BackendCall] = []

    async def main(proxy: Proxy) -> None:
        async with open_backend(f"redis://{proxy.host}:{proxy.port}", observe=told.append) as backend:
            await backend.aexecute([Call(NAME, Batch(Put(b"k", b"v")))])
            told.clear()
            proxy.drop_all()  # whatever they come by
            proxy.cut_after_reply_bytes(0)
            await asyncio.gather(
                *(backend.aexecute([Call(NAME, Batch(Get(b"k" * size)))]) for size in range(1, 11)),
            )

    with Proxy(redis7.host, redis7.port) as proxy:
        asyncio.run(main(proxy))
    assert sorted(call.sent for call in told) == [*range(1, 11)]
    assert max(call.retries for call in told) >= 1
    assert {call.error for call in told} == {None}


def test_files_are_tried_again_while_another_process_writes(use: Use, tmp_path: Path) -> None:
    told: list[BackendCall] = []
    worker = use(f"file:{tmp_path}/here?busy_timeout=0.5", observe=told.append)
    worker.do(NAME, Put(b"k", b"v"))
    with closing(sqlite3.connect(tmp_path / "here" / "sessions.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert worker.do(NAME, Get(b"k")) == [b"v"]
        with pytest.raises(BackendUnavailable):
            worker.do(NAME, Put(b"k", b"w"))
    assert [(call.error, call.retries > 0) for call in told] == [
        (None, False), (None, False), ("BackendUnavailable", True),
    ]  # fmt: skip


def test_those_that_share_a_transaction_each_have_their_own_count(tmp_path: Path) -> None:
    told: list[BackendCall] = []

    async def main() -> None:
        async with open_backend(tmp_path / "here", busy_timeout=0.5, observe=told.append) as backend:
            calls = [[Call(keys.session(str(number)), Batch(Put(b"k", b"v")))] for number in range(5)]
            with closing(sqlite3.connect(tmp_path / "here" / "sessions.sqlite3", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                await asyncio.gather(*map(backend.aexecute, calls))
            await asyncio.gather(*map(backend.aexecute, calls))

    asyncio.run(main())
    assert [(call.error, call.retries > 0) for call in told] == [("BackendUnavailable", True)] * 5 + [(None, False)] * 5
