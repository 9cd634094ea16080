"""The backend under test, as contract tests use it: through its sync or its async form."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from ..backends.base import Answer, Backend, settle, vouch
from ..drive import arun, run
from ..errors import NotReplicated
from ..ops import (
    Batch,
    Call,
    Calls,
    Op,
    Outcome,
    Plan,
    Range,
)

NASTY = (
    "a", "a:b", "ab", "a/b", "{x}", "}{", "{", "*", "?", "[a]", "%", "_", "%00", "%2F", "..", "../../etc/passwd", "~",
    "\0", "a\0", "\0a", "\x01", "\x02", "a\x01b", "", " ", "\n", "x" * 10_000, "🙂", "🙂" * 500, "\ud83d", "é",
    "e\u0301", "session", "$a", "#a0", "O'Brien", '"; DROP TABLE rows; --', "\\", "\udfff", "\U0010ffff",
)  # fmt: skip
"""Names that must never meet."""


Storage = Callable[[], Backend]


class Worker:
    """A backend, used through its sync or its async form."""

    def __init__(self, backend: Backend, loop: asyncio.AbstractEventLoop | None) -> None:
        self.backend = backend
        self._loop = loop
        self.touched: set[bytes] = set()

    def run(self, plan: Plan[Any]) -> Any:
        """Drive a plan."""
        return self._loop.run_until_complete(arun(self.backend, plan)) if self._loop else run(self.backend, plan)

    def execute(self, *calls: Call, ordered: bool = False) -> list[Outcome]:
        """Do calls in one trip; the first error is raised."""
        self.touched.update(call.partition for call in calls)
        doubts: list[NotReplicated] = []
        return vouch(settle(Calls(calls, ordered), self.answers(*calls, ordered=ordered), doubts), doubts)

    def answers(self, *calls: Call, ordered: bool = False) -> list[Answer]:
        """Do calls in one trip; errors among the answers."""
        if self._loop:
            return self._loop.run_until_complete(self.backend.aexecute(calls, ordered=ordered))
        return self.backend.execute(calls, ordered=ordered)

    def do(self, partition: bytes, *ops: Op, op_id: bytes | None = None) -> Any:
        """Apply one batch."""
        return self.execute(Call(partition, Batch(*ops, op_id=op_id)))[0]

    def rows(self, partition: bytes) -> dict[bytes, bytes]:
        """All rows of a partition."""
        return dict(self.do(partition, Range(b"", None))[0])

    def copy(self, source: bytes, target: bytes, *ops: Op, op_id: bytes | None = None) -> Any:
        """Copy a partition and apply a batch to the copy."""
        self.touched.add(source)
        return self.execute(Call(target, Batch(*ops, op_id=op_id), source))[0]

    def close(self) -> None:
        """Close the backend the way it was used."""
        if self._loop:
            self._loop.run_until_complete(self.backend.aclose())
        else:
            self.backend.close()


def eventually(check: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until `check()` holds; time passes by the server's clock, so there is no other way to see it pass."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
