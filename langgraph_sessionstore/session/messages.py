"""The messages of a session, its summary and its details.

Rule: each method is one operation, stored when it returns; the `a` form does the same for async callers. In a graph's
session the same methods read and edit the messages in the graph's newest state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from .. import keys
from ..ops import Get, Plan, must
from ..plans import contents, editing, places
from ..plans.details import Details, unpack_details, unpack_summary
from ..plans.drafts import Draft
from ..plans.given import GivenMessage, as_message, as_messages
from ..plans.places import DETAILS, SUMMARY
from .common import Handle


class _Kept:
    """Stands for what is not named."""

    def __repr__(self) -> str:
        return "as it is"


_KEPT = _Kept()


class Messages(Handle):
    """The messages API."""

    @property
    def messages(self) -> list[BaseMessage]:
        """All messages: a copy, yours to change."""
        return self._run(self._load())

    async def amessages(self) -> list[BaseMessage]:
        """The async form of `messages`."""
        return await self._arun(self._load())

    def __len__(self) -> int:
        return self._run(self._count())

    def __bool__(self) -> bool:
        return True  # an empty session is a session

    async def acount(self) -> int:
        """How many messages there are; the async form of `len(session)`."""
        return await self._arun(self._count())

    def at(self, index: int) -> BaseMessage:
        """One message; a negative index counts from the end. `MessageIndexError` when there is none."""
        return self._run(self._at(index))

    async def aat(self, index: int) -> BaseMessage:
        """The async form of `at`."""
        return await self._arun(self._at(index))

    def append(self, message: GivenMessage, text: str | None = None) -> None:
        """Add a message at the end: a message, or a role and a text. Any number of workers may append at once."""
        self._run(editing.append(self._desk, [as_message(message, text)]))

    async def aappend(self, message: GivenMessage, text: str | None = None) -> None:
        """The async form of `append`."""
        await self._arun(editing.append(self._desk, [as_message(message, text)]))

    def extend(self, messages: Iterable[GivenMessage]) -> None:
        """Add messages at the end, as one operation: nobody else's come between them."""
        self._run(editing.append(self._desk, as_messages(messages)))

    async def aextend(self, messages: Iterable[GivenMessage]) -> None:
        """The async form of `extend`."""
        await self._arun(editing.append(self._desk, as_messages(messages)))

    def insert(self, index: int, message: GivenMessage, text: str | None = None) -> None:
        """Put a message before the one at this index."""
        self._run(self._edit(lambda draft: draft.insert(index, message, text)))

    async def ainsert(self, index: int, message: GivenMessage, text: str | None = None) -> None:
        """The async form of `insert`."""
        await self._arun(self._edit(lambda draft: draft.insert(index, message, text)))

    def replace(self, index: int, message: GivenMessage, text: str | None = None) -> None:
        """Put another message in the place of the one at this index."""
        self._run(self._edit(lambda draft: draft.replace(index, message, text)))

    async def areplace(self, index: int, message: GivenMessage, text: str | None = None) -> None:
        """The async form of `replace`."""
        await self._arun(self._edit(lambda draft: draft.replace(index, message, text)))

    def remove(self, index: int) -> None:
        """Take the message at this index away."""
        self._run(self._edit(lambda draft: draft.remove(index)))

    async def aremove(self, index: int) -> None:
        """The async form of `remove`."""
        await self._arun(self._edit(lambda draft: draft.remove(index)))

    def prune(self, pairs: int) -> None:
        """Take the last exchanges away: each a message of the user, and all that came after it."""
        self._run(self._edit(lambda draft: draft.prune(pairs), True))

    async def aprune(self, pairs: int) -> None:
        """The async form of `prune`."""
        await self._arun(self._edit(lambda draft: draft.prune(pairs), True))

    def truncate(self, first: int, last: int) -> None:
        """Keep the first and the last so many messages."""
        self._run(self._edit(lambda draft: draft.truncate(first, last)))

    async def atruncate(self, first: int, last: int) -> None:
        """The async form of `truncate`."""
        await self._arun(self._edit(lambda draft: draft.truncate(first, last)))

    def set_messages(self, messages: Iterable[GivenMessage]) -> None:
        """Put these in the place of all messages."""
        new = as_messages(messages)
        self._run(self._edit(lambda draft: draft.set_messages(new), True))

    async def aset_messages(self, messages: Iterable[GivenMessage]) -> None:
        """The async form of `set_messages`."""
        new = as_messages(messages)
        await self._arun(self._edit(lambda draft: draft.set_messages(new), True))

    def clear(self, *, purge: bool = False) -> None:
        """Take all messages away. With `purge` they are erased with all that could be undone, and never come back.

        Of a graph's session the newest state of each namespace stays, that of the graph itself without its messages.
        Subgraphs have namespaces of their own, most of them one for each call, so what they were given and have said
        is still there. Summary, details and usage stay, too; to leave nothing, delete the session. What others append
        to a log meanwhile stays.
        """
        self._run(self._clear(purge))

    async def aclear(self, *, purge: bool = False) -> None:
        """The async form of `clear`."""
        await self._arun(self._clear(purge))

    # -- summary and details

    @property
    def summary(self) -> str | None:
        """The summary of the conversation."""
        return self._run(self._summary())

    @summary.setter
    def summary(self, text: str | None) -> None:
        self.set_summary(text)

    async def asummary(self) -> str | None:
        """The async form of reading `summary`."""
        return await self._arun(self._summary())

    def set_summary(self, text: str | None) -> None:
        """Set the summary; None takes it away."""
        self._run(self._edit(lambda draft: draft.set_summary(text)))

    async def aset_summary(self, text: str | None) -> None:
        """The async form of `set_summary`."""
        await self._arun(self._edit(lambda draft: draft.set_summary(text)))

    @property
    def title(self) -> str | None:
        """The title."""
        return self._run(self._details()).title

    @title.setter
    def title(self, title: str | None) -> None:
        self.update(title=title)

    async def atitle(self) -> str | None:
        """The async form of reading `title`."""
        return (await self._arun(self._details())).title

    @property
    def system(self) -> str | None:
        """The system prompt."""
        return self._run(self._details()).system

    @system.setter
    def system(self, system: str | None) -> None:
        self.update(system=system)

    async def asystem(self) -> str | None:
        """The async form of reading `system`."""
        return (await self._arun(self._details())).system

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata: a copy. To change it, set another one as a whole."""
        return dict(self._run(self._details()).metadata)

    @metadata.setter
    def metadata(self, metadata: dict[str, Any]) -> None:
        self.update(metadata=metadata)

    async def ametadata(self) -> dict[str, Any]:
        """The async form of reading `metadata`."""
        return dict((await self._arun(self._details())).metadata)

    def update(
        self,
        *,
        title: str | _Kept | None = _KEPT,
        system: str | _Kept | None = _KEPT,
        metadata: Mapping[str, Any] | _Kept = _KEPT,
    ) -> None:
        """Set title, system prompt or metadata (as a whole), in one operation; what is not named stays as it is."""
        self._run(self._edit(lambda draft: _update(draft, title, system, metadata)))

    async def aupdate(
        self,
        *,
        title: str | _Kept | None = _KEPT,
        system: str | _Kept | None = _KEPT,
        metadata: Mapping[str, Any] | _Kept = _KEPT,
    ) -> None:
        """The async form of `update`."""
        await self._arun(self._edit(lambda draft: _update(draft, title, system, metadata)))

    # -- plans

    def _edit(self, change: Any, messages: bool = False) -> Plan[None]:
        return editing.edit(self._desk, change, messages=messages)

    def _load(self) -> Plan[list[BaseMessage]]:
        desk = self._desk
        return contents.messages(desk, (yield from contents.read(desk)))

    def _count(self) -> Plan[int]:
        found = yield from contents.read(self._desk, messages=False)
        return contents.count(self._desk, found)

    def _at(self, index: int) -> Plan[BaseMessage]:
        desk = self._desk
        found = yield from contents.read(desk, messages=False)
        if found.channel is None:  # one message is read, and not all of them
            numbers = contents.log_numbers(desk, found)
            if type(index) is int and -len(numbers) <= index < len(numbers):
                place = places.message(numbers[index])
                same, row = yield from must(desk.partition, Get(keys.INCARNATION), Get(place))
                if row is not None and same == found.incarnation:
                    return contents.load_message(desk, numbers[index], row)
        _, draft = yield from editing.begin(desk, history=False)
        return draft.at(index)

    def _clear(self, purge: bool) -> Plan[None]:
        if purge:
            yield from editing.purge(self._desk)
        else:
            yield from self._edit(lambda draft: draft.clear())

    def _summary(self) -> Plan[str | None]:
        (row,) = yield from self._read(SUMMARY)
        summary = unpack_summary(row, self.id)
        return summary.text if summary else None

    def _details(self) -> Plan[Details]:
        (row,) = yield from self._read(DETAILS)
        return unpack_details(self._desk.tools, row, self.id)

    def _read(self, *rows: bytes) -> Plan[list[bytes | None]]:
        desk = self._desk
        incarnation, tombstone, *found = yield from must(
            desk.partition, Get(keys.INCARNATION), Get(keys.TOMBSTONE), *map(Get, rows)
        )
        desk.check(incarnation, tombstone)
        return found


def _update(draft: Draft, title: Any, system: Any, metadata: Any) -> None:
    for name, value in (("title", title), ("system", system), ("metadata", metadata)):
        if value is not _KEPT:
            setattr(draft, name, value)
