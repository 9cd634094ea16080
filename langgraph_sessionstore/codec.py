"""Values <-> bytes: one format byte, then msgpack.

Holds what the library itself records: None, booleans, whole numbers of 64 bits, floats, any text, bytes,
lists and maps. Tuples come back as lists, and bytearrays as bytes. Reading gives back data or a `DataError`, never
anything else.
"""

from __future__ import annotations

from typing import Any

import msgpack
import ormsgpack

from .errors import CorruptData, Unstorable, UnsupportedFormat, WrongKey

FORMAT = 1
ENCRYPTED = b"\xc2"
"""How an encrypted value begins, see `backends.encrypted.seals`."""
_HEAD = bytes([FORMAT])
STRICT = (
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_UUID
)
"""Of all that ormsgpack would take and give back as something else, it takes only tuples."""
_TIMESTAMP = b"\xff"
"""In every timestamp, the only extension that msgpack makes something of by itself."""
_SCALARS = frozenset({type(None), bool, int, float, str, bytes})


def pack(value: Any) -> bytes:
    """Turn a value into its stored form; `Unstorable` when it has none."""
    try:
        return _HEAD + ormsgpack.packb(value, option=STRICT)
    except TypeError:
        return _pack_slowly(value)


def _pack_slowly(value: Any) -> bytes:
    """What ormsgpack does not take: lone surrogates, keys that are no text; or find out what is wrong."""
    try:
        packed: bytes = msgpack.packb(value, unicode_errors="surrogatepass")
        _check(value)
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
        value = msgpack.unpackb(
            stored[1:], unicode_errors="surrogatepass", strict_map_key=False, ext_hook=_no_extension
        )
        if _TIMESTAMP in stored:
            _check(value)
        return value
    except Exception as exc:  # msgpack's own errors share no root, and hostile bytes reach them all
        raise CorruptData(f"{place} is damaged: {exc}") from exc


def _check(value: Any) -> None:
    """Refuse what msgpack takes, and does not give back as it was."""
    parts = [value]
    while parts:
        part = parts.pop()
        if type(part) is dict:
            for key in part:
                if type(key) not in _SCALARS:
                    raise TypeError(f"a map has no keys of type {type(key).__name__}")
            parts += part.values()
        elif type(part) in (list, tuple):
            parts += part
        elif type(part) not in _SCALARS:
            raise TypeError(f"no form for the type {type(part).__name__}")


def _no_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"unknown extension type {code}")
