"""A process that forks while a manager is in use in every way; `python forking.py URL`.

Rule: the child reads and writes, and so does the parent; nobody waits for ever, and nobody speaks on a connection of
the other.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial

import pytest

from langgraph_sessionstore import ConfigurationError, Session, SessionManager
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.backends.redis import RedisBackend

FORKS = 4
SECONDS = 60


def fork(act: Callable[[], None]) -> None:
    """Let a child do this, and wait for it."""
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        try:
            act()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(3)
    assert os.waitpid(child, 0)[1] == 0


def connections() -> set[str]:
    """The sockets of this process that lead to a server."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            place = os.readlink(f"/proc/self/fd/{name}")
            if place.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(name))) as each:
                    if each.family == socket.AF_INET:
                        found.add(place)
        except OSError:  # that of the listing itself
            continue
    return found


def say(session: Session, who: str) -> None:
    """Append in both forms, two messages in a step."""
    session.extend([("user", who), ("assistant", who)])
    asyncio.run(session.aextend([("user", f"{who} async"), ("assistant", f"{who} async")]))


def whole(manager: SessionManager, session: Session) -> list[str]:
    """What has been said; nothing of it is there by half."""
    texts = [str(message.text) for message in session.messages]
    assert texts[::2] == texts[1::2]
    assert len(set(texts[::2])) == len(texts[::2])
    assert manager.count_sessions() == 1
    assert asyncio.run(session.acount()) >= len(texts)
    return texts[::2]


def in_peace(manager: SessionManager, session: Session) -> None:
    """Fork while nobody does anything, but has done so in both forms, and keeps an event loop."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(session.acount())
    mine = connections()
    assert bool(mine) == isinstance(manager.backend, RedisBackend)

    def child() -> None:
        assert not connections() & mine
        if isinstance(manager.backend, RedisBackend):
            with pytest.raises(ConfigurationError, match="parent"):
                loop.run_until_complete(session.acount())
        say(session, "in peace")
        whole(manager, session)
        assert not connections() & mine
        fork(lambda: say(session, "a grandchild"))
        manager.close()
        assert not connections()

    fork(child)
    assert connections() == mine
    assert loop.run_until_complete(session.acount()) >= 0
    process = multiprocessing.get_context("fork").Process(target=say, args=(session, "another process"))
    process.start()
    process.join(SECONDS)
    assert process.exitcode == 0
    say(session, "the parent")
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def at_work(manager: SessionManager, session: Session) -> list[str]:
    """Fork while threads, event loops and a sweeper are at work."""
    ended = threading.Event()
    wrong: list[BaseException] = []
    said: list[str] = []

    def worker(name: str) -> None:
        try:
            for number in range(10_000):
                if ended.wait(0.01):
                    break
                said.append(f"{name} {number}")
                session.extend([("user", f"{name} {number}"), ("assistant", f"{name} {number}")])
        except BaseException as exc:
            wrong.append(exc)

    async def task(name: str) -> None:
        for number in range(10_000):
            if ended.is_set():
                break
            await asyncio.sleep(0.01)
            said.append(f"{name} {number}")
            await session.aextend([("user", f"{name} {number}"), ("assistant", f"{name} {number}")])

    async def tasks(name: str) -> None:
        try:
            await asyncio.gather(*[task(f"{name} {number}") for number in range(3)])
        except BaseException as exc:
            wrong.append(exc)

    threads = [threading.Thread(target=worker, args=(f"thread {number}",)) for number in range(2)]
    threads += [threading.Thread(target=asyncio.run, args=(tasks(f"loop {number}"),)) for number in range(2)]
    manager.store.put(("n",), "k", {}, ttl=0.0001)
    manager.store.start_ttl_sweeper(0.0001)
    for thread in threads:
        thread.start()

    def child(who: str) -> None:
        whole(manager, session)
        say(session, who)
        manager.store.start_ttl_sweeper(0.0001)
        manager.store.put(("n",), who, {}, ttl=0.0001)
        assert who in whole(manager, session)
        manager.close()
        assert threading.active_count() == 1

    try:
        for number in range(FORKS):
            fork(partial(child, f"child {number}"))
    finally:
        ended.set()
        for thread in threads:
            thread.join(SECONDS)
    assert not wrong, wrong
    return said


def main(url: str) -> None:
    """Both, and look at what is there in the end."""
    signal.alarm(2 * SECONDS)
    with SessionManager.from_url(url) as manager:
        session = manager.create_session()
        say(session, "first")
        in_peace(manager, session)
        said = at_work(manager, session)
        found = whole(manager, session)
        names = ["first", "the parent"]
        if not isinstance(manager.backend, MemoryBackend):
            names += ["in peace", "a grandchild", "another process", *(f"child {number}" for number in range(FORKS))]
        assert sorted(found) == sorted([*said, *names, *(f"{name} async" for name in names)])
        assert manager.checkpointer.check(session.id) == []


if __name__ == "__main__":
    main(sys.argv[1])
