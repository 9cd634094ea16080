"""What a check has to say: problems, and what puts them right.

Rule: what can be put right without guessing has a batch that does so, see `mending`. Its guards expect that what it
relies on is as it was read, so it harms no writer, and is done once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .. import codec
from ..errors import DataError, UnsupportedFormat, UntrustedType, WrongKey
from ..ops import Batch, Op, Row

REPAIR = "a repair puts it right"
_ELSEWHERE = "a process that has what it needs can read it"


class Problem(NamedTuple):
    """Something that is not as it should be."""

    kind: Literal["missing", "damaged", "unreferenced"]
    """Missing and damaged rows are losses. Unreferenced ones only take space: `collect` takes them away."""
    what: str
    """What it is, and what cannot be read because of it."""
    help: str = ""
    """What helps."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.what} ({self.help})" if self.help else f"{self.kind}: {self.what}"


@dataclass(frozen=True)
class CheckedSession:
    """What was found out about a session, or, without an id, about the lists of a storage."""

    id: str | None
    problems: tuple[Problem, ...] = ()
    """Those that are there still, after a repair."""
    repaired: tuple[str, ...] = ()
    """What a repair has done."""


class Finding(NamedTuple):
    """A problem, and what puts it right, if that needs no guess."""

    problem: Problem
    repair: Batch | None = None
    done: str = ""
    """What the repair has done then, in words."""


def opened(rows: Iterable[Row], place: str) -> None:
    """Nobody judges, or repairs, what is sealed with a key that is not at hand: `WrongKey`."""
    for _, value in rows:
        if value[:1] == codec.ENCRYPTED:
            codec.unpack(value, place)


def repairing(*ops: Op) -> Batch:
    """A batch that puts something right: its guards see to it that it is done once, however often it is sent."""
    return Batch(*ops, repeatable=True)


def advice(exc: DataError, otherwise: str) -> str:
    """What helps against something that cannot be read."""
    return _ELSEWHERE if isinstance(exc, (UntrustedType, UnsupportedFormat, WrongKey)) else otherwise
