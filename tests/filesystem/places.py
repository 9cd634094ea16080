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
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from langgraph_sessionstore import (
    Backend,
    BackendClosed,
    DamagedStorage,
    ForeignStorage,
    UnsupportedFormat,
    keys,
    open_backend,
    run,
)
from langgraph_sessionstore.backends.apply import apply
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import (
    Add,
    Append,
    Batch,
    Call,
    Get,
    Op,
    Put,
    Range,
    call,
)
from langgraph_sessionstore.testing import check_partition

FILE = "sessions.sqlite3"


HOME = "langgraph_sessionstore.backends.filesystem"


NAME = keys.session("s")


LOG, SUM = keys.encode("log"), keys.encode("sum")


SOON = 30.0  # seconds in which anything ends that does not hang


Ask = Callable[..., Answer]


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


ODD = [
    "two words", "100%", "50%20off", "a?mode=memory", "a#b", "a&b=c", ";", "'", '"', "\\", "new\nline", " ", "-rf", "~",
    "$HOME", "*", "file:x", ":memory:", "é", "e\u0301", "日本", "🙂", "n" * 255, "/".join(["n" * 60] * 5),
    *([os.fsdecode(b"\xff\xfe")] if sys.platform == "linux" else []),
]  # fmt: skip


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


class Gate:
    """Holds a backend in the middle of its work."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self, *args: Any) -> Any:
        self.reached.set()
        assert self.open.wait(SOON)
        return apply(*args)


def without_complaints(main: Callable[[], Awaitable[None]]) -> None:
    """Run this in an event loop that must have nothing to complain about."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        await asyncio.wait_for(main(), SOON)

    asyncio.run(watched())
    gc.collect()
    assert complaints == []


def is_closed(backend: Backend) -> bool:
    try:
        backend.execute([])
    except BackendClosed:
        return True
    return False


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


@contextmanager
def nothing_stays() -> Iterator[None]:
    gc.collect()
    files, threads = open_files(), set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == threads
    assert open_files() == files


def tables(db: sqlite3.Connection) -> tuple[int, int]:
    counts: tuple[int, int] = db.execute(
        "SELECT (SELECT count(*) FROM partitions), (SELECT count(*) FROM rows)"
    ).fetchone()
    return counts
