"""`SessionData`: all sessions, as a LangGraph store that is only read.

Rule: nothing is written here, and a batch with a write in it is refused before anything is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NoReturn

from langgraph.store.base import (
    NOT_PROVIDED,
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    NamespacePath,
    NotProvided,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)

from ..drive import arun, run
from ..errors import ConfigurationError
from ..ops import Plan
from ..plans import browsing, showing
from ..plans.browsing import Search
from ..plans.desk import Desk
from ..plans.finding import Wish
from ..plans.showing import Namespace
from ..plans.together import together
from ..session.common import CHANCE
from .checkpointer import SessionCheckpointer
from .errand import conditions_of


class SessionData(BaseStore):
    """All sessions of a checkpointer's backend as a read-only LangGraph store; of a manager that is `manager.data`.

    ("sessions",)         session id        the fields of its `SessionInfo`
    ("memory", id)        "messages"        {"messages": [...]}, from which LangChain's `messages_from_dict` makes them
    ("memory", id)        "summary"         {"summary": text}, when the session has one
    ("checkpoints", id)   checkpoint id     checkpoint_id, checkpoint_ns, parent_checkpoint_id, ts, metadata and
                                            channel_versions; of a subgraph's, the key is "checkpoint_ns|checkpoint_id"
    ("usage", id)         "usage"           the session's `Metrics`, in sums, by phase and by model

    Values are copies that JSON can hold: an object in metadata, or in a message, is shown as data or as text. What
    channels hold may be any object, so it is not here: `checkpointer.get_tuple` has it. The times of an item are those
    of the session, of a checkpoint its own.

    A search finds items in the order of namespaces and keys, except for the checkpoints of a session: those come newest
    first, as `checkpointer.list` has them. `query` is ignored, as there is no index. A session's id may hold any
    character, periods too. A session that was deleted or has expired shows nothing; one with damaged messages raises
    what `session.messages` raises.

    One object serves sync and async callers, threads and event loops.
    """

    def __init__(self, checkpointer: SessionCheckpointer) -> None:
        if not isinstance(checkpointer, SessionCheckpointer):
            raise ConfigurationError(
                f"SessionData shows the sessions of a SessionCheckpointer, not of {type(checkpointer).__name__}; "
                "a manager has it as manager.data"
            )
        self.backend = checkpointer.backend
        """Where all of it lies."""
        self._checkpointer = checkpointer

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Read all of it together."""
        return run(self.backend, self._batch(list(ops)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """The async form of `batch`."""
        return await arun(self.backend, self._batch(list(ops)))

    # -- LangGraph's own forms of these refuse labels with a period

    def get(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """One item; None when there is none."""
        return self.batch([GetOp(namespace, str(key))])[0]  # type: ignore[return-value]

    async def aget(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """The async form of `get`."""
        return (await self.abatch([GetOp(namespace, str(key))]))[0]  # type: ignore[return-value]

    def search(
        self,
        namespace_prefix: tuple[str, ...],
        /,
        *,
        query: str | None = None,
        filter: dict[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """The items in the namespaces that begin so, and whose values fit the filter."""
        return self.batch([SearchOp(namespace_prefix, filter, limit, offset, query)])[0]  # type: ignore[return-value]

    async def asearch(
        self,
        namespace_prefix: tuple[str, ...],
        /,
        *,
        query: str | None = None,
        filter: dict[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """The async form of `search`."""
        return (await self.abatch([SearchOp(namespace_prefix, filter, limit, offset, query)]))[0]  # type: ignore[return-value]

    def list_namespaces(
        self,
        *,
        prefix: NamespacePath | None = None,
        suffix: NamespacePath | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[tuple[str, ...]]:
        """The namespaces with items, in order."""
        return self.batch([ListNamespacesOp(_matches(prefix, suffix), max_depth, limit, offset)])[0]  # type: ignore[return-value]

    async def alist_namespaces(
        self,
        *,
        prefix: NamespacePath | None = None,
        suffix: NamespacePath | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[tuple[str, ...]]:
        """The async form of `list_namespaces`."""
        return (await self.abatch([ListNamespacesOp(_matches(prefix, suffix), max_depth, limit, offset)]))[0]  # type: ignore[return-value]

    def put(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> NoReturn:
        """Nothing can be put here: `ConfigurationError`."""
        raise ConfigurationError(_READ_ONLY)

    async def aput(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> NoReturn:
        """The async form of `put`."""
        raise ConfigurationError(_READ_ONLY)

    def delete(self, namespace: tuple[str, ...], key: str) -> NoReturn:
        """Nothing can be deleted here: `ConfigurationError`."""
        raise ConfigurationError(_READ_ONLY)

    async def adelete(self, namespace: tuple[str, ...], key: str) -> NoReturn:
        """The async form of `delete`."""
        raise ConfigurationError(_READ_ONLY)

    # -- plans

    def _batch(self, ops: Sequence[Op]) -> Plan[list[Result]]:
        if any(isinstance(op, PutOp) for op in ops):
            raise ConfigurationError(_READ_ONLY)
        plans = [self._plan(op) for op in ops]  # what is asked is looked at before anything is read
        results: list[Result] = []
        for op, found in zip(ops, (yield from together(plans)), strict=True):
            if isinstance(op, GetOp):
                results.append(Item(**found._asdict()) if found else None)
            elif isinstance(op, SearchOp):
                results.append([SearchItem(**item._asdict()) for item in found])
            else:
                results.append(found)
        return results

    def _plan(self, op: Op) -> Plan[Any]:
        """The plan of one operation, or the error that it cannot be done."""
        tools, writer = self._checkpointer.tools(), self._checkpointer.writer
        desk = Desk(tools, CHANCE, writer, "", 0)  # the plans turn to the sessions that they find
        if isinstance(op, GetOp):
            if not isinstance(op.key, str):
                raise ConfigurationError(f"the key of an item is text, not {type(op.key).__name__}")
            if not _labels(op.namespace):
                raise InvalidNamespaceError("an item lies in a namespace with one label or more")
            return showing.get(desk, _labels(op.namespace), op.key)
        if isinstance(op, SearchOp):
            return Search(desk, op.filter, op.offset, op.limit).run(_labels(op.namespace_prefix))
        if isinstance(op, ListNamespacesOp):
            return browsing.namespaces(desk, conditions_of(op, _labels), Wish(op.offset, op.limit))
        raise ConfigurationError(f"a store knows no operation {type(op).__name__}")


_READ_ONLY = (
    "manager.data is read-only: change a session with the methods of manager.get_session(id), end it with "
    "manager.delete_session(id), and put items of your own into manager.store"
)


def _labels(namespace: Any) -> Namespace:
    """A namespace; a label may be any text, as the id of a session may."""
    if not isinstance(namespace, (tuple, list)):
        raise InvalidNamespaceError(f"a namespace is a tuple of labels, not {type(namespace).__name__}")
    for label in namespace:
        if not isinstance(label, str) or not label:
            raise InvalidNamespaceError(f"a label of a namespace is text that is not empty, not {label!r:.80}")
    return tuple(namespace)


def _matches(prefix: NamespacePath | None, suffix: NamespacePath | None) -> tuple[MatchCondition, ...]:
    before = (MatchCondition("prefix", prefix),) if prefix else ()
    return before + ((MatchCondition("suffix", suffix),) if suffix else ())
