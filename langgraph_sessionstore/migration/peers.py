"""What has to be known of the checkpointers and stores of others, beyond what LangGraph says of all of them.

- `PostgresSaver.list` fetches everything that it is about to list at once: it is asked for pages.
- `RedisSaver.list` lists 10,000 unless a limit is given, no more than 1,000,000, and ignores `before` for the ids of
  today's LangGraph.
- `RedisStore` finds all by `search` without a prefix only: `get` and `list_namespaces` look at the first ten that its
  index brings, and an index of words does not know labels such as "a" or "the".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from ..crossing import Crossing
from ..errors import ConfigurationError
from .steps import Walk

PAGE = 100
"""Checkpoints that a PostgresSaver is asked for at once: it holds all of them, with all that they hold."""
MOST = 1_000_000
"""More than this RediSearch does not list."""


def is_of(what: Any, package: str) -> bool:
    """Whether this is a class of that package, or derived from one."""
    return any(kind.__module__.startswith(package) for kind in type(what).__mro__)


def walk(
    source: BaseCheckpointSaver[Any], config: RunnableConfig | None, visit: Callable[[CheckpointTuple], None]
) -> Crossing[None]:
    """Show all checkpoints of a thread, or of all, to `visit`, some of them more than once."""
    if is_of(source, "langgraph.checkpoint.postgres"):
        yield from _pages(source, config, visit)
    elif is_of(source, "langgraph.checkpoint.redis"):
        seen = _Counted(visit)
        yield Walk(source, config, {"limit": MOST}, seen)
        if seen.count >= MOST:
            raise ConfigurationError(f"RedisSaver lists no more than {MOST:,} checkpoints at once: name the threads")
    else:
        yield Walk(source, config, {}, visit)


class _Counted:
    """Counts what it hands on."""

    def __init__(self, visit: Callable[[CheckpointTuple], None]) -> None:
        self._visit = visit
        self.count = 0
        self.ids: list[str] = []
        """The last two that are not the same."""

    def __call__(self, found: CheckpointTuple) -> None:
        self._visit(found)
        self.count += 1
        name = id_of(found.config)
        if name and name not in self.ids[-1:]:
            self.ids = [*self.ids[-1:], name]


def _pages(
    source: BaseCheckpointSaver[Any], config: RunnableConfig | None, visit: Callable[[CheckpointTuple], None]
) -> Crossing[None]:
    """Page by page, newest first.

    Several threads may have checkpoints with the same id, when one was copied from another. So that a page's end does
    not part them, the next page begins with the last id again.
    """
    before: RunnableConfig | None = None
    size = PAGE
    while True:
        page = _Counted(visit)
        yield Walk(source, config, {"limit": size, "before": before}, page)
        if page.count < size:
            return
        if len(page.ids) < 2:
            size *= 2  # all of one id
        else:
            before, size = {"configurable": {"checkpoint_id": page.ids[-2]}}, PAGE


def id_of(config: Mapping[str, Any] | None) -> str | None:
    """The checkpoint that a config names."""
    found = config["configurable"].get("checkpoint_id") if config else None
    return str(found) if found else None
