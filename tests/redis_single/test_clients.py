"""Clients that the user has; event loops and forks; the end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest
import redis
import redis.asyncio
from support.servers import RedisServer
from support.workers import Use

from langgraph_sessionstore import (
    Backend,
    BackendClosed,
    ConfigurationError,
    open_backend,
)
from langgraph_sessionstore.backends.redis import RedisBackend
from langgraph_sessionstore.ops import (
    Add,
    Batch,
    Call,
    Conflict,
    Expect,
    Get,
    Put,
    Range,
)

# -- clients, loops, forks


def test_closing_while_others_work_hurts_nobody(redis_of_the_module: RedisServer, name: bytes) -> None:
    for _ in range(5):
        backend = open_backend(redis_of_the_module.url, max_connections=4)
        seen: list[Any] = []

        def work(backend: Backend = backend, seen: list[Any] = seen) -> None:
            try:
                while True:
                    seen.extend(backend.execute([Call(name, Batch(Add(b"n", 1)))]))
            except BackendClosed:
                pass

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        while len(seen) < 50:
            threads[0].join(0.01)
        backend.close()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)
        assert {type(answer) for answer in seen} <= {list, BackendClosed}
    with redis_of_the_module.client() as client:
        assert client.ping()


def test_event_loops_that_ended_are_forgotten(redis_of_the_module: RedisServer, name: bytes) -> None:
    backend = open_backend(redis_of_the_module.url)
    assert isinstance(backend, RedisBackend)

    async def use() -> None:
        assert isinstance(backend, RedisBackend)
        await backend.aexecute([Call(name, Batch(Get(b"k")))])

    for _ in range(20):
        asyncio.run(use())
    assert backend._loops == {}
    backend.close()


def test_a_forked_child_has_its_own_turns(redis_of_the_module: RedisServer) -> None:
    script = f"""
import os, sys
from langgraph_sessionstore import open_backend, run
from langgraph_sessionstore.ops import *
backend = open_backend({redis_of_the_module.url!r}, max_connections=1)
run(backend, must(b"fork", Drop(), Add(b"n", 1)))
backend._sync._turn(None).get()  # as if another thread were using it
if os.fork() == 0:
    run(backend, must(b"fork", Add(b"n", 1)))
    os._exit(0)
assert os.wait()[1] == 0
backend._sync._turn(None).put(None)
assert run(backend, must(b"fork", Get(b"n"))) == [b"2"]
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_patience_may_be_nothing_or_much(use: Use, own_redis: RedisServer, name: bytes) -> None:
    for patience in (0, 1e6):
        with own_redis.client() as client:
            client.script_flush()
        assert use(own_redis.url, patience=patience).do(name, Add(b"n", 1))[0] > 0


def test_one_given_client_serves_its_own_form(redis7: RedisServer, name: bytes) -> None:
    with redis.Redis.from_url(redis7.url) as client:
        backend = RedisBackend(client)
        assert backend.execute([Call(name, Batch(Put(b"k", b"1"), Get(b"k")))]) == [[None, b"1"]]
        with pytest.raises(ConfigurationError, match="async_client="):
            asyncio.run(backend.aexecute([]))
        backend.close()
        assert client.ping()

    async def main() -> None:
        async with redis.asyncio.Redis.from_url(redis7.url) as client:
            backend = RedisBackend(async_client=client)
            assert await backend.aexecute([Call(name, Batch(Get(b"k")))]) == [[b"1"]]
            with pytest.raises(ConfigurationError, match="async client alone"):
                backend.execute([])
            await backend.aclose()
            assert await client.ping()

    asyncio.run(main())


def test_a_given_pool_that_is_smaller_still_queues(redis7: RedisServer, name: bytes) -> None:
    async def main() -> None:
        pool = redis.asyncio.ConnectionPool.from_url(redis7.url, max_connections=2)
        async with redis.asyncio.Redis.from_pool(pool) as client:
            backend = RedisBackend(async_client=client)
            answers: list[Any] = await asyncio.gather(
                *[backend.aexecute([Call(name, Batch(Add(b"n", 1), op_id=b"%d" % n))]) for n in range(60)]
            )
            assert sorted(answer[0][0] for answer in answers) == list(range(1, 61))

    asyncio.run(main())


def test_conflicts_are_answers_and_not_errors(use: Use, redis62: RedisServer, name: bytes) -> None:
    worker = use(redis62.url)
    assert worker.do(name, Expect(b"k", True), Put(b"k", b"1"), Range(b"", None)) == Conflict(0)
