"""A backend that fails on purpose, around any other.

Calls are counted from 1, those of one trip each by itself, sync and async alike.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from enum import Enum

from ..backends.base import Answer, Backend, not_tried
from ..errors import BackendUnavailable, NotReplicated, OutcomeUnknown, SessionStoreError
from ..ops import Call


class Fault(Enum):
    """What can happen to a call."""

    FAIL = "the storage cannot be reached: nothing is applied, BackendUnavailable"
    CUT_BEFORE = "the connection breaks before the call arrives: nothing is applied, OutcomeUnknown"
    CUT_AFTER = "the connection breaks before the answer: all is applied, OutcomeUnknown"
    UNCONFIRMED = "all is applied, but no replica confirms it: NotReplicated, unless the call only reads or conflicts"
    DELAY = "the call waits, and is then applied as usual"


class FaultyBackend(Backend):
    """Meets every call with the fault that `faults` holds for its number; `calls` is how many there were.

    `FaultyBackend(inner, {3: Fault.CUT_AFTER})` applies the third call and loses its answer. Closing it closes the
    inner backend.
    """

    def __init__(self, inner: Backend, faults: dict[int, Fault], *, delay: float = 0.05) -> None:
        self.inner = inner
        self.faults = faults
        self.delay = delay
        self.calls = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"FaultyBackend({self.inner!r}, {self.faults!r})"

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        answers: list[Answer] = []
        for call in calls:
            if skipped := not_tried(ordered, answers):
                answers.append(skipped)
                continue
            fault = self._next()
            if fault is Fault.DELAY:
                time.sleep(self.delay)
            before, after = _errors(fault)
            answer = before or self.inner.execute([call])[0]
            answers.append(after or _confirmed(call, answer, fault))
        return answers

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        answers: list[Answer] = []
        for call in calls:
            if skipped := not_tried(ordered, answers):
                answers.append(skipped)
                continue
            fault = self._next()
            if fault is Fault.DELAY:
                await asyncio.sleep(self.delay)
            before, after = _errors(fault)
            answer = before or (await self.inner.aexecute([call]))[0]
            answers.append(after or _confirmed(call, answer, fault))
        return answers

    def close(self) -> None:
        """Close the inner backend."""
        self.inner.close()

    async def aclose(self) -> None:
        """Close the inner backend."""
        await self.inner.aclose()

    def _next(self) -> Fault | None:
        with self._lock:
            self.calls += 1
            return self.faults.get(self.calls)


def _errors(fault: Fault | None) -> tuple[SessionStoreError | None, SessionStoreError | None]:
    """What the call meets before it is done, and what after."""
    if fault is Fault.FAIL:
        return BackendUnavailable("a fault on purpose: not reachable"), None
    if fault is Fault.CUT_BEFORE:
        return OutcomeUnknown("a fault on purpose: cut before the call arrived"), None
    if fault is Fault.CUT_AFTER:
        return None, OutcomeUnknown("a fault on purpose: cut before the answer arrived")
    return None, None


def _confirmed(call: Call, answer: Answer, fault: Fault | None) -> Answer:
    """The answer, as it is when no replica confirms what it says."""
    if fault is not Fault.UNCONFIRMED or not (isinstance(answer, list) and call.writes):
        return answer
    doubt = NotReplicated("a fault on purpose: applied, but no replica has confirmed it")
    doubt.result = answer
    return doubt
