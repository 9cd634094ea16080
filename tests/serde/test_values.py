"""Data comes back with the same value and the same type, wherever it is nested."""

import collections
import datetime as dt
import decimal
import ipaddress
import pathlib
import re
import sys
import uuid
import zoneinfo
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretBytes, SecretStr
from serde.same import assert_same, serializer, trip
from support import serde_types as types

from langgraph_sessionstore import Unstorable

UTC = dt.timezone.utc
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, -1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 2**64000, -(2**127),
        -(2**128),
        0.0, -0.0, float("nan"), float("inf"), -float("inf"), 1.5, 5e-324, "", "text", "\0", "é日本🎉", "\ud800",
        "a\udfffb",
        b"", b"\0\xff", [], {}, (), ((),), [(1, [2, (3,)])], {"a": {"b": ({},)}}, 1 + 2j, complex(-0.0, float("inf")),
        set(), {1, "a", None, (1, 2), frozenset({3})}, frozenset(), {2**70, 1.5, "\ud800"}, range(0),
        range(5, -2**70, -3),
        collections.deque([1, (2,)]), collections.deque([1, 2], maxlen=5), collections.deque(maxlen=0),
        collections.OrderedDict([("b", 1), (2, (3,))]), collections.Counter("hello"), collections.Counter({(1,): -2}),
        {1: 2, None: 3, 1.5: 4, True is False: 5}, {b"k": 1, (1, (2,)): 2, frozenset({1}): 3, 2**70: 4},
        {"\ud800": {"\0": {"": "\udfff"}}}, {dt.date(2024, 1, 1): 1, uuid.UUID(int=5): 2, types.Color.RED: 3},
        {types.Word.YES: {types.Level.LOW: 1}, types.Point(1, 2): 2, types.Frozen(1): 3}, {-0.0: 1},
        {2**64: {2**65: 1}},
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_builtins(value: Any) -> None:
    trip(value)


@pytest.mark.parametrize(
    "value",
    [
        dt.datetime(2024, 2, 29, 1, 2, 3, 4), dt.datetime.min, dt.datetime.max, dt.datetime(2024, 1, 1, tzinfo=UTC),
        dt.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN), dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN),
        dt.datetime(2024, 1, 1, fold=1),
        dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-5, microseconds=7))),
        dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2), "CEST")), dt.date.min, dt.date(2024, 12, 31),
        dt.time(), dt.time(23, 59, 59, 999999, fold=1), dt.time(1, 2, tzinfo=UTC), dt.time(1, 2, tzinfo=BERLIN),
        dt.timedelta(days=-3, seconds=5, microseconds=7), dt.timedelta.max, UTC, dt.timezone(dt.timedelta(minutes=-7)),
        dt.timezone(dt.timedelta(0), "named"), BERLIN, uuid.uuid4(), uuid.UUID(int=0), decimal.Decimal("1.10"),
        decimal.Decimal("-0"), decimal.Decimal("1E+999999"), decimal.Decimal("Infinity"), decimal.Decimal("123" * 50),
        ipaddress.ip_address("1.2.3.4"), ipaddress.ip_address("fe80::1%eth0"), ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_interface("10.0.0.1/8"), ipaddress.ip_network("fe80::/10"), ipaddress.ip_interface("fe80::1/10"),
        pathlib.PurePosixPath("/a/../b"), pathlib.PureWindowsPath(r"C:\x\y"), pathlib.Path("a/b"),
        pathlib.Path("x\udcff"),
        re.compile("a(b)", re.IGNORECASE | re.VERBOSE), re.compile(b"\xff", re.DOTALL), re.compile(""),
        SecretStr("hush"), SecretBytes(b"\xff"), types.Color.RED, types.Color.BLUE, types.Color.PAIR, types.Color.ODD,
        types.Word.YES, types.Word.ODD, types.Level.HIGH, types.Right.READ | types.Right.WRITE, types.Right(0),
        types.Mode(3), types.Mode(8),
        types.Point(1, [2]), types.Typed("a"), types.Typed("a", ("b",)),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_standard_types(value: Any) -> None:
    back = trip(value)
    assert repr(back) == repr(value)
    assert getattr(back, "fold", None) == getattr(value, "fold", None)
    assert getattr(back, "tzinfo", None) == getattr(value, "tzinfo", None)
    if isinstance(value, (SecretStr, SecretBytes)):
        assert back.get_secret_value() == value.get_secret_value()


exact = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=())),
    st.binary(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.decimals(allow_nan=False),
    st.ip_addresses(),
    st.sampled_from(types.Color),
    st.sampled_from(types.Word),
)
scalars = exact | st.floats() | st.complex_numbers()
hashables = st.recursive(
    exact,
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3) | st.builds(types.Frozen, inner),
    max_leaves=4,
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.lists(inner, max_size=4).map(collections.deque)
        | st.dictionaries(st.text(max_size=3) | hashables, inner, max_size=4)
        | st.sets(hashables, max_size=3)
        | st.builds(types.Plain, st.text(max_size=3), st.lists(inner, max_size=2))
        | st.builds(types.Outer, inner=st.builds(types.Inner), anything=inner)
        | st.builds(types.Point, inner, inner)
    ),
    max_leaves=15,
)


@settings(deadline=None, max_examples=150)
@given(values)
def test_any_combination(value: Any) -> None:
    tag, stored = serializer.dumps_typed(value)
    assert_same(serializer.loads_typed((tag, stored)), value)
    assert serializer.dumps_typed(value)[1] == stored


def test_tags() -> None:
    assert serializer.dumps_typed(None) == ("null", b"")
    assert serializer.dumps_typed(b"x") == ("bytes", b"x")
    assert serializer.dumps_typed(bytearray(b"x")) == ("bytearray", b"x")
    assert type(serializer.loads_typed(("bytearray", b"x"))) is bytearray
    tag, stored = serializer.dumps_typed({"a": 1})
    assert (tag, stored[0]) == ("data", 1)
    assert serializer.loads_typed((tag, memoryview(stored))) == {"a": 1}  # type: ignore[arg-type]


def test_equal_sets_pack_equally() -> None:
    names = [f"name{n}" for n in range(50)]
    mixed: list[Any] = [*names, 1, 2.5, None, (1, 2), 2**70, "\ud800", frozenset(names)]
    for parts in (names, mixed):
        backwards = parts[::-1]
        assert serializer.dumps_typed(set(parts)) == serializer.dumps_typed(set(backwards))


def test_large_and_deep() -> None:
    for size in (15, 16, 65535, 65536):  # how msgpack begins a list depends on its size
        trip({"odd": ["\ud800"] * size, "keys": {str(n): n for n in range(size)} | {"last": {0: 1}}})
    for large in ("é" * 10_000_000, b"x" * 20_000_000, {"a": [b"y" * 20_000_000], 1: "z" * 20_000_000}):
        assert serializer.loads_typed(serializer.dumps_typed(large)) == large
    for wrap in (
        lambda v: [v], lambda v: {"a": v}, lambda v: (v,), lambda v: {1: v}, lambda v: frozenset({v}),
        lambda v: types.Point(v, 1),
        lambda v: types.Plain("é日本" * 20, [v]), lambda v: ("日語" * 9, v),
        lambda v: types.Outer(inner=types.Inner(), anything={"\ud800": [v]}),
    ):  # fmt: skip
        value: Any = 1
        for _ in range(100):
            value = wrap(value)
        assert_same(serializer.loads_typed(serializer.dumps_typed(value)), value)
    for wrap in (lambda v: [v], lambda v: {"a": v}, lambda v: (v,), lambda v: {1: v}):
        value = 1
        for _ in range(200):
            value = wrap(value)
        assert serializer.loads_typed(serializer.dumps_typed(value)) == value


def test_what_is_too_deep_to_be_read_is_refused() -> None:
    for wrap in (
        lambda v: [v], lambda v: (v,), lambda v: {1: v}, lambda v: frozenset({v}), lambda v: frozenset({v, 0}),
        lambda v: types.Excluded(x=1, client=v), lambda v: types.Plain(v), lambda v: ("\ud800", v),
        lambda v: {"\ud800": [v]},
        lambda v: [[[(v,)]]],
    ):  # fmt: skip
        value: Any = 1
        answers = set()
        for depth in range(1, 850):
            value = wrap(value)
            if depth % 40 == 0:
                try:
                    stored = serializer.dumps_typed(value)
                except Unstorable as exc:
                    answers.add(str(exc)[:16])
                else:
                    serializer.loads_typed(stored)
                    answers.add("stored")
        lenient = isinstance(value, types.Excluded)  # what is excluded is left out when it has no stored form
        assert answers == ({"stored"} if lenient else {"stored", "cannot be stored"})


def test_what_degrades_as_in_langgraph() -> None:
    class List(list):  # type: ignore[type-arg]
        pass

    class Moment(dt.datetime):
        pass

    class Zone(dt.tzinfo):
        def utcoffset(self, moment: dt.datetime | None) -> dt.timedelta:
            return dt.timedelta(hours=1)

        def tzname(self, moment: dt.datetime | None) -> str:
            return "zone"

        def dst(self, moment: dt.datetime | None) -> None:
            return None

    there = serializer.loads_typed(serializer.dumps_typed([
        types.Text("a"), {types.Text("k"): 1}, List([1]), collections.defaultdict(list, {1: (2,)}), Moment(2024, 1, 1),
        ValueError("no"),
        bytearray(b"x"), sys.version_info, dt.datetime(2024, 1, 1, tzinfo=Zone()),
    ]))  # fmt: skip
    assert_same(there, [
        "a", {"k": 1}, [1], {1: (2,)}, dt.datetime(2024, 1, 1), "ValueError('no')", b"x", tuple(sys.version_info),
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))),
    ])  # fmt: skip
    assert serializer.loads_typed(serializer.dumps_typed(ValueError("\ud800"))) == repr(ValueError("\ud800"))
