"""One batch of a store's operations, from the caller's words to plans.

Rule 1: what a batch reads is what was there before it; then the last write of the batch to each key is done.
Rule 2: all that is asked for is checked before anything is done.
Rule 3: texts are embedded between two plans: `look` says what is not known yet, `do` does the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.store.base import (
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

from ..errors import BackendError, ConfigurationError
from ..ops import Plan, casual
from ..plans import filters, finding, items
from ..plans.items import TEXTS, VECTORS, Address, Hit, Namespace, Stored, located, place_of
from ..plans.keeping import Change, Scribe, write
from ..plans.together import Counted, together

if TYPE_CHECKING:
    from ..plans.vectors import Matrix
    from .embedding import Embedder

_LOG = logging.getLogger(__name__)
MOST_MINUTES = 1e9


class Errand:
    """What a batch is about to do."""

    def __init__(
        self,
        ops: Sequence[Op],
        serde: SerializerProtocol,
        scribe: Scribe,
        embedder: Embedder | None,
        base: Namespace,
        check: Callable[[], Plan[None]] | None,
    ) -> None:
        self._ops = ops
        self._serde = serde
        self._scribe = scribe
        self._embedder = embedder
        self._base = base
        self._verify = check
        """What has to hold for all that is read. Writes have guards of their own."""
        self._wanted: list[Address] = []
        self._looks: list[Callable[[int], Plan[Any]]] = []
        """The searches and listings, which begin at a moment."""
        self._queries: dict[str, Matrix | None] = {}
        self._puts: dict[Address, PutOp] = {}
        self._texts: dict[Address, dict[bytes, str]] = {}
        self._vectors: dict[bytes, Any] = {}
        self._missing: list[bytes] = []
        for op in ops:
            self._check(op)
        # as they are now: what a caller changes while texts are embedded does not count
        self._values = {
            address: None if op.value is None else items.pack_value(serde, op.value)
            for address, op in self._puts.items()
        }

    def _check(self, op: Op) -> None:
        """Refuse what cannot be done, and note what is to be written and embedded."""
        if isinstance(op, GetOp):
            self._wanted.append(self._address(op))
        elif isinstance(op, PutOp):
            address = self._address(op)
            _check_put(op)
            self._puts.pop(address, None)  # the place in the order is that of the last write too
            self._puts[address] = op
        elif isinstance(op, SearchOp):
            self._looks.append(partial(self._search, op, self._labels(op.namespace_prefix)))
            filters.check(op.filter)
            finding.Wish(op.offset, op.limit)
            if op.query is not None and not isinstance(op.query, str):
                raise ConfigurationError(f"a query is text, not {type(op.query).__name__}")
            if op.query and self._embedder is not None:
                self._queries[op.query] = None
        elif isinstance(op, ListNamespacesOp):
            self._looks.append(partial(self._list, op, conditions_of(op, _labels, self._base)))
            finding.Wish(op.offset, op.limit)
        else:
            raise ConfigurationError(f"a store knows no operation {type(op).__name__}")

    # -- embedding

    def look(self) -> Plan[list[str]]:
        """Which texts have to be embedded: those of which no vector is stored with their item."""
        if self._embedder is None:
            return []
        for address, op in self._puts.items():
            texts = self._embedder.texts(op.value, op.index) if op.value is not None else []
            if texts:
                self._texts[address] = {self._embedder.digest(text): text for text in texts}
        for rows in (yield from items.fetch([located(address) for address in self._texts], (TEXTS, VECTORS))):
            self._vectors |= self._embedder.known(*rows)
        named = {digest: text for texts in self._texts.values() for digest, text in texts.items()}
        self._missing = [digest for digest in named if digest not in self._vectors]
        return [named[digest] for digest in self._missing]

    @property
    def queries(self) -> list[str]:
        """The queries that have to be embedded."""
        return list(self._queries)

    def learn(self, vectors: Sequence[Any], queries: Sequence[Any]) -> None:
        """Take the vectors of what `look` and `queries` have named."""
        self._vectors |= zip(self._missing, vectors, strict=True)
        self._queries = dict(zip(self._queries, queries, strict=True))

    # -- doing

    def do(self) -> Plan[list[Result]]:
        """Do it: read all of it together, then write."""
        if not self._wanted and not self._looks:
            yield from self._write()
            return [None] * len(self._ops)
        now, counted = self._scribe.now() // 1000, Counted()
        reads = [items.read(self._serde, self._wanted, now), *[look(now) for look in self._looks]]
        checks = [self._verify()] if self._verify is not None else []
        got, *found = yield from counted.of(together([*reads, *checks]))
        if self._verify is not None and counted.trips > 1:  # what was read later has to be of the same session
            yield from self._verify()
        results, used = self._results(iter(got), iter(found))
        yield from _live_on(used, now)
        yield from self._write()
        return results

    def _write(self) -> Plan[None]:
        if self._puts:
            changes = {address: self._change(address, op) for address, op in self._puts.items()}
            yield from write(self._scribe, changes)

    def _list(self, op: ListNamespacesOp, conditions: finding.Conditions, now: int) -> Plan[list[Namespace]]:
        return finding.namespaces(conditions, self._scribe.shelves, op.offset, op.limit, now)

    def _search(self, op: SearchOp, prefix: Namespace, now: int) -> Plan[list[Hit]]:
        query = self._queries.get(op.query or "")
        if query is None or self._embedder is None:
            return finding.Search(self._serde, op.filter, op.offset, op.limit, now).run(prefix)
        from ..plans.ranking import Ranking

        return Ranking(self._serde, self._embedder.vectors, query, op.filter, op.offset, op.limit, now).run(prefix)

    def _results(self, got: Iterator[Stored | None], found: Iterator[Any]) -> tuple[list[Result], list[Stored]]:
        """What to answer, and the items whose use counts."""
        results: list[Result] = []
        used: list[Stored] = []
        for op in self._ops:
            if isinstance(op, GetOp):
                item = next(got)
                results.append(None if item is None else Item(**self._fields(item)))
                used += [item] if item is not None and op.refresh_ttl else []
            elif isinstance(op, SearchOp):
                hits: list[Hit] = next(found)
                results.append([SearchItem(**self._fields(item), score=score) for item, score in hits])
                used += [item for item, _ in hits] if op.refresh_ttl else []
            else:
                results.append(next(found) if isinstance(op, ListNamespacesOp) else None)
        return results, used

    def _change(self, address: Address, op: PutOp) -> Change:
        value = self._values[address]
        if value is None:
            return Change(None)
        texts = self._texts.get(address, {})
        vectors = b"".join(self._vectors[digest].astype("<f4").tobytes() for digest in texts)
        return Change(value, None if op.ttl is None else max(1, round(op.ttl * 60_000)), b"".join(texts), vectors)

    # -- what callers say

    def _labels(self, namespace: Any) -> Namespace:
        """A namespace as LangGraph allows it, also where it did not look at it itself."""
        labels = self._base + _labels(namespace)
        if labels[:1] == (items.SESSION_NAMESPACE,):
            place_of(labels)  # which wants to know the session
        return labels

    def _address(self, op: GetOp | PutOp) -> Address:
        labels = self._labels(op.namespace)
        if not labels:
            raise InvalidNamespaceError("an item lies in a namespace with one label or more")
        if not isinstance(op.key, str):
            raise ConfigurationError(f"the key of an item is text, not {type(op.key).__name__}")
        return labels, op.key

    def _fields(self, item: Stored) -> dict[str, Any]:
        return {
            "namespace": item.namespace[len(self._base) :],
            "key": item.key,
            "value": item.value,
            "created_at": _moment(item.created),
            "updated_at": _moment(item.updated),
        }


def conditions_of(op: ListNamespacesOp, labels: Callable[[Any], Namespace], base: Namespace = ()) -> finding.Conditions:
    """Which namespaces a listing wants; `labels` says which ones there may be."""
    paths: dict[str, list[Namespace]] = {"prefix": [], "suffix": []}
    for condition in op.match_conditions or ():
        if condition.match_type not in paths:
            raise ConfigurationError(f"namespaces are matched by prefix or suffix, not by {condition.match_type!r:.80}")
        paths[condition.match_type].append(labels(condition.path))
    return finding.Conditions(paths["prefix"], paths["suffix"], op.max_depth, base)


def _live_on(used: Sequence[Stored], now: int) -> Plan[None]:
    """Let items that were read live on. They were read, whatever comes of it."""
    try:
        yield from casual(items.use(used, now))
    except BackendError as exc:
        _LOG.warning("items were read, and this use does not let them live longer: %s", exc)


def _labels(namespace: Any) -> Namespace:
    if not isinstance(namespace, (tuple, list)):
        raise InvalidNamespaceError(f"a namespace is a tuple of labels, not {type(namespace).__name__}")
    for label in namespace:
        if not isinstance(label, str) or not label or "." in label or "\0" in label:
            raise InvalidNamespaceError(
                f"a label of a namespace is text, not empty, without a period or a NUL; {label!r:.80} is none"
            )
    return tuple(namespace)


def _check_put(op: PutOp) -> None:
    if op.value is not None and not (isinstance(op.value, Mapping) and all(isinstance(key, str) for key in op.value)):
        raise ConfigurationError(f"the value of an item is a mapping with text as keys, not {op.value!r:.80}")
    if op.ttl is not None and not (
        isinstance(op.ttl, (int, float)) and not isinstance(op.ttl, bool) and 0 < op.ttl < MOST_MINUTES
    ):
        raise ConfigurationError(f"ttl is a number of minutes greater than 0, not {op.ttl!r:.80}")


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(0, timezone.utc) + timedelta(microseconds=microseconds)
