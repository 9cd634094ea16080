"""What a following range brings beside its rows; `redis/script.lua` says the same in Lua.

Numbers of records are kept as boundaries: [first, stop, first, stop, ...], in order, apart from each other. A number
is inside when an odd count of boundaries lies at or below it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from .. import keys
from ..errors import CorruptData
from ..ops import FOLLOW_SPANS, Linked, Row, Run, split_links, split_name

if TYPE_CHECKING:
    from .apply import Rows

_Numbers: TypeAlias = list[int]
_RECORD = re.compile(rb"(.*)#([a-p])(0|[1-9a-f][0-9a-f]*)\x01", re.DOTALL)


def follow(rows: Rows, found: list[Row], known: tuple[Run, ...]) -> Linked:
    """The rows that `found` link to, without the records in `known`."""
    below: set[bytes] = set()
    runs: list[Run] = []
    for _, value in found:
        with suppress(CorruptData):  # whoever decodes the value meets the damage, and knows its name
            links, _ = split_links(split_name(value)[1])
            below.update(links.below)
            runs += links.runs
    had = _by_prefix(known)
    pieces = [
        Run(prefix, first, stop)
        for prefix, numbers in _by_prefix(runs).items()
        for first, stop in _without(numbers, had.get(prefix, []))
    ]
    if len(below) + len(pieces) > FOLLOW_SPANS:
        return Linked(found, [], False)
    linked: dict[bytes, bytes] = {}
    for prefix in below:
        for key, value in _visible(rows, prefix + b"\x02", prefix + b"\xff"):
            owner, number = _record(key)
            if bisect_right(had.get(owner, []), number) % 2 == 0:
                linked[key] = value
    for prefix, first, stop in pieces:
        for key, value in _visible(rows, keys.sequence(prefix, first), keys.sequence(prefix, stop)):
            if _record(key)[0] == prefix:  # and not a row that lies below a record
                linked[key] = value
    return Linked(found, sorted(linked.items()), True)


def _by_prefix(runs: Iterable[Run]) -> dict[bytes, _Numbers]:
    """The numbers in these runs, for each sequence."""
    numbers: dict[bytes, _Numbers] = {}
    for prefix, first, stop in sorted(runs):
        inside = numbers.setdefault(prefix, [])
        if inside and first <= inside[-1]:
            inside[-1] = max(inside[-1], stop)
        elif first < stop:
            inside += (first, stop)
    return numbers


def _without(numbers: _Numbers, known: _Numbers) -> list[tuple[int, int]]:
    """The pieces of `numbers` that are not known."""
    pieces: list[tuple[int, int]] = []
    at = 0
    for first, stop in zip(numbers[::2], numbers[1::2], strict=True):
        while first < stop:
            while at < len(known) and known[at + 1] <= first:
                at += 2
            end = min(stop, known[at]) if at < len(known) else stop
            if first < end:
                pieces.append((first, end))
                first = end
            else:
                first = known[at + 1]
    return pieces


def _record(key: bytes) -> tuple[bytes, int]:
    """Whose record this is, and its number; what cannot be a prefix when it is none."""
    match = _RECORD.fullmatch(key)
    if match and match[2][0] == 96 + len(match[3]):
        return match[1], int(match[3], 16)
    return b"\0", 0


def _visible(rows: Rows, lo: bytes, hi: bytes) -> list[Row]:
    return rows.range(max(lo, keys.SYSTEM[1]), hi, None, 0, False)
