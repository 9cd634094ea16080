"""Waiting for other processes, and forks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filesystem_processes.crowd import (
    COUNTER,
    LOG,
    NAME,
    SUM,
    do,
    drive,
    finish,
    fork_while_threads_write,
    held,
    let_the_parent_go_first,
    log,
    needs_fork,
    sent,
    start,
    use_before_and_after_a_fork,
    whole,
)
from support.waiting import wait_until

from langgraph_sessionstore import (
    Backend,
    BackendUnavailable,
    arun,
    keys,
    open_backend,
)
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import Append, Batch, Call, Get, Put, call

pytestmark = pytest.mark.long

# -- busy


@pytest.mark.parametrize("form", ["sync", "async"])
def test_a_place_that_stays_busy_is_unavailable(form: str, tmp_path: Path) -> None:
    with open_backend(tmp_path, busy_timeout=0.2) as backend:
        do(backend, Append(LOG, b"1"))
        with held(tmp_path) as release:
            with pytest.raises(BackendUnavailable) as caught:
                drive(backend, call(NAME, Append(LOG, b"2")), form)
            assert str(tmp_path) in str(caught.value)
            assert drive(backend, call(NAME, Get(LOG)), form) == [b"1"]
            with open_backend(tmp_path, busy_timeout=0.0) as other:
                assert log(other) == [b"1"]
            release()
        assert log(backend) == [b"1"]
        drive(backend, call(NAME, Append(LOG, b"2")), form)
        assert log(backend) == [b"1", b"2"]


def test_callers_who_wait_together_wait_no_longer_than_one(tmp_path: Path) -> None:
    async def main(backend: Backend) -> list[list[Answer]]:
        batches = [Batch(Append(LOG, b"%d" % n)) for n in range(100)]
        together = asyncio.gather(*[backend.aexecute([Call(NAME, batch)]) for batch in batches])
        return await asyncio.wait_for(together, 25)  # one after the other, they would take 50 seconds

    with open_backend(tmp_path, busy_timeout=0.5) as backend:
        do(backend, Put(COUNTER, b"0"))
        with held(tmp_path) as release:
            try:
                answers = asyncio.run(main(backend))
            finally:
                release()
        assert {type(answer) for (answer,) in answers} == {BackendUnavailable}
        assert log(backend) == []


@pytest.mark.parametrize("form", ["sync", "async"])
def test_a_place_that_is_busy_for_a_moment_is_waited_for(form: str, tmp_path: Path, attempts: list[str]) -> None:
    with open_backend(tmp_path, busy_timeout=60.0) as backend, ThreadPoolExecutor(1) as pool:
        do(backend, Append(LOG, b"1"))
        attempts.clear()
        with held(tmp_path) as release:
            answer = pool.submit(drive, backend, call(NAME, Append(LOG, b"2")), form)
            wait_until(lambda: len(attempts) > 3, "the writer has met the other process")
            assert not answer.done()
            release()
            assert answer.result(60) == [keys.sequence(LOG, 1)]
        assert log(backend) == [b"1", b"2"]


@pytest.mark.parametrize("form", ["sync", "async"])
def test_readers_do_not_wait_for_a_waiting_writer(form: str, tmp_path: Path, attempts: list[str]) -> None:
    async def by_tasks(backend: Backend, release: Callable[[], None]) -> None:
        writer = asyncio.create_task(arun(backend, call(NAME, Append(LOG, b"2"))))
        try:
            await asyncio.to_thread(wait_until, lambda: len(attempts) > 3, "the writer has met the other process")
            reads = [arun(backend, call(NAME, Get(LOG))) for _ in range(20)]
            assert await asyncio.wait_for(asyncio.gather(*reads), 5) == [[b"1"]] * 20
            assert not writer.done()
        finally:
            release()
            await writer

    with open_backend(tmp_path, busy_timeout=60.0) as backend, ThreadPoolExecutor(1) as pool:
        do(backend, Append(LOG, b"1"))
        attempts.clear()
        with held(tmp_path) as release:
            if form == "async":
                asyncio.run(by_tasks(backend, release))
                return
            writer = pool.submit(do, backend, Append(LOG, b"2"))
            wait_until(lambda: len(attempts) > 3, "the writer has met the other process")
            assert [do(backend, Get(LOG)) for _ in range(20)] == [[b"1"]] * 20
            assert not writer.done()
            release()
            assert writer.result(60) == [keys.sequence(LOG, 1)]


# -- fork


@needs_fork
def test_a_backend_goes_on_on_both_sides_of_a_fork(tmp_path: Path) -> None:
    finish(start(use_before_and_after_a_fork, tmp_path))
    writers = ("before", "first", "second", "grandchild", "parent", "after")
    wanted = sent(*[f"{writer} sync" for writer in writers], count=50)
    wanted += sent(*[f"{writer} async {n}" for writer in writers for n in range(5)], count=10)
    with open_backend(tmp_path) as backend:
        assert sorted(log(backend)) == sorted(wanted)
        assert do(backend, Get(SUM)) == [b"%d" % len(wanted)]
    assert whole(tmp_path)


@needs_fork
@pytest.mark.parametrize("ending", ["closes", "just ends"])
def test_a_forked_child_keeps_what_it_writes_when_its_parent_is_gone(ending: str, tmp_path: Path) -> None:
    finish(start(let_the_parent_go_first, tmp_path, ending))
    with open_backend(tmp_path) as backend:
        assert len(log(backend)) == 300
    assert whole(tmp_path)


@needs_fork
def test_a_fork_in_the_middle_of_writes_gives_a_working_backend(tmp_path: Path) -> None:
    finish(start(fork_while_threads_write, tmp_path))
    with open_backend(tmp_path) as backend:
        assert log(backend) == [b"child %d:0" % n for n in range(15)]
    assert whole(tmp_path)
