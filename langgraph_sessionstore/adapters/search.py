"""A listing of checkpoints under way: pages of one thread, or of all threads one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from ..ops import Plan
from ..plans import listing, reading
from ..plans.listing import Position, Wanted
from ..plans.places import session_named
from ..plans.records import Stored
from ..plans.tools import Tools
from .configs import Target, named_checkpoint


class Search:
    """A listing under way: which page comes next, and which checkpoints of it fit."""

    def __init__(
        self,
        tools: Tools,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> None:
        self._tools = tools
        self._filter = filter or {}
        self._left = limit
        target = Target(config) if config is not None else None
        self._target = target
        ns = None if target is None or target.any_ns else target.ns
        self._wanted = Wanted(
            ns, target.checkpoint_id if target else None, named_checkpoint(before) if before else None
        )
        self._threads: deque[tuple[Any, str]] = deque([(target.thread_id, target.thread)] if target else [])
        self._more_threads: bytes | None = None if target else b""
        self._after: Position | None = None

    def next_page(self) -> Plan[Iterable[CheckpointTuple]] | None:
        """The plan of the next page, or None when nothing follows."""
        if (self._left is not None and self._left <= 0) or (not self._threads and self._more_threads is None):
            return None
        return self._page() if self._threads else self._page_of_threads()

    def _page(self) -> Plan[Iterable[CheckpointTuple]]:
        thread_id, thread = self._threads[0]
        size = listing.PAGE if self._filter or self._left is None else min(self._left, listing.PAGE)
        found, self._after = yield from listing.page(self._tools, thread, self._wanted, self._after, size)
        if self._after is None:
            self._threads.popleft()
        fitting = [stored for stored in found.found if self._fits(thread_id, stored)][: self._left]
        if self._left is not None:
            self._left -= len(fitting)
        # each is built when it is asked for: all messages of all checkpoints of a page would be many at once
        return (echoed(self._target, reading.as_tuple(self._tools, thread_id, stored, found)) for stored in fitting)

    def _page_of_threads(self) -> Plan[Iterable[CheckpointTuple]]:
        entries = yield from listing.threads(self._more_threads or b"")
        for entry in entries.rows:
            name = session_named(entry.name)
            if name is not None:
                self._threads.append((name, name))
        self._more_threads = entries.cursor or None
        return []

    def _fits(self, thread_id: Any, stored: Stored) -> bool:
        if not self._filter:
            return True
        metadata: Mapping[str, Any] = reading.load_metadata(self._tools, thread_id, stored)
        return all(metadata.get(name) == value for name, value in self._filter.items())


def echoed(target: Target | None, found: CheckpointTuple) -> CheckpointTuple:
    """The checkpoint, with the lease of the config in those that it names: `update_state` goes on from them."""
    if target is not None and target.lease:
        target.echo(found.config)
        if found.parent_config is not None:
            target.echo(found.parent_config)
    return found
