"""What of a conversation to send to a model when all of it is too much.

As objects for `session.conversation(model, strategy=...)`: `Window`, `Summary`. As functions on a session: each returns
the messages to send. The session keeps its full history, unless `drop=True` says to take the others away (an operation
like others: it can be undone).

Rule 1: a call of tools is never separated from its results, and no result stands without its call.
Rule 2: system messages at the beginning stay, as does the session's system prompt in front of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.runnables.base import coerce_to_runnable

from ..errors import ConfigurationError
from .base import Strategy
from .choosing import Chosen, Window, aselect, awindow, select, window
from .summarizing import Summary, asummarize, summarize

GivenStrategy = Strategy | Runnable[Any, Any] | Callable[[list[BaseMessage]], Sequence[BaseMessage]]
"""A strategy, or what makes of messages those to send."""

__all__ = [
    "GivenStrategy",
    "Strategy",
    "Summary",
    "Window",
    "as_strategy",
    "aselect",
    "asummarize",
    "awindow",
    "select",
    "summarize",
    "window",
]


def as_strategy(given: GivenStrategy | None) -> Strategy | None:
    """A strategy, from whatever a user gives for one."""
    if given is None or isinstance(given, (Window, Summary, Chosen)):
        return given
    if isinstance(given, Runnable) or callable(given):
        by: Any = given
        return Chosen(coerce_to_runnable(by))
    raise ConfigurationError(
        "a strategy is Window(20), Summary(model), or a function that takes the messages and gives those to send, "
        f"not {given!r:.80}"
    )
