"""The part of the contract about ranges that follow links."""

from __future__ import annotations

import os

import pytest

from .. import keys
from ..errors import CorruptData
from ..ops import (
    FOLLOW_BYTES,
    FOLLOW_SPANS,
    Append,
    Delete,
    Lease,
    Linked,
    Links,
    Op,
    Put,
    Range,
    Row,
    Run,
    named,
    split_links,
    with_links,
)
from .worker import Worker

A, B = keys.encode("a"), keys.encode("b")
HEADS = keys.below("head")


def _head(number: int, *runs: Run, below: tuple[bytes, ...] = ()) -> Row:
    return keys.encode("head", number), with_links(Links(below, runs), b"head")


def _records(prefix: bytes, *numbers: int) -> list[Row]:
    return [(keys.sequence(prefix, n), b"%d" % n) for n in numbers]


def _sequence(prefix: bytes, size: int) -> list[Op]:
    return [Append(prefix, b"%d" % n) for n in range(size)]


class LinkContract:
    """Links of both kinds, what is known, what is too much, what is damaged."""

    def test_a_following_range_brings_what_its_rows_link_to(self, worker: Worker, name: bytes) -> None:
        parts = [(keys.encode("part", n, "x"), b"p%d" % n) for n in range(4)]
        heads = [
            _head(1, Run(A, 3, 6), Run(B, 0, 1), below=(keys.encode("part", 1), keys.encode("none"))),
            _head(2, Run(A, 5, 8), Run(A, 6, 7), Run(A, 2, 2), Run(A, 18, 30), below=(keys.encode("part", 3),)),
            (keys.encode("head", 3), b"plain"),
        ]
        worker.do(name, *_sequence(A, 20), *_sequence(B, 2), *[Put(*row) for row in heads + parts])
        wanted = [*_records(A, 3, 4, 5, 6, 7, 18, 19), *_records(B, 0), parts[1], parts[3]]
        assert worker.do(name, Range(*HEADS, follow=True)) == [Linked(heads, wanted, True)]
        assert worker.do(name, Range(*HEADS, limit=1, reverse=True, follow=True)) == [Linked([heads[2]], [], True)]
        assert worker.do(name, Range(*keys.below("part"), follow=True)) == [Linked(parts, [], True)]
        assert split_links(heads[0][1])[1] == b"head"

    def test_links_are_found_behind_a_name(self, worker: Worker, name: bytes) -> None:
        key, value = _head(1, Run(A, 1, 3), below=(B,))
        worker.do(name, Put(key, named(b"0123456789abcdef", value)), *_sequence(A, 4), *_sequence(B, 1))
        (found,) = worker.do(name, Range(*HEADS, follow=True))
        assert found.linked == [*_records(A, 1, 2), *_records(B, 0)]

    def test_links_below_a_prefix_mean_what_is_longer(self, worker: Worker, name: bytes) -> None:
        rows = [(key, b"") for key in (b"p", b"p\x01", b"p\x02", b"pp", b"p\xfe", b"p\xff", b"q")]
        worker.do(name, *[Put(*row) for row in [*rows, _head(1, below=(b"p",))]])
        assert worker.do(name, Range(*HEADS, follow=True))[0].linked == rows[2:5]

    def test_a_run_brings_records_and_nothing_below_them(self, worker: Worker, name: bytes) -> None:
        inner = keys.sequence(A, 1) + keys.encode("part")
        others = [(A + b"#a2", b"x"), (A + b"#b05\x01", b"x"), (A + b"#a10\x01", b"x")]
        worker.do(name, *_sequence(A, 20), *[Put(*row) for row in [*others, _head(1, Run(A, 1, 17))]])
        worker.do(name, *_sequence(inner, 3))
        assert worker.do(name, Range(*HEADS, follow=True))[0].linked == _records(A, *range(1, 17))
        worker.do(name, Put(*_head(2, Run(inner, 0, 2))))
        wanted = [*_records(A, *range(1, 17)), *_records(inner, 0, 1)]
        assert worker.do(name, Range(*HEADS, follow=True))[0].linked == sorted(wanted)

    def test_links_to_what_is_not_there_bring_nothing(self, worker: Worker, name: bytes) -> None:
        head = _head(1, Run(A, 7, 9), Run(A, 2**31, 2**32 - 1), Run(b"", 0, 2**32 - 1), below=(b"none",))
        worker.do(name, Put(*head), *_sequence(A, 5))
        assert worker.do(name, Range(*HEADS, follow=True)) == [Linked([head], [], True)]
        worker.do(name, Put(*_head(1, Run(A, 0, 2**32 - 1))), Delete(keys.sequence(A, 1)))
        assert worker.do(name, Range(*HEADS, follow=True))[0].linked == _records(A, 0, 2, 3, 4)

    def test_links_never_lead_to_system_rows(self, worker: Worker, name: bytes) -> None:
        hidden = (b"", b"\x01", b"\x02", b"\x02i", b"\x02o", keys.LEASE)
        head = _head(1, *[Run(prefix, 0, 2**32 - 1) for prefix in hidden], below=hidden)
        worker.do(name, Put(*head), Put(keys.TOMBSTONE, b"x"), Lease(b"me", 60_000), op_id=b"id")
        worker.do(name, Put(b"\x01below", b"x"), Put(b"k", b"1"))
        assert worker.do(name, Range(*HEADS, follow=True)) == [Linked([head], [head, (b"k", b"1")], True)]

    # -- what is known

    @pytest.mark.parametrize(
        "known",
        [
            [(0, 100)], [(2, 8)], [(0, 3)], [(6, 99)], [(3, 7)], [(4, 4)], [(10, 20)], [(12, 20)], [(7, 9), (0, 2)],
            [(3, 5), (4, 6), (6, 7)], [(n, n + 1) for n in range(0, 10, 2)],
        ],
    )  # fmt: skip
    def test_what_is_known_is_left_out(self, worker: Worker, name: bytes, known: list[tuple[int, int]]) -> None:
        heads = [_head(1, Run(A, 0, 8), Run(B, 0, 10)), _head(2, Run(A, 2, 10))]
        worker.do(name, *_sequence(A, 12), *_sequence(B, 12), *[Put(*head) for head in heads])
        runs = tuple(Run(A, *pair) for pair in known)
        new = [n for n in range(12) if not any(first <= n < stop for first, stop in known)]
        wanted = [*_records(A, *[n for n in new if n < 10]), *_records(B, *range(10))]
        assert worker.do(name, Range(*HEADS, follow=True, known=runs)) == [Linked(heads, wanted, True)]
        worker.do(name, Put(*_head(1, below=(A,))), Put(*_head(2, below=(B,))))
        wanted = [*_records(A, *new), *_records(B, *range(12))]
        assert worker.do(name, Range(*HEADS, follow=True, known=runs))[0].linked == wanted

    def test_what_is_known_is_records_only(self, worker: Worker, name: bytes) -> None:
        inner = keys.sequence(A, 1) + keys.encode("part")
        worker.do(name, *_sequence(A, 3), Put(*_head(1, Run(inner, 0, 2), below=(A,))))
        worker.do(name, *_sequence(inner, 2))
        (found,) = worker.do(name, Range(*HEADS, follow=True, known=(Run(A, 0, 2), Run(B, 0, 9))))
        assert found.linked == sorted([(inner, b"2"), *_records(inner, 0, 1), *_records(A, 2)])
        heads = worker.do(name, Range(*HEADS, follow=True, known=(Run(keys.encode("head"), 0, 9),)))[0].rows
        assert len(heads) == 1  # the rows of the range itself are never left out

    def test_a_thousand_known_runs(self, worker: Worker, name: bytes) -> None:
        head = _head(1, Run(A, 0, 2048), Run(B, 0, 5))
        worker.do(name, Put(*head), *_sequence(A, 40), *_sequence(B, 5))
        known = tuple(Run(A, 2 * n, 2 * n + 1) for n in range(1000))
        (found,) = worker.do(name, Range(*HEADS, follow=True, known=known))
        assert found == Linked([head], [*_records(A, *range(1, 40, 2)), *_records(B, *range(5))], True)

    # -- how much

    def test_runs_that_overlap_are_read_once(self, worker: Worker, name: bytes) -> None:
        size = FOLLOW_BYTES // 128
        records = [(keys.sequence(A, n), os.urandom(size)) for n in range(100)]
        heads = [_head(n, Run(A, 0, n + 1), below=(b"none",)) for n in range(100)]
        worker.do(name, *[Append(A, value) for _, value in records], *[Put(*head) for head in heads])
        (found,) = worker.do(name, Range(*HEADS, reverse=True, follow=True))
        assert found == Linked(heads[::-1], records, True)
        worker.do(name, Put(*_head(100, below=(A,))))  # the same rows by another way
        (found,) = worker.do(name, Range(*HEADS, follow=True))
        assert (found.linked, found.complete) == (records, True)

    def test_runs_that_touch_or_are_known_do_not_count(self, worker: Worker, name: bytes) -> None:
        runs = [Run(A, n, n + 1) for n in range(2 * FOLLOW_SPANS)]
        apart = [Run(B, 2 * n, 2 * n + 1) for n in range(2 * FOLLOW_SPANS)]
        worker.do(name, Put(*_head(1, *runs, *apart)), *_sequence(A, 3), *_sequence(B, 3))
        (found,) = worker.do(name, Range(*HEADS, follow=True, known=(Run(B, 1, 2**20),)))
        assert (found.linked, found.complete) == ([*_records(A, 0, 1, 2), *_records(B, 0)], True)

    def test_too_many_spans_are_left_to_the_reader(self, worker: Worker, name: bytes) -> None:
        runs = [Run(A, 2 * n, 2 * n + 1) for n in range(FOLLOW_SPANS - 1)]
        head = _head(1, *runs, below=(B,))
        worker.do(name, Put(*head), *_sequence(A, 3), *_sequence(B, 1))
        (found,) = worker.do(name, Range(*HEADS, follow=True))
        assert found == Linked([head], [*_records(A, 0, 2), *_records(B, 0)], True)
        more = _head(2, Run(A, 2 * FOLLOW_SPANS, 3 * FOLLOW_SPANS))
        worker.do(name, Put(*more))
        assert worker.do(name, Range(*HEADS, follow=True)) == [Linked([head, more], [], False)]

    def test_a_following_range_gives_all_or_says_that_it_does_not(self, worker: Worker, name: bytes) -> None:
        records = [(keys.sequence(A, n), os.urandom(2000)) for n in range(100)]
        for head in (_head(1, below=(A,)), _head(1, Run(A, 0, 100))):
            worker.do(name, Put(*head), *[Put(*row) for row in records])
            (found,) = worker.do(name, Range(*HEADS, follow=True))
            assert found == (Linked([head], records, True) if found.complete else Linked([head], [], False))
        (found,) = worker.do(name, Range(*HEADS, follow=True, known=(Run(A, 20, 200),)))
        assert found == Linked([head], records[:20], True)

    # -- damage

    @pytest.mark.parametrize(
        "damage",
        [
            b"\xc1", b"\xc1\0", b"\xc1\0\1\0\0\0", b"\xc1\0\1\0\0\0\5$a", b"\xc1" + b"\xff" * 8,
            b"\xc1\0\1\0\1\0\3$b\1\0\3$a\1\0\2\0\0\0\0\0\0\0\2\0\0\0", b"\xc1\0\1\0\0\0\4$a\1\0",
            b"\xc1\0\1\0\1\0\3$b\1\0\3$a\1\0\1\0\0\0\2\0\0\0\1", b"\xc1\0\1\0\1\0\3$b\1\0\3$\0\1\0\1\0\0\0\0\0\0\0\1",
        ],
    )  # fmt: skip
    def test_damaged_links_are_left_to_the_reader(self, worker: Worker, name: bytes, damage: bytes) -> None:
        rows = [(keys.encode("head", 0), damage), _head(1, Run(A, 1, 3))]
        worker.do(name, *[Put(*row) for row in rows], *_sequence(A, 3), *_sequence(B, 3))
        assert worker.do(name, Range(*HEADS, follow=True)) == [Linked(rows, _records(A, 1, 2), True)]
        with pytest.raises(CorruptData, match="links"):
            split_links(damage)
