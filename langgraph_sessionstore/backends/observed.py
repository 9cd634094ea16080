"""Any backend, with each of its calls told to a hook: how long it took, how much it moved, what came of it.

Rule 1: what is told can be logged anywhere: numbers and names of kinds, never a key, an id, a value or the text of an
        error.
Rule 2: a hook is in nobody's way. What it raises is logged, once, and the call ends as it would have ended.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, Literal, NamedTuple, TypeAlias

from ..errors import ConfigurationError, NotReplicated, SessionStoreError
from ..ops import Call, Conflict
from .base import Answer, Backend
from .retries import COUNTED, Retries

_LOG = logging.getLogger(__name__)


class BackendCall(NamedTuple):
    """One trip to the storage, for one caller."""

    backend: str
    """The class of the backend, such as "RedisBackend"."""
    operation: Literal["read", "write", "copy"]
    """What it was at most: a call that also writes is a write."""
    kinds: tuple[str, ...]
    """The kinds of its operations, in the order of the alphabet, such as ("Expect", "Put")."""
    calls: int
    """How many batches it had."""
    partitions: int
    """How many partitions these were for."""
    sent: int
    """Bytes of keys and values in its operations; what a protocol or a file adds to them is not counted."""
    received: int
    """Bytes of keys and values in its replies, counted likewise."""
    started: int
    """When it began, in nanoseconds since 1970."""
    seconds: float
    """How long it took its caller, with all waiting and trying again."""
    retries: int
    """How often something of it was sent again (Redis: a lost connection, a moved slot, a forgotten script) or begun
    again (files: another process was writing)."""
    conflicts: int
    """How many of its batches met a guard that did not hold, which is no error."""
    error: str | None
    """The class of what went wrong, such as "BackendUnavailable": of the first batch, or of all together."""


Hook: TypeAlias = Callable[[BackendCall], object]


class ObservedBackend(Backend):
    """`ObservedBackend(backend, hook)`: the hook is called after each call; closing this closes the inner one.

    The hook is a plain function. It is called where the call was made, on its thread and in its context, so it should
    be quick: what takes time belongs into a queue.
    """

    def __init__(self, inner: Backend, hook: Hook) -> None:
        if not callable(hook) or any(map(inspect.iscoroutinefunction, (hook, type(hook).__call__))):
            raise ConfigurationError(f"a hook that observes calls is a plain function of one, not {hook!r:.80}")
        self.inner = inner
        self._hook = hook
        self._has_failed = False

    def __repr__(self) -> str:
        return f"ObservedBackend({self.inner!r})"

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        with _Observation(self, calls) as observation:
            observation.answers = self.inner.execute(calls, ordered=ordered)
        return observation.answers

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        with _Observation(self, calls) as observation:
            observation.answers = await self.inner.aexecute(calls, ordered=ordered)
        return observation.answers

    def close(self) -> None:
        """Close the inner backend."""
        self.inner.close()

    async def aclose(self) -> None:
        """Close the inner backend."""
        await self.inner.aclose()

    def tell(self, call: BackendCall) -> None:
        """Call the hook."""
        try:
            self._hook(call)
        except Exception as exc:
            if not self._has_failed:
                self._has_failed = True
                _LOG.warning("a hook that observes calls has failed, which is not said again", exc_info=exc)


class _Observation:
    """One call under way."""

    def __init__(self, backend: ObservedBackend, calls: Sequence[Call]) -> None:
        self._backend = backend
        self._calls = calls
        self._retries = Retries()
        self.answers: list[Answer] = []

    def __enter__(self) -> _Observation:
        self._token = COUNTED.set(self._retries)
        self._started, self._begin = time.time_ns(), time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        seconds = time.perf_counter() - self._begin
        with suppress(ValueError):  # a coroutine that is given up may be closed in another context than its own
            COUNTED.reset(self._token)
        self._backend.tell(self._told(seconds, kind))

    def _told(self, seconds: float, kind: type[BaseException] | None) -> BackendCall:
        calls, answers = self._calls, self.answers
        wrong = next((type(answer) for answer in answers if isinstance(answer, SessionStoreError)), kind)
        return BackendCall(
            backend=type(self._backend.inner).__name__,
            operation=_operation(calls),
            kinds=tuple(sorted({op.__name__ for call in calls for op in call.batch.kinds})),
            calls=len(calls),
            partitions=len({call.partition for call in calls}),
            sent=sum(_size(call.batch.ops) for call in calls),
            received=sum(_size(answer.result if isinstance(answer, NotReplicated) else answer) for answer in answers),
            started=self._started,
            seconds=seconds,
            retries=self._retries.number,
            conflicts=sum(isinstance(answer, Conflict) for answer in answers),
            error=None if wrong is None else wrong.__name__,
        )


def _operation(calls: Sequence[Call]) -> Literal["read", "write", "copy"]:
    if any(call.source is not None for call in calls):
        return "copy"
    return "write" if any(call.batch.writes for call in calls) else "read"


def _size(part: Any) -> int:
    """The bytes in an operation or a reply, however deep they lie."""
    if isinstance(part, bytes):
        return len(part)
    if isinstance(part, list) and part and type(part[0]) is tuple:  # rows, of which there may be many
        return sum(map(len, chain.from_iterable(part)))
    return sum(map(_size, part)) if isinstance(part, (tuple, list)) else 0
