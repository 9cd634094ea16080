"""Versions of channels: ours, and those of other checkpointers that a thread may come with.

Ours are a counter of 32 digits, a point, and 16 digits of chance: they grow, and two forks never make the same.

Rule: a version keeps its type for ever. Graphs compare the versions of a checkpoint with each other, and Python does
not compare text with numbers; so where a thread goes on from numbers, our versions are `Continued`.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache
from typing import Any, TypeAlias

from ..errors import ConfigurationError

Version: TypeAlias = str | int | float
Versions: TypeAlias = dict[str, Version]
_OURS = re.compile(r"0*([0-9]{1,16})\.([0-9]{16})", re.ASCII)


class Continued(str):
    """A version of ours behind versions that are numbers: it compares with them by its counter."""

    __slots__ = ()

    def _counter(self) -> int:
        return int(self.partition(".")[0] or -1)

    def __lt__(self, other: Any) -> bool:
        return self._counter() < other if isinstance(other, (int, float)) else str.__lt__(self, other)

    def __le__(self, other: Any) -> bool:
        return self._counter() < other if isinstance(other, (int, float)) else str.__le__(self, other)

    def __gt__(self, other: Any) -> bool:
        return self._counter() >= other if isinstance(other, (int, float)) else str.__gt__(self, other)

    def __ge__(self, other: Any) -> bool:
        return self._counter() >= other if isinstance(other, (int, float)) else str.__ge__(self, other)


def following(current: Version | None) -> str:
    """A version greater than the current one, whichever checkpointer that is from."""
    try:
        counter = 0 if current is None else int(current.partition(".")[0] if isinstance(current, str) else current)
    except (ValueError, OverflowError) as exc:
        raise ConfigurationError(f"a version begins with a whole number, not {current!r:.80}") from exc
    version = f"{counter + 1:032}.{random.randrange(10**16):016}"
    return Continued(version) if isinstance(current, (int, float, Continued)) else version


def are_versions(versions: Any) -> bool:
    """Whether this is a dict from channels to versions."""
    return isinstance(versions, dict) and all(
        type(channel) is str
        and (isinstance(version, str) or type(version) is float or (type(version) is int and abs(version) < 1 << 63))
        for channel, version in versions.items()
    )


def pack(versions: Versions) -> dict[str, Any]:
    """The stored form. Ours, 49 characters each, would make half of a record; as two numbers they are 11 bytes."""
    return {channel: _short(version) for channel, version in versions.items()}


def unpack(packed: dict[str, Any]) -> Versions:
    """The versions from their stored form; `ValueError` when it is none."""
    if not all(isinstance(channel, str) for channel in packed):
        raise ValueError("no names of channels")
    return {channel: _long(short) for channel, short in packed.items()}


def comparable(versions: Versions, *others: Versions) -> None:
    """Let text among numbers compare with them, in all of these at once."""
    every = [versions, *others]
    if any(not isinstance(version, str) for each in every for version in each.values()):
        for each in every:
            each.update({k: Continued(v) for k, v in each.items() if isinstance(v, str)})


def _short(version: Version) -> Any:
    return _short_text(version) if isinstance(version, str) else version


@lru_cache(maxsize=4096)
def _short_text(version: str) -> Any:
    if len(version) == 49 and (ours := _OURS.fullmatch(version)):
        return int(ours[1]), int(ours[2])
    return str(version)


def _long(short: Any) -> Version:
    if isinstance(short, list):
        counter, chance = short
        return f"{counter:032d}.{chance:016d}"
    if isinstance(short, (str, int, float)):
        return short
    raise ValueError(f"no version: {short!r:.40}")
