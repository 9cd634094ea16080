"""The arrays and scalars of numpy, which is used only when it is loaded already.

The rule: plain elements are stored as their bytes, and come back as an array of its own that can be written to.
Elements that are Python objects are stored one by one, under the same policy as any value.
"""

from __future__ import annotations

import math
import re
import sys
from typing import Any

from ..errors import Unstorable, UntrustedType
from . import codes
from .plain import Pack, Rule

_DIMENSIONS = 64  # no numpy has more
_TYPE = re.compile(r"[<>|][biufcmMSUV][0-9]{1,9}(\[[0-9]{0,9}[A-Za-z]{1,7}\])?")


def rule_for(cls: type) -> Rule | None:
    """How to store values of this class, if it is one of numpy's."""
    names = {(base.__module__, base.__name__) for base in cls.__mro__}
    if ("numpy.ma", "MaskedArray") in names or ("numpy.ma.core", "MaskedArray") in names:
        raise Unstorable("no stored form for masked arrays of numpy: store data and mask")
    if ("numpy", "ndarray") in names:
        return codes.ARRAY, _take
    if ("numpy", "generic") in names:
        return codes.SCALAR, lambda value, pack: _take(sys.modules["numpy"].asarray(value), pack)
    return None


def make(parts: Any) -> Any:
    """The array that was taken apart."""
    np: Any = sys.modules.get("numpy")
    if np is None:
        raise UntrustedType("an array of numpy, which is not loaded in this process: import numpy before reading")
    spec, shape, order, raw = parts
    if (
        order not in ("C", "F")
        or len(shape) > _DIMENSIONS
        or not all(type(length) is int and length >= 0 for length in shape)
    ):
        raise ValueError("not the shape of an array")
    size = math.prod(shape)
    if spec is None:
        if type(raw) is not list or len(raw) != size:
            raise ValueError("the elements do not fit the shape")
        array = np.empty(size, dtype=object)
        for place, element in enumerate(raw):
            array[place] = element
        return array.reshape(shape)
    dtype = _make_type(np, spec)
    if type(raw) is not bytes or dtype.hasobject or not dtype.itemsize or len(raw) != size * dtype.itemsize:
        raise ValueError("the bytes do not fit the shape")
    if dtype.names is not None:  # copying fields would leave the gaps between them to chance
        return np.ndarray(tuple(shape), dtype=dtype, buffer=bytearray(raw), order=order)
    return np.ndarray(tuple(shape), dtype=dtype, buffer=raw, order=order).copy(order)


def make_scalar(parts: Any) -> Any:
    """The scalar that was taken apart as an array without dimensions."""
    array = make(parts)
    if array.shape:
        raise ValueError("a scalar with dimensions")
    return array[()]


def _take(value: Any, pack: Pack) -> list[Any]:
    np = sys.modules["numpy"]
    array = np.asarray(value)
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    shape = list(array.shape)
    if array.dtype == object:
        return [None, shape, "C", list(array.ravel(order="C"))]
    return [_type(np, array.dtype), shape, order, array.tobytes(order)]


def _type(np: Any, dtype: Any) -> Any:
    """An element type as text; with fields, as lists of their names, types and places."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return [_type(np, base), list(shape)]
    if dtype.names is not None and not dtype.hasobject:
        fields = [dtype.fields[name] for name in dtype.names]
        places = [int(field[1]) for field in fields]
        return [list(dtype.names), [_type(np, field[0]) for field in fields], places, dtype.itemsize]
    if not dtype.itemsize or not _TYPE.fullmatch(dtype.str) or np.dtype(dtype.str) != dtype:
        raise Unstorable(f"no stored form for numpy's element type {dtype}: convert the array first")
    return dtype.str


def _make_type(np: Any, spec: Any) -> Any:
    if isinstance(spec, str):
        if not _TYPE.fullmatch(spec):
            raise ValueError("not an element type")
        return np.dtype(spec)
    if len(spec) == 2:
        base, shape = spec
        return np.dtype((_make_type(np, base), tuple(shape)))
    names, types, places, itemsize = spec
    formats = [_make_type(np, part) for part in types]
    return np.dtype({"names": names, "formats": formats, "offsets": places, "itemsize": itemsize})
