"""The public functions: each turns its arguments into a copy and drives it; sync and async differ in the driver."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore

from ..crossing import Crossing, across, cross
from ..errors import ConfigurationError
from . import items
from . import threads as threads_
from .report import Progress, Report
from .steps import watched


def copy_threads(
    source: BaseCheckpointSaver[Any],
    target: BaseCheckpointSaver[Any],
    *,
    threads: Iterable[str] | None = None,
    progress: Progress | None = None,
    verify: bool = False,
    keep_going: bool = False,
) -> Report:
    """Copy threads with all their checkpoints and pending writes from one checkpointer into another.

    The same copy again brings what is new or was left out, and changes nothing else.

    threads     which ones; None: all
    progress    is called with how many checkpoints are done, and how many there are
    verify      read both sides when a thread is copied, and report what differs
    keep_going  report a thread that cannot be copied, and go on; otherwise that is `MigrationError`
    """
    return cross(watched(_threads(source, target, threads, progress, verify, keep_going), "sync"))


async def acopy_threads(
    source: BaseCheckpointSaver[Any],
    target: BaseCheckpointSaver[Any],
    *,
    threads: Iterable[str] | None = None,
    progress: Progress | None = None,
    verify: bool = False,
    keep_going: bool = False,
) -> Report:
    """The async form of `copy_threads`."""
    return await across(watched(_threads(source, target, threads, progress, verify, keep_going), "async"))


def copy_items(
    source: BaseStore,
    target: BaseStore,
    *,
    prefix: tuple[str, ...] = (),
    progress: Progress | None = None,
    verify: bool = False,
    keep_going: bool = False,
) -> Report:
    """Copy the items of one store, or those below a namespace, into another.

    They are embedded and live as the target does it by default. What the target has under a key stays as it is.

    progress    is called with how many items are done, and how many are known so far
    verify      read both sides afterwards, and report what differs
    keep_going  report an item that cannot be copied, and go on; otherwise that is `MigrationError`
    """
    return cross(watched(_items(source, target, prefix, progress, verify, keep_going), "sync"))


async def acopy_items(
    source: BaseStore,
    target: BaseStore,
    *,
    prefix: tuple[str, ...] = (),
    progress: Progress | None = None,
    verify: bool = False,
    keep_going: bool = False,
) -> Report:
    """The async form of `copy_items`."""
    return await across(watched(_items(source, target, prefix, progress, verify, keep_going), "async"))


def _threads(
    source: Any, target: Any, threads: Iterable[str] | None, progress: Progress | None, verify: bool, keep_going: bool
) -> Crossing[Report]:
    _check(source, target, BaseCheckpointSaver, "a checkpointer")
    if isinstance(threads, (str, bytes)):
        raise ConfigurationError("threads is a list of thread ids, not one")
    try:
        names = None if threads is None else list(dict.fromkeys(threads))
    except TypeError as exc:
        raise ConfigurationError(f"threads is a list of thread ids, not {threads!r:.80}") from exc
    return threads_.copying(source, target, names, verify, progress, keep_going)


def _items(
    source: Any, target: Any, prefix: tuple[str, ...], progress: Progress | None, verify: bool, keep_going: bool
) -> Crossing[Report]:
    _check(source, target, BaseStore, "a store")
    if not isinstance(prefix, (tuple, list)) or not all(isinstance(label, str) for label in prefix):
        raise ConfigurationError(f"a prefix is a tuple of labels, not {prefix!r:.80}")
    return items.copying(source, target, tuple(prefix), verify, progress, keep_going)


def _check(source: Any, target: Any, kind: type, what: str) -> None:
    for each in (source, target):
        if not isinstance(each, kind):
            raise ConfigurationError(
                f"{what} of LangGraph is wanted, not {type(each).__name__}; open_saver and open_store open others"
            )
    if source is target:
        raise ConfigurationError("source and target are the same")
