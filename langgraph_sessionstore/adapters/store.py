"""`SessionStore`: LangGraph's store on any backend.

Rule: it answers as LangGraph's own in-memory store does. What a batch reads is what was there before the batch, and
then the last write of the batch to each key is done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)

from ..backends.base import Backend
from ..drive import arun, run
from ..errors import ConfigurationError
from ..ops import Plan
from ..plans import finding, items
from ..plans.entry import Writer
from ..plans.items import Namespace, Scribe, Stored
from ..plans.noted import Noted
from ..plans.shelves import Shelves
from .standing import OnBackend, opened, serializer_of


class SessionStore(OnBackend, BaseStore):
    """Keeps items by namespace and key on a backend: `builder.compile(store=SessionStore(backend))`.

    One object serves sync and async callers, threads and event loops. `backend` stays yours; `from_url` opens one that
    is closed with the store.

    The namespaces `(SESSION_NAMESPACE, session_id, ...)` belong to a session: they are deleted, copied and expire with
    it. No other label is reserved.

    serde, allow, strict    see `SessionCheckpointer`: a value may hold whatever the state of a graph may hold
    """

    def __init__(
        self,
        backend: Backend,
        *,
        serde: SerializerProtocol | None = None,
        allow: Iterable[type | tuple[str, ...]] = (),
        strict: bool | None = None,
    ) -> None:
        self._stand_on(backend, "store")
        self._serde = serializer_of(serde, allow, strict)
        self._shelves = Shelves(items.STORE, _new_id)
        self.writer = Writer(Noted())
        """What writes into sessions build on."""

    @classmethod
    def from_url(
        cls,
        url: str | os.PathLike[str],
        *,
        serde: SerializerProtocol | None = None,
        allow: Iterable[type | tuple[str, ...]] = (),
        strict: bool | None = None,
        **options: Any,
    ) -> SessionStore:
        """Open the backend that a URL names (see `open_backend` for URLs and options), and stand on it."""
        return opened(lambda backend: cls(backend, serde=serde, allow=allow, strict=strict), url, options)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do all of it: what is read is what was there before; the last write to a key counts."""
        return run(self.backend, self._batch(list(ops)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """The async form of `batch`."""
        return await arun(self.backend, self._batch(list(ops)))

    def _batch(self, ops: Sequence[Op]) -> Plan[list[Result]]:
        wanted: list[tuple[Namespace, str]] = []
        changes: dict[tuple[Namespace, str], Mapping[str, Any] | None] = {}
        for op in ops:
            if isinstance(op, GetOp):
                wanted.append(_address(op.namespace, op.key))
            elif isinstance(op, PutOp):
                address = _address(op.namespace, op.key)
                changes.pop(address, None)  # the place in the order is that of the last write too
                changes[address] = _value(op)
            elif not isinstance(op, (SearchOp, ListNamespacesOp)):
                raise ConfigurationError(f"a store knows no operation {type(op).__name__}")
        found = iter((yield from items.read(self._serde, wanted)))
        results: list[Result] = []
        for op in ops:
            if isinstance(op, GetOp):
                item = next(found)
                results.append(Item(**_fields(item)) if item is not None else None)
            elif isinstance(op, SearchOp):
                search = finding.Search(self._serde, op.filter, op.offset, op.limit)
                results.append(
                    [SearchItem(**_fields(item)) for item in (yield from search.run(_labels(op.namespace_prefix)))]
                )
            elif isinstance(op, ListNamespacesOp):
                results.append((yield from finding.namespaces(_conditions(op), op.offset, op.limit)))
            else:
                results.append(None)
        if changes:
            yield from items.write(self._serde, Scribe(self.writer, self._shelves, _now), changes)
        return results


def _labels(namespace: Any) -> Namespace:
    """A namespace as LangGraph allows it, also where it did not look at it itself."""
    if not isinstance(namespace, (tuple, list)):
        raise InvalidNamespaceError(f"a namespace is a tuple of labels, not {type(namespace).__name__}")
    for label in namespace:
        if not isinstance(label, str) or not label or "." in label or "\0" in label:
            raise InvalidNamespaceError(
                f"a label of a namespace is text, not empty, without a period or a NUL; {label!r:.80} is none"
            )
    return tuple(namespace)


def _address(namespace: Any, key: Any) -> tuple[Namespace, str]:
    labels = _labels(namespace)
    if not labels:
        raise InvalidNamespaceError("an item lies in a namespace with one label or more")
    if not isinstance(key, str):
        raise ConfigurationError(f"the key of an item is text, not {type(key).__name__}")
    return labels, key


def _value(op: PutOp) -> Mapping[str, Any] | None:
    if op.value is not None and not (isinstance(op.value, Mapping) and all(isinstance(key, str) for key in op.value)):
        raise ConfigurationError(f"the value of an item is a mapping with text as keys, not {op.value!r:.80}")
    return op.value


def _conditions(op: ListNamespacesOp) -> finding.Conditions:
    paths: dict[str, list[Namespace]] = {"prefix": [], "suffix": []}
    for condition in op.match_conditions or ():
        if condition.match_type not in paths:
            raise ConfigurationError(f"namespaces are matched by prefix or suffix, not by {condition.match_type!r:.80}")
        paths[condition.match_type].append(_labels(condition.path))
    return finding.Conditions(paths["prefix"], paths["suffix"], op.max_depth)


def _fields(item: Stored) -> dict[str, Any]:
    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": item.value,
        "created_at": _moment(item.created),
        "updated_at": _moment(item.updated),
    }


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(0, timezone.utc) + timedelta(microseconds=microseconds)


def _now() -> int:
    return time.time_ns() // 1000


def _new_id() -> bytes:
    return os.urandom(16)
