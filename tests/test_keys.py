"""Keys: byte order is tuple order, prefixes are exact, everything decodes again, nothing else does."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from langgraph_sessionstore import CorruptData, keys
from langgraph_sessionstore.testing.worker import NASTY

texts = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.text("\0\x01\x02\x03ab~\ud83d🙂", max_size=5),
    st.sampled_from(NASTY),
)
numbers = st.integers(0, 2**64 - 1) | st.integers(0, 300)


@given(st.tuples(texts, texts), st.tuples(texts, texts))
@example(("\0",), ("",))
@example(("a", "z"), ("ab", ""))
def test_byte_order_is_tuple_order_for_texts(left: tuple[str, ...], right: tuple[str, ...]) -> None:
    assert (keys.encode(*left) < keys.encode(*right)) == (left < right)


@given(st.lists(texts, max_size=3), st.lists(texts, max_size=3))
def test_byte_order_is_tuple_order_for_any_length(left: list[str], right: list[str]) -> None:
    assert (keys.encode(*left) < keys.encode(*right)) == (left < right)


@given(st.tuples(texts, numbers, texts), st.tuples(texts, numbers, texts))
def test_byte_order_is_tuple_order_for_numbers(left: tuple[str, int, str], right: tuple[str, int, str]) -> None:
    assert (keys.encode(*left) < keys.encode(*right)) == (left < right)


@given(st.lists(texts | numbers, max_size=4))
def test_every_key_decodes_and_holds_no_nul(segments: list[keys.Segment]) -> None:
    key = keys.encode(*segments)
    assert keys.decode(key) == tuple(segments)
    assert b"\0" not in key
    assert not segments or key >= keys.SYSTEM[1]


@given(st.lists(texts | numbers, max_size=3), st.lists(texts | numbers, max_size=4))
def test_a_prefix_covers_exactly_what_begins_with_it(prefix: list[keys.Segment], other: list[keys.Segment]) -> None:
    key = keys.encode(*other)
    begins = other[: len(prefix)] == prefix
    lo, hi = keys.within(*prefix)
    assert (lo <= key < hi) == begins
    lo, hi = keys.below(*prefix)
    assert (lo <= key < hi) == (begins and len(other) > len(prefix))
    assert key.startswith(keys.encode(*prefix)) == begins


@given(st.binary(max_size=40) | st.text("$#\x01\x02\x03abf0").map(lambda text: text.encode()))
@example(b"$\x02\x01")
@example(b"#b0f\x01")
@example(b"$\xff\x01")
@example(b"$\xed\xa0\x01")
@example(b"$")
def test_what_is_no_key_is_named_as_such(raw: bytes) -> None:
    try:
        segments = keys.decode(raw)
    except CorruptData:
        return
    assert keys.encode(*segments) == raw


@pytest.mark.parametrize("segment", [-1, 2**64, True, False])
def test_numbers_that_have_no_place_are_refused(segment: int) -> None:
    with pytest.raises(ValueError, match="number in a key"):
        keys.encode(segment)


@pytest.mark.parametrize("segment", [None, 1.0, b"a", ("a",)])
def test_other_types_are_refused(segment: object) -> None:
    with pytest.raises(TypeError, match="text or a whole number"):
        keys.encode(segment)  # type: ignore[arg-type]


def test_stored_bytes_stay_what_they_are() -> None:
    assert keys.encode("session", "a\0b") == b"$session\x01$a\x02\x02b\x01"
    assert keys.encode("c", 0, 255, 2**64 - 1) == b"$c\x01#a0\x01#bff\x01#pffffffffffffffff\x01"
    assert keys.sequence(keys.encode("log"), 26) == keys.encode("log", 26)
    numbers = [0, 1, 9, 15, 16, 255, 256, 1 << 32, (1 << 53) - 1, (1 << 64) - 1]
    assert keys.sequences(keys.encode("log"), numbers) == [keys.encode("log", number) for number in numbers]
    assert keys.session("x") == keys.encode("session", "x")
