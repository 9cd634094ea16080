"""Bytes -> values: whatever the bytes are, a value or a `DataError` comes of them.

The rule: each extension is unpacked by a hook that knows how deep it lies, so that hostile depth ends in an error and
not at the end of the stack. ormsgpack needs the stack for each list in a list, up to a thousand of them; that is
affordable for the first two extensions in each other. Deeper ones that may hold many lists in each other go through
msgpack, which needs no stack for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import msgpack
import ormsgpack

from ..errors import CorruptData, DataError, UnsupportedFormat
from . import arrays, classes, codes, messages, plain
from .policy import TypePolicy
from .write import LEVELS

Hook = Callable[[int, bytes], Any]
_HEAD = bytes([codes.FORMAT])
_OPENERS = bytes(range(0x80, 0xA0)) + bytes(range(0xDC, 0xE0))  # the first bytes of lists and maps
_FEW = 16
# Before 1.13 ormsgpack makes room for as many elements as the bytes claim, whether they follow or not.
_BELIEVES = tuple(int(part) for part in ormsgpack.__version__.split(".")[:2]) < (1, 13)


class Reader:
    """Unpacks values under a policy; what that does not revive is made by `unknown`, if there is one.

    So are arrays then: whether numpy is loaded makes no difference.
    """

    def __init__(self, policy: TypePolicy, unknown: Callable[[Any, Any], Any] | None = None) -> None:
        makers: dict[int, Callable[[Any], Any]] = {
            **plain.MAKERS,
            **classes.makers(policy, unknown),
            codes.ARRAY: arrays.make,
            codes.SCALAR: arrays.make_scalar,
            codes.MESSAGE: messages.make,
        }
        if unknown is not None:
            makers |= {codes.ARRAY: partial(unknown, "numpy:ndarray"), codes.SCALAR: partial(unknown, "numpy:generic")}
        self._hook = _hook(makers, 0)

    def unpack(self, stored: Any) -> Any:
        if type(stored) is not bytes:
            try:
                stored = bytes(memoryview(stored))
            except TypeError:
                raise CorruptData(f"not bytes but {type(stored).__name__}") from None
        if stored[:1] != _HEAD:
            if stored and codes.FORMAT < stored[0] < 32:
                raise UnsupportedFormat(
                    f"stored in format {stored[0]}, this version reads up to {codes.FORMAT}: "
                    "upgrade langgraph-sessionstore"
                )
            raise CorruptData("not written by this library, or damaged")
        try:
            return _unpack_shallow(stored[1:], ext_hook=self._hook)
        except BaseException as exc:  # ormsgpack hides what its hook raises
            error = _said.__dict__.pop("error", None)
            if error is not None:
                raise error from error.__cause__
            raise _as_error(0, exc) from exc


_said = threading.local()  # the error of a hook, until `unpack` takes it


def _hook(makers: dict[int, Callable[[Any], Any]], level: int) -> Hook:
    unpack = _unpack_shallow if level < 1 else _unpack
    inner: Hook | None = None  # few values are so deep that it is needed

    def hook(code: int, payload: bytes) -> Any:
        nonlocal inner
        if inner is None:
            inner = _hook(makers, level + 1) if level + 1 < LEVELS else _too_deep
        try:
            return makers[code](unpack(payload, ext_hook=inner))
        except BaseException as exc:
            if "error" not in _said.__dict__:  # the innermost is the one that tells
                _said.error = _as_error(code, exc)
            raise

    return hook


def _too_deep(code: int, payload: bytes) -> Any:
    _said.error = CorruptData("damaged: it is nested too deep")
    raise _said.error


def _as_error(code: int, exc: BaseException) -> BaseException:
    if isinstance(exc, (DataError, KeyboardInterrupt, SystemExit, GeneratorExit)):
        return exc
    if isinstance(exc, RecursionError):
        reason = "it is nested too deep"
    elif code and code not in codes.NAMES:
        reason = f"no form has the number {code}"
    else:
        reason = f"{codes.NAMES[code]}: {exc}" if code else str(exc)
    error = CorruptData(f"damaged: {reason[:200]}")
    error.__cause__ = exc
    return error


def _unpack(payload: bytes, ext_hook: Hook) -> Any:
    """Like `ormsgpack.unpackb`, with a bounded need of stack."""
    size = len(payload)
    if size <= _FEW or (size < 1 << 16 and size - len(payload.translate(None, _OPENERS)) <= _FEW):
        return _unpack_shallow(payload, ext_hook=ext_hook)
    return _unpacker(payload, ext_hook).unpack()


def _unpack_careful(payload: bytes, ext_hook: Hook) -> Any:
    if b"\xdd" in payload or b"\xdf" in payload:  # perhaps the length of a large list or map; msgpack checks it
        return _unpacker(payload, ext_hook).unpack()
    return ormsgpack.unpackb(payload, ext_hook=ext_hook)


def _unpacker(payload: bytes, ext_hook: Hook) -> Any:
    unpacker = msgpack.Unpacker(ext_hook=ext_hook, read_size=64, max_buffer_size=max(len(payload), 64))
    unpacker.feed(payload)
    return unpacker


_unpack_shallow: Callable[..., Any] = _unpack_careful if _BELIEVES else ormsgpack.unpackb
