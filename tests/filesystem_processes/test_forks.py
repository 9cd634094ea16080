"""Forks at the worst moments: while other threads open, close and fork.

Rule: SQLite knows of locks by process, not by connection or backend. What one thread leaves open, a fork breaks for
all.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filesystem_processes.crowd import (
    FORKS,
    finish,
    fork_in_two_threads,
    fork_while_backends_come_and_go,
    log,
    start,
    whole,
)

from langgraph_sessionstore import open_backend

pytestmark = pytest.mark.long


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
