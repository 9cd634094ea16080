"""What was opened is closed, by whom and however often; what is used afterwards says so, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from support.leftovers import ause, options, use
from support.ports import free_port
from support.servers import RedisServer
from support.waiting import wait_until

from langgraph_sessionstore import (
    Backend,
    BackendClosed,
    BackendUnavailable,
    ConfigurationError,
    SessionManager,
    SessionStoreError,
    open_backend,
)
from langgraph_sessionstore.backends.redis import RedisBackend

pytestmark = pytest.mark.long


async def both(manager: SessionManager) -> None:
    """Use it in both forms on one loop; the sync one blocks it, as in a notebook."""
    use(manager)
    await ause(manager)
    await asyncio.to_thread(use, manager)


WAYS: dict[str, Callable[[SessionManager], Any]] = {
    "sync": use,
    "async": lambda manager: asyncio.run(ause(manager)),
    "both": lambda manager: asyncio.run(both(manager)),
}


@pytest.mark.parametrize("way", WAYS)
def test_closing_a_manager_leaves_nothing(way: str, url: str) -> None:
    with SessionManager.from_url(url, **options()) as manager:
        WAYS[way](manager)
    with open_backend(url) as backend:
        with SessionManager(backend, **options()) as manager:
            WAYS[way](manager)
        manager.create_session()  # the backend is not its own


def test_closing_in_the_async_form_leaves_nothing(url: str) -> None:
    async def main() -> None:
        async with SessionManager.from_url(url, **options()) as manager:
            await both(manager)
        assert len(asyncio.all_tasks()) == 1
        with SessionManager.from_url(url, **options()) as manager:
            await ause(manager)

    asyncio.run(main())


def test_clients_that_are_given_stay_open_and_alone(redis7: RedisServer) -> None:
    async def main() -> None:
        with redis.Redis.from_url(redis7.url) as client:
            async with redis.asyncio.Redis.from_url(redis7.url) as async_client:
                backend = RedisBackend(client, async_client, prefix="given")
                async with SessionManager(backend, **options()) as manager:
                    await both(manager)
                await backend.aclose()
                assert client.ping()
                assert await async_client.ping()

    asyncio.run(main())


# -- what fails


def test_what_cannot_be_opened_leaves_nothing(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        SessionManager.from_url(url, undo=-1)
    (tmp_path / "taken").write_text("not a directory")
    with pytest.raises(SessionStoreError):
        SessionManager.from_url(f"file:{tmp_path}/taken")
    nobody = f"127.0.0.1:{free_port()}"
    for place in (f"redis://{nobody}", f"redis+cluster://{nobody}", f"redis+sentinel://{nobody}/main"):
        with SessionManager.from_url(place, patience=0) as manager:
            with pytest.raises(BackendUnavailable):
                manager.create_session()
            with pytest.raises(BackendUnavailable):
                asyncio.run(manager.acreate_session())


def test_what_is_cancelled_leaves_nothing(url: str) -> None:
    async def main() -> None:
        async with SessionManager.from_url(url) as manager:
            session = await manager.acreate_session()
            for turns in range(12):
                acts = [asyncio.ensure_future(session.aappend("user", str(number))) for number in range(5)]
                for _ in range(turns):
                    await asyncio.sleep(0)
                for act in acts:
                    act.cancel()
                await asyncio.gather(*acts, return_exceptions=True)
            lease = asyncio.ensure_future(_hold(session))
            await asyncio.sleep(0.01)
            lease.cancel()
            await asyncio.gather(lease, return_exceptions=True)
            session.messages  # noqa: B018
        assert len(asyncio.all_tasks()) == 1

    async def _hold(session: Any) -> None:
        async with session.lease(30):
            await asyncio.sleep(60)

    asyncio.run(main())


# -- again, elsewhere, meanwhile


def test_closing_again_is_fine_from_anywhere(url: str) -> None:
    def end(manager: SessionManager, way: str) -> None:
        if way == "here":
            manager.close()
        elif way == "another thread":
            with ThreadPoolExecutor(1) as pool:
                pool.submit(manager.close).result(20)
        elif way == "another loop":
            asyncio.run(manager.aclose())
        else:
            loop.run_until_complete(manager.aclose())

    ways = ("here", "another thread", "another loop", "its loop")
    for first in ways:
        loop = asyncio.new_event_loop()
        with SessionManager.from_url(url, **options()) as manager:
            manager.create_session()
            loop.run_until_complete(manager.acreate_session())
            for way in (first, *ways):
                end(manager, way)
            with pytest.raises(BackendClosed):
                manager.count_sessions()
        loop.close()


def test_closing_while_others_work_ends_their_work(url: str) -> None:
    manager = SessionManager.from_url(url)
    session = manager.create_session()
    done: list[int] = []
    ends: list[BaseException] = []

    def work() -> None:
        try:
            while True:
                session.append("user", "sync")
                done.append(1)
        except BaseException as exc:
            ends.append(exc)

    async def awork() -> None:
        async def one() -> None:
            try:
                while True:
                    await session.aappend("user", "async")
                    done.append(1)
                    await asyncio.sleep(0)
            except BaseException as exc:
                ends.append(exc)

        await asyncio.gather(*[one() for _ in range(3)])

    threads = [threading.Thread(target=work) for _ in range(3)]
    threads += [threading.Thread(target=asyncio.run, args=(awork(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(done) > 50, "all are at work")
    closers = [threading.Thread(target=manager.close) for _ in range(3)]
    for thread in closers:
        thread.start()
    for thread in [*closers, *threads]:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert [type(end) for end in ends] == [BackendClosed] * 9


def test_a_lease_that_is_held_ends_with_the_backend(url: str) -> None:
    async def held() -> None:
        other = SessionManager.from_url(url)
        session = await other.acreate_session()
        async with session.lease(0.06) as turn:
            await other.aclose()
            with pytest.raises(BackendClosed):
                await turn.aappend("user", "Hello")
            (task,) = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait([task], timeout=20)
            assert task.done()

    manager = SessionManager.from_url(url)
    with manager.create_session().lease(0.06) as turn:
        manager.close()
        with pytest.raises(BackendClosed):
            turn.append("user", "Hello")
        wait_until(lambda: not _renewing(), "nobody renews it")
    asyncio.run(held())


def _renewing() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("lease on")]


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
def test_a_store_that_is_closed_begins_no_sweeper(kind: str, url: str) -> None:
    backend: Backend = open_backend(url)
    manager = SessionManager(backend)
    manager.close()
    with pytest.raises(BackendClosed, match="closed"):
        manager.store.start_ttl_sweeper()
    asyncio.run(manager.aclose())
    backend.close()
