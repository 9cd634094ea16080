"""What somebody with access to the storage does to a row: bytes, whole values, parts of values, and other rows' places.

Rule: half of it is damage (bits, cuts), half of it is meant: it is packed as the library packs, and its check sums and
lengths are right, so that it comes as far as what is behind the decoding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random
from typing import Any

import msgpack
import ormsgpack

from langgraph_sessionstore import codec, keys
from langgraph_sessionstore.ops import Links, Run, split_links, with_links
from langgraph_sessionstore.plans import layout
from langgraph_sessionstore.serde import codes

Rows = dict[bytes, bytes]
"""Of a partition."""
Storage = dict[bytes, Rows]
Changes = dict[bytes, bytes | None]
"""What to put at these keys of a partition; None: to be taken away."""

NUMBERS: list[Any] = [
    *(0, 1, -1, 2, 5, 127, 128, 255, 256, 65535, 65536, 1 << 24, (1 << 24) + 1, (1 << 31) - 1, 1 << 31, 1 << 32),
    *((1 << 45) - 1, 1 << 46, (1 << 47) - 1, (1 << 53) - 1, 1 << 53, (1 << 56) - 1, (1 << 63) - 1, (1 << 64) - 1),
    *(-(1 << 53), -(1 << 63), 0.0, 1e308, float("inf"), float("-inf"), float("nan")),
]
CLASSES = ["os:system", "builtins:eval", "subprocess:Popen", "antigravity:x", "enum:Enum", "pydantic.main:BaseModel"]
TEXTS: list[Any] = ["", "x", "\ud800", "a" * 300, "data", "null", "bytes", "pickle", "-1", "9" * 400, "messages"]
TEXTS += ["0" * 31 + "1.0000000000000000", "1" * 5000, *CLASSES]
BYTES: list[Any] = [
    b"",
    b"\0",
    b"\x01",
    b"\x01\xc0",
    b"\xc1",
    b"\x80\x04.",
    b"0" * 20,
    b"9" * 16,
    b"-5",
    b"1e300",
    b"\xff",
]
BYTES += [b"9007199254740991", b"9007199254740992", b"16777216", b"16777215", b"00", b"f" * 36, b"0" * 36]
BYTES += [b"f" * 12, b"ffffffffffffffff", b"\x02" + b"i", keys.encode("x"), b"\x01" + b"\x91" * 5000]
BOMBS: list[Callable[[], bytes]] = [
    lambda: b"\x01" + b"\x91" * 20_000 + b"\xc0",
    lambda: b"\x01\xdd\xff\xff\xff\xff",
    lambda: b"\x01\xdf\xff\xff\xff\xff",
    lambda: b"\x01\xc6\xff\xff\xff\xff",
    lambda: b"\x01" + b"\x90" * 20_000,
    lambda: b"\x01\xdd" + struct.pack(">I", 20_000) + b"\x90" * 20_000,
    lambda: _nested(codes.PACKED, 300),
    lambda: _nested(codes.TUPLE, 200),
]


def _nested(code: int, levels: int) -> bytes:
    raw = b"\xc0"
    for _ in range(levels):
        raw = ormsgpack.packb(ormsgpack.Ext(code, b"\x91" + raw))
    return b"\x01" + raw


def scalar(chance: Random) -> Any:
    """Some value without parts."""
    return chance.choice(chance.choice([NUMBERS, TEXTS, BYTES, [None, True, False]]))


def value(chance: Random, depth: int = 2) -> Any:
    """Some value that the library's own rows may hold."""
    kind = chance.randrange(6) if depth else 0
    if kind == 4:
        return [value(chance, depth - 1) for _ in range(chance.randrange(5))]
    if kind == 5:
        return {_name(chance): value(chance, depth - 1) for _ in range(chance.randrange(4))}
    return scalar(chance)


def _name(chance: Random) -> Any:
    return chance.choice(["x", "messages", "id", "content", "ts", "step", 5, b"o", None, "", "a", 1.5])


def user_value(chance: Random) -> bytes:
    """Some value as the serializer packs it, in a form that says too much."""
    code = chance.choice([*codes.NAMES, chance.randrange(128)])
    parts = (
        value(chance) if chance.random() < 0.5 else [chance.choice([*CLASSES, 1, 3, 7]), value(chance), value(chance)]
    )
    try:
        return b"\x01" + ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(parts, option=ormsgpack.OPT_NON_STR_KEYS)))
    except TypeError:
        return b"\x01" + ormsgpack.packb(ormsgpack.Ext(code, msgpack.packb(parts, unicode_errors="surrogatepass")))


def changed(given: Any, chance: Random) -> Any:
    """The same value with one part of it, at any depth, in another way."""
    if isinstance(given, (list, dict)) and given and chance.random() < 0.85:
        made: Any = given.copy()
        at = chance.choice(list(made)) if isinstance(made, dict) else chance.randrange(len(made))
        how = chance.randrange(10)
        if how == 0:
            del made[at]
        elif how == 1 and isinstance(made, list):
            made.insert(at, value(chance))
        elif how == 2 and isinstance(made, list):
            made += made * chance.choice([1, 2, 50])
        elif how == 2:
            made[_name(chance)] = made[at]
        else:
            made[at] = changed(made[at], chance)
        return made
    if isinstance(given, bytes) and chance.random() < 0.8:
        return inside(given, chance)
    if type(given) is int and chance.random() < 0.5:
        return given + chance.choice([-1, 1, 1 << 20, -(1 << 20), 1 << 32])
    return value(chance)


def inside(stored: bytes, chance: Random) -> bytes:
    """A row, or what is packed in it, changed where it is understood; else its bytes."""
    if chance.random() < 0.3:
        return cut(stored, chance)
    if chance.random() < 0.1:
        return chance.choice(BOMBS)()
    if chance.random() < 0.1:
        return user_value(chance)
    try:
        links, packed = split_links(stored)
        if packed is not stored and chance.random() < 0.4:
            return with_links(_linked(links, chance), packed)
        made = changed(codec.unpack(packed, "a row"), chance)
        row = codec.pack(made)
        return with_links(links, row) if packed is not stored else row
    except Exception:  # what it is packed like, or what has become of it, is no value of the library's own
        pass
    try:
        made = changed(msgpack.unpackb(stored[1:], ext_hook=msgpack.ExtType, strict_map_key=False), chance)
        return bytes(stored[:1] + _packed(made, chance))
    except Exception:
        return cut(stored, chance)


def _packed(given: Any, chance: Random) -> bytes:
    """With what lies in extensions changed as well."""

    def deeper(part: Any) -> Any:
        if isinstance(part, msgpack.ExtType):
            if chance.random() < 0.2:
                return msgpack.ExtType(chance.choice([*codes.NAMES, part.code]), part.data)
            return msgpack.ExtType(part.code, inside(b"\x01" + part.data, chance)[1:])
        if isinstance(part, list):
            return [deeper(each) for each in part]
        return {name: deeper(each) for name, each in part.items()} if isinstance(part, dict) else part

    packed: bytes = msgpack.packb(deeper(given), unicode_errors="surrogatepass")
    return packed


def _linked(links: Links, chance: Random) -> Links:
    """Links that lead elsewhere."""
    prefixes = [b"", b"\x02", b"\x01", b"c", b"e", b"e#", keys.encode("m"), keys.encode("e", 0), *links.below]
    prefixes += [run.prefix for run in links.runs] + [layout.elements(chance.choice([0, 1, 1 << 60]))]
    runs = []
    for _ in range(chance.choice([0, 1, 2, 50, 2000])):
        first = chance.choice([0, 1, chance.randrange(3000), (1 << 32) - 2])
        stop = min((1 << 32) - 1, first + chance.choice([0, 1, 2, 1000, 1 << 32]))
        runs.append(Run(chance.choice(prefixes), first, stop))
    below = tuple(chance.choice(prefixes) for _ in range(chance.choice([0, 1, 3, 100])))
    return Links(below, (*links.runs, *runs)) if chance.random() < 0.5 else Links(below, tuple(runs))


def cut(stored: bytes, chance: Random) -> bytes:
    """Bytes flipped, cut off, put in, doubled."""
    at = chance.randrange(len(stored) + 1)
    size = chance.choice([1, 1, 2, 5, 40])
    noise = bytes(chance.choice([0, 1, 0x80, 0xC1, 0xFF, chance.randrange(256)]) for _ in range(size))
    how = chance.randrange(6)
    if how == 0:
        return stored[:at]
    if how == 1:
        return stored[:at] + noise + stored[at:]
    if how == 2:
        return stored[:at] + stored[at + size :]
    if how == 3:
        return stored[:at] + stored
    if how == 4:
        return bytes(chance.choice(BYTES))
    return stored[:at] + noise + stored[at + size :]


def key(old: bytes, chance: Random) -> bytes:
    """The place of a row, moved a little, or to where nobody expects one."""
    try:
        parts: list[Any] = list(keys.decode(old))
    except Exception:
        return cut(old, chance).replace(b"\0", b"")
    how = chance.randrange(5)
    if how == 0:
        return cut(old, chance).replace(b"\0", b"")
    if how == 1:
        parts.insert(chance.randrange(len(parts) + 1), chance.choice(["", "x", 0, 1, (1 << 64) - 1, "\ud800"]))
    elif how == 2 and len(parts) > 1:
        del parts[chance.randrange(len(parts))]
    else:
        parts[chance.randrange(len(parts))] = chance.choice(["", "x", "9", 0, 1, 7, (1 << 64) - 1, "\0", "m", "c", "e"])
    return keys.encode(*parts)


def harm(storage: Storage, partition: bytes, chance: Random) -> Changes:
    """A change to a partition."""
    rows = storage[partition]
    names = sorted(rows)
    at = chance.choice(names)
    how = chance.randrange(12)
    if how == 0:
        return {at: None}
    if how == 1:  # what stands elsewhere, there or in another partition
        other = storage[chance.choice(sorted(storage))]
        return {at: other[chance.choice(sorted(other))]}
    if how == 2:
        other_at = chance.choice(names)
        return {at: rows[other_at], other_at: rows[at]}
    if how == 3:
        return {key(at, chance) or b"x": rows[at]}
    if how == 4:
        return {key(at, chance) or b"x": chance.choice(BYTES), at: rows[at]}
    if how == 5:  # very many of a kind
        head = at[: at.find(keys.END) + 1]
        return {head + keys.encode(number): rows[at] for number in range(200)}
    return {at: inside(rows[at], chance)}
