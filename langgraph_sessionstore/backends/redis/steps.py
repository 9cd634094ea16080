"""The steps that delivering asks for, and what comes back: the words between `delivery` and `wires`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from redis.exceptions import ExecAbortError

from .words import Command

T = TypeVar("T")
Address: TypeAlias = tuple[str, int]


class Trip(NamedTuple):
    """Commands for one server, sent together. No address: the only server there is."""

    address: Address | None
    commands: list[Command]


class Trips(NamedTuple):
    """A step: make these trips at once; answered by as many `Arrival`s."""

    trips: list[Trip]


class Pause(NamedTuple):
    """A step: wait this many seconds; answered by an empty list."""

    seconds: float


class Arrival(NamedTuple):
    """What came back from a trip: replies (errors among them), and what broke the connection, if it broke.

    `sent` is False when not a byte of the commands can have reached the server.
    """

    replies: list[Any]
    lost: Exception | None = None
    sent: bool = True


def errors_in(replies: Sequence[Any]) -> list[Exception]:
    """The errors among replies and in what EXEC brought; the reason first, "aborted" last."""
    errors: list[Exception] = []
    for reply in replies:
        if isinstance(reply, list):
            errors += [part for part in reply if isinstance(part, Exception)]
        elif isinstance(reply, Exception):
            errors.append(reply)
    return sorted(errors, key=lambda error: isinstance(error, ExecAbortError)) if errors else errors


Steps: TypeAlias = Generator[Trips | Pause, list[Arrival], T]
"""Logic without I/O: yields steps, receives arrivals, returns its result."""
