"""The steps of an encrypted backend's work, which `__init__` drives, sync or async."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from ...errors import NotReplicated, SessionStoreError
from ...ops import Batch, Call, Conflict, Op, Outcome
from ..base import Answer

T = TypeVar("T")


class Ask(NamedTuple):
    """A step: do these calls on the inner backend; answered by their answers."""

    calls: Sequence[Call]
    ordered: bool = False


class Pause(NamedTuple):
    """A step: wait this many seconds; answered by an empty list."""

    seconds: float


Steps: TypeAlias = Generator[Ask | Pause, list[Answer], T]
"""Logic without I/O: yields steps, receives answers, returns its result."""


def ask(partition: bytes, *ops: Op) -> Steps[Outcome]:
    """Do one batch of our own; what goes wrong is raised."""
    (answer,) = yield Ask([Call(partition, Batch(*ops))])
    if isinstance(answer, NotReplicated):  # it is done again when it should be lost
        result: Outcome = answer.result
        return result
    if isinstance(answer, SessionStoreError):
        raise answer
    return answer


def must(partition: bytes, *ops: Op) -> Steps[list[Any]]:
    """Do one batch without guards."""
    outcome = yield from ask(partition, *ops)
    assert not isinstance(outcome, Conflict)
    return outcome
