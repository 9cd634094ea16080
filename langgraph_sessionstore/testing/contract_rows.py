"""The part of the contract about rows, guards and numbers."""

from __future__ import annotations

import os
import uuid

import pytest

from .. import keys
from ..errors import BackendUnavailable, CorruptData
from ..ops import (
    COUNTER_LIMIT,
    Add,
    Append,
    Batch,
    Call,
    Conflict,
    Count,
    Delete,
    DeleteRange,
    Drop,
    Expect,
    ExpectEmpty,
    Get,
    Put,
    PutNew,
    Range,
    etag,
    named,
)
from .worker import NASTY, Worker


class RowContract:
    """Rows, ranges, batches, guards, counters."""

    # -- rows

    def test_rows_are_put_replaced_found_and_deleted(self, worker: Worker, name: bytes) -> None:
        assert worker.do(name, Get(b"k"), Delete(b"k"), Range(b"", None), Count(b"", None)) == [None, False, [], 0]
        assert worker.do(name, Put(b"k", b"1"), Get(b"k"), Put(b"k", b"2"), Get(b"k")) == [None, b"1", None, b"2"]
        assert worker.do(name, Get(b"k"), Get(b"kk"), Get(b"")) == [b"2", None, None]
        assert worker.do(name, Delete(b"k"), Delete(b"k"), Get(b"k")) == [True, False, None]

    def test_put_new_keeps_what_is_there(self, worker: Worker, name: bytes) -> None:
        assert worker.do(name, PutNew(b"k", b"1"), PutNew(b"k", b"2"), Get(b"k")) == [True, False, b"1"]
        assert worker.do(name, PutNew(b"k", b"3"), PutNew(b"l", b"4")) == [False, True]
        assert worker.rows(name) == {b"k": b"1", b"l": b"4"}

    def test_values_are_any_bytes(self, worker: Worker, name: bytes) -> None:
        values = [b"", b"\0", b"\0\0x", b"\xff" * 100, bytes(range(256)), b"\xc1", os.urandom(2_000_000)]
        for number, value in enumerate(values):
            worker.do(name, Put(keys.encode("v", number), value))
        assert worker.do(name, *[Get(keys.encode("v", n)) for n in range(len(values))]) == values
        assert list(worker.rows(name).values()) == values

    def test_ranges_are_half_open_ordered_and_cut_to_size(self, worker: Worker, name: bytes) -> None:
        found = [(b"k%02d" % n, b"v%d" % n) for n in range(40)]
        worker.do(name, *[Put(*row) for row in reversed(found)])
        assert worker.do(name, Range(b"k05", b"k08"), Range(b"k05", b"k08", reverse=True)) == [
            found[5:8],
            found[5:8][::-1],
        ]
        assert worker.do(name, Range(b"", None, 3), Range(b"", None, 3, 2), Range(b"", None, 2, 1, True)) == [
            found[:3],
            found[2:5],
            [found[38], found[37]],
        ]
        assert worker.do(
            name, Range(b"k", b"k"), Range(b"k9", b"k1"), Range(b"", None, 0), Range(b"", None, 5, 99)
        ) == [
            [],
            [],
            [],
            [],
        ]
        assert worker.do(name, Range(b"k1", None, None, 35)) == [[]]
        assert worker.do(name, Range(b"k1", None, None, 25)) == [found[35:]]
        assert worker.do(name, Count(b"", None), Count(b"k10", b"k20"), Count(b"x", None)) == [40, 10, 0]
        assert worker.do(name, DeleteRange(b"k10", b"k20"), Count(b"", None), DeleteRange(b"", None)) == [10, 30, 30]

    def test_long_ranges_beside_writes_see_their_place_in_the_batch(self, worker: Worker, name: bytes) -> None:
        old = [(b"k%03d" % n, b"x") for n in range(100)]
        worker.do(name, *[Put(*row) for row in old])
        everything = Range(b"", None)
        before, _, between, _, after = worker.do(
            name, everything, Put(b"k5", b"new"), everything, Delete(b"k5"), everything
        )
        assert before == after == old
        assert sorted(set(between) - set(old)) == [(b"k5", b"new")]
        assert worker.do(name, Expect(b"k000", False), everything) == Conflict(0)
        assert worker.do(name, everything, Expect(b"none", True)) == Conflict(1)
        assert worker.do(name, Expect(b"k000", True), everything) == [None, old]

    def test_keys_keep_tuple_order_and_prefixes_apart(self, worker: Worker, name: bytes) -> None:
        segments = sorted({*NASTY, "foo", "foobar", "foo\x00"})
        tuples = [(a, b) for a in segments[::2] for b in (0, 1, 255, 256, 2**64 - 1)] + [(a,) for a in segments]
        worker.do(name, *[Put(keys.encode(*key), str(key).encode("utf-8", "replace")) for key in tuples])
        found = [keys.decode(key) for key in worker.rows(name)]
        assert found == sorted(tuples)
        for segment in segments:
            inside = worker.do(name, Range(*keys.within(segment)))[0]
            assert [keys.decode(key) for key, _ in inside] == sorted(key for key in tuples if key[0] == segment)

    def test_partitions_with_nasty_names_never_meet(self, worker: Worker) -> None:
        home = str(uuid.uuid4())
        names = {text: keys.encode("test", home, text) for text in NASTY}
        worker.execute(*[Call(names[text], Batch(Put(b"k", names[text]), Add(b"n", 1))) for text in NASTY])
        for text in NASTY:
            assert worker.do(names[text], Get(b"k"), Get(b"n"), Count(b"", None)) == [names[text], b"1", 2]
        for text in NASTY[::2]:
            worker.do(names[text], Drop())
        for place, text in enumerate(NASTY):
            assert worker.do(names[text], Get(b"k")) == [names[text] if place % 2 else None]

    # -- batches and guards

    def test_an_empty_batch_and_no_calls(self, worker: Worker, name: bytes) -> None:
        assert worker.do(name) == []
        assert worker.execute() == []

    def test_a_guard_that_fails_leaves_everything(self, worker: Worker, name: bytes) -> None:
        worker.do(name, Put(b"k", b"1"))
        write = (Put(b"k", b"2"), Put(b"l", b"2"), Append(b"a", b"x"), Add(b"n", 1), Delete(b"k"), Drop())
        assert worker.do(name, Expect(b"k", False), *write) == Conflict(0)
        assert worker.do(name, *write, Expect(b"l", True)) == Conflict(6)
        assert worker.do(name, Expect(b"k", True), *write, Expect(b"k", etag(b"2"))) == Conflict(7)
        assert worker.rows(name) == {b"k": b"1"}

    def test_guards_see_the_state_before_the_batch(self, worker: Worker, name: bytes) -> None:
        worker.do(name, Put(b"k", b"1"))
        assert worker.do(name, Put(b"k", b"2"), Expect(b"k", etag(b"1")), Get(b"k")) == [None, None, b"2"]
        assert worker.do(name, Put(b"new", b"1"), Expect(b"new", False)) == [None, None]
        assert worker.do(name, Expect(b"new", True), Expect(b"none", False), Expect(b"k", etag(b"2"))) == [None] * 3

    def test_a_guard_takes_one_of_several_etags(self, worker: Worker, name: bytes) -> None:
        worker.do(name, Put(b"k", b"1"))
        holding: list[tuple[str, ...]] = [(etag(b"1"),), (etag(b"0"), etag(b"1")), (etag(b"1"), etag(b"2"))]
        for states in holding:
            assert worker.do(name, Expect(b"k", states), Put(b"l", b"x")) == [None, None]
        failing: list[tuple[str, ...]] = [(), (etag(b"2"),), (etag(b"2"), etag(b"3")), ("",)]
        for states in failing:
            assert worker.do(name, Expect(b"k", states), Put(b"l", b"y")) == Conflict(0)
        assert worker.do(name, Expect(b"none", (etag(b""), etag(b"1")))) == Conflict(0)
        assert worker.rows(name) == {b"k": b"1", b"l": b"x"}

    def test_a_name_in_front_of_a_value_is_its_etag(self, worker: Worker, name: bytes) -> None:
        one, two = named(b"\0" * 15 + b"\xff", b"value"), named(b"0123456789abcdef", b"value")
        worker.do(name, Put(b"k", one), Put(b"short", one[:17]), Put(b"cut", one[:16]))
        assert etag(one) == "00" * 15 + "ff"
        assert worker.do(name, Expect(b"k", etag(two))) == Conflict(0)
        fits = Expect(b"k", etag(one)), Expect(b"short", etag(one)), Expect(b"cut", etag(one[:16]))
        assert worker.do(name, *fits, Get(b"k")) == [None, None, None, one]

    def test_guards_hold_for_partitions_that_do_not_exist(self, worker: Worker, name: bytes) -> None:
        assert worker.do(name, Expect(keys.INCARNATION, True), Put(b"k", b"1")) == Conflict(0)
        assert worker.do(name, Expect(keys.INCARNATION, False), Put(b"k", b"1")) == [None, None]
        assert worker.do(name, Expect(keys.INCARNATION, False), Put(b"k", b"2")) == Conflict(0)

    def test_a_guard_can_ask_that_nothing_is_there(self, worker: Worker, name: bytes) -> None:
        assert worker.do(name, ExpectEmpty(b"", None), Put(b"k", b"1")) == [None, None]
        assert worker.do(name, ExpectEmpty(b"", None), Put(b"k", b"2")) == Conflict(0)
        assert worker.do(name, ExpectEmpty(b"l", None), ExpectEmpty(b"", b"k"), Drop()) == [None] * 3
        assert worker.do(name, ExpectEmpty(b"", None)) == [None]

    def test_calls_of_one_trip_stand_for_themselves(self, worker: Worker, name: bytes) -> None:
        names = [keys.encode("x", str(uuid.uuid4())) for _ in range(30)]
        worker.do(names[9], Put(b"n", b"x"))
        calls = [Call(one, Batch(Expect(b"k", False), Add(b"n", 1))) for one in names]
        calls[7] = Call(names[7], Batch(Expect(b"k", True), Add(b"n", 1)))
        answers = worker.answers(*calls)
        assert answers[7] == Conflict(0)
        assert isinstance(answers[9], CorruptData)
        assert [answer for at, answer in enumerate(answers) if at not in (7, 9)] == [[None, 1]] * 28

    def test_ordered_calls_stop_at_the_first_that_is_not_applied(self, worker: Worker, name: bytes) -> None:
        names = [keys.encode("x", str(uuid.uuid4())) for _ in range(4)]
        worker.do(names[1], Put(b"broken", b"x"), Put(b"k", b"1"))
        add = Batch(Add(b"n", 1), Get(b"k"))
        for stop, kinds in [
            (Batch(Expect(b"k", False)), (Conflict, Conflict(-1))),
            (Batch(Add(b"broken", 1)), (CorruptData, BackendUnavailable)),
        ]:
            calls = [Call(names[0], add), Call(names[1], stop), Call(names[2], add), Call(names[3], Batch(Get(b"n")))]
            answers = worker.answers(*calls, ordered=True)
            assert isinstance(answers[0], list)
            assert isinstance(answers[1], kinds[0])
            assert all(answer == kinds[1] or type(answer) is kinds[1] for answer in answers[2:])
            assert worker.do(names[2], Get(b"n")) == [None]
        assert worker.do(names[0], Get(b"n")) == [b"2"]

    def test_ordered_calls_see_what_those_before_them_did(self, worker: Worker, name: bytes) -> None:
        other = keys.encode("x", str(uuid.uuid4()))
        calls = [
            Call(name, Batch(Put(b"k", b"1"))),
            Call(name, Batch(Get(b"k"), Range(b"", None))),
            Call(other, Batch(Put(b"l", b"2"), Get(b"k")), source=name),
            Call(name, Batch(Get(b"k"), Drop())),
            Call(other, Batch(Range(b"", None))),
        ]
        both = [(b"k", b"1"), (b"l", b"2")]
        assert worker.execute(*calls, ordered=True) == [[None], [b"1", both[:1]], [None, b"1"], [b"1", None], [both]]

    def test_a_thousand_operations_in_one_batch(self, worker: Worker, name: bytes) -> None:
        replies = worker.do(name, *[Put(b"%04d" % n, b"x" * 100) for n in range(1000)], Count(b"", None))
        assert replies == [None] * 1000 + [1000]

    # -- numbers

    def test_append_numbers_without_gaps_and_never_again(self, worker: Worker, name: bytes) -> None:
        prefix = keys.encode("log")
        made = worker.do(name, *[Append(prefix, b"%d" % n) for n in range(20)])
        assert made == [keys.sequence(prefix, n) for n in range(20)]
        assert worker.do(name, Range(*keys.below("log"))) == [[(key, b"%d" % n) for n, key in enumerate(made)]]
        worker.do(name, DeleteRange(*keys.below("log")))
        assert worker.do(name, Append(prefix, b"x")) == [keys.sequence(prefix, 20)]
        assert worker.do(name, Append(keys.encode("other"), b"x")) == [keys.sequence(keys.encode("other"), 0)]

    def test_append_keeps_its_order_over_many_digits(self, worker: Worker, name: bytes) -> None:
        prefix = keys.encode("log")
        for start in (0, 14, 250, 4090, 65530, 2**31, 2**40):
            worker.do(name, Put(prefix, b"%d" % start))
            worker.do(name, *[Append(prefix, b"%d" % (start + n)) for n in range(10)])
        values = [int(value) for _, value in worker.do(name, Range(*keys.below("log")))[0]]
        assert values == sorted(values)

    def test_append_needs_a_counter_of_records(self, worker: Worker, name: bytes) -> None:
        worker.do(name, Add(b"n", -1))
        with pytest.raises(CorruptData, match="not a counter of records"):
            worker.do(name, Put(b"k", b"1"), Append(b"n", b"x"))
        worker.do(name, Add(b"m", COUNTER_LIMIT - 1))
        with pytest.raises(CorruptData, match="53 bits"):
            worker.do(name, Append(b"m", b"x"), Append(b"m", b"x"))
        assert worker.rows(name) == {b"n": b"-1", b"m": b"%d" % (COUNTER_LIMIT - 1)}

    def test_add_sums_exactly_up_to_its_limit(self, worker: Worker, name: bytes) -> None:
        assert worker.do(name, Add(b"n", 3), Add(b"n", -5), Add(b"n", 0), Get(b"n")) == [3, -2, -2, b"-2"]
        assert worker.do(name, Add(b"n", 2), Add(b"n", COUNTER_LIMIT)) == [0, COUNTER_LIMIT]
        for amounts in [(1,), (-COUNTER_LIMIT, COUNTER_LIMIT, 1)]:
            with pytest.raises(CorruptData, match="53 bits"):
                worker.do(name, Put(b"k", b"1"), *[Add(b"n", amount) for amount in amounts])
        assert worker.do(name, Add(b"n", -COUNTER_LIMIT), Add(b"n", -COUNTER_LIMIT)) == [0, -COUNTER_LIMIT]
        assert worker.rows(name) == {b"n": b"%d" % -COUNTER_LIMIT}

    @pytest.mark.parametrize(
        "value", [b"", b"x", b"1.5", b"1e3", b" 1", b"0x10", b"--1", b"nan", b"9" * 30, b"9" * 16, b"1\0"]
    )
    def test_what_is_no_counter_is_refused_and_left(self, worker: Worker, name: bytes, value: bytes) -> None:
        worker.do(name, Put(b"n", value), Put(keys.encode("log"), value))
        for op in (Add(b"n", 1), Append(keys.encode("log"), b"x")):
            with pytest.raises(CorruptData, match="not a counter"):
                worker.do(name, Put(b"k", b"1"), op)
        assert worker.rows(name) == {b"n": value, keys.encode("log"): value}
