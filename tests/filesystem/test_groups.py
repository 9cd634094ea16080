"""Groups of calls, callers that go away, and the end."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filesystem.places import (
    LOG,
    NAME,
    SOON,
    SUM,
    Database,
    Gate,
    answers_of,
    appended,
    do,
    is_closed,
    log,
    open_files,
    raw,
    record,
    without_complaints,
)
from support.waiting import wait_until

from langgraph_sessionstore import (
    Backend,
    BackendClosed,
    BackendFull,
    CorruptData,
    OutcomeUnknown,
    arun,
    open_backend,
)
from langgraph_sessionstore.backends import sqlite_rows
from langgraph_sessionstore.ops import (
    Add,
    Append,
    Batch,
    Call,
    Conflict,
    Count,
    Expect,
    Put,
    call,
)

# -- groups of calls


def test_many_calls_share_few_commits(database: type[Database], tmp_path: Path) -> None:
    with open_backend(tmp_path) as backend:
        before = database.commits
        answers = answers_of(backend, *[Call(NAME, record(n)) for n in range(200)])
        assert 1 <= database.commits - before <= 40
        appended(answers, backend)


def test_a_call_that_fails_hurts_no_other_of_its_group(tmp_path: Path) -> None:
    with open_backend(tmp_path) as backend:
        do(backend, Put(b"text", b"no number"))
        calls = [Call(NAME, record(n)) for n in range(100)]
        calls[50:50] = [
            Call(NAME, Batch(Append(LOG, b"never"), Add(b"text", 1))),
            Call(NAME, Batch(Append(LOG, b"never"), Expect(b"text", False))),
        ]
        answers = answers_of(backend, *calls)
        corrupt, conflict = answers[50:52]
        assert type(corrupt) is CorruptData
        assert conflict == Conflict(1)
        appended(answers[:50] + answers[52:], backend)


def test_a_mistake_in_the_library_hurts_no_other_of_its_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def count(self: sqlite_rows.Partition, lo: bytes, hi: bytes | None) -> int:
        raise ZeroDivisionError

    async def all_at_once(backend: Backend) -> list[Any]:
        tasks = [backend.aexecute([Call(NAME, record(n))]) for n in range(20)]
        tasks.insert(10, backend.aexecute([Call(NAME, Batch(Append(LOG, b"never"), Count(b"", None)))]))
        return await asyncio.gather(*tasks, return_exceptions=True)

    with open_backend(tmp_path) as backend:
        with monkeypatch.context() as patch:
            patch.setattr(sqlite_rows.Partition, "count", count)
            answers = asyncio.run(all_at_once(backend))
        assert isinstance(answers.pop(10), ZeroDivisionError)
        appended([answer for (answer,) in answers], backend)


def test_when_sqlite_rolls_a_group_back_the_others_are_done_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, puts = sqlite_rows.Partition.put, 0

    def put(self: sqlite_rows.Partition, key: bytes, value: bytes) -> None:
        nonlocal puts
        puts += 1
        real(self, key, value)
        if puts == 150:
            self._run("ROLLBACK")
            raise sqlite3.OperationalError("disk I/O error")

    with open_backend(tmp_path) as backend:
        monkeypatch.setattr(sqlite_rows.Partition, "put", put)
        answers = answers_of(backend, *[Call(NAME, record(n)) for n in range(100)])
        assert puts > 300
        appended(answers, backend)


def test_a_commit_for_which_there_is_no_space_is_done_in_parts(database: type[Database], tmp_path: Path) -> None:
    def fail(db: Database) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with open_backend(tmp_path) as backend:
        do(backend, Put(b"k", b"1"))
        database.fail = fail
        answers = answers_of(backend, *[Call(NAME, record(n)) for n in range(100)])
        full = [n for n, answer in enumerate(answers) if type(answer) is BackendFull]
        assert len(full) <= 1  # a group of one has no parts
        assert sorted(map(int, log(backend))) == [n for n in range(100) if n not in full]


@pytest.mark.parametrize("written", [False, True])
def test_a_commit_that_fails_may_have_happened(written: bool, database: type[Database], tmp_path: Path) -> None:
    def fail(db: Database) -> None:
        sqlite3.Connection.execute(db, "COMMIT" if written else "ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    with open_backend(tmp_path) as backend:
        do(backend, Put(b"k", b"1"))
        database.fail = fail
        answers = answers_of(backend, *[Call(NAME, record(n)) for n in range(100)])
        unknown = {n for n, answer in enumerate(answers) if type(answer) is OutcomeUnknown}
        assert unknown
        assert all(isinstance(answer, list) for n, answer in enumerate(answers) if n not in unknown)
        assert sorted(map(int, log(backend))) == [n for n in range(100) if written or n not in unknown]


def test_an_answer_comes_after_the_commit(tmp_path: Path) -> None:
    with open_backend(tmp_path) as backend, raw(tmp_path) as db:

        def is_there(value: bytes) -> bool:
            return bool(db.execute("SELECT count(*) FROM rows WHERE value = ?", (value,)).fetchone() == (1,))

        async def write(n: int) -> bool:
            assert not is_there(b"async %d" % n)
            await arun(backend, call(NAME, Append(LOG, b"async %d" % n), Add(SUM, 1)))
            return is_there(b"async %d" % n)

        async def main() -> None:
            assert all(await asyncio.gather(*[write(n) for n in range(100)]))
            for n in range(100, 150):
                assert await write(n)

        asyncio.run(main())
        for n in range(50):
            do(backend, Append(LOG, b"sync %d" % n), Add(SUM, 1))
            assert is_there(b"sync %d" % n)
        assert len(log(backend)) == 200


# -- callers that go away, and the end


def test_cancelled_callers_leave_whole_batches_or_none(tmp_path: Path) -> None:
    chance = random.Random(1)
    backend = open_backend(tmp_path)
    acknowledged: set[int] = set()
    cancelled = 0

    async def write(n: int) -> None:
        await arun(backend, call(NAME, *record(n).ops))
        acknowledged.add(n)

    async def main() -> None:
        nonlocal cancelled
        for turn in range(100):
            tasks = [asyncio.create_task(write(turn * 5 + n)) for n in range(5)]
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if chance.random() < 0.3:
                await tasks[0]
            for task in tasks[1::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}
            cancelled += sum(result is not None for result in results)
        await write(1000)
        await backend.aclose()

    without_complaints(main)
    assert cancelled > 50
    with open_backend(tmp_path) as other:
        found = [int(value) for value in log(other)]
    assert len(found) == len(set(found))
    assert acknowledged <= set(found)


def test_a_caller_that_is_cancelled_in_the_middle_stops_nobody(gate: Gate, tmp_path: Path) -> None:
    backend = open_backend(tmp_path)

    async def main() -> None:
        first = asyncio.create_task(backend.aexecute([Call(NAME, record(0))]))
        assert await asyncio.to_thread(gate.reached.wait, SOON)
        others = [asyncio.create_task(backend.aexecute([Call(NAME, record(n))])) for n in (1, 2, 3)]
        await asyncio.sleep(0)
        first.cancel()
        others[0].cancel()
        assert not any(task.done() for task in others[1:])
        gate.open.set()
        results = await asyncio.gather(first, *others, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError, asyncio.CancelledError, list, list]
        await backend.aclose()

    without_complaints(main)
    with open_backend(tmp_path) as other:
        assert {b"2", b"3"} <= set(log(other)) <= {b"0", b"1", b"2", b"3"}


def test_an_event_loop_that_ends_while_its_call_waits_stops_nobody(gate: Gate, tmp_path: Path) -> None:
    with open_backend(tmp_path) as backend:

        async def leave() -> None:
            task = asyncio.create_task(backend.aexecute([Call(NAME, record(0))]))
            assert await asyncio.to_thread(gate.reached.wait, SOON)
            assert not task.done()

        asyncio.run(leave())
        gate.open.set()
        assert all(isinstance(answer, list) for answer in answers_of(backend, *[Call(NAME, record(1))] * 50))
        assert log(backend).count(b"1") == 50


@pytest.mark.parametrize("form", ["close", "aclose"])
def test_closing_while_many_wait_answers_them_all(form: str, gate: Gate, tmp_path: Path) -> None:
    backend = open_backend(tmp_path)
    results: list[Any] = []

    async def main() -> None:
        tasks = [asyncio.create_task(backend.aexecute([Call(NAME, record(n))])) for n in range(100)]
        assert await asyncio.to_thread(gate.reached.wait, SOON)
        if form == "aclose":
            ends = [asyncio.create_task(backend.aclose()) for _ in range(2)]
            done, _ = await asyncio.wait(ends, timeout=0.1)
            assert len(done) < len(ends)  # at least one stays until all is done
            gate.open.set()
            await asyncio.gather(*ends)
            assert not [thread for thread in threading.enumerate() if thread.name.startswith("sessionstore")]
        else:
            gate.open.set()
            backend.close()
        results.extend(await asyncio.gather(*tasks, return_exceptions=True))
        with pytest.raises(BackendClosed):
            await backend.aexecute([Call(NAME, record(1000))])
        await backend.aclose()

    without_complaints(main)
    assert {type(result) for result in results} <= {list, BackendClosed}
    with open_backend(tmp_path) as other:
        assert sorted(map(int, log(other))) == [n for n, result in enumerate(results) if isinstance(result, list)]
    assert isinstance(results[0], list)


def test_closing_while_a_thread_is_inside_lets_it_end(gate: Gate, tmp_path: Path) -> None:
    before = open_files()
    with ThreadPoolExecutor(2) as pool:
        backend = open_backend(tmp_path)
        inside = pool.submit(backend.execute, [Call(NAME, record(0))])
        assert gate.reached.wait(SOON)
        end = pool.submit(backend.close)
        wait_until(lambda: is_closed(backend), "the backend is closed")
        gate.open.set()
        end.result(SOON)
        assert isinstance(inside.result(SOON)[0], list)
    assert open_files() == before
    with open_backend(tmp_path) as other:
        assert log(other) == [b"0"]


def test_a_backend_may_be_closed_in_another_loop(tmp_path: Path) -> None:
    backend = open_backend(tmp_path)
    answers_of(backend, *[Call(NAME, record(n)) for n in range(10)])
    without_complaints(backend.aclose)
    without_complaints(backend.aclose)
    backend.close()
    with pytest.raises(BackendClosed):
        asyncio.run(backend.aexecute([Call(NAME, record(10))]))
    with open_backend(tmp_path) as other:
        assert len(log(other)) == 10


def test_two_loops_and_a_thread_use_it_at_once(tmp_path: Path) -> None:
    barrier = threading.Barrier(3, timeout=SOON)

    def by_tasks(part: int) -> list[Any]:
        barrier.wait()
        return answers_of(backend, *[Call(NAME, record(n)) for n in range(part * 100, part * 100 + 100)])

    def by_calls(part: int) -> list[Any]:
        barrier.wait()
        return [backend.execute([Call(NAME, record(n))])[0] for n in range(part * 100, part * 100 + 100)]

    with open_backend(tmp_path) as backend, ThreadPoolExecutor(3) as pool:
        parts = [pool.submit(work, part) for part, work in enumerate([by_tasks, by_tasks, by_calls])]
        appended([answer for part in parts for answer in part.result(SOON)], backend)
