"""Batches refuse what no backend could apply as a whole; links survive or say that they are damaged."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langgraph_sessionstore import CorruptData, keys
from langgraph_sessionstore.ops import (
    COUNTER_LIMIT,
    KNOWN_RUNS,
    Add,
    Append,
    Batch,
    Count,
    Delete,
    DeleteRange,
    Drop,
    Expect,
    ExpectLease,
    Expire,
    Forget,
    Get,
    Lease,
    Links,
    Op,
    Page,
    Put,
    PutNew,
    Range,
    Run,
    Tally,
    Touch,
    split_links,
    with_links,
)


@pytest.mark.parametrize(
    "op",
    [
        Get(b"a\0"), Put(b"\0", b""), PutNew(b"a\0b", b""), Delete(b"\0"), Append(b"\0", b""), Add(b"\0", 1),
        Expect(b"\0", True), Range(b"\0", None), Range(b"a", b"b\0"), Count(b"\0", b"b"), DeleteRange(b"a", b"\0"),
        Touch(b"a\0"), Forget(b"a\0"), Page(prefix=b"\0"), Page(after=b"\0"), Tally(b"\0"), Touch(b"a", runs=(b"\0",)),
        Touch(b"a", like=b"\0"),
    ],
)  # fmt: skip
def test_keys_with_nul_are_refused(op: Op) -> None:
    with pytest.raises(ValueError, match=r"bytes without NUL|a tuple of keys"):
        Batch(op)


@pytest.mark.parametrize(
    "ops",
    [
        (Put(b"n", b"x"), Add(b"n", 1)),
        (Append(b"n", b"x"), PutNew(b"n", b"1")),
        (Add(b"n", 1), Append(b"n", b"x")),
    ],
)
def test_setting_and_counting_on_one_key_is_refused(ops: tuple[Op, ...]) -> None:
    with pytest.raises(ValueError, match="both set and count"):
        Batch(*ops)


@pytest.mark.parametrize(
    "op",
    [
        Range(b"", None, -1), Range(b"", None, 5, -1), Page(limit=0), Page(limit=-1), Expire(-1), Expire(ttl=-1),
        Expire(2**60), Lease(b"me", -1), Lease(b"me", 2**60), Touch(b"a", -1), Touch(b"a", ttl=-1),
        Touch(b"a", None, -1),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_are_refused(op: Op) -> None:
    with pytest.raises(ValueError, match=r"takes (a size|a number of lines|milliseconds)"):
        Batch(op)


@pytest.mark.parametrize("amount", [COUNTER_LIMIT + 1, -COUNTER_LIMIT - 1])
def test_amounts_beyond_what_can_be_summed_are_refused(amount: int) -> None:
    with pytest.raises(ValueError, match="up to 53 bits"):
        Batch(Add(b"n", amount))


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ((Append(b"a", b"x"), Add(b"a#a0\x01", 1)), "may append"),
        ((Append(b"a", b"x"), Append(b"a#a0\x01", b"x")), "may append"),
        ((Touch(b"x"), Add(b"nx", 1)), "keep a registry"),
        ((Append(b"nx", b""), Forget(b"x")), "keep a registry"),
        ((Page("created", prefix=b"a"),), "by name or by run"),
    ],
)
def test_what_could_fail_in_the_middle_is_refused(ops: tuple[Op, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Batch(*ops)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Put, (b"k", "text")), (Put, ("k", b"")), (Put, (b"k", bytearray(b"x"))), (Put, (keys.INCARNATION, b"")),
        (Add, (b"n", 1.5)), (Add, (b"n", True)), (Add, (keys.LEASE, 1)), (Get, (None,)), (Delete, (keys.INCARNATION,)),
        (ExpectLease, (None,)), (Lease, ("me", 1)), (Lease, (b"", 1)), (Expect, (b"k", None)), (Page, ("newest",)),
        (Range, (b"", None, 2**31)), (Range, (b"", None, None, 0, 1)), (Touch, (b"a", None, None, None, [b"r"])),
        (Append, (b"\x02x", b"")), (Expire, ("soon",)),
    ],
)  # fmt: skip
def test_what_no_backend_could_store_the_same_is_refused(kind: Any, fields: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__} takes"):
        Batch(kind(*fields))


def test_a_tombstone_is_put_like_any_row() -> None:
    assert Batch(Put(keys.TOMBSTONE, b""), Delete(keys.TOMBSTONE)).writes


@pytest.mark.parametrize("op_id", [b"", b"x" * 65])
def test_operation_ids_have_a_size(op_id: bytes) -> None:
    with pytest.raises(ValueError, match="op_id"):
        Batch(op_id=op_id)


@pytest.mark.parametrize(
    ("batch", "writes", "repeatable"),
    [
        (Batch(), False, True),
        (Batch(Get(b"k"), Expect(b"k", True), ExpectLease(b"")), False, True),
        (Batch(Touch(b"a"), Page()), True, True),
        (Batch(Put(b"k", b"v")), True, False),
        (Batch(Put(b"k", b"v"), repeatable=True), True, True),
        (Batch(Drop()), True, False),
        (Batch(Expire(ttl=1)), True, False),
        (Batch(Forget(b"a")), True, False),
        (Batch(Put(b"k", b"v"), Expect(b"k", True)), True, False),
        (Batch(Append(b"k", b"v")), True, False),
        (Batch(Add(b"k", 1)), True, False),
        (Batch(PutNew(b"k", b"v")), True, False),
        (Batch(Delete(b"k")), True, False),
        (Batch(Lease(b"k", 1)), True, False),
        (Batch(Append(b"k", b"v"), op_id=b"x"), True, True),
    ],
)
def test_batches_know_what_may_be_sent_twice(batch: Batch, writes: bool, repeatable: bool) -> None:
    assert (batch.writes, batch.repeatable) == (writes, repeatable)


prefixes = st.binary(max_size=300).map(lambda raw: raw.replace(b"\0", b""))
numbers = st.integers(0, 2**32 - 1)
runs = st.builds(lambda prefix, ends: Run(prefix, *sorted(ends)), prefixes, st.tuples(numbers, numbers))


@given(st.lists(prefixes, max_size=5), st.lists(runs, max_size=5), st.binary(max_size=50))
def test_links_come_back(below: list[bytes], runs: list[Run], value: bytes) -> None:
    links, rest = split_links(with_links(Links(tuple(below), tuple(runs)), value))
    assert (links.below, sorted(links.runs), rest) == (tuple(below), sorted(runs), value)


def test_a_prefix_is_stored_once() -> None:
    prefix = b"p" * 65_535
    pieces = tuple(Run(prefix, n, n + 1) for n in range(1000))
    links = Links((prefix,), (pieces[0], Run(b"q", 2, 3), *pieces[1:]))
    stored = with_links(links, b"value")
    assert len(stored) < 2 * len(prefix) + 8 * 1001 + 30
    assert split_links(stored) == (Links((prefix,), (*pieces, Run(b"q", 2, 3))), b"value")


def test_a_value_without_links_stays_as_it_is() -> None:
    for value in (b"", b"value", b"\xc1", b"\xc1\0\0"):
        stored = with_links(Links(), value)
        assert split_links(stored) == (Links(), value)
        assert stored == value or value[:1] == b"\xc1"


BAD_RUNS: list[Any] = [
    Run(b"a\0", 0, 1), Run(b"a", -1, 1), Run(b"a", 0, 2**32), Run(b"a", 2, 1), Run("a", 0, 1),  # type: ignore[arg-type]
    Run(b"a", 0, 1.0), Run(b"a", False, 1), Run(b"a" * 65_536, 0, 1), (b"a", 0, 1),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.parametrize("run", BAD_RUNS)
def test_what_is_no_run_is_refused(run: Any) -> None:
    with pytest.raises(ValueError, match="not a run of records"):
        with_links(Links((), (run,)), b"")
    with pytest.raises(ValueError, match="a tuple of up to 1024 runs"):
        Batch(Range(b"a", None, follow=True, known=(run,)))


@pytest.mark.parametrize(
    "links",
    [
        Links((b"a\0",)), Links((b"a" * 65_536,)), Links(("a",)),  # type: ignore[arg-type]
        Links((b"a",) * 65_536), Links((), (Run(b"a", 0, 1),) * 65_536),
    ],
)  # fmt: skip
def test_links_that_do_not_fit_are_refused(links: Links) -> None:
    with pytest.raises(ValueError, match=r"not a prefix|up to 65535"):
        with_links(links, b"")


def test_as_many_links_as_fit_come_back() -> None:
    links = Links((b"a",) * 65_535, (Run(b"a", 0, 2**32 - 1),) * 65_535)
    assert split_links(with_links(links, b"value")) == (links, b"value")


@given(st.binary(max_size=60).map(lambda raw: b"\xc1" + raw))
def test_damaged_links_are_named(raw: bytes) -> None:
    try:
        links, value = split_links(raw)
    except CorruptData:
        return
    again, rest = split_links(with_links(links, value))
    assert (again.below, sorted(again.runs), rest) == (links.below, sorted(links.runs), value)


@given(st.lists(prefixes, max_size=3), st.lists(runs, min_size=1, max_size=3), st.data())
def test_links_cut_short_are_named(below: list[bytes], runs: list[Run], data: st.DataObject) -> None:
    stored = with_links(Links(tuple(below), tuple(runs)), b"")
    with pytest.raises(CorruptData, match="end early"):
        split_links(stored[: data.draw(st.integers(1, len(stored) - 1))])


def test_what_is_known_needs_links_to_follow() -> None:
    known = (Run(b"a", 0, 1),) * KNOWN_RUNS
    assert Batch(Range(b"a", None, follow=True, known=known)).repeatable
    with pytest.raises(ValueError, match="does not follow"):
        Batch(Range(b"a", None, known=known))
    for wrong in (known * 2, list(known), None):
        with pytest.raises(ValueError, match="a tuple of up to 1024 runs"):
            Batch(Range(b"a", None, follow=True, known=wrong))  # type: ignore[arg-type]
