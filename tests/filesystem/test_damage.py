"""Places that are not ours, or no longer whole; odd names."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filesystem.places import (
    FILE,
    HOME,
    NAME,
    ODD,
    PLACES,
    SOON,
    Ask,
    Database,
    content,
    do,
    fill,
    filled,
    raw,
)

from langgraph_sessionstore import (
    Backend,
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    DamagedStorage,
    ForeignStorage,
    SessionStoreError,
    UnsupportedFormat,
    keys,
    open_backend,
)
from langgraph_sessionstore.backends.apply import apply
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import (
    Add,
    Append,
    Batch,
    Call,
    Drop,
    Expire,
    Get,
    Lease,
    Put,
    Range,
)

# -- places that are not ours, or no longer whole


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


# -- names, and a working directory that changes


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
