"""What LangGraph's configs name, and a clear error for what names nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from langchain_core.runnables import RunnableConfig

from .. import keys
from ..errors import ConfigurationError

T = TypeVar("T")
LEASE = "__sessionstore_lease__"
"""Where a config carries a lease: LangGraph keeps such names out of metadata, and hands them to subgraphs."""


class Target:
    """What a config names."""

    def __init__(self, config: RunnableConfig) -> None:
        configurable = _configurable(config)
        self.thread_id: Any = configurable.get("thread_id")
        self.thread = thread_name(self.thread_id)
        self.partition = keys.session(self.thread)
        ns = configurable.get("checkpoint_ns")
        if ns is not None and not isinstance(ns, str):
            raise ConfigurationError(f"a checkpoint_ns is text, not {type(ns).__name__}")
        self.ns: str = ns or ""
        self.any_ns = ns is None
        self.checkpoint_id = named_checkpoint(config)
        lease = configurable.get(LEASE)
        if lease is not None and not (isinstance(lease, str) and lease.isascii()):
            raise ConfigurationError(f"{LEASE} is what Session.lease gave, not {type(lease).__name__}")
        self.lease: str = lease or ""

    def echo(self, config: RunnableConfig) -> RunnableConfig:
        """The config with the lease that this one carried, for whoever goes on from it."""
        if self.lease:
            config["configurable"][LEASE] = self.lease
        return config


def _configurable(config: RunnableConfig) -> Mapping[str, Any]:
    configurable = config.get("configurable") or {} if isinstance(config, Mapping) else None
    if not isinstance(configurable, Mapping):
        raise ConfigurationError(
            f'no config: it looks like {{"configurable": {{"thread_id": "..."}}}}, not {config!r:.80}'
        )
    return configurable


def named_checkpoint(config: RunnableConfig) -> str | None:
    """The checkpoint that a config names; an empty id is none."""
    checkpoint_id = _configurable(config).get("checkpoint_id")
    return str(checkpoint_id) if checkpoint_id else None


def thread_name(thread_id: Any) -> str:
    """A thread's id as text: graphs pass text, and callers perhaps a number or a UUID."""
    if isinstance(thread_id, str):
        return thread_id
    if isinstance(thread_id, (int, UUID)) and not isinstance(thread_id, bool):
        return str(thread_id)
    if thread_id is None:
        raise ConfigurationError('no thread_id: pass {"configurable": {"thread_id": "..."}} as the config')
    raise ConfigurationError(f"a thread_id is text, a whole number or a UUID, not {type(thread_id).__name__}")


def run_names(run_ids: Sequence[str]) -> Sequence[str]:
    """Ids of runs as text."""
    return [str(each) for each in several(run_ids, "delete_for_runs takes a list of run ids")]


def several(given: Iterable[T], what: str) -> Iterable[T]:
    """Several ids; a single one would be taken for a list of letters."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise ConfigurationError(f"{what}, not {given!r:.80}")
    return given
