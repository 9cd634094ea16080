"""Many tasks on one event loop share trips: in few pieces, and without a word of one reaching another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest
from support.proxy import Proxy
from support.servers import RedisServer

from langgraph_sessionstore import Backend, BackendError, NotReplicated, OutcomeUnknown, arun, keys, open_backend
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.backends.redis.connections import AT_ONCE
from langgraph_sessionstore.backends.redis.sharing import Load
from langgraph_sessionstore.backends.redis.steps import Arrival
from langgraph_sessionstore.backends.redis.wires import AsyncWire
from langgraph_sessionstore.ops import Add, Append, Batch, Call, Get, Put, Range, must

SUM, LOG = keys.encode("sum"), keys.encode("log")
CROWD = 60


def url_of(proxy: Proxy, query: str = "") -> str:
    return f"redis://{proxy.host}:{proxy.port}/0{query}"


async def known(backend: Backend) -> None:
    """The server has the script, and two connections are open."""
    await asyncio.gather(*[backend.aexecute(one(b"warm", Add(SUM, 1))) for _ in range(3)])


def one(partition: bytes, *ops: Any) -> list[Call]:
    return [Call(partition, Batch(*ops))]


async def crowd(*works: Coroutine[Any, Any, list[Answer]]) -> list[Answer | BaseException]:
    """All at once; the only answer of each, or what it raised."""
    found = await asyncio.gather(*works, return_exceptions=True)
    return [each if isinstance(each, BaseException) else each[0] for each in found]


def others() -> set[Any]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


def test_a_crowd_travels_together(redis7: RedisServer) -> None:
    async def main() -> None:
        with Proxy(redis7.host, redis7.port) as proxy:
            async with open_backend(url_of(proxy)) as backend:
                await known(backend)
                trips, connections = proxy.round_trips, proxy.connections
                found = await crowd(*[backend.aexecute(one(b"crowd", Add(SUM, 1))) for _ in range(CROWD)])
                assert sorted(found, key=str) == sorted([[n] for n in range(1, CROWD + 1)], key=str)
                assert proxy.round_trips <= trips + 2
                assert proxy.connections == connections
                assert not others()

    asyncio.run(main())


def test_each_hears_its_own(redis7: RedisServer) -> None:
    async def talk(backend: Backend, number: int) -> None:
        name, chance, log = b"own %d" % number, random.Random(number), []
        for turn in range(20):
            value = b"%d:%d" % (number, turn) * chance.choice([1, 50, AT_ONCE // 4])
            await backend.aexecute(one(name, Append(LOG, value)))
            log.append((keys.sequence(LOG, turn), value))
            assert await backend.aexecute(one(name, Range(*keys.below("log")))) == [[log]]

    async def main() -> None:
        async with open_backend(redis7.url) as backend:
            await asyncio.gather(*[talk(backend, number) for number in range(30)])

    asyncio.run(main())


def test_who_is_cancelled_does_not_stop_the_others(redis7: RedisServer) -> None:
    async def main() -> None:
        with Proxy(redis7.host, redis7.port, settle=0) as proxy:
            async with open_backend(url_of(proxy)) as backend:
                await known(backend)
                proxy.hold_replies()
                tasks = [asyncio.ensure_future(backend.aexecute(one(b"left", Add(SUM, 1)))) for _ in range(10)]
                await asyncio.sleep(0.1)
                for task in tasks[3:6]:
                    task.cancel()
                await asyncio.sleep(0.05)
                assert [task.cancelled() for task in tasks] == [3 <= number < 6 for number in range(10)]
                proxy.release_replies()
                found = [(await task)[0] for task in tasks if not task.cancelled()]
                sums = [answer[0] for answer in found if isinstance(answer, list)]
                assert len(set(sums)) == 7
                assert not others()
                (last,) = await arun(backend, must(b"left", Get(SUM)))  # those who were cancelled may have been heard
                assert max(sums) <= int(last) <= 10

    asyncio.run(main())


@pytest.mark.parametrize("departed", [False, True])
def test_when_all_are_cancelled_nothing_is_left(redis7: RedisServer, departed: bool) -> None:
    async def main() -> None:
        with Proxy(redis7.host, redis7.port, settle=0) as proxy:
            async with open_backend(url_of(proxy)) as backend:
                await known(backend)
                proxy.hold_replies()
                name = b"gone %d" % departed
                tasks = [asyncio.ensure_future(backend.aexecute(one(name, Add(SUM, 1)))) for _ in range(10)]
                await asyncio.sleep(0.1 if departed else 0)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                assert all(task.cancelled() for task in tasks)
                for _ in range(3):
                    await asyncio.sleep(0)
                assert not others()
                proxy.release_replies()
                (there,) = await arun(backend, must(name, Add(SUM, 1)))  # on another connection
                assert 1 <= there <= (11 if departed else 2), "of those at once, at most the first was sent"

    asyncio.run(main())


def test_nothing_is_sent_for_who_was_cancelled_before(redis7: RedisServer) -> None:
    """Else it would be written behind what its caller has written since."""

    async def main() -> None:
        with Proxy(redis7.host, redis7.port, settle=0) as proxy:
            async with open_backend(url_of(proxy)) as backend:
                for _ in range(3):
                    await backend.aexecute(one(b"warm", Add(SUM, 1)))  # on one connection
                proxy.hold_replies()  # and another one takes a while to open
                tasks = [asyncio.ensure_future(backend.aexecute(one(b"of %d" % n, Add(SUM, 1)))) for n in range(4)]
                await asyncio.sleep(0.1)
                tasks[2].cancel()
                await asyncio.wait(tasks[2:3])
                proxy.release_replies()
                assert [(await tasks[n])[0] for n in (0, 1, 3)] == [[1]] * 3
                found = await crowd(*[backend.aexecute(one(b"of %d" % n, Get(SUM))) for n in range(4)])
                assert found == [[b"1"], [b"1"], [None], [b"1"]]

    asyncio.run(main())


def test_a_broken_connection_is_everybodys_own_trouble(redis7: RedisServer) -> None:
    """What was answered before the cut was answered; of the rest each knows what it is for itself."""
    kinds: set[type] = set()

    async def main() -> None:
        with Proxy(redis7.host, redis7.port, settle=0) as proxy:
            async with open_backend(url_of(proxy)) as backend:
                await known(backend)
                for cut in range(0, 1200, 60):
                    name = b"cut %d" % cut
                    proxy.cut_after_reply_bytes(cut)
                    writes = [backend.aexecute(one(name, Add(SUM, 1))) for _ in range(10)]
                    reads = [backend.aexecute(one(name, Get(b"k"))) for _ in range(10)]
                    found = await crowd(*[each for pair in zip(writes, reads, strict=True) for each in pair])
                    proxy.cut_nothing()
                    assert found[1::2] == [[None]] * 10
                    sums = [each[0] for each in found[::2] if isinstance(each, list)]
                    assert len(sums) == len(set(sums))
                    unknown = [each for each in found[::2] if not isinstance(each, list)]
                    assert all(isinstance(each, OutcomeUnknown) for each in unknown)
                    there = await arun(backend, must(name, Get(SUM)))
                    assert max([0, *sums]) <= int(there[0] or 0) <= 10
                    kinds.update(type(each) for each in found[::2])

    asyncio.run(main())
    assert kinds == {list, OutcomeUnknown}, "some were answered, and some were not"


def test_what_is_large_travels_alone(redis7: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    trips: list[tuple[bool, int]] = []
    travel = AsyncWire._travel

    async def noted(wire: AsyncWire, address: Any, load: Load) -> Arrival:
        packed, count = load()
        trips.append((len(packed) >= AT_ONCE, count))
        return await travel(wire, address, load)

    monkeypatch.setattr(AsyncWire, "_travel", noted)

    async def main() -> None:
        async with open_backend(redis7.url) as backend:
            await known(backend)
            trips.clear()
            small = [backend.aexecute(one(b"small %d" % n, Put(b"k", b"1"))) for n in range(20)]
            large = [backend.aexecute(one(b"large %d" % n, Put(b"k", bytes(AT_ONCE)))) for n in range(5)]
            assert await crowd(*small, *large) == [[None]] * 25
            assert sorted(trips) == [(False, 1), (False, 19), *[(True, 1)] * 5]

    asyncio.run(main())


def test_who_waits_for_replicas_travels_alone(redis7: RedisServer) -> None:
    """Else the others would wait, one after the other, for what nobody confirms."""

    async def main() -> None:
        async with open_backend(redis7.url + "?wait_replicas=1&wait_timeout=1") as backend:
            begun = asyncio.get_running_loop().time()
            found = await crowd(*[backend.aexecute(one(b"alone", Add(SUM, 1))) for _ in range(8)])
            assert [type(each) for each in found] == [NotReplicated] * 8
            assert asyncio.get_running_loop().time() - begun < 7

    asyncio.run(main())


def test_closing_ends_what_has_not_departed(redis7: RedisServer) -> None:
    async def main() -> None:
        backend = open_backend(redis7.url)
        await known(backend)
        tasks = [asyncio.ensure_future(backend.aexecute(one(b"late", Add(SUM, 1)))) for _ in range(10)]
        await asyncio.sleep(0)
        await backend.aclose()
        for found in await asyncio.gather(*tasks):
            assert isinstance(found[0], (list, BackendError))
        assert not others()

    asyncio.run(main())
