"""The filesystem backend in the hands of many processes, which write, wait, fork and are killed.

Rule: what was answered stays. What is there was written by one whole batch, once.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from langgraph_sessionstore import (
    Backend,
    BackendError,
    BackendUnavailable,
    OutcomeUnknown,
    arun,
    keys,
    open_backend,
    run,
)
from langgraph_sessionstore.backends.apply import apply
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.backends.sqlite_file import connect
from langgraph_sessionstore.ops import Add, Append, Batch, Call, Conflict, Expect, Get, Op, Plan, Put, Range, call, etag
from langgraph_sessionstore.testing import check_partition
from tests.support.waiting import wait_until

SPAWN = multiprocessing.get_context("spawn")
NAME = keys.session("shared")
LOG, SUM, COUNTER = keys.encode("log"), keys.encode("sum"), keys.encode("counter")
ROWS = [keys.encode("row", n) for n in range(20)]
MEMBERS, RECORDS, EDITS = 8, 100, 50


def do(backend: Backend, *ops: Op, name: bytes = NAME) -> Any:
    return run(backend, call(name, *ops))


def drive(backend: Backend, plan: Plan[Any], form: str) -> Any:
    return run(backend, plan) if form == "sync" else asyncio.run(arun(backend, plan))


def log(backend: Backend, name: bytes = NAME) -> list[bytes]:
    """The records in their order; their numbers have no gaps."""
    rows = do(backend, Range(*keys.below("log")), name=name)[0]
    assert [key for key, _ in rows] == [keys.sequence(LOG, n) for n in range(len(rows))]
    assert run(backend, check_partition(name)) == []
    return [value for _, value in rows]


def write(plan_name: str, count: int) -> Plan[None]:
    for n in range(count):
        yield from call(NAME, Append(LOG, f"{plan_name}:{n}".encode()), Add(SUM, 1))


def sent(*writers: str, count: int) -> list[bytes]:
    return sorted(f"{writer}:{n}".encode() for writer in writers for n in range(count))


def start(target: Callable[..., None], *args: Any) -> BaseProcess:
    process = SPAWN.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def finish(*processes: BaseProcess) -> None:
    """Wait until these have ended well; what went wrong in one stands in its stderr."""
    try:
        for process in processes:
            process.join(90)
            assert process.exitcode == 0, process
    finally:
        for process in processes:
            process.kill()
            process.join()


def whole(directory: Path) -> bool:
    with closing(sqlite3.connect(directory / "sessions.sqlite3")) as db:
        return bool(db.execute("PRAGMA integrity_check").fetchall() == [("ok",)])


# -- many writers


def meet(directory: Path, member: int, members: int) -> None:
    """Go on when all members have come, so that they begin at once."""
    place = directory.with_name("meeting")
    place.mkdir(exist_ok=True)
    (place / str(member)).touch()
    wait_until(lambda: len(list(place.iterdir())) == members, "all members have come", 30, 0.001)


def append_and_edit(member: int) -> Plan[None]:
    for n in range(RECORDS):
        yield from call(NAME, Append(LOG, b"%d:%d" % (member, n)))
    edits = 0
    while edits < EDITS:
        replies = yield from call(NAME, Get(COUNTER))
        assert isinstance(replies, list)
        (seen,) = replies
        guard = Expect(COUNTER, False if seen is None else etag(seen))
        outcome = yield from call(NAME, guard, Put(COUNTER, b"%d" % (int(seen or 0) + 1)))
        edits += not isinstance(outcome, Conflict)


def be_a_member(directory: Path, member: int) -> None:
    meet(directory, member, MEMBERS)
    with open_backend(directory) as backend:
        drive(backend, append_and_edit(member), "async" if member % 2 else "sync")


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory into which eight processes have written at once, half of them by the async form."""
    directory = tmp_path_factory.mktemp("crowd") / "store"
    finish(*[start(be_a_member, directory, member) for member in range(MEMBERS)])
    return directory


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


def open_by_many_threads(directories: list[Path], member: int) -> None:
    def use(directory: Path) -> None:
        with open_backend(directory) as backend:
            run(backend, write(f"{member}", 3))

    for directory in directories:
        meet(directory, member, 3)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(use, [directory] * 6))


def test_a_new_directory_may_be_opened_by_all_at_once(tmp_path: Path) -> None:
    directories = [tmp_path / f"{n}" / "here" / "store" for n in range(8)]
    for directory in directories:
        directory.parent.mkdir(parents=True)
    finish(*[start(open_by_many_threads, directories, member) for member in range(3)])
    for directory in directories:
        with open_backend(directory) as backend:
            assert sorted(log(backend)) == sorted(sent("0", "1", "2", count=3) * 6)
        assert whole(directory)


def be_a_visitor(directory: Path, records: list[bytes]) -> None:
    """Another process that looks at what is there, and goes."""
    with open_backend(directory) as backend:
        assert log(backend) == records, log(backend)


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


# -- killed in the middle


def victim(number: int) -> bytes:
    return keys.session(f"victim {number}")


def write_generations(directory: Path, durability: str, number: int, answered: Path) -> None:
    """Write generation after generation, and note each that was answered, until killed."""
    noted = os.open(answered, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def plan() -> Plan[None]:
        replies = yield from call(victim(number), Get(LOG))
        assert isinstance(replies, list)
        for generation in itertools.count(int(replies[0] or 0) + 1):
            value = b"%d " % generation + os.urandom(random.randrange(4000))
            rows = [Put(key, value) for key in ROWS]
            yield from call(victim(number), *rows[:10], Append(LOG, b"%d" % generation), *rows[10:], Add(SUM, 1))
            os.write(noted, b"%d\n" % generation)

    drive(open_backend(directory, durability=durability), plan(), "async" if number % 2 else "sync")


def generations(answered: Path) -> list[int]:
    return [int(line) for line in answered.read_bytes().split()] if answered.exists() else []


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_killed_writers_leave_whole_batches_and_all_that_was_answered(durability: str, tmp_path: Path) -> None:
    directory = tmp_path / "store"
    answered = [tmp_path / f"answered {number}" for number in range(2)]
    for _ in range(8):
        before = [len(generations(path)) for path in answered]
        writers = [start(write_generations, directory, durability, n, path) for n, path in enumerate(answered)]
        try:
            for number in random.sample(range(2), 2):
                goal = before[number] + random.randrange(1, 40)
                path, writer = answered[number], writers[number]
                reached = lambda path=path, writer=writer, goal=goal: (  # noqa: E731
                    len(generations(path)) >= goal or not writer.is_alive()
                )
                wait_until(reached, "the writer has come far enough", 60, 0.001)
                time.sleep(random.uniform(0, 0.01))  # a random moment to be killed, not a time to wait
                assert writer.is_alive()
                writer.kill()
        finally:
            for writer in writers:
                writer.kill()
                writer.join()
        with open_backend(directory) as backend:
            for number, path in enumerate(answered):
                rows = dict(do(backend, Range(b"", None), name=victim(number))[0])
                (value,) = {rows[key] for key in ROWS}
                generation = int(value.split(b" ")[0])
                assert generation >= generations(path)[-1]
                assert rows[SUM] == rows[LOG] == b"%d" % generation
                assert log(backend, victim(number)) == [b"%d" % n for n in range(1, generation + 1)]
        assert whole(directory)


# -- a limit on the size of files


def write_up_to_the_limit(directory: Path) -> None:
    with open_backend(directory) as backend:
        for size in (10_000, 100_000, 9_000_000):  # the last is written in part before its end
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
            written = len(log(backend))
            answer: Answer = []
            while not isinstance(answer, BackendError):
                batch = Batch(Append(LOG, b"%d " % written + bytes(size)), Add(SUM, 1))
                (answer,) = backend.execute([Call(NAME, batch)])
                written += isinstance(answer, list)
            assert str(directory) in str(answer), answer
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            found = log(backend)
            assert len(found) == written or (isinstance(answer, OutcomeUnknown) and len(found) == written + 1)
            assert [int(record.split(b" ")[0]) for record in found] == list(range(len(found)))
            assert do(backend, Add(SUM, 1), Append(LOG, b"%d " % len(found))) == [
                len(found) + 1,
                keys.sequence(LOG, len(found)),
            ]


def test_files_that_may_not_grow_lose_nothing(tmp_path: Path) -> None:
    finish(start(write_up_to_the_limit, tmp_path))
    with open_backend(tmp_path) as backend:
        assert do(backend, Get(SUM)) == [b"%d" % len(log(backend))]
    assert whole(tmp_path)


# -- busy

HOLD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(directory: Path) -> Iterator[Callable[[], None]]:
    """Another process holds the database as a writer does; call what is given to let it go."""
    command = [sys.executable, "-c", HOLD, str(directory / "sessions.sqlite3")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def release() -> None:
            process.communicate(timeout=30)

        try:
            assert process.stdout.readline() == b"held\n"
            yield release
        finally:
            process.kill()


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every attempt to begin a writing transaction."""
    begun: list[str] = []

    def traced(file: Path, durability: str) -> sqlite3.Connection:
        db = connect(file, durability)
        db.set_trace_callback(lambda statement: begun.append(statement) if "IMMEDIATE" in statement else None)
        return db

    monkeypatch.setattr("langgraph_sessionstore.backends.filesystem.connect", traced)
    return begun


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


def forked(work: Callable[[], None]) -> int:
    """Do this work in a forked child."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
        code = 1
    os._exit(code)


def reap(pid: int, seconds: float = 60) -> None:
    """Wait until a child has ended, which it does well."""
    status: list[int] = []

    def ended() -> bool:
        found, code = os.waitpid(pid, os.WNOHANG)
        status.extend([code] if found else [])
        return bool(found)

    try:
        wait_until(ended, "the child has ended", seconds)
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        raise
    assert status == [0]


def write_in_both_forms(backend: Backend, writer: str) -> None:
    run(backend, write(writer + " sync", 50))

    async def many() -> None:
        await asyncio.gather(*[arun(backend, write(f"{writer} async {n}", 10)) for n in range(5)])

    asyncio.run(many())


def use_before_and_after_a_fork(directory: Path) -> None:
    with open_backend(directory) as backend:
        write_in_both_forms(backend, "before")

        def child(writer: str) -> None:
            write_in_both_forms(backend, writer)
            if writer == "first":  # a child's child, and one that closes what it has got
                reap(forked(lambda: write_in_both_forms(backend, "grandchild")))
                backend.close()

        children = [forked(lambda writer=writer: child(writer)) for writer in ("first", "second")]  # type: ignore[misc]
        write_in_both_forms(backend, "parent")
        for pid in children:
            reap(pid)
        write_in_both_forms(backend, "after")


def let_the_parent_go_first(directory: Path, ending: str) -> None:
    """This process forks one that opens the backend, forks the last one, and ends before it."""
    (told, tell), (heard, hear) = os.pipe(), os.pipe()

    def parent() -> None:
        backend = open_backend(directory)
        write_in_both_forms(backend, "parent")

        def child() -> None:
            os.close(tell)
            write_in_both_forms(backend, "child")
            os.write(hear, b"1")
            assert os.read(told, 1) == b"2"
            write_in_both_forms(backend, "child later")
            os.write(hear, b"3")
            os.close(hear)
            assert os.read(told, 1) == b"4"

        forked(child)
        os.close(hear)
        assert os.read(heard, 1) == b"1"
        if ending == "closes":
            backend.close()

    pid = forked(parent)
    os.close(hear)
    reap(pid)
    for said in (b"2", b"4"):
        with open_backend(directory) as backend:
            assert {b"parent sync:49", b"child sync:49"} <= set(log(backend))
            if said == b"4":
                assert b"child later sync:49" in log(backend)
        os.write(tell, said)
        if said == b"2":
            assert os.read(heard, 1) == b"3"


def fork_while_threads_write(directory: Path) -> None:
    stop = threading.Event()
    with open_backend(directory, busy_timeout=10.0) as backend, ThreadPoolExecutor(3) as pool:

        def keep_writing(number: int) -> int:
            for n in itertools.count():
                if stop.is_set():
                    return n
                do(backend, Append(LOG, b"%d" % n), name=keys.session(f"thread {number}"))
            return 0

        threads = [pool.submit(keep_writing, number) for number in range(3)]
        try:
            for n in range(15):
                reap(forked(lambda n=n: run(backend, write(f"child {n}", 1))), 20)  # type: ignore[misc]
        finally:
            stop.set()
        for number, thread in enumerate(threads):
            written = thread.result(30)
            assert written == len(log(backend, keys.session(f"thread {number}"))) > 0


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


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
