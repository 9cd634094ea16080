"""What an edit of a session does to its messages, summary and details, on plain lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

from langgraph_sessionstore import MessageIndexError


class Sheet:
    """A session as an edit sees it."""

    def __init__(self, messages: Sequence[BaseMessage], summary: str | None, details: Mapping[str, Any]) -> None:
        self.messages, self.summary, self.details = list(messages), summary, dict(details)
        self.changes: list[str] = []

    def append(self, new: BaseMessage) -> None:
        self.extend([new])

    def extend(self, new: Sequence[BaseMessage]) -> None:
        self.messages += new
        self.changes.append(f"append of {many(len(new), 'message')}")

    def insert(self, index: int, new: BaseMessage) -> None:
        self._at(index, 1)
        self._set([*self.messages[:index], new, *self.messages[index:]], f"insert at {index}")

    def replace(self, index: int, new: BaseMessage) -> None:
        changed = list(self.messages)
        self._at(index)
        changed[index] = new
        self._set(changed, f"replace at {index}")

    def remove(self, index: int) -> None:
        changed = list(self.messages)
        self._at(index)
        del changed[index]
        self._set(changed, f"remove at {index}")

    def prune(self, pairs: int) -> None:
        self._set(self.messages[: self.turn(pairs)], f"prune of {many(pairs, 'exchange')}")

    def truncate(self, first: int, last: int) -> None:
        if first + last < len(self.messages):
            kept = self.messages[:first] + self.messages[len(self.messages) - last :]
            self._set(kept, f"truncate to {first} and {last}")

    def set_messages(self, new: Sequence[BaseMessage]) -> None:
        self._set(list(new), f"set_messages of {many(len(new), 'message')}")

    def clear(self) -> None:
        self._set([], "clear")

    def set_summary(self, text: str | None) -> None:
        if text != self.summary:
            self.summary = text
            self.changes.append("summary")

    def update(self, **details: Any) -> None:
        self.details |= details
        self.changes += details

    def turn(self, turns: int) -> int:
        """Where the last so many turns begin; the first, when there are fewer."""
        starts = [at for at, message in enumerate(self.messages) if isinstance(message, HumanMessage)]
        return starts[-turns:][0] if turns and starts else len(self.messages)

    @property
    def label(self) -> str:
        return self.changes[0] if len(self.changes) == 1 else f"transaction of {len(self.changes)} changes"

    def _at(self, index: int, room: int = 0) -> None:
        if not -len(self.messages) <= index < len(self.messages) + room:
            raise MessageIndexError

    def _set(self, messages: list[BaseMessage], change: str) -> None:
        if messages != self.messages:
            self.messages = messages
            self.changes.append(change)


def many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
