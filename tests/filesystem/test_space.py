"""Disks that are full, and what is left behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filesystem.places import (
    FILE,
    LOG,
    NAME,
    SOON,
    SUM,
    Ask,
    answers_of,
    do,
    filled,
    log,
    nothing_stays,
    other_program,
    raw,
    record,
    tables,
    text_file,
)
from support.waiting import wait_until

from langgraph_sessionstore import (
    Backend,
    BackendError,
    BackendFull,
    keys,
    open_backend,
)
from langgraph_sessionstore.ops import (
    Add,
    Append,
    Batch,
    Call,
    Drop,
    Expire,
    Get,
    Op,
    Put,
    Range,
)

# -- no space left


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


# -- what stays behind


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
