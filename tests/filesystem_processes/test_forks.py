"""Forks at the worst moments: while other threads open, close and fork.

Rule: SQLite knows of locks by process, not by connection or backend. What one thread leaves open, a fork breaks for
all.
"""

from __future__ import annotations

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filesystem_processes.crowd import LOG, do, finish, forked, log, reap, start, whole, write

from langgraph_sessionstore import Backend, keys, open_backend, run
from langgraph_sessionstore.ops import Append

FORKS = 40


def fork_again_and_again(backend: Backend, writer: str) -> None:
    for n in range(FORKS):
        reap(forked(lambda n=n: run(backend, write(f"{writer} {n}", 1))), 20)  # type: ignore[misc]


def fork_while_backends_come_and_go(directory: Path) -> None:
    stop = threading.Event()

    def come_and_go(number: int) -> int:
        for n in itertools.count():
            if stop.is_set():
                break
            with open_backend(directory, busy_timeout=10.0) as other:
                do(other, Append(LOG, b"%d" % n), name=keys.session(f"thread {number}"))
        return n

    with open_backend(directory, busy_timeout=10.0) as backend, ThreadPoolExecutor(3) as pool:
        threads = [pool.submit(come_and_go, number) for number in range(3)]
        try:
            fork_again_and_again(backend, "child")
        finally:
            stop.set()
        for number, thread in enumerate(threads):
            written = thread.result(30)
            assert written == len(log(backend, keys.session(f"thread {number}"))) > 0


def fork_in_two_threads(directory: Path) -> None:
    with open_backend(directory, busy_timeout=10.0) as backend, ThreadPoolExecutor(3) as pool:
        writing = pool.submit(run, backend, write("parent", 2000))
        for forking in [pool.submit(fork_again_and_again, backend, f"thread {n}") for n in range(2)]:
            forking.result(60)
        writing.result(60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_while_backends_are_opened_and_closed_harms_nobody(tmp_path: Path) -> None:
    finish(start(fork_while_backends_come_and_go, tmp_path))
    with open_backend(tmp_path) as backend:
        assert log(backend) == [b"child %d:0" % n for n in range(FORKS)]
    assert whole(tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forks_of_two_threads_at_once_harm_nobody(tmp_path: Path) -> None:
    finish(start(fork_in_two_threads, tmp_path))
    wanted = [b"thread %d %d:0" % (thread, n) for thread in range(2) for n in range(FORKS)]
    with open_backend(tmp_path) as backend:
        assert sorted(log(backend)) == sorted(wanted + [b"parent:%d" % n for n in range(2000)])
    assert whole(tmp_path)
