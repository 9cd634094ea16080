"""Links: spans of keys in front of a value, which a following range brings along.

Rule: the server can read them, also when values are encrypted; so they hold generated keys only.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ..errors import CorruptData

_MARK = b"\xc1"  # never the first byte of a packed value
_NUMBER = struct.Struct(">I")


def with_links(spans: Sequence[tuple[bytes, bytes]], value: bytes) -> bytes:
    """Put links to these spans in front of a value."""
    parts = [_MARK, _NUMBER.pack(len(spans))]
    for lo, hi in spans:
        parts += [_NUMBER.pack(len(lo)), lo, _NUMBER.pack(len(hi)), hi]
    return b"".join([*parts, value])


def split_links(stored: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Take the links from in front of a value: (spans, value). A value without links has none."""
    if stored[:1] != _MARK:
        return [], stored
    ends: list[bytes] = []
    at = 5
    try:
        (count,) = _NUMBER.unpack_from(stored, 1)
        while len(ends) < 2 * count:
            (size,) = _NUMBER.unpack_from(stored, at)
            at += 4 + size
            ends.append(stored[at - size : at])
    except struct.error as exc:
        raise CorruptData("the links in front of a stored value end early") from exc
    if at > len(stored):
        raise CorruptData("the links in front of a stored value end early")
    return list(zip(ends[::2], ends[1::2], strict=True)), stored[at:]
