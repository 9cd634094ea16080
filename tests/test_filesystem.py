"""What the filesystem backend promises of its files, its threads and its groups of calls.

Rule: a place that is not ours, or damaged, is reported by name, and no byte of it changes.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import random
import sqlite3
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from langgraph_sessionstore import (
    Backend,
    BackendClosed,
    BackendError,
    BackendFull,
    BackendUnavailable,
    ConfigurationError,
    CorruptData,
    DamagedStorage,
    ForeignStorage,
    OutcomeUnknown,
    SessionStoreError,
    UnsupportedFormat,
    arun,
    keys,
    open_backend,
    run,
)
from langgraph_sessionstore.backends import sqlite_file, sqlite_rows
from langgraph_sessionstore.backends.apply import apply
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import (
    Add,
    Append,
    Batch,
    Call,
    Conflict,
    Count,
    Drop,
    Expect,
    Expire,
    Get,
    Lease,
    Op,
    Put,
    Range,
    call,
)
from langgraph_sessionstore.testing import check_partition
from tests.support.waiting import wait_until

FILE = "sessions.sqlite3"
HOME = "langgraph_sessionstore.backends.filesystem"
NAME = keys.session("s")
LOG, SUM = keys.encode("log"), keys.encode("sum")
SOON = 30.0  # seconds in which anything ends that does not hang

Ask = Callable[..., Answer]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Do one batch by one of the two forms, and give back its answer."""

    def execute(backend: Backend, *ops: Op, name: bytes = NAME) -> Answer:
        calls = [Call(name, Batch(*ops))]
        return (backend.execute(calls) if request.param == "sync" else asyncio.run(backend.aexecute(calls)))[0]

    return execute


def do(backend: Backend, *ops: Op, name: bytes = NAME) -> Any:
    return run(backend, call(name, *ops))


def log(backend: Backend) -> list[bytes]:
    """The records in their order; their numbers have no gaps, and as many were summed up."""
    rows, total = do(backend, Range(*keys.below("log")), Get(SUM))
    assert [key for key, _ in rows] == [keys.sequence(LOG, n) for n in range(len(rows))]
    assert int(total or 0) == len(rows)
    assert run(backend, check_partition(NAME)) == []
    return [value for _, value in rows]


def record(n: int) -> Batch:
    return Batch(Append(LOG, b"%d" % n), Add(SUM, 1))


def content(directory: Path) -> dict[str, str]:
    """What is in a directory, to the byte. Only for one that this process has not open: it would lose its locks."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def raw(directory: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(directory / FILE, isolation_level=None))


def filled(directory: Path, sessions: int = 20) -> Path:
    """A database of many pages."""
    with open_backend(directory) as backend:
        fill(backend, range(sessions))
    return directory / FILE


def fill(backend: Backend, sessions: Iterable[int]) -> None:
    for n in sessions:
        do(backend, *[Put(keys.encode("row", m), bytes([m]) * 500) for m in range(40)], name=keys.session(f"{n}"))


# -- places that are not ours, or no longer whole


def text_file(store: Path) -> None:
    store.mkdir()
    (store / FILE).write_text("Dear diary, this is no database.\n" * 100)


def short_file(store: Path) -> None:
    store.mkdir()
    (store / FILE).write_bytes(b"x")


def cut_header(store: Path) -> None:
    os.truncate(filled(store), 60)


def overwritten_header(store: Path) -> None:
    with filled(store).open("r+b") as file:
        file.write(random.Random(1).randbytes(100))


def garbled_schema(store: Path) -> None:
    """SQLite quotes it in its error, and it is no text."""
    file = filled(store)
    data = file.read_bytes()
    assert b"CREATE TABLE rows" in data
    file.write_bytes(data.replace(b"CREATE TABLE rows", b"\xff\xfe\xfd\xfcTE TABLE rows"))


def other_program(store: Path) -> None:
    store.mkdir()
    with raw(store) as db:
        db.execute("CREATE TABLE rows(a)")


def other_program_at_work(store: Path) -> None:
    """With changes that are in the log only, as a killed program leaves them."""
    (store / "original").mkdir(parents=True)
    with raw(store / "original") as db:
        db.execute("PRAGMA application_id = 252006674")  # Fossil
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE rows(a)")
        for path in (store / "original").iterdir():
            (store / path.name).write_bytes(path.read_bytes())


def newer_version(store: Path) -> None:
    filled(store)
    with raw(store) as db:
        db.execute("PRAGMA user_version = 2")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def a_file(store: Path) -> None:
    store.write_text("a file")


def a_dangling_link(store: Path) -> None:
    store.symlink_to(store.parent / "nowhere")


PLACES = {
    text_file: DamagedStorage,
    short_file: DamagedStorage,
    cut_header: DamagedStorage,
    overwritten_header: DamagedStorage,
    garbled_schema: DamagedStorage,
    other_program: ForeignStorage,
    other_program_at_work: ForeignStorage,
    newer_version: UnsupportedFormat,
    a_file: ForeignStorage,
    a_dangling_link: ForeignStorage,
}


@pytest.mark.parametrize(("make", "error"), PLACES.items())
def test_what_is_not_ours_is_named_and_left_as_it_is(
    make: Callable[[Path], None], error: type[SessionStoreError], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    make(store)
    before = content(tmp_path)
    with pytest.raises(error) as caught:
        open_backend(store)
    assert str(store) in str(caught.value)
    assert content(tmp_path) == before


def test_a_newer_version_is_noticed_while_it_is_at_work(tmp_path: Path) -> None:
    """Its mark is in the log at first, and comes into the file later."""
    filled(tmp_path)
    with raw(tmp_path) as db:
        db.execute("PRAGMA user_version = 2")
        with pytest.raises(UnsupportedFormat) as caught:
            open_backend(tmp_path).close()
        assert str(tmp_path) in str(caught.value)
        assert db.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_path_below_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(ForeignStorage) as caught:
        open_backend(tmp_path / "file" / "store")
    assert str(tmp_path / "file") in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc lets nobody make a directory, on Linux")
def test_a_directory_that_cannot_be_made_is_unavailable() -> None:
    with pytest.raises(BackendUnavailable, match="/proc/store"):
        open_backend("/proc/store")


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    for name in ("n" * 300, "/".join(["n" * 200] * 4)):  # too long for the system, and too long for SQLite
        with pytest.raises(BackendError) as caught:
            open_backend(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(ConfigurationError):
        open_backend(tmp_path / "a\0b")


def test_damaged_pages_are_reported_on_use_and_left_as_they_are(ask: Ask, tmp_path: Path) -> None:
    file = filled(tmp_path)
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(random.Random(1).randbytes(file.stat().st_size - 4096))
    before = content(tmp_path)
    with open_backend(tmp_path) as backend:
        for op in (Range(b"", None), Put(b"k", b"1"), Get(b"k"), Append(b"a", b"1"), Drop()):
            answer = ask(backend, op, name=keys.session("7"))
            assert type(answer) is DamagedStorage, (op, answer)
            assert str(tmp_path) in str(answer)
    assert content(tmp_path) == before


def test_a_damaged_page_spares_the_other_sessions(tmp_path: Path) -> None:
    """Also those that are in one group with it."""
    file = filled(tmp_path)
    data = bytearray(file.read_bytes())
    pages = [at for at in range(4096, len(data), 4096) if data[at] == 10]  # leaves of an index
    page = pages[len(pages) // 2]
    data[page : page + 4096] = random.Random(2).randbytes(4096)
    file.write_bytes(data)
    calls = [Call(keys.session(f"{n}"), Batch(Range(b"", None), Get(b"k"))) for n in range(20)]

    async def all_at_once(backend: Backend) -> list[list[Answer]]:
        return await asyncio.gather(*[backend.aexecute([call]) for call in calls])

    with open_backend(tmp_path) as backend:
        forms = [[answer for (answer,) in asyncio.run(all_at_once(backend))], backend.execute(calls)]
    for answers in forms:
        damaged = [answer for answer in answers if isinstance(answer, DamagedStorage)]
        whole = [answer for answer in answers if isinstance(answer, list) and len(answer[0]) == 40]
        assert 1 <= len(damaged) <= 3
        assert len(damaged) + len(whole) == 20


@pytest.mark.parametrize("pages", [1, 2, 50])
def test_a_killed_checkpoint_costs_nothing(pages: int, tmp_path: Path) -> None:
    """The first page says how many there are; the others are not all written, but stand in the log."""
    store, killed = tmp_path / "store", tmp_path / "killed"
    killed.mkdir()
    with open_backend(store) as backend:
        fill(backend, range(20))
        for name in (FILE, FILE + "-wal"):
            (killed / name).write_bytes((store / name).read_bytes())
    data = (store / FILE).read_bytes()
    with (killed / FILE).open("r+b") as file:
        assert file.write(data[: pages * 4096]) < len(data)
    with open_backend(killed) as backend:
        for n in range(20):
            assert len(do(backend, Range(b"", None), name=keys.session(f"{n}"))[0]) == 40


def test_a_place_whose_making_was_killed_can_be_used(database: type[Database], tmp_path: Path) -> None:
    """The first page is written, the others are not; the journal says that there were none."""
    journal: list[bytes] = []
    database.fail = lambda db: journal.append((tmp_path / f"{FILE}-journal").read_bytes())
    open_backend(tmp_path).close()
    page = bytearray((tmp_path / FILE).read_bytes()[:4096])
    page[18:20] = b"\1\1"  # there was no log yet
    (tmp_path / FILE).write_bytes(page)
    mark = bytes.fromhex("d9d505f920a163d7")  # is written last, when all else has reached the disk
    (tmp_path / f"{FILE}-journal").write_bytes(mark + journal[0][8:])
    for value in (None, b"1"):
        with open_backend(tmp_path) as backend:
            assert do(backend, Get(b"k"), Put(b"k", b"1")) == [value, None]


def test_a_place_may_be_opened_while_it_grows(tmp_path: Path) -> None:
    def grow() -> None:
        for n in range(50):
            do(backend, *[Put(keys.encode("row", m), bytes(20_000)) for m in range(40)], name=keys.session(f"{n}"))

    with open_backend(tmp_path) as backend, ThreadPoolExecutor(1) as pool:
        do(backend, Put(b"k", b"1"))
        growing = pool.submit(grow)
        opened = 0
        while not growing.done():
            with open_backend(tmp_path) as other:
                assert do(other, Get(b"k")) == [b"1"]
            opened += 1
        growing.result()
        assert opened > 10


def test_no_damage_brings_an_error_of_sqlite_to_the_caller(tmp_path: Path) -> None:
    """Any answer will do, and any error of ours; not a crash, not a hang, no error of another kind."""
    original = filled(tmp_path / "original", 6).read_bytes()
    refused = 0
    for seed in range(60):
        chance = random.Random(seed)
        store = tmp_path / f"{seed}"
        store.mkdir()
        data = bytearray(original)
        for _ in range(chance.choice([1, 3, 20])):
            at = chance.randrange(100, len(data))
            size = chance.choice([1, 10, 4000])
            data[at : at + size] = chance.randbytes(len(data[at : at + size]))
        (store / FILE).write_bytes(data[: chance.choice([len(data), len(data) // 2])])
        try:
            with open_backend(store) as backend:
                for n in range(6):
                    name = keys.session(f"{n}")
                    for op in (Range(b"", None), Add(b"n", 1), Expire(ttl=60_000), Lease(b"me", 1000), Drop()):
                        (answer,) = backend.execute([Call(name, Batch(op))])
                        refused += isinstance(answer, BackendError)
        except SessionStoreError:
            refused += 1
    assert refused > 60


# -- no space left


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set how many pages the database may have, for its connections and those that are opened later."""
    opened: list[sqlite3.Connection] = []
    now = [2**31 - 2]

    def connect(file: Path, durability: str) -> sqlite3.Connection:
        opened.append(sqlite_file.connect(file, durability))
        opened[-1].execute(f"PRAGMA max_page_count = {now[0]}")
        return opened[-1]

    def change(pages: int) -> None:
        now[0] = pages
        for db in opened:
            db.execute(f"PRAGMA max_page_count = {pages}")

    monkeypatch.setattr(f"{HOME}.connect", connect)
    return change


def test_a_full_disk_loses_nothing_and_writing_goes_on_later(
    ask: Ask, limit: Callable[[int], None], tmp_path: Path
) -> None:
    def fill(backend: Backend, number: int) -> int:
        while True:
            rows = [Put(keys.encode("row", number, n), bytes(9000)) for n in range(3)]
            answer = ask(backend, *rows[:2], Append(LOG, b"%d" % number), Add(SUM, 1), rows[2])
            if not isinstance(answer, list):
                break
            number += 1
        assert type(answer) is BackendFull
        assert str(tmp_path) in str(answer)
        for reader in (backend, other):
            assert log(reader) == [b"%d" % n for n in range(number)]
            rows = do(reader, Range(*keys.below("row")))[0]
            assert [key for key, _ in rows] == [keys.encode("row", n, m) for n in range(number) for m in range(3)]
        return number

    with open_backend(tmp_path) as backend, open_backend(tmp_path) as other:
        limit(100)
        first = fill(backend, 0)
        assert first > 5
        limit(200)
        second = fill(backend, first)
        assert second > first + 5
        spare = [Put(keys.encode("spare", n), bytes(9000)) for n in range(10)]
        assert type(ask(backend, *spare)) is BackendFull
        assert ask(backend, *[Put(keys.encode("row", n, 0), b"") for n in range(20)]) == [None] * 20
        assert ask(backend, *spare) == [None] * 10


# -- names, and a working directory that changes

ODD = [
    "two words", "100%", "50%20off", "a?mode=memory", "a#b", "a&b=c", ";", "'", '"', "\\", "new\nline", " ", "-rf", "~",
    "$HOME", "*", "file:x", ":memory:", "é", "e\u0301", "日本", "🙂", "n" * 255, "/".join(["n" * 60] * 5),
    *([os.fsdecode(b"\xff\xfe")] if sys.platform == "linux" else []),
]  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_a_directory_may_have_any_name(name: str, tmp_path: Path) -> None:
    for value in (None, b"1"):
        with open_backend(tmp_path / name) as backend:
            assert do(backend, Get(b"k"), Put(b"k", b"1")) == [value, None]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name / FILE]


def test_a_change_of_the_working_directory_moves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    barrier = threading.Barrier(2, timeout=SOON)

    def at_the_same_time(*args: Any) -> Any:
        barrier.wait()
        return apply(*args)

    with open_backend("store") as backend, ThreadPoolExecutor(2) as pool:
        do(backend, Put(b"k", b"1"))
        monkeypatch.chdir("elsewhere")
        assert do(backend, Get(b"k")) == [b"1"]
        with monkeypatch.context() as patch:
            patch.setattr(f"{HOME}.apply", at_the_same_time)  # one of the two needs a new connection
            assert list(pool.map(lambda _: do(backend, Get(b"k")), range(2))) == [[b"1"], [b"1"]]
        assert asyncio.run(backend.aexecute([Call(NAME, Batch(Get(b"k")))])) == [[b"1"]]
    assert list((tmp_path / "elsewhere").iterdir()) == []


# -- groups of calls


class Database(sqlite3.Connection):
    """A connection that counts what it does, and fails when it is told to."""

    commits = 0
    fail: Callable[[Database], None] | None = None

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if sql == "COMMIT":
            Database.commits += 1
            fail, Database.fail = Database.fail, None
            if fail:
                fail(self)
        return super().execute(sql, parameters)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> type[Database]:
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: real(*args, factory=Database, **options))
    monkeypatch.setattr(Database, "commits", 0)
    monkeypatch.setattr(Database, "fail", None)
    return Database


def answers_of(backend: Backend, *calls: Call) -> list[Any]:
    """The answers to calls that all wait at the same time; an exception stands for itself."""

    async def main() -> list[Any]:
        async def one(call: Call) -> Any:
            return (await backend.aexecute([call]))[0]

        return await asyncio.wait_for(asyncio.gather(*map(one, calls), return_exceptions=True), SOON)

    return asyncio.run(main())


def appended(answers: list[Any], backend: Backend) -> None:
    """These are the answers to `record(0)`, `record(1)` ..., each of which is there once."""
    found = log(backend)
    assert sorted(map(int, found)) == list(range(len(answers)))
    for n, answer in enumerate(answers):
        key, _ = answer
        assert found[[keys.sequence(LOG, m) for m in range(len(found))].index(key)] == b"%d" % n


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


class Gate:
    """Holds a backend in the middle of its work."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self, *args: Any) -> Any:
        self.reached.set()
        assert self.open.wait(SOON)
        return apply(*args)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setattr(f"{HOME}.apply", gate)
    yield gate
    gate.open.set()


def without_complaints(main: Callable[[], Awaitable[None]]) -> None:
    """Run this in an event loop that must have nothing to complain about."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        await asyncio.wait_for(main(), SOON)

    asyncio.run(watched())
    gc.collect()
    assert complaints == []


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


def is_closed(backend: Backend) -> bool:
    try:
        backend.execute([])
    except BackendClosed:
        return True
    return False


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


# -- what stays behind


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


@contextmanager
def nothing_stays() -> Iterator[None]:
    gc.collect()
    files, threads = open_files(), set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == threads
    assert open_files() == files


def test_fifty_backends_leave_no_files_and_threads_behind(tmp_path: Path) -> None:
    async def use(n: int) -> None:
        async with open_backend(tmp_path / f"{n % 5}") as backend:
            await asyncio.gather(*[backend.aexecute([Call(NAME, record(m))]) for m in range(3)])
            await asyncio.to_thread(backend.execute, [Call(NAME, record(n))])

    async def main(times: int) -> None:
        await asyncio.gather(*[use(n) for n in range(times)])

    asyncio.run(main(1))
    with nothing_stays():
        for n in range(20):
            with open_backend(tmp_path / "sync") as backend, ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda m, backend=backend: do(backend, *record(m).ops), range(20)))
            backend = open_backend(tmp_path / "sync")
            answers_of(backend, Call(NAME, record(n)))
            backend.close()
        asyncio.run(main(10))
    with open_backend(tmp_path / "sync") as backend:
        assert len(log(backend)) == 420


def test_places_that_cannot_be_opened_leave_no_files_open(tmp_path: Path) -> None:
    text_file(tmp_path / "text")
    other_program(tmp_path / "other")
    filled(tmp_path / "damaged")
    os.truncate(tmp_path / "damaged" / FILE, 4096)
    with nothing_stays():
        for name in ("text", "other", "damaged") * 5:
            with pytest.raises(BackendError), open_backend(tmp_path / name) as backend:
                do(backend, Get(b"k"))


# -- what is gone


def tables(db: sqlite3.Connection) -> tuple[int, int]:
    counts: tuple[int, int] = db.execute(
        "SELECT (SELECT count(*) FROM partitions), (SELECT count(*) FROM rows)"
    ).fetchone()
    return counts


def test_later_writes_remove_what_has_expired(tmp_path: Path) -> None:
    with open_backend(tmp_path) as backend, raw(tmp_path) as db:
        calls = [
            Call(keys.session(f"{n}"), Batch(*[Put(keys.encode(m), b"x") for m in range(10)], Expire(ttl=100)))
            for n in range(30)
        ]
        do(backend, Put(b"k", b"1"), name=keys.session("stays"))
        assert all(isinstance(answer, list) for answer in backend.execute(calls))
        assert tables(db) == (31, 31 + 301)

        def swept() -> bool:
            do(backend, Put(b"k", b"2"), name=keys.session("stays"))
            return tables(db) == (1, 2)

        wait_until(swept, "the expired partitions are gone", SOON)


def test_the_space_of_what_is_deleted_is_used_again(tmp_path: Path) -> None:
    def size(*ops: Op) -> int:
        with open_backend(tmp_path) as backend:
            for n in range(50):
                do(backend, *ops, name=keys.session(f"{n}"))
        return (tmp_path / FILE).stat().st_size

    rows = [Put(keys.encode("row", n), os.urandom(1000)) for n in range(20)]
    first = size(*rows)
    assert first > 1_000_000
    for _ in range(4):
        assert size(Drop()) <= first * 1.02
        with raw(tmp_path) as db:
            assert tables(db) == (0, 0)
        assert size(*rows) <= first * 1.02
