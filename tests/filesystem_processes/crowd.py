"""The filesystem backend in the hands of many processes, which write, wait, fork and are killed.

Rule: what was answered stays. What is there was written by one whole batch, once.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from support.nursery import NURSERY
from support.waiting import wait_until

from langgraph_sessionstore import (
    Backend,
    BackendError,
    OutcomeUnknown,
    arun,
    keys,
    open_backend,
    run,
)
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import Add, Append, Batch, Call, Conflict, Expect, Get, Op, Plan, Put, Range, call, etag
from langgraph_sessionstore.testing import check_partition

NAME = keys.session("shared")


LOG, SUM, COUNTER = keys.encode("log"), keys.encode("sum"), keys.encode("counter")


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
    process = NURSERY.Process(target=target, args=args, daemon=True)
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


def open_by_many_threads(directories: list[Path], member: int) -> None:
    def use(directory: Path) -> None:
        with open_backend(directory) as backend:
            run(backend, write(f"{member}", 3))

    for directory in directories:
        meet(directory, member, 3)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(use, [directory] * 6))


def be_a_visitor(directory: Path, records: list[bytes]) -> None:
    """Another process that looks at what is there, and goes."""
    with open_backend(directory) as backend:
        assert log(backend) == records, log(backend)


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
