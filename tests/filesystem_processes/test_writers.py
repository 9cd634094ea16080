"""Many processes that write to one directory. (Those that are killed: `faults`.)"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filesystem_processes.crowd import (
    COUNTER,
    EDITS,
    LOG,
    MEMBERS,
    RECORDS,
    SUM,
    be_a_visitor,
    do,
    finish,
    log,
    open_by_many_threads,
    sent,
    start,
    whole,
    write_up_to_the_limit,
)

from langgraph_sessionstore import (
    open_backend,
)
from langgraph_sessionstore.backends.apply import apply
from langgraph_sessionstore.ops import Append, Get

pytestmark = pytest.mark.long

# -- many writers


def test_records_of_eight_processes_are_there_once_in_each_ones_order(crowd: Path) -> None:
    with open_backend(crowd) as backend:
        found = [tuple(map(int, record.split(b":"))) for record in log(backend)]
    assert len(found) == MEMBERS * RECORDS
    for member in range(MEMBERS):
        assert [n for writer, n in found if writer == member] == list(range(RECORDS))
    assert whole(crowd)


def test_guarded_edits_of_eight_processes_lose_nothing(crowd: Path) -> None:
    with open_backend(crowd) as backend:
        assert do(backend, Get(COUNTER)) == [b"%d" % (MEMBERS * EDITS)]


def test_a_new_directory_may_be_opened_by_all_at_once(tmp_path: Path) -> None:
    directories = [tmp_path / f"{n}" / "here" / "store" for n in range(8)]
    for directory in directories:
        directory.parent.mkdir(parents=True)
    finish(*[start(open_by_many_threads, directories, member) for member in range(3)])
    for directory in directories:
        with open_backend(directory) as backend:
            assert sorted(log(backend)) == sorted(sent("0", "1", "2", count=3) * 6)
        assert whole(directory)


@pytest.mark.parametrize("way", ["two backends", "two threads"])
def test_a_visiting_process_takes_nothing_away(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with two connections keeps its hold on the files, as one with a single connection does."""
    with open_backend(tmp_path) as backend, ThreadPoolExecutor(2) as pool:
        do(backend, Append(LOG, b"1"))
        if way == "two backends":
            open_backend(tmp_path).close()
        else:
            barrier = threading.Barrier(2, timeout=30)

            def at_the_same_time(*args: Any) -> Any:
                barrier.wait()
                return apply(*args)

            with monkeypatch.context() as patch:
                patch.setattr("langgraph_sessionstore.backends.filesystem.apply", at_the_same_time)
                assert list(pool.map(lambda _: do(backend, Get(LOG)), range(2))) == [[b"1"], [b"1"]]
        finish(start(be_a_visitor, tmp_path, [b"1"]))
        do(backend, Append(LOG, b"2"))
        finish(start(be_a_visitor, tmp_path, [b"1", b"2"]))
        assert log(backend) == [b"1", b"2"]
    with open_backend(tmp_path) as backend:
        assert log(backend) == [b"1", b"2"]


# -- a limit on the size of files


def test_files_that_may_not_grow_lose_nothing(tmp_path: Path) -> None:
    finish(start(write_up_to_the_limit, tmp_path))
    with open_backend(tmp_path) as backend:
        assert do(backend, Get(SUM)) == [b"%d" % len(log(backend))]
    assert whole(tmp_path)
