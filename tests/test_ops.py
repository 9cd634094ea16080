"""Batches refuse what no backend could apply as a whole; links survive or say that they are damaged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langgraph_sessionstore import CorruptData
from langgraph_sessionstore.ops import (
    COUNTER_LIMIT,
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
    Op,
    Page,
    Put,
    PutNew,
    Range,
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
    ],
)  # fmt: skip
def test_keys_with_nul_are_refused(op: Op) -> None:
    with pytest.raises(ValueError, match="no NUL"):
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
    with pytest.raises(ValueError, match=r"not negative|at least one"):
        Batch(op)


@pytest.mark.parametrize("amount", [COUNTER_LIMIT + 1, -COUNTER_LIMIT - 1])
def test_amounts_beyond_what_can_be_summed_are_refused(amount: int) -> None:
    with pytest.raises(ValueError, match="an amount lies between"):
        Batch(Add(b"n", amount))


@pytest.mark.parametrize("op_id", [b"", b"x" * 65])
def test_operation_ids_have_a_size(op_id: bytes) -> None:
    with pytest.raises(ValueError, match="op_id"):
        Batch(op_id=op_id)


@pytest.mark.parametrize(
    ("batch", "writes", "repeatable"),
    [
        (Batch(), False, True),
        (Batch(Get(b"k"), Expect(b"k", True), ExpectLease(b"")), False, True),
        (Batch(Put(b"k", b"v"), Drop(), Expire(ttl=1), Touch(b"a")), True, True),
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


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=5), st.binary(max_size=50))
def test_links_come_back(spans: list[tuple[bytes, bytes]], value: bytes) -> None:
    assert split_links(with_links(spans, value)) == (spans, value)


@given(st.binary(max_size=60).map(lambda raw: b"\xc1" + raw))
def test_damaged_links_are_named(raw: bytes) -> None:
    try:
        spans, value = split_links(raw)
    except CorruptData:
        return
    assert with_links(spans, value) == raw
