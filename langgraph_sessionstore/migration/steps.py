"""Steps of a copy: what is asked of a checkpointer or a store of anybody, and what is made of its replies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.store.base import BaseStore

from ..crossing import Crossing, Step
from ..errors import BackendUnavailable, ConfigurationError, SessionStoreError
from .reviving import Lost, watching

T = TypeVar("T")
GONE = {
    "psycopg": {"OperationalError", "InterfaceError"},
    "redis": {"ConnectionError", "TimeoutError"},
    "sqlite3": {"OperationalError"},
}
"""What others say when their storage cannot do its work."""


class Ask(NamedTuple):
    """Call a method that has an `a` form; replies what it returns."""

    of: BaseCheckpointSaver[Any] | BaseStore
    method: str
    arguments: tuple[Any, ...]

    def do(self) -> Any:
        """Do it."""
        return getattr(self.of, self.method)(*self.arguments)

    async def ado(self) -> Any:
        """The async form of `do`."""
        return await getattr(self.of, f"a{self.method}")(*self.arguments)


class Walk(NamedTuple):
    """Go through a listing of checkpoints, and show each to `visit`."""

    of: BaseCheckpointSaver[Any]
    config: RunnableConfig | None
    options: dict[str, Any]
    visit: Callable[[CheckpointTuple], None]

    def do(self) -> None:
        """Do it."""
        for found in self.of.list(self.config, **self.options):
            self.visit(found)

    async def ado(self) -> None:
        """The async form of `do`."""
        async for found in self.of.alist(self.config, **self.options):
            self.visit(found)


def watched(copy: Crossing[T], form: str) -> Crossing[T]:
    """A copy that refuses what could not be revived, and says what the trouble of others means."""
    with watching() as lost:
        try:
            step = next(copy)
            while True:
                try:
                    reply = yield step
                    _check(step, reply, lost)
                except Exception as exc:
                    step = copy.throw(_explained(step, exc, form))
                else:
                    step = copy.send(reply)
        except StopIteration as stop:
            result: T = stop.value
            return result


def _check(step: Step, reply: Any, lost: Lost) -> None:
    """Refuse what could not be revived, where it is to be stored or compared. Of a listing only names are kept."""
    if isinstance(step, Ask):
        lost.check(reply)
    else:
        lost.forget()


def _explained(step: Step, exc: Exception, form: str) -> Exception:
    """What others say, in the words of this library, where it is not about what was to be copied."""
    error: Exception
    if not isinstance(step, (Ask, Walk)):
        return exc
    if isinstance(exc, (NotImplementedError, asyncio.InvalidStateError)):
        error = ConfigurationError(
            f"{type(step.of).__name__} has no {form} form that works here: copy_threads and copy_items are for the "
            "sync classes, acopy_threads and acopy_items for the Async ones; ours are both"
        )
    elif not isinstance(exc, SessionStoreError) and (said := gone(exc)) is not None:
        error = BackendUnavailable(f"the storage of {type(step.of).__name__} cannot do its work: {said}")
    else:
        return exc
    error.__cause__ = exc
    return error


def gone(exc: BaseException) -> str | None:
    """What others say of a storage that cannot do its work, in a line; None when they say something else."""
    cause: BaseException | None = exc
    while cause is not None:
        for kind in type(cause).__mro__:
            if kind.__name__ in GONE.get(kind.__module__.partition(".")[0], ()):
                return " ".join([f"{type(cause).__name__}:", *str(cause).splitlines()[:1]])[:300]
        cause = cause.__cause__ or cause.__context__
    return None
