"""What the storage can read of a value: links, which a following range goes after, and a name, which `Expect` compares.

Rule: it can do so also when values are encrypted; so links hold generated keys only.

named    mark 0xC2, the name (16 bytes), the value with its links
stored   mark 0xC1, u16 prefixes, u16 groups, the prefixes, the groups, the value
prefix   u16 size, bytes without NUL
group    a prefix, u16 runs, and for each u32 first, u32 stop: the runs of one sequence
"""

from __future__ import annotations

import struct
from hashlib import sha1
from typing import Any, NamedTuple

from ..errors import CorruptData

_MARK = b"\xc1"  # never the first byte of a packed value
_NAMED = b"\xc2"  # the same
_NAME = 16
_COUNTS = struct.Struct(">HH")
_SIZE = struct.Struct(">H")
_RUN = struct.Struct(">II")
_MOST = 0xFFFF
_TOP = 0xFFFFFFFF


class Run(NamedTuple):
    """Records of one sequence: `keys.sequence(prefix, n)` for first <= n < stop."""

    prefix: bytes
    first: int
    stop: int


class Links(NamedTuple):
    """What a value leads to: for each prefix in `below` every key that begins with it and is longer, and `runs`.

    Longer as in `keys.below`: from the prefix with \\x02 up to the prefix with \\xff.
    """

    below: tuple[bytes, ...] = ()
    runs: tuple[Run, ...] = ()


def etag(value: bytes) -> str:
    """The short name of a value that `Expect` compares: a hash of it, or the name that it carries."""
    name = split_name(value)[0]
    return name.hex() if name else sha1(value, usedforsecurity=False).hexdigest()


def named(name: bytes, value: bytes) -> bytes:
    """Give a value a name of 16 bytes, for one whose bytes differ each time although it is the same."""
    if len(name) != _NAME:
        raise ValueError(f"a name has {_NAME} bytes, not {len(name)}")
    return _NAMED + name + value


def split_name(stored: bytes) -> tuple[bytes, bytes]:
    """Take the name from in front of a value; b"" for one without."""
    if stored[:1] != _NAMED or len(stored) <= _NAME:
        return b"", stored
    return stored[1 : _NAME + 1], stored[_NAME + 1 :]


def with_links(links: Links, value: bytes) -> bytes:
    """Put links in front of a value; `ValueError` for what has no place in them."""
    if not links.below and not links.runs and value[:1] != _MARK:
        return value
    if len(links.below) > _MOST or len(links.runs) > _MOST:
        raise ValueError(f"a value has up to {_MOST} links of a kind")
    groups: dict[bytes, list[bytes]] = {}  # a list that was cut in pieces names its prefix once
    for run in links.runs:
        if not is_run(run):
            raise ValueError(f"not a run of records: {run!r:.200}")
        groups.setdefault(run.prefix, []).append(_RUN.pack(run.first, run.stop))
    parts = [_MARK, _COUNTS.pack(len(links.below), len(groups))]
    for prefix in links.below:
        if not _is_prefix(prefix):
            raise ValueError(f"not a prefix of keys: {prefix!r:.200}")
        parts += [_SIZE.pack(len(prefix)), prefix]
    for prefix, runs in groups.items():
        parts += [_SIZE.pack(len(prefix)), prefix, _SIZE.pack(len(runs)), *runs]
    return b"".join([*parts, value])


def split_links(stored: bytes) -> tuple[Links, bytes]:
    """Take the links from in front of a value. The runs come sequence by sequence; a value without links has none."""
    if stored[:1] != _MARK:
        return Links(), stored
    below: list[bytes] = []
    runs: list[Run] = []
    counts, at = _cut(stored, 1, _COUNTS.size)
    prefixes, groups = _COUNTS.unpack(counts)
    for _ in range(prefixes):
        prefix, at = _prefix(stored, at)
        below.append(prefix)
    for _ in range(groups):
        prefix, at = _prefix(stored, at)
        count, at = _size(stored, at)
        numbers, at = _cut(stored, at, count * _RUN.size)
        runs += [Run(prefix, first, stop) for first, stop in _RUN.iter_unpack(numbers)]
    if any(run.first > run.stop for run in runs):
        raise CorruptData("the links in front of a stored value are damaged")
    return Links(tuple(below), tuple(runs)), stored[at:]


def is_run(value: Any) -> bool:
    """Whether this is a run that links can name."""
    if type(value) is not Run or not _is_prefix(value.prefix):
        return False
    return type(value.first) is type(value.stop) is int and 0 <= value.first <= value.stop <= _TOP


def _is_prefix(value: Any) -> bool:
    return type(value) is bytes and len(value) <= _MOST and b"\0" not in value


def _prefix(stored: bytes, at: int) -> tuple[bytes, int]:
    size, at = _size(stored, at)
    prefix, at = _cut(stored, at, size)
    if b"\0" in prefix:
        raise CorruptData("the links in front of a stored value are damaged")
    return prefix, at


def _size(stored: bytes, at: int) -> tuple[int, int]:
    raw, at = _cut(stored, at, _SIZE.size)
    return _SIZE.unpack(raw)[0], at


def _cut(stored: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(stored):
        raise CorruptData("the links in front of a stored value end early")
    return stored[at : at + size], at + size
