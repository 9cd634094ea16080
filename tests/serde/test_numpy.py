"""Arrays and scalars of numpy come back as they were, and can be written to."""

import subprocess
import sys
from typing import Any

import ormsgpack
import pytest
from serde.same import serializer
from support import serde_types as types

from langgraph_sessionstore import CorruptData, Unstorable
from langgraph_sessionstore.serde import codes

np: Any = pytest.importorskip("numpy")


def test_arrays() -> None:
    grid = np.arange(24, dtype="i4").reshape(2, 3, 4)
    record = np.dtype([("a", "<i2"), ("b", "<f8", (2,)), ("c", [("d", "S3"), ("e", ">u4")])], align=True)
    arrays = [
        grid, np.asfortranarray(grid), grid[::-1, ::2], grid.T, np.array(5.5), np.zeros((0, 3)), np.zeros((2, 0)),
        np.array([True, False]),
        np.array(["2024-01-01", "NaT"], dtype="M8[ns]"), np.array([1, 2], dtype="m8[25s]"),
        np.array(["aé", "\U0001f389"]), np.array([b"a"]),
        np.array([1 + 2j]), np.arange(3, dtype=">i8"), np.array([1.5], dtype="f2"), np.zeros(3, dtype=record),
        np.full(2, np.nan),
        np.frombuffer(b"abcd", dtype="V2"), np.broadcast_to(np.int8(3), (4, 4)), np.eye(2),
    ]  # fmt: skip
    for array in arrays:
        back = serializer.loads_typed(serializer.dumps_typed({"a": (array,)}))["a"][0]
        assert type(back) is np.ndarray
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        assert back.tobytes() == array.tobytes()
        assert back.flags.writeable
        assert back.flags.owndata or array.dtype.names
        if array.flags.f_contiguous and not array.flags.c_contiguous:
            assert back.flags.f_contiguous
    assert np.isnan(serializer.loads_typed(serializer.dumps_typed(np.full(2, np.nan)))).all()


def test_arrays_of_objects() -> None:
    array = np.empty((2, 2), dtype=object)
    array[0, 0], array[0, 1], array[1, 0], array[1, 1] = (1, 2), None, types.Inner(n=1), [2**70, "\ud800"]
    for one in (array, array.T, array[:0], np.array(None), array[:, 1]):
        back = serializer.loads_typed(serializer.dumps_typed(one))
        assert (back.dtype, back.shape, back.tolist()) == (one.dtype, one.shape, one.tolist())
    array[1, 1] = print
    with pytest.raises(Unstorable, match="builtin_function"):
        serializer.dumps_typed({"a": array})


def test_scalars() -> None:
    for scalar in (
        np.float64(1.5), np.float32(1.5), np.int64(-7), np.uint8(255), np.bool_(True), np.complex64(1 + 2j),
        np.str_("aé"), np.bytes_(b"a"),
        np.datetime64("2024-01-01", "us"), np.timedelta64(5, "D"), np.float64("-0.0"), np.float16(2),
    ):  # fmt: skip
        for back in (
            serializer.loads_typed(serializer.dumps_typed(scalar)),
            serializer.loads_typed(serializer.dumps_typed({scalar: 1})),
        ):
            back = next(iter(back)) if isinstance(back, dict) else back
            assert type(back) is type(scalar)
            assert repr(back) == repr(scalar)
            assert getattr(back, "dtype", None) == scalar.dtype
    record = np.zeros(1, dtype=[("a", "i4"), ("b", "f8")])[0]
    assert serializer.loads_typed(serializer.dumps_typed(record)) == record


def test_what_has_no_form() -> None:
    for array in (np.ma.array([1, 2], mask=[0, 1]), np.zeros(2, dtype=[("a", object)])):
        with pytest.raises(Unstorable, match="no stored form"):
            serializer.dumps_typed([array])


@pytest.mark.parametrize(
    "parts",
    [
        ["|O8", [1], "C", b"12345678"], ["O", [1], "C", b"12345678"], ["<i4", [2], "C", b"1234"],
        ["<i4", [-1], "C", b"1234"],
        ["<i4", [1], "X", b"1234"], ["<i4", [1.0], "C", b"1234"], ["<i4", [2**62, 2**62], "C", b"1234"],
        ["<i4", [0, 2**62], "C", b"12"],
        ["|S0", [2**40], "C", b""], ["|V0", [2**40], "C", b""], ["i4,i4", [1], "C", b"12345678"],
        ["<i4", [1] * 100, "C", b"1234"],
        [None, [2], "C", [1]], [None, [1], "C", b"1"], ["<i4", [1], "C", "text"], ["<i4", [1], "C", [1]],
        [["<i4"], [1], "C", b"1234"],
        [[["a", "b"], ["<i4", "|O8"], [0, 4], 12], [1], "C", b"1" * 12],
        [[["a"], ["<i4"], [100], 4], [1], "C", b"1234"],
        [[["a"], ["<i4"], [-4], 4], [1], "C", b"1234"], [["<i4", [2**62]], [1], "C", b"1234"],
        ["<M8[bogus]", [1], "C", b"12345678"], [], [1], 5,
    ],
    ids=str,
)  # fmt: skip
def test_damaged_arrays(parts: Any) -> None:
    for code in (codes.ARRAY, codes.SCALAR):
        with pytest.raises(CorruptData):
            serializer.loads_typed(("data", b"\x01" + ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(parts)))))


def test_numpy_is_not_imported_for_it() -> None:
    data = serializer.dumps_typed(np.eye(2))[1].hex()
    code = (
        "from langgraph_sessionstore.serde import SessionSerializer; import sys\n"
        f"try: SessionSerializer().loads_typed(('data', bytes.fromhex('{data}')))\n"
        "except Exception as exc: print(type(exc).__name__, exc)\n"
        "assert 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(
        "UntrustedType an array of numpy, which is not loaded in this process: import numpy"
    ), done
