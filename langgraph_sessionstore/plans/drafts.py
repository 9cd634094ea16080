"""A draft: a session as an edit sees it, changed in memory until it is committed.

Rule 1: each method is one change with a name, by which undo says later what it took back. A method that fails has
        changed nothing.
Rule 2: a draft knows what was looked at, so that a commit can tell what it relies on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from ..errors import ConfigurationError, MessageIndexError, SessionError
from ..serde.messages import clone, fingerprint, is_message
from .details import Details, Summary
from .given import GivenMessage, as_message, as_messages, as_metadata, as_text


class Item:
    """A message of a draft: one of the log by its number, or a new one."""

    __slots__ = ("load", "message", "number")

    def __init__(
        self,
        message: BaseMessage | None = None,
        number: int | None = None,
        load: Callable[[], BaseMessage] | None = None,
    ) -> None:
        self.message = message
        self.number = number
        self.load = load

    def get(self) -> BaseMessage:
        """The message itself, to be copied before it is handed out."""
        if self.message is None:
            assert self.load is not None
            self.message = self.load()
        return self.message


class Draft:
    """What `Session.transaction()` gives: the messages, the summary and the details of a session, to be changed."""

    def __init__(self, session_id: str, items: list[Item], summary: Summary | None, details: Details) -> None:
        self.session_id = session_id
        self.items = items
        self.before = tuple(items)
        self.kept_summary = summary
        self.details = details
        self.changes: list[str] = []
        """What was done, in order."""
        self.added = 0
        """How many messages were appended, as long as nothing else was done to messages."""
        self.edited = False
        """Whether messages were changed in another way."""
        self.looked = False
        """Whether messages were looked at."""
        self.looked_at: set[str] = set()
        """Whether "summary" or "details" were looked at."""
        self.ended = False
        """Whether it was committed, or given up."""

    # -- reading

    @property
    def messages(self) -> list[BaseMessage]:
        """All messages: a copy."""
        self.looked = True
        return [clone(item.get()) for item in self.items]

    def __len__(self) -> int:
        self.looked = True
        return len(self.items)

    def at(self, index: int) -> BaseMessage:
        """One message: a copy."""
        message: BaseMessage = clone(self.items[self._index(index, "at")].get())
        return message

    @property
    def summary(self) -> str | None:
        """The summary."""
        self.looked_at.add("summary")
        return self.kept_summary.text if self.kept_summary else None

    @summary.setter
    def summary(self, text: str | None) -> None:
        self.set_summary(text)

    @property
    def title(self) -> str | None:
        """The title."""
        self.looked_at.add("details")
        return self.details.title

    @title.setter
    def title(self, title: str | None) -> None:
        self._detail("title", as_text(title, "a title"))

    @property
    def system(self) -> str | None:
        """The system prompt."""
        self.looked_at.add("details")
        return self.details.system

    @system.setter
    def system(self, system: str | None) -> None:
        self._detail("system", as_text(system, "a system prompt"))

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata: a copy."""
        self.looked_at.add("details")
        return copy.deepcopy(dict(self.details.metadata))

    @metadata.setter
    def metadata(self, metadata: Mapping[str, Any]) -> None:
        self._detail("metadata", as_metadata(metadata))

    # -- changing

    def append(self, message: GivenMessage, text: str | None = None) -> None:
        """Add a message at the end: a message, or a role and a text."""
        self.extend([as_message(message, text)])

    def extend(self, messages: Iterable[GivenMessage]) -> None:
        """Add messages at the end."""
        self._open()
        new = as_messages(messages)
        if new:
            self.items += map(Item, new)
            self.added += len(new)
            self.changes.append(f"append of {_many(len(new), 'message')}")

    def insert(self, index: int, message: GivenMessage, text: str | None = None) -> None:
        """Put a message before the one at this index; at the length: at the end."""
        new = as_message(message, text)
        at = self._index(index, "insert", 1)
        self._set([*self.items[:at], Item(new), *self.items[at:]], f"insert at {index}")

    def replace(self, index: int, message: GivenMessage, text: str | None = None) -> None:
        """Put another message in the place of the one at this index."""
        new = as_message(message, text)
        at = self._index(index, "replace")
        self._set([*self.items[:at], Item(new), *self.items[at + 1 :]], f"replace at {index}")

    def remove(self, index: int) -> None:
        """Take the message at this index away."""
        at = self._index(index, "remove")
        self._set([*self.items[:at], *self.items[at + 1 :]], f"remove at {index}")

    def prune(self, pairs: int) -> None:
        """Take the last exchanges away: each a message of the user, and all that came after it."""
        _whole(pairs, "prune")
        kept = self.before_turn(pairs)
        self._set(self.items[:kept], f"prune of {_many(pairs, 'exchange')}")

    def truncate(self, first: int, last: int) -> None:
        """Keep the first and the last so many messages, and take away those between."""
        _whole(first, "truncate")
        _whole(last, "truncate")
        self.looked = True
        if first + last < len(self.items):
            kept = [*self.items[:first], *self.items[len(self.items) - last :]]
            self._set(kept, f"truncate to {first} and {last}")

    def set_messages(self, messages: Iterable[GivenMessage]) -> None:
        """Put these in the place of all messages. Those that stay as they are are not stored again."""
        new = as_messages(messages)
        old: dict[bytes, list[Item]] = {}
        for item in reversed(self.items):
            if item.number is not None and (content := _content(item.get())):
                old.setdefault(content, []).append(item)
        items = []
        for message in new:
            same = old.get(_content(message) or b"")
            items.append(same.pop() if same else Item(message))
        self._set(items, f"set_messages of {_many(len(new), 'message')}")

    def clear(self) -> None:
        """Take all messages away."""
        self._set([], "clear")

    def keep(self, items: Sequence[Item], label: str) -> None:
        """Keep these of the items."""
        self._set(list(items), label)

    def set_summary(self, text: str | None, covers: int = 0, mark: bytes = b"") -> None:
        """Set the summary, or take it away; and which messages it covers."""
        self._open()
        text = as_text(text, "a summary")
        new = None if text is None else Summary(text, covers, mark)
        if new != self.kept_summary:
            self.kept_summary = new
            self.changes.append("summary")

    # --

    def before_turn(self, turns: int) -> int:
        """Where the last so many turns begin: at a message of the user each. The first one, when there are fewer."""
        self.looked = True
        at, found = len(self.items), 0
        for index in range(len(self.items) - 1, -1, -1):
            if found == turns:
                break
            if isinstance(self.items[index].get(), HumanMessage):
                found, at = found + 1, index
        return at

    def turns(self) -> int:
        """How many turns there are."""
        self.looked = True
        return sum(isinstance(item.get(), HumanMessage) for item in self.items)

    def differs(self) -> bool:
        """Whether messages are others than before."""
        return len(self.items) != len(self.before) or not all(map(_is, self.items, self.before))

    @property
    def label(self) -> str:
        """What all changes together are called."""
        return self.changes[0] if len(self.changes) == 1 else f"transaction of {len(self.changes)} changes"

    def _open(self) -> None:
        if self.ended:
            raise SessionError(
                f"this transaction on session {self.session_id!r} has ended: begin another with session.transaction()"
            )

    def _set(self, items: list[Item], change: str) -> None:
        self._open()
        self.looked = self.edited = True
        if len(items) != len(self.items) or not all(map(_is, items, self.items)):
            self.items = items
            self.changes.append(change)

    def _detail(self, name: str, value: Any) -> None:
        self._open()
        self.details = self.details._replace(**{name: value})
        self.changes.append(name)

    def _index(self, index: int, what: str, room: int = 0) -> int:
        if isinstance(index, bool) or not isinstance(index, int):
            raise ConfigurationError(f"{what}: an index is a whole number, not {type(index).__name__}")
        self.looked = True
        size = len(self.items)
        if not -size <= index < size + room:
            raise MessageIndexError(
                f"{what}: no message {index}, session {self.session_id!r} has {_many(size, 'message')}"
            )
        return index + size if index < 0 else index


def _content(message: BaseMessage) -> bytes | None:
    """Bytes that are the same for messages with the same content."""
    return fingerprint(message) if is_message(message) else None


def _is(one: Item, other: Item) -> bool:
    return one is other


def _whole(number: int, what: str) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ConfigurationError(f"{what} takes how many, a whole number from 0 on, not {number!r:.80}")


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def blocks(messages: Sequence[BaseMessage]) -> list[tuple[int, int]]:
    """Messages in pieces that belong together: a call of tools to its last result, others by themselves."""
    callers: dict[str, int] = {}
    reach = list(range(1, len(messages) + 1))
    for index, message in enumerate(messages):
        answered = getattr(message, "tool_call_id", None)
        if answered in callers:
            reach[callers[answered]] = index + 1
        for call in message.tool_calls if isinstance(message, AIMessage) else ():
            if call["id"]:
                callers[call["id"]] = index
    pieces: list[tuple[int, int]] = []
    first = stop = 0
    for index in range(len(messages)):
        stop = max(stop, reach[index])
        if index + 1 == stop:
            pieces.append((first, stop))
            first = stop
    return pieces
