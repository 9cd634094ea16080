"""How often calls are tried again, for those who observe them.

Rule: who observes a call begins a count, in whose context the backend does its work. A backend that tries again says
so, also where it works for the caller on another thread. When nobody observes, nothing is counted.
"""

from __future__ import annotations

from contextvars import ContextVar


class Retries:
    """The count of one call."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


COUNTED: ContextVar[Retries | None] = ContextVar("langgraph_sessionstore_retries", default=None)
"""The count of the call that is under way; None: nobody wants to know."""


def again(retries: Retries | None) -> None:
    """Note that something is tried once more."""
    if retries is not None:
        retries.number += 1
