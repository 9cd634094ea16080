"""The contract: what a backend is.

A backend keeps partitions. A partition is an ordered map from keys to values, known by a name (bytes
without NUL), and exists from its first row on. `ops` says what can be done to one, `testing.BackendContract`
checks that a backend does it.

Rule 1: a call's batch is atomic on its partition, against all threads, processes and machines.
Rule 2: trouble with the storage is an answer of that call: a `SessionStoreError` in its place of the list. Only
        mistakes of the caller (a closed backend) are raised.
Rule 3: an answer other than `OutcomeUnknown` is certain: an error means that nothing of that call was applied, but for
        `NotReplicated`, which means that all of it was, and holds its outcome.
Rule 4: every existing partition holds a random incarnation id at `keys.INCARNATION`, new whenever the partition
        begins: at its first write, after `Drop`, as a copy.
Rule 5: one object serves sync and async callers, many threads and many event loops at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

from ..errors import BackendUnavailable, NotReplicated, OutcomeUnknown, SessionStoreError
from ..ops import Add, Append, Call, Calls, Conflict, Outcome

Answer: TypeAlias = Outcome | SessionStoreError
BackendT = TypeVar("BackendT", bound="Backend")
T = TypeVar("T")


class Backend(ABC):
    """Storage for partitions. Use it as a (sync or async) context manager, or close it."""

    @abstractmethod
    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """Do all calls in one trip; see `ops.Calls` for `ordered`."""

    @abstractmethod
    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """The async form of `execute`."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back. Closing twice is fine; any other use afterwards is `BackendClosed`."""

    @abstractmethod
    async def aclose(self) -> None:
        """The async form of `close`: gives back what belongs to the running event loop, too."""

    def __enter__(self: BackendT) -> BackendT:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self: BackendT) -> BackendT:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def refuse_copies(calls: Sequence[Call]) -> None:
    """Refuse copies that no backend could make in one atomic step."""
    for call in calls:
        if call.source is not None:
            if call.source == call.partition:
                raise ValueError("a partition cannot be copied onto itself")
            if any(isinstance(op, (Append, Add)) for op in call.batch.ops):
                raise ValueError("the batch of a copy cannot count or append")


def not_tried(ordered: bool, answers: Sequence[Answer]) -> Answer | None:
    """The answer of the next call when an ordered one before it was not applied; None: try it."""
    last = answers[-1] if ordered and answers else None
    if isinstance(last, Conflict):
        return Conflict(-1)
    if isinstance(last, SessionStoreError) and not isinstance(last, NotReplicated):
        return BackendUnavailable(f"not tried: a call before it could not be done ({last})")
    return None


def settle(request: Calls, answers: Sequence[Answer], doubts: list[NotReplicated]) -> list[Outcome]:
    """The outcomes; or an error that is true of all calls together, with the single answers at `.answers`.

    One call that failed leaves no trace, but others beside it may have been applied: that is `OutcomeUnknown`. One that
    is `NotReplicated` was applied: its outcome counts, and it is added to the `doubts`.
    """
    doubts += [answer for answer in answers if isinstance(answer, NotReplicated) and not request.casual]
    settled: list[Answer] = [answer.result if isinstance(answer, NotReplicated) else answer for answer in answers]
    first = next((answer for answer in settled if isinstance(answer, SessionStoreError)), None)
    if first is None:
        return [answer for answer in settled if not isinstance(answer, SessionStoreError)]
    traces = [
        isinstance(answer, OutcomeUnknown) or (isinstance(answer, list) and call.writes)
        for call, answer in zip(request.calls, settled, strict=True)
    ]
    if len(settled) > 1 and any(traces) and not isinstance(first, OutcomeUnknown):
        error = OutcomeUnknown(
            f"{sum(traces)} of {len(settled)} calls were or may have been applied, but not all: {first}"
        )
        error.__cause__ = first
        first = error
    first.answers = settled
    raise first


def vouch(result: T, doubts: Sequence[NotReplicated]) -> T:
    """What was done, as a result; or, when there are doubts, as one error that holds it."""
    if not doubts:
        return result
    raise doubts[0].of(result)
