"""Event loops come and go: one manager serves them all, and what belonged to one ends with it."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest
from support.leftovers import ause, descriptors, use
from support.waiting import wait_until

from langgraph_sessionstore import BackendClosed, Session, SessionManager

pytestmark = pytest.mark.long

LOOPS = 50


@pytest.fixture
def session(manager: SessionManager) -> Session:
    """A session."""
    return manager.create_session()


def test_loops_one_after_the_other_leave_nothing(manager: SessionManager, session: Session) -> None:
    loops: list[weakref.ref[Any]] = []

    async def say(number: int) -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await session.aappend("user", f"{number}")

    asyncio.run(say(0))
    before = descriptors()
    for number in range(1, LOOPS):
        asyncio.run(say(number))
    assert not descriptors() - before
    wait_until(lambda: gc.collect() >= 0 and all(loop() is None for loop in loops), "no loop is held by anybody")
    assert len(session) == LOOPS


def test_loops_in_threads_at_once(manager: SessionManager, session: Session) -> None:
    async def say(name: str) -> None:
        for number in range(5):
            await session.aappend("user", f"{name} {number}")
            session.append("user", f"{name} {number} sync")  # which blocks this loop, and no other

    def several(name: str) -> None:
        for number in range(3):
            asyncio.run(say(f"{name} {number}"))

    threads = [threading.Thread(target=several, args=(str(number),)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    texts = [message.text for message in session.messages]
    assert len(set(texts)) == len(texts) == 5 * 3 * 5 * 2


def test_a_loop_that_is_closed_by_hand_keeps_nothing(manager: SessionManager, session: Session) -> None:
    for _ in range(5):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(session.aappend("user", "Hello"))
        loop.close()
    manager.close()


def test_a_loop_that_ends_in_the_middle_harms_no_other(manager: SessionManager, session: Session) -> None:
    async def leave(turns: int) -> None:
        tasks = [asyncio.ensure_future(session.aappend("user", "left")) for _ in range(4)]
        for _ in range(turns):
            await asyncio.sleep(0)
        del tasks  # asyncio.run cancels them

    manager.store.start_ttl_sweeper(0.0001)
    for turns in range(10):
        asyncio.run(leave(turns))
    session.append("user", "sync")
    asyncio.run(session.aappend("user", "async"))
    texts = [str(message.text) for message in session.messages]  # what was left may be done all the same
    assert [text for text in texts if text != "left"] == ["sync", "async"]


def test_a_loop_that_ends_while_texts_are_embedded(url: str) -> None:
    begun = threading.Event()

    async def embed(texts: Any) -> Any:
        begun.set()
        await asyncio.sleep(60)

    async def leave() -> None:
        task = asyncio.ensure_future(manager.store.aput(("n",), "k", {"text": "Hello"}))
        await asyncio.to_thread(begun.wait, 20)
        assert not task.done()

    index: Any = {"dims": 8, "embed": embed, "fields": ["text"]}
    with SessionManager.from_url(url, index=index) as manager:
        manager.store.start_ttl_sweeper(0.0001)
        asyncio.run(leave())
        assert manager.store.get(("n",), "k") is None


def test_sync_calls_in_a_running_loop_as_in_a_notebook(manager: SessionManager) -> None:
    async def cells() -> None:
        use(manager)
        await ause(manager)
        assert manager.count_sessions()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(cells())
    manager.close()  # in the sync form, though the loop goes on
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_closing_reaches_the_loops_of_other_threads(manager: SessionManager, session: Session) -> None:
    ready, closed = threading.Barrier(4, timeout=20), threading.Event()

    async def live() -> None:
        await session.acount()
        await asyncio.to_thread(ready.wait)
        await asyncio.to_thread(closed.wait, 20)
        with pytest.raises(BackendClosed):
            await session.acount()

    def stay() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(live())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()  # which closes no asynchronous generators

    threads = [threading.Thread(target=stay) for _ in range(3)]
    for thread in threads:
        thread.start()
    ready.wait()
    manager.close()
    closed.set()
    for thread in threads:
        thread.join()
