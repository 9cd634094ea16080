"""Values <-> bytes: one format byte, then msgpack.

Holds what the library itself records: None, booleans, whole numbers of 64 bits, floats, any text, bytes,
lists and maps. Tuples come back as lists. Reading gives back data or a `DataError`, never anything else.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgpack

from .errors import CorruptData, Unstorable, UnsupportedFormat, WrongKey

FORMAT = 1
ENCRYPTED = b"\xc2"
"""How an encrypted value begins, see `backends.encrypted.seals`."""
_HEAD = bytes([FORMAT])
_SCALARS = frozenset({type(None), bool, int, float, str, bytes})


def pack(value: Any) -> bytes:
    """Turn a value into its stored form; `Unstorable` when it has none."""
    try:
        _check(value)
        packed: bytes = msgpack.packb(value, unicode_errors="surrogatepass")
        return _HEAD + packed
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise Unstorable(f"cannot be stored: {exc}") from exc


def unpack(stored: bytes, place: str) -> Any:
    """Turn a stored form into its value; `place` (session and key) stands in the message when it is damaged."""
    if not isinstance(stored, bytes):
        raise CorruptData(f"{place} holds no bytes")
    if stored[:1] != _HEAD:
        if stored and FORMAT < stored[0] < 32:
            raise UnsupportedFormat(
                f"{place} is stored in format {stored[0]}, this version reads up to {FORMAT}: "
                "upgrade langgraph-sessionstore"
            )
        if stored[:1] == ENCRYPTED:
            raise WrongKey(f"{place} is encrypted: open the storage with its key, encryption=...")
        raise CorruptData(f"{place} holds bytes that this library did not write")
    try:
        try:
            value = msgpack.unpackb(stored[1:])  # takes less, and half the time
        except Exception:
            value = msgpack.unpackb(
                stored[1:], unicode_errors="surrogatepass", strict_map_key=False, ext_hook=_no_extension
            )
        _check(value)
        return value
    except Exception as exc:  # msgpack's own errors share no root, and hostile bytes reach them all
        raise CorruptData(f"{place} is damaged: {exc}") from exc


def _check(value: Any) -> None:
    """Refuse what msgpack would take, and not give back as it was."""
    if type(value) is dict:
        for key in value:
            if type(key) not in _SCALARS:
                raise TypeError(f"a map has no keys of type {type(key).__name__}")
        _check_parts(value.values())
    elif type(value) in (list, tuple):
        _check_parts(value)
    elif type(value) not in _SCALARS:
        raise TypeError(f"no form for the type {type(value).__name__}")


def _check_parts(parts: Collection[Any]) -> None:
    if not _SCALARS.issuperset(map(type, parts)):
        for part in parts:
            _check(part)


def _no_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"unknown extension type {code}")
