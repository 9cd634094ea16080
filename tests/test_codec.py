"""The envelope: every plain value comes back, everything else is a clear error."""

import collections
import datetime
import math
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from langgraph_sessionstore import CorruptData, DataError, Unstorable, UnsupportedFormat
from langgraph_sessionstore.codec import pack, unpack

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(-(2**63), 2**63) | st.binary(), inner),
    max_leaves=20,
)


@given(values)
def test_plain_values_come_back(value: Any) -> None:
    back = unpack(pack(value), "here")
    assert back == value
    assert type(back) is type(value)


def test_nan_tuples_and_bytearrays() -> None:
    assert math.isnan(unpack(pack(math.nan), "here"))
    assert unpack(pack((1, (2,), bytearray(b"x"))), "here") == [1, [2], b"x"]


@pytest.mark.parametrize("leaf", [1, "\xff", b"\xff", "\ud800"])
def test_what_can_be_written_can_be_read(leaf: Any) -> None:
    value, depth = leaf, 0
    while True:
        try:
            packed = pack(value)
        except Unstorable:
            break
        back = unpack(packed, "here")
        for _ in range(depth):
            (back,) = back
        assert back == leaf
        value, depth = [value], depth + 1
    assert depth > 400


@pytest.mark.parametrize(
    "value",
    [
        2**64, -(2**63) - 1, object(), {1, 2}, 1j, [object()], {(1, 2): 3}, {"a": {"b": [object()]}},
        msgpack.ExtType(5, b""), msgpack.Timestamp(1), datetime.datetime.now(datetime.timezone.utc),
        collections.OrderedDict(a=1),
    ],
)  # fmt: skip
def test_what_has_no_stored_form_is_refused(value: Any) -> None:
    with pytest.raises(Unstorable, match="cannot be stored"):
        pack(value)


def test_what_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(Unstorable):
        pack(value)


@given(st.binary())
@example(b"")
@example(b"\x01")
@example(b"\x01\xc1")
@example(b"\x01\xdd\xff\xff\xff\xff")  # a list of four billion
@example(b"\x01" + b"\x91" * 5000)  # nested too deep
@example(b"\x01\x81\x91\x01\x01")  # a list as a key
@example(b"\x01\xd4\x05\x00")  # an extension
@example(b"\x01\xd6\xff\x00\x00\x00\x00")  # a timestamp
def test_any_bytes_are_a_value_or_a_clear_error(raw: bytes) -> None:
    error = None
    try:
        unpack(raw, "row 'x' of session 'y'")
    except DataError as exc:
        error = str(exc)
    assert error is None or "row 'x' of session 'y'" in error


def test_errors_tell_damage_from_a_newer_format() -> None:
    assert pack({"a": 1})[0] == 1
    with pytest.raises(UnsupportedFormat, match=r"format 2.*upgrade"):
        unpack(b"\x02abc", "here")
    for raw in (b"", b"{}", b"\x00", b"\x80\x04"):
        with pytest.raises(CorruptData, match="here holds bytes that this library did not write"):
            unpack(raw, "here")
    with pytest.raises(CorruptData, match="here is damaged"):
        unpack(pack({"a": [1, 2, 3]})[:-1], "here")
    with pytest.raises(CorruptData, match="here is damaged"):
        unpack(pack(1) + b"x", "here")
    with pytest.raises(CorruptData, match="here holds no bytes"):
        unpack("text", "here")  # type: ignore[arg-type]
    with pytest.raises(CorruptData, match=r"here is damaged.*Timestamp"):
        unpack(b"\x01\xd6\xff\0\0\0\0", "here")
