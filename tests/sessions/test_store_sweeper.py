"""A sweeper sweeps until it is stopped or its store or backend is closed; there is only one, which outlives trouble."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.between import Between
from support.lifetimes import Clock, N, listed, rows, sweepers
from support.sittings import Form
from support.waiting import wait_until

from langgraph_sessionstore import Backend, BackendClosed, SessionManager, SessionStore, open_backend
from langgraph_sessionstore.testing import Fault, FaultyBackend


@pytest.fixture
def memory(clock: Clock) -> Iterator[Backend]:
    """A memory backend with an item that has ended; all sweepers are stopped in the end."""
    backend = open_backend("memory:")
    SessionStore(backend).put(N, "k", {}, ttl=1)
    clock.pass_(2)
    yield backend
    assert sweepers() == []


def test_a_sweeper_sweeps_until_the_store_is_closed(memory: Backend) -> None:
    with SessionStore(memory, ttl={"sweep_interval_minutes": 1}) as store:
        store.start_ttl_sweeper(0.0002)
        (thread,) = sweepers()
        assert thread.daemon
        store.start_ttl_sweeper(0.0002)
        store.start_ttl_sweeper()
        assert sweepers() == [thread]
        wait_until(lambda: rows(memory) == {}, "the item is swept")
    assert not thread.is_alive()
    assert store.stop_ttl_sweeper() is True
    assert listed(memory) == []


def test_a_sweeper_ends_with_the_manager_in_both_forms(memory: Backend, form: Form) -> None:
    manager = SessionManager(memory, store_ttl={"sweep_interval_minutes": 1})
    manager.store.start_ttl_sweeper()
    assert len(sweepers()) == 1
    form.do(manager, "close")
    assert sweepers() == []
    form.do(manager, "close")


def test_a_sweeper_is_stopped_and_started_again(memory: Backend) -> None:
    store = SessionStore(memory)
    assert store.stop_ttl_sweeper() is True
    assert store.stop_ttl_sweeper(timeout=1) is True
    for _ in range(3):
        store.start_ttl_sweeper(100)
        assert store.stop_ttl_sweeper(timeout=20) is True
        assert sweepers() == []
    store.start_ttl_sweeper(0.0002)
    wait_until(lambda: rows(memory) == {}, "the item is swept")
    store.stop_ttl_sweeper()


def test_a_sweeper_that_cannot_stop_yet_says_so_and_starts_again(memory: Backend) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        assert go_on.wait(20)

    between = Between(memory, {1: wait})
    store = SessionStore(between)
    store.start_ttl_sweeper(0.0002)
    assert entered.wait(20)
    assert store.stop_ttl_sweeper(timeout=0.01) is False
    store.start_ttl_sweeper(0.0002)
    go_on.set()
    reached = between.trips
    wait_until(lambda: between.trips > reached + 20, "it goes on")
    assert store.stop_ttl_sweeper() is True


def test_sweepers_that_are_started_at_once_are_one(memory: Backend) -> None:
    store, barrier = SessionStore(memory), threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        store.start_ttl_sweeper(100)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            with ThreadPoolExecutor(8) as pool:
                for done in [pool.submit(start) for _ in range(8)]:
                    done.result()
            there = sweepers()
            for thread in there if len(there) > 1 else ():  # of which the store knows one
                stop: threading.Event = thread._args[0]  # type: ignore[attr-defined]
                stop.set()
            assert store.stop_ttl_sweeper(timeout=20) is True
            assert len(there) == 1
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("fault", [Fault.FAIL, Fault.CUT_AFTER])
def test_a_sweeper_outlives_trouble_and_tells_of_it(
    fault: Fault, memory: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = FaultyBackend(memory, {1: fault, 2: fault})
    store = SessionStore(faulty)
    store.start_ttl_sweeper(0.0002)
    wait_until(lambda: rows(memory) == {}, "the item is swept")
    store.close()
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert all("on purpose" in record.getMessage() for record in warnings)


def test_a_sweeper_outlives_errors_of_any_kind(memory: Backend) -> None:
    def fail() -> None:
        raise OSError("a fault on purpose")

    store = SessionStore(Between(memory, {1: fail, 2: fail}))
    store.start_ttl_sweeper(0.0002)
    try:
        wait_until(lambda: rows(memory) == {}, "the item is swept")
    finally:
        store.close()


def test_a_sweeper_ends_when_its_backend_is_closed(memory: Backend) -> None:
    def closed() -> None:
        raise BackendClosed("closed on purpose")

    store = SessionStore(Between(memory, {1: closed}))
    store.start_ttl_sweeper(0.0002)
    wait_until(lambda: sweepers() == [], "it has ended")
    store.start_ttl_sweeper(0.0002)
    wait_until(lambda: rows(memory) == {}, "a new one sweeps")
    store.close()


def test_a_sweeper_may_close_its_own_store(memory: Backend) -> None:
    closing = list[Callable[[], None]]()
    store = SessionStore(Between(memory, {1: lambda: closing[0]()}))
    closing.append(store.close)
    store.start_ttl_sweeper(0.0002)
    wait_until(lambda: sweepers() == [], "it has ended")


@pytest.mark.parametrize("minutes", [1e6, 2e8, 9e8])
def test_a_sweeper_waits_as_long_as_it_is_told(minutes: float, memory: Backend) -> None:
    store = SessionStore(memory)
    store.start_ttl_sweeper(minutes)
    (thread,) = sweepers()
    thread.join(0.05)
    assert thread.is_alive()
    store.close()


def test_a_forked_child_has_no_sweeper_until_it_starts_its_own(tmp_path: Path) -> None:
    script = f"""
import os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from langgraph_sessionstore import SessionStore
store = SessionStore.from_url("file:{tmp_path}/s")
for n in range(2):
    store.put(("n", str(n)), "k", {{}}, ttl=0.0001)
store.start_ttl_sweeper(100)
child = os.fork()
if child == 0:
    signal.alarm(60)
    try:
        assert store.stop_ttl_sweeper(timeout=1) is True
        store.start_ttl_sweeper(0.0002)
        store.start_ttl_sweeper(0.0002)
        assert threading.active_count() == 2
        while store._sweeper.running and any(name == ("n", "0") for name in store.list_namespaces()):
            time.sleep(0.01)
        store.close()
        assert threading.active_count() == 1
        os._exit(0)
    finally:
        os._exit(3)
assert os.waitpid(child, 0)[1] == 0
assert [thread.name for thread in threading.enumerate() if "sweeper" in thread.name]
assert store.stop_ttl_sweeper(timeout=20) is True
store.close()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_closing_in_a_loop_does_not_block_it(memory: Backend) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        assert go_on.wait(20)

    async def main() -> None:
        store = SessionStore(Between(memory, {1: wait}))
        store.start_ttl_sweeper(0.0002)
        assert await asyncio.to_thread(entered.wait, 20)
        closing = asyncio.create_task(store.aclose())
        await asyncio.sleep(0.01)
        assert not closing.done()
        go_on.set()
        await closing

    asyncio.run(main())


def test_configurations_that_can_work_are_taken(memory: Backend) -> None:
    config: Any
    for config in (
        None,
        {},
        {"default_ttl": None, "sweep_interval_minutes": None},
        {"default_ttl": 0.5, "refresh_on_read": False, "omit_expired": False, "sweep_interval_minutes": 2},
    ):
        with SessionStore(memory, ttl=config) as store:
            assert store.ttl_config == config
            assert store.supports_ttl
            store.start_ttl_sweeper()
            assert store.get(N, "k") is None  # whatever `omit_expired` says
