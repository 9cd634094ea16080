"""A contender: something that keeps checkpoints, items or messages, on a storage of its own.

Rule: a contender is made on an empty storage, and may be opened on it any number of times, as workers are restarted.
One that cannot be had here says why: `Absent`. Settings are each one's defaults, or what its documentation recommends.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, ClassVar

from benchmarks.stage import Stage

OURS = ("our memory", "our file", "our Redis")


class Contender:
    """One of those that are measured."""

    name: ClassVar[str]
    beside: ClassVar[str]
    """Which of ours a user would have in its place; of ours, itself."""

    def __init__(self, stage: Stage) -> None:
        """Take an empty storage; `Absent` when there is none."""

    def open(self) -> AbstractContextManager[Any]:
        """What a worker works with, in the sync form."""
        raise NotImplementedError

    def aopen(self) -> AbstractAsyncContextManager[Any]:
        """The same in the async form."""
        raise NotImplementedError

    def size(self) -> int:
        """How many bytes are stored."""
        raise NotImplementedError
