"""Windows and selections: some of the messages, as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig

from ..errors import ConfigurationError
from ..ops import Plan
from ..plans import editing
from ..plans.details import Details
from ..plans.drafts import Draft, blocks
from ..script import Ask, Script
from ..session import Session
from .base import size_of_head, system

Predicate = Callable[[BaseMessage], bool]


@dataclass(frozen=True)
class Window:
    """The last so many messages; fewer, where more would cut a call of tools from its results."""

    last: int = 20

    def __post_init__(self) -> None:
        _last((), self.last)

    def choose(
        self, session: Session, draft: Draft, history: list[BaseMessage], config: RunnableConfig
    ) -> Script[list[BaseMessage]]:
        """See `Strategy`."""
        return [history[at] for at in _last(history, self.last)]
        yield  # a script without steps


@dataclass(frozen=True)
class Chosen:
    """What a function, or a Runnable such as LangChain's `trim_messages`, makes of the messages."""

    by: Runnable[list[BaseMessage], list[BaseMessage]]

    def choose(
        self, session: Session, draft: Draft, history: list[BaseMessage], config: RunnableConfig
    ) -> Script[list[BaseMessage]]:
        """See `Strategy`."""
        chosen: Any = yield Ask(self.by, history, config)
        if not isinstance(chosen, (list, tuple)) or not all(isinstance(each, BaseMessage) for each in chosen):
            raise ConfigurationError(f"a strategy gives the messages to send, as a list, not {chosen!r:.80}")
        return list(chosen)


def window(session: Session, last: int = 20, *, drop: bool = False) -> list[BaseMessage]:
    """The last so many messages; fewer, where more would cut a call of tools from its results."""
    return session._run(_select(session, lambda messages: _last(messages, last), f"window of {last}", drop))


async def awindow(session: Session, last: int = 20, *, drop: bool = False) -> list[BaseMessage]:
    """The async form of `window`."""
    return await session._arun(_select(session, lambda messages: _last(messages, last), f"window of {last}", drop))


def select(session: Session, keep: Predicate, *, drop: bool = False) -> list[BaseMessage]:
    """The messages that `keep` says yes to. A call of tools stays with its results when it says yes to one of them."""
    return session._run(_select(session, lambda messages: _chosen(messages, keep), "selection", drop))


async def aselect(session: Session, keep: Predicate, *, drop: bool = False) -> list[BaseMessage]:
    """The async form of `select`."""
    return await session._arun(_select(session, lambda messages: _chosen(messages, keep), "selection", drop))


def _last(messages: Sequence[BaseMessage], last: int) -> list[int]:
    if isinstance(last, bool) or not isinstance(last, int) or last < 0:
        raise ConfigurationError(f"a window has a number of messages from 0 on, not {last!r:.80}")
    head = size_of_head(messages)
    begins = [first for first, _ in blocks(messages) if first >= max(head, len(messages) - last)]
    begin = begins[0] if begins else len(messages)
    while begin < len(messages) and _is_result(messages[begin]):
        begin += 1
    return [*range(head), *range(begin, len(messages))]


def _chosen(messages: Sequence[BaseMessage], keep: Predicate) -> list[int]:
    chosen: list[int] = []
    for first, stop in blocks(messages):
        if any(keep(message) for message in messages[first:stop]):
            chosen += range(first, stop)
    return chosen


def _is_result(message: BaseMessage) -> bool:
    return getattr(message, "tool_call_id", None) is not None


def _select(
    session: Session, choose: Callable[[Sequence[BaseMessage]], list[int]], label: str, drop: bool
) -> Plan[list[BaseMessage]]:
    def change(draft: Draft) -> tuple[Details, list[BaseMessage]]:
        messages = draft.messages
        chosen = choose(messages)
        if drop:
            draft.keep([draft.items[at] for at in chosen], label)
        return draft.details, [messages[at] for at in chosen]

    if drop:
        details, messages = yield from editing.edit(session._desk, change)
    else:
        _, draft = yield from editing.begin(session._desk, history=False)
        details, messages = change(draft)
    return [*system(details), *messages]
