"""The part of the contract about registries: partitions that list other partitions."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from .. import keys
from ..ops import (
    Delete,
    Entries,
    Entry,
    Forget,
    Page,
    Put,
    Tally,
    Touch,
)
from .checks import check_registry
from .worker import Worker


class RegistryContract:
    """Orders, cursors, prefixes, runs, expiry."""

    @pytest.fixture
    def registry(self, worker: Worker) -> Iterator[bytes]:
        """A registry of its own, checked after the test."""
        registry = keys.registry(str(uuid.uuid4()))
        yield registry
        wrong = worker.run(check_registry(registry))
        assert not wrong, wrong

    def test_the_registry_pages_in_every_order(self, worker: Worker, registry: bytes) -> None:
        names = [keys.session(text) for text in ("d", "a", "c", "e", "b", "aa")]
        worker.do(registry, *[Touch(one, at=1000 + n) for n, one in enumerate(names)])
        worker.do(registry, Touch(names[2], at=2000), Touch(names[0], at=500))
        moved = [n for n in range(6) if n != 2] + [2]
        orders: dict[Any, list[bytes]] = {
            "created": names,
            "active": [names[n] for n in moved],
            "name": sorted(names),
        }
        for by, wanted in orders.items():
            for reverse in (False, True):
                seen: list[bytes] = []
                after = b""
                while True:
                    page: Entries = worker.do(registry, Page(by, after=after, limit=2, reverse=reverse))[0]
                    seen += [entry.name for entry in page.rows]
                    after = page.cursor
                    if not after:
                        break
                assert seen == wanted[:: -1 if reverse else 1], (by, reverse)
        fresh, runs = keys.session("f"), (keys.encode("r"),)
        worker.do(registry, Touch(names[2], at=3000, ttl=1, runs=runs, new=True), Touch(fresh, at=2, new=True))
        entry = worker.do(registry, Page("name", prefix=names[2]))[0].rows[0]
        assert entry == Entry(names[2], 1002, 2000, 0)
        assert worker.do(registry, Page("created", limit=1))[0].rows == [Entry(fresh, 2, 2, 0)]
        assert worker.do(registry, Page("run", prefix=runs[0]))[0].rows == []

    def test_the_registry_finds_by_prefix_and_counts(self, worker: Worker, registry: bytes) -> None:
        names = [keys.encode(*one) for one in [("a",), ("a", "b"), ("a", "c"), ("ab",), ("ab", "b"), ("b",)]]
        worker.do(registry, *[Touch(one) for one in names])
        assert worker.do(registry, Tally(), Tally(keys.encode("a")), Tally(keys.encode("x"))) == [6, 3, 0]
        page = worker.do(registry, Page("name", prefix=keys.encode("a"), limit=2))[0]
        assert [entry.name for entry in page.rows] == names[:2]
        page = worker.do(registry, Page("name", prefix=keys.encode("a"), limit=2, after=page.cursor))[0]
        assert ([entry.name for entry in page.rows], page.cursor) == ([names[2]], b"")
        page = worker.do(registry, Page("name", prefix=keys.encode("a"), reverse=True))[0]
        assert [entry.name for entry in page.rows] == names[2::-1]

    def test_the_registry_takes_the_time_from_the_server(self, worker: Worker, registry: bytes) -> None:
        worker.do(registry, Touch(b"$a\x01"))
        entry = worker.do(registry, Page())[0].rows[0]
        assert entry.created == entry.active
        assert abs(entry.created - time.time() * 1000) < 60_000

    def test_the_registry_finds_partitions_by_run(self, worker: Worker, registry: bytes) -> None:
        runs = {text: keys.encode(text) for text in ("r", "r1", "\0")}
        names = [keys.session("a"), keys.session("ab")]
        worker.do(registry, Touch(names[0], runs=(runs["r"], runs["r1"])), Touch(names[1], runs=(runs["r"],)))
        worker.do(registry, Touch(names[0], runs=(runs["\0"],)))

        def found(text: str) -> list[bytes]:
            return [entry.name for entry in worker.do(registry, Page("run", prefix=runs[text]))[0].rows]

        assert [found("r"), found("r1"), found("\0")] == [names, names[:1], names[:1]]
        page = worker.do(registry, Page("run", prefix=runs["r"], limit=1))[0]
        page = worker.do(registry, Page("run", prefix=runs["r"], limit=1, after=page.cursor))[0]
        assert [entry.name for entry in page.rows] == names[1:]
        like = keys.session("b")
        worker.do(registry, Touch(like, runs=(runs["r1"],), like=names[1]), Touch(names[1], like=keys.session("no")))
        assert [found("r"), found("r1"), found("\0")] == [[*names, like], [names[0], like], names[:1]]
        worker.do(registry, Touch(like, like=names[0], new=True))
        assert found("\0") == names[:1]
        worker.do(registry, Touch(like, like=names[0]), Forget(names[0]))
        assert [found("r"), found("r1"), found("\0")] == [[names[1], like], [like], [like]]
        worker.do(registry, Forget(like))
        assert [found("r"), found("r1"), found("\0")] == [names[1:], [], []]

    def test_the_registry_forgets(self, worker: Worker, registry: bytes) -> None:
        names = [keys.session(text) for text in ("a", "ab", "b")]
        worker.do(registry, *[Touch(one, expires=10**12 * 9) for one in names])
        worker.do(registry, Forget(names[0]), Forget(keys.session("unknown")))
        assert worker.do(registry, Tally()) == [2]
        assert [entry.name for entry in worker.do(registry, Page("name"))[0].rows] == names[1:]

    def test_the_registry_forgets_what_was_not_active_since(self, worker: Worker, registry: bytes) -> None:
        used, idle = keys.session("used"), keys.session("idle")
        worker.do(registry, Touch(used, at=1000), Touch(idle, at=1000), Touch(used, at=1001))
        worker.do(registry, *[Forget(name, 1000) for name in (used, idle, keys.session("unknown"))])
        assert [entry[:3] for entry in worker.do(registry, Page("name"))[0].rows] == [(used, 1000, 1001)]
        worker.do(registry, Forget(used, 1001))
        assert worker.do(registry, Tally()) == [0]

    def test_the_registry_passes_over_what_has_expired(self, worker: Worker, registry: bytes) -> None:
        kept, gone = keys.session("kept"), [keys.session(f"gone{n}") for n in range(250)]
        worker.do(registry, *[Touch(one, ttl=1, runs=(keys.encode("r"),)) for one in gone])
        worker.do(registry, Touch(kept, ttl=60_000), Touch(kept, expires=0), Touch(keys.session("z"), ttl=60_000))
        assert worker.do(registry, Page("name", prefix=keys.session("z")))[0].rows[0].expires > 0
        time.sleep(0.01)
        assert worker.do(registry, Tally(), Tally(keys.encode("session", "gone1")), Tally(keys.encode("session"))) == [
            2,
            0,
            2,
        ]
        for by in ("created", "active", "name"):
            after, seen = b"", []
            while True:
                page = worker.do(registry, Page(by, after=after, limit=100))[0]
                seen += page.rows
                after = page.cursor
                if not after:
                    break
            assert {entry.name for entry in seen} == {kept, keys.session("z")}
        assert worker.do(registry, Page("run", prefix=keys.encode("r")))[0].rows == []
        assert len(worker.rows(registry)) == 7  # purged, not only hidden

    def test_a_damaged_record_counts_as_none(self, worker: Worker, registry: bytes) -> None:
        name, other = keys.session("a"), keys.session("b")
        worker.do(registry, Touch(name, at=5000), Touch(other, at=5000))
        for damage in (b"", b"zz", b"z" * 36):
            worker.do(registry, Put(b"n" + name, damage))
            assert [entry.name for entry in worker.do(registry, Page("active"))[0].rows] == [other]
        worker.do(registry, Forget(name), Put(b"n" + other, b"zz"), Touch(other, at=5000))
        assert worker.do(registry, Page("active"))[0].rows == [Entry(other, 5000, 5000, 0)]
        for order in (b"c", b"a"):  # what the damaged record no longer led to
            worker.do(registry, Delete(b"%b%012x%b" % (order, 5000, name)))

    def test_what_expired_can_be_listed_anew(self, worker: Worker, registry: bytes) -> None:
        name = keys.session("again")
        worker.do(registry, Touch(name, at=5000, expires=6000, runs=(keys.encode("old"),)))
        worker.do(registry, Touch(name, at=7000))
        assert worker.do(registry, Page(), Tally()) == [Entries([Entry(name, 7000, 7000, 0)], b""), 1]
        assert worker.do(registry, Page("run", prefix=keys.encode("old")))[0].rows == []
