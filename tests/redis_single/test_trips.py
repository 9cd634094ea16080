"""What a batch costs, and many at once."""

from __future__ import annotations

import asyncio
import threading
import uuid
from typing import Any

import pytest
from redis_single.wire import (
    url_of,
    warm,
)
from support.proxy import Proxy
from support.servers import RedisServer
from support.workers import Use

from langgraph_sessionstore import (
    keys,
    open_backend,
)
from langgraph_sessionstore.backends.redis import RedisBackend
from langgraph_sessionstore.ops import (
    Add,
    Append,
    Batch,
    Call,
    Count,
    Expect,
    Get,
    Links,
    Page,
    Put,
    Range,
    Run,
    Touch,
    with_links,
)

# -- round trips


def test_any_number_of_batches_is_one_round_trip(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    others = [keys.session(str(uuid.uuid4())) for _ in range(100)]
    registry = keys.registry(str(uuid.uuid4()))
    linked = with_links(Links((b"k",), (Run(b"a", 0, 9),)), b"")
    trips: list[tuple[Call, ...]] = [
        (Call(name, Batch(Get(b"k"))),),
        (Call(name, Batch(Get(b"k"), Range(b"", None), Count(b"", None))),),
        (Call(name, Batch(Put(b"k", b"1"), Append(b"a", b"x"), op_id=b"1")),),
        (Call(name, Batch(Expect(b"k", True), Put(b"h", linked), Range(b"", None), Range(b"h", b"i", follow=True))),),
        tuple(Call(one, Batch(Put(b"k", b"x" * 1000), Add(b"n", 1))) for one in others),
        tuple(Call(one, Batch(Get(b"k"), Range(b"", None))) for one in others),
        (Call(registry, Batch(Touch(name))), Call(name, Batch(Put(b"k", b"2")))),
        (Call(registry, Batch(Page())),),
    ]
    for ordered in (False, True):
        for number, calls in enumerate(trips, 1):
            worker.execute(*calls, ordered=ordered)
            assert proxy.round_trips == number, calls
        proxy.reset()
    worker.copy(name, others[0], Put(b"k", b"3"))
    assert (proxy.round_trips, proxy.connections) == (1, 0)


def test_a_flushed_script_costs_one_more_trip_once(
    use: Use, proxy: Proxy, name: bytes, redis_of_the_module: RedisServer
) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    for ops in [(Add(b"n", 1),), (Range(b"", None), Add(b"n", 1), Range(b"", None))]:
        with redis_of_the_module.client() as client:
            client.script_flush()
        before = proxy.round_trips
        worker.do(name, *ops)  # the second goes as a transaction around the script
        assert proxy.round_trips == before + 2
        worker.do(name, *ops)
        assert proxy.round_trips == before + 3
    assert worker.do(name, Get(b"n")) == [b"4"]


@pytest.mark.parametrize("size", [100, 100_000])
def test_what_a_batch_writes_is_what_it_costs(use: Use, proxy: Proxy, name: bytes, size: int) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    worker.do(name, Put(b"k", b"x" * size))
    assert proxy.bytes_up < size + 400
    assert proxy.bytes_down < 100


# -- many at once


def test_two_hundred_tasks_at_once_need_no_option(redis7: RedisServer, name: bytes) -> None:
    async def main() -> None:
        async with open_backend(redis7.url) as backend:
            assert isinstance(backend, RedisBackend)
            calls = [[Call(name, Batch(Append(b"a", b"%d" % n)))] for n in range(200)]
            answers: list[Any] = await asyncio.gather(*[backend.aexecute(call) for call in calls])
            assert len({answer[0][0] for answer in answers}) == 200

    asyncio.run(main())


def test_waiting_for_a_turn_bounds_the_connections(redis_of_the_module: RedisServer, name: bytes) -> None:
    async def main() -> int:
        with Proxy(redis_of_the_module.host, redis_of_the_module.port) as proxy:
            async with open_backend(url_of(proxy) + "?max_connections=3") as backend:
                tasks = [backend.aexecute([Call(name, Batch(Add(b"n", 1)))]) for _ in range(50)]
                assert len(await asyncio.gather(*tasks)) == 50
                threads = [
                    threading.Thread(target=backend.execute, args=([Call(name, Batch(Add(b"n", 1)))],))
                    for _ in range(50)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert backend.execute([Call(name, Batch(Get(b"n")))]) == [[b"100"]]
            return proxy.connections

    assert asyncio.run(main()) <= 6


def test_several_event_loops_use_one_backend(redis7: RedisServer, name: bytes) -> None:
    backend = open_backend(redis7.url)

    async def count() -> None:
        for _ in range(10):
            assert isinstance((await backend.aexecute([Call(name, Batch(Add(b"n", 1)))]))[0], list)

    threads = [threading.Thread(target=asyncio.run, args=(count(),)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert backend.execute([Call(name, Batch(Get(b"n")))]) == [[b"50"]]
    backend.close()
