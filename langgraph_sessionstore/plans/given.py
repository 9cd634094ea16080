"""What callers give: messages, texts, metadata, times; and a clear error for what is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.messages.modifier import RemoveMessage

from ..errors import ConfigurationError, Unstorable

GivenMessage: TypeAlias = BaseMessage | str | tuple[str, Any] | Mapping[str, Any]
"""A message; or, as LangChain takes it, a (role, text) pair, a dict with "role" and "content", or the user's text."""
Duration: TypeAlias = float | int | timedelta
"""Seconds, or a timedelta."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def as_message(given: GivenMessage, text: str | None = None) -> BaseMessage:
    """A message, or a role and a text, as a message."""
    if text is None:
        (message,) = as_messages([given])
        return message
    if not isinstance(given, str) or not isinstance(text, str):
        raise ConfigurationError(
            "a message is given as one, or as a role and a text, "
            f"not as {type(given).__name__} and {type(text).__name__}"
        )
    (message,) = as_messages([(given, text)])
    return message


def as_messages(given: Iterable[GivenMessage]) -> list[BaseMessage]:
    """Messages, each in one of the forms that LangChain takes."""
    if isinstance(given, (str, bytes, Mapping, BaseMessage)) or not isinstance(given, Iterable):
        raise ConfigurationError(f"messages are given as a list, not as {type(given).__name__}")
    messages = []
    for number, each in enumerate(given):
        if not isinstance(each, BaseMessage):
            if not isinstance(each, (str, tuple, list, Mapping)):
                raise Unstorable(f"no message: number {number} is of type {type(each).__name__}; {_HINT}")
            try:
                (each,) = convert_to_messages([each])  # type: ignore[list-item]
            except (ValueError, TypeError, KeyError, NotImplementedError) as exc:
                raise Unstorable(f"no message: number {number} is {each!r:.80} ({exc!s:.200}); {_HINT}") from exc
        if isinstance(each, RemoveMessage):
            raise Unstorable("a RemoveMessage is for graphs; use remove(index) on a session")
        messages.append(each)
    return messages


_HINT = 'give a LangChain message, or a role and a text such as ("user", "Hello")'


def as_text(given: str | None, what: str) -> str | None:
    """A text, or none."""
    if given is not None and not isinstance(given, str):
        raise ConfigurationError(f"{what} is text or None, not {type(given).__name__}")
    return given


def as_metadata(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Metadata: a dict with text as its keys."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ConfigurationError(f'metadata is a dict such as {{"user": "ann"}}, not {given!r:.80}')
    return dict(given)


def as_id(given: Any) -> str:
    """The id of a session."""
    if not isinstance(given, str) or not given:
        raise ConfigurationError(f"a session's id is text that is not empty, not {given!r:.80}")
    return given


def as_milliseconds(given: Duration, what: str) -> int:
    """A time that a user gives, in seconds or as a timedelta."""
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e10:
        raise ConfigurationError(f"{what} is a number of seconds or a timedelta, not {given!r:.80}")
    return round(seconds * 1000) if seconds == 0 else max(1, round(seconds * 1000))


def as_moment(older_than: Duration | datetime, now: int) -> int:
    """The moment, in milliseconds, up to which something is older than a user says: than so long ago, or than then."""
    if not isinstance(older_than, datetime):
        return now - as_milliseconds(older_than, "older_than")
    try:
        return milliseconds(older_than if older_than.tzinfo else older_than.astimezone())
    except (ValueError, OverflowError, OSError) as exc:  # far from the times that clocks know
        raise ConfigurationError(f"older_than is a moment that has a time zone here, not {older_than!r:.80}") from exc


def milliseconds(moment: datetime) -> int:
    """A moment in milliseconds since 1970."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)
