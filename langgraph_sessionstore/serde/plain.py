"""The fixed table of types that need no permission: the builtins, the standard library, pydantic's secrets.

The rule: each has a number, a function that takes a value apart into values that msgpack has or that are in the
table again, and a function that makes the value from such parts. What is made is of exactly the type in the table;
a subclass without a form of its own is stored as the type that it is derived from.
"""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import ipaddress
import os
import pathlib
import re
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

import ormsgpack
from pydantic import SecretBytes, SecretStr

from ..errors import Unstorable
from . import codes

Pack = Callable[[Any], bytes]
# The number of the form (None: as msgpack has it), and what takes the value apart.
Rule = tuple[int | None, Callable[[Any, Pack], Any]]

# The places in these three are a stored format: add at the end.
_ADDRESSES: list[type] = [
    ipaddress.IPv4Address,
    ipaddress.IPv4Interface,
    ipaddress.IPv4Network,
    ipaddress.IPv6Address,
    ipaddress.IPv6Interface,
    ipaddress.IPv6Network,
]
_PATHS: list[type[pathlib.PurePath]] = [
    pathlib.PurePosixPath,
    pathlib.PosixPath,
    pathlib.PureWindowsPath,
    pathlib.WindowsPath,
]
_SECRETS: list[type[Any]] = [SecretStr, SecretBytes]

_FOREIGN_PATH = pathlib.PosixPath if os.name == "nt" else pathlib.WindowsPath
_FLAGS = int(re.ASCII | re.IGNORECASE | re.LOCALE | re.MULTILINE | re.DOTALL | re.VERBOSE | re.UNICODE)
_IGNORES = re.compile(r"\(\?[a-zA-Z]*i")
_RANGE = re.compile(
    r"(\\U[0-9a-fA-F]{8}|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|.)-(\\U[0-9a-fA-F]{8}|\\u[0-9a-fA-F]{4}|.)", re.DOTALL
)
_WIDEST = 1 << 22  # characters, about a second
_FEW = 4096  # elements whose hashes may be what they are
_SHARED = 16  # so many may have the same one, on average
_ZONE_KEY = re.compile(r"[A-Za-z0-9_+\-]+(?:/[A-Za-z0-9_+\-]+)*")
_SORTABLE = (str, int, bytes)


def _set(value: Any, pack: Pack) -> list[Any]:
    """The elements, in an order that is the same for equal sets."""
    kinds = {type(element) for element in value}
    if len(kinds) == 1 and kinds.pop() in _SORTABLE:
        return sorted(value)
    if len(value) < 2:
        return list(value)
    return [ormsgpack.Ext(codes.PACKED, packed) for packed in sorted(map(pack, value))]


def _pairs(value: Any, pack: Pack) -> list[Any]:
    return [part for pair in dict.items(value) for part in pair]


def _spread(parts: Any) -> Any:
    """The same keys or elements, refused when they were chosen to have one hash: a set of them would take for ever."""
    if len(parts) > _FEW and len(set(map(hash, parts))) * _SHARED < len(parts):
        raise ValueError("they share their hashes")
    return parts


def _make_pairs(parts: Any) -> dict[Any, Any]:
    if len(parts) % 2:
        raise ValueError("a key without a value")
    _spread(parts[::2])
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _make_counter(parts: Any) -> collections.Counter[Any]:
    counter: collections.Counter[Any] = collections.Counter()
    dict.update(counter, _make_pairs(parts))
    return counter


def _big(value: int, pack: Pack) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def _zone(zone: dt.tzinfo | None, moment: dt.datetime | None) -> Any:
    """A time zone: its key, its seconds when it is a bare offset, or its offset and its name."""
    if zone is None:
        return None
    if isinstance(zone, zoneinfo.ZoneInfo) and zone.key is not None:
        return zone.key
    offset, name = zone.utcoffset(moment), None
    if offset is None:
        raise Unstorable(f"no stored form for the time zone {zone!r}: use datetime.timezone or zoneinfo.ZoneInfo")
    if type(zone) is dt.timezone:
        name = (*zone.__getinitargs__(), None)[1]  # type: ignore[attr-defined]
    seconds = offset.days * 86400 + offset.seconds
    return seconds if name is None and not offset.microseconds else [seconds, offset.microseconds, name]


def _make_zone(zone: Any) -> dt.tzinfo | None:
    if zone is None:
        return None
    if isinstance(zone, str):
        if not _ZONE_KEY.fullmatch(zone):
            raise ValueError("not the name of a time zone")
        return zoneinfo.ZoneInfo(zone)
    seconds, microseconds, name = zone if isinstance(zone, list) else (zone, 0, None)
    offset = dt.timedelta(seconds=seconds, microseconds=microseconds)
    return dt.timezone(offset) if name is None else dt.timezone(offset, name)


def _datetime(at: dt.datetime, pack: Pack) -> list[Any]:
    zone = _zone(at.tzinfo, at)
    return [at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond, at.fold, zone]


def _make_datetime(parts: Any) -> dt.datetime:
    year, month, day, hour, minute, second, microsecond, fold, zone = parts
    return dt.datetime(year, month, day, hour, minute, second, microsecond, _make_zone(zone), fold=fold)


def _time(at: dt.time, pack: Pack) -> list[Any]:
    return [at.hour, at.minute, at.second, at.microsecond, at.fold, _zone(at.tzinfo, None)]


def _make_time(parts: Any) -> dt.time:
    hour, minute, second, microsecond, fold, zone = parts
    return dt.time(hour, minute, second, microsecond, _make_zone(zone), fold=fold)


def _make_path(parts: Any) -> Any:
    number, text = parts
    if _PATHS[number] is _FOREIGN_PATH:  # one of the other system is pure here
        number -= 1
    return _PATHS[number](text)


def _make_pattern(parts: Any) -> re.Pattern[Any]:
    pattern, flags = parts
    ignores = isinstance(pattern, str) and (flags & re.IGNORECASE or _IGNORES.search(pattern))
    if ignores and sum(_width(*ends) for ends in _RANGE.findall(pattern)) > _WIDEST:
        raise ValueError("it would take long to compile: its ranges are too wide to ignore the case in them")
    return re.compile(pattern, flags & _FLAGS)


def _width(first: str, last: str) -> int:
    """How many characters a range has, as far as compiling it goes through them one by one."""
    ends = [int(end[2:], 16) if len(end) > 3 else ord(end[-1]) for end in (first, last)]
    return min(abs(ends[1] - ends[0]), 1 << 16)


def _numbered(code: int, classes: list[Any], text: Callable[[Any], Any] = str) -> dict[type, Rule]:
    def rule(number: int) -> Rule:
        return code, lambda value, pack: [number, text(value)]

    return {cls: rule(number) for number, cls in enumerate(classes)}


RULES: dict[type, Rule] = {
    int: (codes.INT, _big),
    tuple: (codes.TUPLE, lambda value, pack: list(tuple.__iter__(value))),
    set: (codes.SET, _set),
    frozenset: (codes.FROZENSET, _set),
    collections.deque: (codes.DEQUE, lambda value, pack: [*value, value.maxlen]),
    complex: (codes.COMPLEX, lambda value, pack: [value.real, value.imag]),
    range: (codes.RANGE, lambda value, pack: [value.start, value.stop, value.step]),
    collections.OrderedDict: (codes.ORDERED_DICT, _pairs),
    collections.Counter: (codes.COUNTER, _pairs),
    dt.datetime: (codes.DATETIME, _datetime),
    dt.date: (codes.DATE, lambda value, pack: [value.year, value.month, value.day]),
    dt.time: (codes.TIME, _time),
    dt.timedelta: (codes.TIMEDELTA, lambda value, pack: [value.days, value.seconds, value.microseconds]),
    dt.timezone: (codes.ZONE, lambda value, pack: _zone(value, None)),
    zoneinfo.ZoneInfo: (codes.ZONE, lambda value, pack: _zone(value, None)),
    uuid.UUID: (codes.UUID, lambda value, pack: value.bytes),
    decimal.Decimal: (codes.DECIMAL, lambda value, pack: decimal.Decimal.__str__(value)),
    re.Pattern: (codes.PATTERN, lambda value, pack: [value.pattern, value.flags]),
    **_numbered(codes.ADDRESS, _ADDRESSES),
    **_numbered(codes.PATH, _PATHS),
    **_numbered(codes.SECRET, _SECRETS, lambda value: value.get_secret_value()),
}

# Subclasses of what msgpack has itself.
BASES: dict[type, Rule] = {
    str: (None, lambda value, pack: str.__str__(value)),
    int: (None, lambda value, pack: int.__int__(value)),
    float: (None, lambda value, pack: float.__float__(value)),
    bytes: (None, lambda value, pack: bytes(memoryview(value))),
    bytearray: (None, lambda value, pack: bytes(memoryview(value))),
    list: (None, lambda value, pack: list(list.__iter__(value))),
    dict: (None, lambda value, pack: dict(dict.items(value))),
    BaseException: (None, lambda value, pack: repr(value)),  # as LangGraph does
}

MAKERS: dict[int, Callable[[Any], Any]] = {
    codes.TEXT: lambda parts: bytes.decode(parts, "utf-8", "surrogatepass"),
    codes.INT: lambda parts: int.from_bytes(parts, "little", signed=True),
    codes.PAIRS: _make_pairs,
    codes.TUPLE: tuple,
    codes.SET: lambda parts: set(_spread(parts)),
    codes.FROZENSET: lambda parts: frozenset(_spread(parts)),
    codes.PACKED: lambda parts: parts,
    codes.DEQUE: lambda parts: collections.deque(parts[:-1], parts[-1]),
    codes.COMPLEX: lambda parts: complex(*parts),
    codes.RANGE: lambda parts: range(*parts),
    codes.ORDERED_DICT: lambda parts: collections.OrderedDict(_make_pairs(parts)),
    codes.COUNTER: _make_counter,
    codes.DATETIME: _make_datetime,
    codes.DATE: lambda parts: dt.date(*parts),
    codes.TIME: _make_time,
    codes.TIMEDELTA: lambda parts: dt.timedelta(*parts),
    codes.ZONE: _make_zone,
    codes.UUID: lambda parts: uuid.UUID(bytes=parts),
    codes.DECIMAL: lambda parts: decimal.Decimal(parts),
    codes.ADDRESS: lambda parts: _ADDRESSES[parts[0]](parts[1]),
    codes.PATH: _make_path,
    codes.PATTERN: _make_pattern,
    codes.SECRET: lambda parts: _SECRETS[parts[0]](parts[1]),
}
