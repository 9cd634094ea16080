"""The contract: what a backend is.

A backend keeps partitions. A partition is an ordered map from keys to values, known by a name (bytes
without NUL), and exists from its first row on. `ops` says what can be done to one, `testing.BackendContract`
checks that a backend does it.

Rule 1: a call's batch is atomic on its partition, against all threads, processes and machines.
Rule 2: trouble with the storage is an answer of that call: a `BackendError` in its place of the list. Only
        mistakes of the caller (a closed backend, a key with NUL) are raised.
Rule 3: an answer other than `OutcomeUnknown` is certain: an error means that nothing was applied.
Rule 4: every existing partition holds a random incarnation id at `keys.INCARNATION`, new whenever the partition
        begins: at its first write, after `Drop`, as a copy.
Rule 5: one object serves sync and async callers, many threads and many event loops at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from typing_extensions import Self

from ..errors import SessionStoreError
from ..ops import Add, Append, Batch, Call, Outcome

Answer: TypeAlias = Outcome | SessionStoreError


class Backend(ABC):
    """Storage for partitions. Use it as a (sync or async) context manager, or close it."""

    @abstractmethod
    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """Do all calls in one trip; see `ops.Calls` for `ordered`."""

    @abstractmethod
    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """The async form of `execute`."""

    @abstractmethod
    def copy(self, source: bytes, target: bytes, batch: Batch) -> Outcome:
        """Make `target` a copy of `source` and apply `batch` to it; see `ops.Copy`. Trouble is raised."""

    @abstractmethod
    async def acopy(self, source: bytes, target: bytes, batch: Batch) -> Outcome:
        """The async form of `copy`."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back. Closing twice is fine; any other use afterwards is `BackendClosed`."""

    @abstractmethod
    async def aclose(self) -> None:
        """The async form of `close`: gives back what belongs to the running event loop, too."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def refuse_copy(source: bytes, target: bytes, batch: Batch) -> None:
    """Refuse what no backend could copy in one atomic step."""
    if source == target:
        raise ValueError("a partition cannot be copied onto itself")
    if any(isinstance(op, (Append, Add)) for op in batch.ops):
        raise ValueError("the batch of a copy cannot count or append")


def settle(answers: Iterable[Answer]) -> list[Outcome]:
    """Raise the first error among the answers, or give back the outcomes."""
    outcomes: list[Outcome] = []
    for answer in answers:
        if isinstance(answer, SessionStoreError):
            raise answer
        outcomes.append(answer)
    return outcomes
