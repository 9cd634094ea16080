"""A backend on which something else happens in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from langgraph_sessionstore import Backend
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import Call


class Between(Backend):
    """Does something else before the trips with these numbers. Closing it leaves the inner backend open."""

    def __init__(self, inner: Backend, before: dict[int, Callable[[], object]]) -> None:
        self.inner, self.before, self.trips = inner, before, 0

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        self._next()
        return self.inner.execute(calls, ordered=ordered)

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        self._next()
        return await self.inner.aexecute(calls, ordered=ordered)

    def close(self) -> None:
        """Nothing to close."""

    async def aclose(self) -> None:
        """Nothing to close."""

    def _next(self) -> None:
        self.trips += 1
        self.before.get(self.trips, lambda: None)()
