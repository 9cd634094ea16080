"""Summaries: what was said before, in short, by a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, get_buffer_string
from langchain_core.runnables import Runnable, RunnableConfig

from ..backends.base import vouch
from ..errors import ConfigurationError, ConflictError, NotReplicated, SessionError
from ..ops import Plan
from ..plans import editing
from ..plans.details import Details
from ..plans.details import Summary as Stored
from ..plans.drafts import Draft, blocks
from ..script import Ask, Do, Script, afinish, finish
from ..session import Session
from .base import size_of_head, system

PROMPT = (
    "Summarize this conversation for somebody who has to carry it on: what was asked, what was answered, what was "
    "decided, names and numbers that matter.{earlier}\n\nConversation:\n{conversation}"
)
EARLIER = "\n\nWhat was said before, in short (where the conversation says otherwise, it is right):\n{summary}"
HEADING = "Summary of the conversation so far: "


@dataclass(frozen=True)
class Summary:
    """A summary that is stored with the session, and the messages that it does not cover; see `summarize`."""

    model: Runnable[Any, Any]
    keep: int = 10
    after: int | None = None
    prompt: str = PROMPT

    def __post_init__(self) -> None:
        _whole(self.keep, *(() if self.after is None else (self.after,)))

    def choose(
        self, session: Session, draft: Draft, history: list[BaseMessage], config: RunnableConfig
    ) -> Script[list[BaseMessage]]:
        """See `Strategy`."""
        found = _Found(draft.details, history, draft.kept_summary)
        try:
            found = yield from _summarizing(session, self.model, self.keep, self.after, self.prompt, found, config)
        except NotReplicated as doubt:  # it can be made again, and the turn goes on with it
            found = doubt.result
        return found.messages()


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
    return finish(session._common.backend, _summarize(session, model, keep, after, prompt, drop))


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
    return await afinish(session._common.backend, _summarize(session, model, keep, after, prompt, drop))


class _Found:
    """A session with its summary."""

    def __init__(self, details: Details, all_: list[BaseMessage], summary: Stored | None) -> None:
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
        """What to send, behind the system prompt."""
        head = size_of_head(self.all)
        heading = [SystemMessage(HEADING + self.text)] if self.text else []
        return [*self.all[:head], *heading, *self.all[max(head, self.covered) :]]


def mark_of(messages: Sequence[BaseMessage]) -> bytes:
    """Tells whether these messages are still the same."""
    digest = sha256()
    for message in messages:
        said = (message.type, message.content, getattr(message, "tool_calls", None))
        digest.update(repr(said).encode("utf-8", "surrogatepass"))
    return digest.digest()[:16]


def _summarize(
    session: Session, model: Runnable[Any, Any], keep: int, after: int | None, prompt: str, drop: bool
) -> Script[list[BaseMessage]]:
    found, doubts = (yield Do(_uncovered(session))), []
    try:
        found = yield from _summarizing(session, model, keep, after, prompt, found, None)
    except NotReplicated as doubt:
        found, doubts = doubt.result, [doubt]
    if drop and found.covered:
        try:
            yield Do(_forget(session, found))
        except NotReplicated as doubt:
            doubts.append(doubt)
    return vouch([*system(found.details), *found.messages()], doubts)


def _summarizing(
    session: Session,
    model: Runnable[Any, Any],
    keep: int,
    after: int | None,
    prompt: str,
    found: _Found,
    config: RunnableConfig | None,
) -> Script[_Found]:
    """Ask the model for a new summary when too many messages are not covered."""
    asked = _to_summarize(found, keep, after)
    if asked:
        said = yield Ask(model, _prompt(found, asked, prompt), config)
        found = yield Do(_summarized(session, found, asked, _text(said)))
    return found


def _uncovered(session: Session) -> Plan[_Found]:
    _, draft = yield from editing.begin(session._desk, history=False)
    return _Found(draft.details, draft.messages, draft.kept_summary)


def _to_summarize(found: _Found, keep: int, after: int | None) -> int:
    """Up to which message a new summary goes; 0: the one that there is will do."""
    _whole(keep, *(() if after is None else (after,)))
    begin = max(found.covered, size_of_head(found.all))
    if len(found.all) - begin <= (2 * keep if after is None else max(after, keep)):
        return 0
    upto = max((first for first, _ in blocks(found.all) if first <= len(found.all) - keep), default=0)
    if keep == 0:
        upto = len(found.all)
    return upto if upto > begin else 0


def _whole(*numbers: int) -> None:
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ConfigurationError(f"keep and after are numbers of messages from 0 on, not {number!r:.80}")


def _prompt(found: _Found, upto: int, prompt: str) -> list[BaseMessage]:
    begin = max(found.covered, size_of_head(found.all))
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
        head = size_of_head(messages)
        draft.keep([*draft.items[:head], *draft.items[max(head, found.covered) :]], "summarize")
        draft.set_summary(found.summary.text)

    yield from editing.edit(session._desk, change)
