"""Whatever the bytes are: a value or a `DataError`, and never the end of the process."""

import contextlib
import subprocess
import sys
import threading
from typing import Any

import langchain_core.messages as lc
import ormsgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from serde.same import serializer
from support import serde_types as types

from langgraph_sessionstore import CorruptData, DataError, UnsupportedFormat
from langgraph_sessionstore.serde import codes

quick = settings(deadline=None, max_examples=150)
SAMPLES = [
    serializer.dumps_typed(value)[1]
    for value in (
        {"a": [1, (2, {3}), None, "text", b"bytes"], 5: 2**70, "\ud800": 1.5},
        [lc.HumanMessage("x", id="1"),
        lc.AIMessage("y", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "1"}], extra=(1,))],
        [types.Outer(inner=types.Inner(), anything=types.Plain("a", [types.Color.RED, types.Point(1, 2)])),
        types.Box[int](content=1)],
        [types.NotInit(3), types.Private(x=1), types.Numbers([1]), types.Word.YES, types.Checked(x=1),
        types.WithInitVar(1, 2)],
    )
]  # fmt: skip
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.sampled_from([f"support.serde_types:{name}" for name in vars(types)]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=5) | st.sampled_from(["x", "name", "root"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def load(raw: bytes) -> Any:
    with contextlib.suppress(DataError):
        return serializer.loads_typed(("data", raw))


@quick
@given(st.binary(max_size=200))
def test_random_bytes(raw: bytes) -> None:
    load(raw)
    load(b"\x01" + raw)


@quick
@given(st.sampled_from(SAMPLES), st.integers(0, 10**6), st.integers(0, 255), st.integers(0, 3))
def test_mutated_bytes(raw: bytes, at: int, byte: int, how: int) -> None:
    at %= len(raw)
    load(
        [
            raw[:at] + bytes([byte]) + raw[at + 1 :],
            raw[:at],
            raw[:at] + raw[at + 1 :],
            raw[:at] + bytes([byte]) + raw[at:],
        ][how]
    )


@quick
@given(st.sampled_from(sorted(codes.NAMES)) | st.integers(0, 127), plain)
@example(codes.PAIRS, [[], 1])
@example(codes.PAIRS, [1])
@example(codes.SET, [[]])
@example(codes.SET, 5)
@example(codes.MESSAGE, [1, {"content": 5, "additional_kwargs": None}])
@example(codes.MESSAGE, [99, {}])
@example(codes.MESSAGE, [1, {}, 5])
@example(codes.DECIMAL, [0, [1] * 5, 2**40])
@example(codes.ZONE, "../../etc/passwd")
@example(codes.ZONE, "/etc/passwd")
@example(codes.ZONE, 2**62)
@example(codes.PATTERN, ["(" * 5000, 0])
@example(codes.PATTERN, ["a", 128])
@example(codes.PATTERN, ["(?i)a", 2**31])
@example(codes.RANGE, [0, 1, 0])
@example(codes.DEQUE, [1, -1])
@example(codes.ARRAY, ["O", [1], "C", b"12345678"])
@example(codes.SCALAR, ["|O", [], "C", b"12345678"])
@example(codes.ARRAY, [None, [2**40], "C", []])
def test_hostile_parts(code: int, parts: Any) -> None:
    load(b"\x01" + ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(parts))))


@quick
@given(
    st.sampled_from([name for name, cls in vars(types).items() if isinstance(cls, type)]),
    st.sampled_from(range(60, 66)),
    plain,
    plain,
    plain,
)
def test_hostile_fields(name: str, code: int, one: Any, two: Any, three: Any) -> None:
    parts = [f"support.serde_types:{name}", one, two, three]
    load(b"\x01" + ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(parts))))
    load(
        b"\x01"
        + ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb([parts[0], {"x": one, "name": two, "inner": three}])))
    )


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x01", b"\x01\xc1", b"\x01\xdd\xff\xff\xff\xff", b"\x01" + b"\x91" * 100_000, b"\x01\x81\x01\x01",
    b"\x01\xd4\x7f\0",
     b"\x01\xd4\xff\0", b"\x01\xd6\xff\0\0\0\0", b"\x00\x01", b"{}", b"\x80\x04", b"\x01\xa1\xff",
     b"\x01" + b"\xdd\0\xff\xff\xff" * 1000],
)  # fmt: skip
def test_damaged_bytes(raw: bytes) -> None:
    with pytest.raises(CorruptData):
        serializer.loads_typed(("data", raw))


def test_other_formats_and_serializers() -> None:
    with pytest.raises(UnsupportedFormat, match=r"format 2.*upgrade"):
        serializer.loads_typed(("data", b"\x02\xc0"))
    for tag in ("msgpack", "json", "pickle", "data+aes", "", 5):
        with pytest.raises(CorruptData, match="written by another serializer"):
            serializer.loads_typed((tag, b"x"))  # type: ignore[arg-type]
    for data in (("data", "text"), ("bytes", "text"), ("data", None), ("data",), None, 5, ("a", b"", 1)):
        with pytest.raises(CorruptData):
            serializer.loads_typed(data)  # type: ignore[arg-type]


def nested(levels: int, between: int) -> bytes:
    raw = b"\x01"
    for _ in range(levels):
        raw = b"\x91" * between + b"\xc9" + (len(raw) + 1).to_bytes(4, "big") + bytes([codes.TUPLE]) + b"\x91" + raw
    return b"\x01" + raw


def test_hostile_depth_does_not_end_the_process() -> None:
    """On a stack that is smaller than the usual one."""
    for levels, between in ((250, 0), (250, 15), (250, 40), (250, 1000)):
        raw = nested(levels, between)
        _in_small_thread(lambda raw=raw: serializer.loads_typed(("data", raw)))
    for levels, between in ((10_000, 0), (5000, 15), (2000, 1000)):
        raw = nested(levels, between)
        with pytest.raises(CorruptData, match="nested too deep"):
            _in_small_thread(lambda raw=raw: serializer.loads_typed(("data", raw)))


def _in_small_thread(work: Any) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as exc:
            errors.append(exc)

    before = threading.stack_size(4 << 20)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    for error in errors:
        raise error


def test_an_interrupt_is_no_damage() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from support import serde_types as types\n"
        "from langgraph_sessionstore.serde import SessionSerializer\n"
        "s = SessionSerializer(); data = s.dumps_typed([(types.Picky(1),)])\n"
        "def interrupted(self): raise KeyboardInterrupt\n"
        "types.Picky.__post_init__ = interrupted\n"
        "try: s.loads_typed(data)\n"
        "except KeyboardInterrupt: print('interrupted')\n"
        "assert s.loads_typed(s.dumps_typed((1,))) == (1,)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "interrupted\n", done.stderr
