"""Every key and name of the library, and how they become bytes.

Rule 1: the order of encoded keys, compared as bytes, is the order of the tuples.
Rule 2: an encoded key never holds a NUL byte, so storage may use NUL as a separator.
Rule 3: a tuple's encoding is a byte prefix of another's exactly when the tuple is a prefix of the
        other: ("foo",) covers ("foo", "x") and never ("foobar",).

A segment is text ("$" + UTF-8) or a whole number from 0 to 2**64-1 ("#" + length letter + hex), closed by
\\x01. The three lowest bytes are escaped in text, so that the closing byte sorts below every character.
Lone surrogates are kept: any Python text is a legal segment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from .errors import CorruptData

Segment = str | int
Span = tuple[bytes, bytes]
"""A half-open range of encoded keys: from the first one on, up to but without the second."""

END = b"\x01"
_TOP = b"\xff"  # above every byte that a key can hold, because UTF-8 has no 0xff
_ESCAPES = {b"\x00": b"\x02\x02", b"\x01": b"\x02\x03", b"\x02": b"\x02\x04"}
_UNESCAPES = {escaped: plain for plain, escaped in _ESCAPES.items()}
_LOW = re.compile(rb"[\x00-\x02]")
_ESCAPED = re.compile(rb"\x02.?", re.DOTALL)
_NUMBER = re.compile(rb"#([a-p])(0|[1-9a-f][0-9a-f]*)", re.DOTALL)

# Rows that every partition may hold beside the user's. They sort below all encoded keys, ranges do not
# see them, and a copy leaves them behind.
SYSTEM: Span = (b"\x02", b"\x03")
INCARNATION = b"\x02i"
LEASE = b"\x02l"
TOMBSTONE = b"\x02t"
OPERATIONS = b"\x02o"
PIECES = b"\x02p"
"""How many pieces of something that arrives are there."""

ORIGINS: Span = (b"\x03", b"\x04")
"""Rows of an encrypted partition that a copy brings along, and plans do not see: from where its rows come."""


def encode(*segments: Segment) -> bytes:
    """Encode a tuple of segments as one key."""
    return b"".join([_text(s) if type(s) is str else _encoded(s) for s in segments])


def decode(key: bytes) -> tuple[Segment, ...]:
    """Take an encoded key apart again; `CorruptData` when it is not one."""
    if not key:
        return ()
    if key[-1:] != END:
        raise CorruptData(f"not a key of this library: {key[:80]!r}")
    return tuple([_segment(part) for part in key[:-1].split(END)])


@lru_cache(maxsize=1024, typed=True)
def below(*segments: Segment) -> Span:
    """The span of all keys that begin with these segments, without the key of just these segments."""
    prefix = encode(*segments)
    return prefix + b"\x02", prefix + _TOP


def within(*segments: Segment) -> Span:
    """The span of all keys that begin with these segments, the key of just these segments included."""
    prefix = encode(*segments)
    return prefix, prefix + _TOP


def sequence(prefix: bytes, number: int) -> bytes:
    """The key that `Append(prefix, ...)` gives to its `number`-th record."""
    return prefix + _number(number)


def sequences(prefix: bytes, numbers: Iterable[int]) -> list[bytes]:
    """The keys of records with these numbers, see `sequence`; in a fraction of the time for many of them."""
    fronts = [b"%b#%c" % (prefix, 96 + max(1, -(-bits // 4))) for bits in range(65)]
    return [b"%b%x\x01" % (fronts[number.bit_length()], number) for number in numbers]


@lru_cache(maxsize=1024)
def session(session_id: str) -> bytes:
    """The partition of one session."""
    return encode("session", session_id)


def registry(kind: str) -> bytes:
    """The partition that lists all partitions of one kind, such as "session"."""
    return encode("registry", kind)


def _number(value: int) -> bytes:
    if isinstance(value, bool) or not 0 <= value < 1 << 64:
        raise ValueError(f"a number in a key lies between 0 and 2**64-1, not {value!r}")
    digits = b"%x" % value
    return b"#%c%b\x01" % (96 + len(digits), digits)


def _encoded(value: Segment) -> bytes:
    if isinstance(value, int):
        return _number(value)
    if not isinstance(value, str):
        raise TypeError(f"a segment of a key is text or a whole number, not {type(value).__name__}")
    return _text(value)


def _text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    if not value.isprintable() and _LOW.search(raw):
        raw = _LOW.sub(lambda found: _ESCAPES[found[0]], raw)
    return b"$%b\x01" % raw


def _segment(part: bytes) -> Segment:
    if part[:1] == b"$" and b"\x00" not in part:
        try:
            raw = _ESCAPED.sub(lambda found: _UNESCAPES[found[0]], part[1:]) if b"\x02" in part else part[1:]
            return raw.decode("utf-8", "surrogatepass")
        except (KeyError, UnicodeDecodeError):
            pass
    number = _NUMBER.fullmatch(part)
    if number and number[1][0] == 96 + len(number[2]):
        return int(number[2], 16)
    raise CorruptData(f"not a segment of a key: {part[:80]!r}")
