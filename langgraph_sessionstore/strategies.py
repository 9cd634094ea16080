"""What of a conversation to send to a model when all of it is too much: plain functions on a session.

Each returns the messages to send. The session keeps its full history, unless `drop=True` says to take the others away
(an operation like others: it can be undone).

Rule 1: a call of tools is never separated from its results, and no result stands without its call.
Rule 2: system messages at the beginning stay, as does the session's system prompt in front of all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, TypeVar

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, get_buffer_string
from langchain_core.runnables import Runnable

from .errors import ConfigurationError, ConflictError, SessionError
from .ops import Plan
from .plans import editing
from .plans.details import Details, Summary
from .plans.drafts import Draft, blocks
from .session import Session

T = TypeVar("T")
Predicate = Callable[[BaseMessage], bool]
PROMPT = (
    "Summarize this conversation for somebody who has to carry it on: what was asked, what was answered, what was "
    "decided, names and numbers that matter.{earlier}\n\nConversation:\n{conversation}"
)
EARLIER = "\n\nWhat was said before, in short (where the conversation says otherwise, it is right):\n{summary}"
HEADING = "Summary of the conversation so far: "


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


def summarize(
    session: Session,
    model: Runnable[Any, Any],
    keep: int = 10,
    *,
    after: int | None = None,
    prompt: str = PROMPT,
    drop: bool = False,
) -> list[BaseMessage]:
    """The session's summary, and the messages that it does not cover: the last `keep`, and those since it was made.

    When more than `after` messages (twice `keep`, unless given) are not covered, the model is asked for a new summary,
    which is stored with the session; it goes on from the one before. `prompt` has the fields {earlier} and
    {conversation}.
    """
    found = session._run(_uncovered(session))
    asked = _to_summarize(found, keep, after)
    if asked:
        text = _text(model.invoke(_prompt(found, asked, prompt)))
        found = session._run(_summarized(session, found, asked, text))
    if drop and found.covered:
        session._run(_forget(session, found))
    return found.messages()


async def asummarize(
    session: Session,
    model: Runnable[Any, Any],
    keep: int = 10,
    *,
    after: int | None = None,
    prompt: str = PROMPT,
    drop: bool = False,
) -> list[BaseMessage]:
    """The async form of `summarize`."""
    found = await session._arun(_uncovered(session))
    asked = _to_summarize(found, keep, after)
    if asked:
        text = _text(await model.ainvoke(_prompt(found, asked, prompt)))
        found = await session._arun(_summarized(session, found, asked, text))
    if drop and found.covered:
        await session._arun(_forget(session, found))
    return found.messages()


# -- choosing


def _head(messages: Sequence[BaseMessage]) -> int:
    """How many system messages stand at the beginning."""
    return next((at for at, message in enumerate(messages) if not isinstance(message, SystemMessage)), len(messages))


def _last(messages: Sequence[BaseMessage], last: int) -> list[int]:
    if isinstance(last, bool) or not isinstance(last, int) or last < 0:
        raise ConfigurationError(f"a window has a number of messages from 0 on, not {last!r:.80}")
    head = _head(messages)
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
    return [*_system(details), *messages]


def _system(details: Details) -> list[BaseMessage]:
    return [SystemMessage(details.system)] if details.system is not None else []


# -- summarizing


class _Found:
    """A session with its summary."""

    def __init__(self, details: Details, all_: list[BaseMessage], summary: Summary | None) -> None:
        self.details = details
        self.all = all_
        self.summary = summary
        covers = summary.covers if summary else 0
        mark = mark_of(all_[:covers]) if covers else b""
        stands = summary is not None and covers <= len(all_) and summary.mark == mark
        self.text = summary.text if summary else None
        self.covered = covers if stands else 0
        """How many messages it covers: none, when one of them was edited since."""

    def messages(self) -> list[BaseMessage]:
        """What to send."""
        head = _head(self.all)
        heading = [SystemMessage(HEADING + self.text)] if self.text else []
        return [*_system(self.details), *self.all[:head], *heading, *self.all[max(head, self.covered) :]]


def mark_of(messages: Sequence[BaseMessage]) -> bytes:
    """Tells whether these messages are still the same."""
    digest = sha256()
    for message in messages:
        said = (message.type, message.id, message.content, getattr(message, "tool_calls", None))
        digest.update(repr(said).encode("utf-8", "surrogatepass"))
    return digest.digest()[:16]


def _uncovered(session: Session) -> Plan[_Found]:
    _, draft = yield from editing.begin(session._desk, history=False)
    return _Found(draft.details, draft.messages, draft.kept_summary)


def _to_summarize(found: _Found, keep: int, after: int | None) -> int:
    """Up to which message a new summary goes; 0: the one that there is will do."""
    for number in (keep, *(() if after is None else (after,))):
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ConfigurationError(f"keep and after are numbers of messages from 0 on, not {number!r:.80}")
    begin = max(found.covered, _head(found.all))
    if len(found.all) - begin <= (2 * keep if after is None else max(after, keep)):
        return 0
    upto = max((first for first, _ in blocks(found.all) if first <= len(found.all) - keep), default=0)
    if keep == 0:
        upto = len(found.all)
    return upto if upto > begin else 0


def _prompt(found: _Found, upto: int, prompt: str) -> list[BaseMessage]:
    begin = max(found.covered, _head(found.all))
    earlier = EARLIER.format(summary=found.text) if found.text else ""
    conversation = get_buffer_string(found.all[begin:upto])
    fields = {"{earlier}": earlier, "{conversation}": conversation}
    return [HumanMessage(re.sub(r"\{(earlier|conversation)\}", lambda field: fields[field[0]], prompt))]


def _text(answer: Any) -> str:
    text = str(answer.text) if isinstance(answer, BaseMessage) else answer
    if not isinstance(text, str) or not text.strip():
        raise SessionError("the model gave no summary: the session stays as it was")
    return text.strip()


def _summarized(session: Session, found: _Found, upto: int, text: str) -> Plan[_Found]:
    """Store a summary, if what it covers is still there."""
    mark = mark_of(found.all[:upto])

    def change(draft: Draft) -> _Found:
        messages = draft.messages
        if mark_of(messages[:upto]) != mark:
            raise ConflictError(
                f"the messages of session {session.id!r} were edited while they were summarized: nothing was stored"
            )
        draft.set_summary(text, upto, mark)
        return _Found(draft.details, messages, draft.kept_summary)

    return (yield from editing.edit(session._desk, change))


def _forget(session: Session, found: _Found) -> Plan[None]:
    """Take the messages away that the summary covers."""

    def change(draft: Draft) -> None:
        messages = draft.messages
        if found.summary is None or mark_of(messages[: found.covered]) != found.summary.mark:
            raise ConflictError(f"the messages of session {session.id!r} were edited meanwhile: none was dropped")
        head = _head(messages)
        draft.keep([*draft.items[:head], *draft.items[max(head, found.covered) :]], "summarize")
        draft.set_summary(found.summary.text)

    yield from editing.edit(session._desk, change)
