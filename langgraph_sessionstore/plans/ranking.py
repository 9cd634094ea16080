"""Searching the items of a store by meaning.

Rule 1: the items with vectors come first, the nearest first; then those without, in the order of their namespaces and
        keys. Both are one list, which offset and limit cut.
Rule 2: vectors decide the order before any value is read; values are read a bounded number at a time, in that order.
Rule 3: when this process remembers a namespace's vectors, the best items are fetched in the same trip that asks whether
        they are still right.

This needs numpy.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from langgraph.checkpoint.serde.base import SerializerProtocol
from numpy.typing import NDArray

from .. import keys
from ..ops import Batch, Call, Entries, Page, Plan, must_all
from . import filters
from .finding import Wish, pace
from .items import SESSION_NAMESPACE, STORE, Hit, Place, Where, fetch, namespace_of, place_of
from .together import together
from .vectors import Known, Matrix, Vectors

_NAMES = 200
"""Namespaces that are looked at in one trip."""
_FEW = 32
"""Items that are fetched at first, when a filter may pass over them."""


class _Candidate(NamedTuple):
    distance: float
    """Greater is further away; infinite for an item without vectors."""
    number: int
    """Of the namespace: how many come before it."""
    place: Place
    where: Where


class Ranking:
    """One search by meaning."""

    def __init__(
        self,
        serde: SerializerProtocol,
        vectors: Vectors,
        query: Matrix,
        wanted: Mapping[str, Any] | None,
        offset: int,
        limit: int,
        now: int,
    ) -> None:
        filters.check(wanted)
        self._serde = serde
        self._vectors = vectors
        self._query = query
        self._wanted = wanted
        self._wish = Wish(offset, limit)
        self._now = now
        self._pace = _FEW if wanted else max(1, min(256, offset + limit))
        self._fetched: dict[tuple[bytes, Where], Sequence[Any]] = {}
        """Rows that were fetched before they were asked for."""

    def run(self, prefix: tuple[str, ...]) -> Plan[list[Hit]]:
        """What is in the namespaces that begin so, the nearest first."""
        ranked: list[Iterator[_Candidate]] = []
        in_session = prefix[:1] == (SESSION_NAMESPACE,)
        first = [place_of(prefix)] if prefix else []
        lines = Page("name", prefix=keys.encode("store", *prefix), limit=_NAMES)
        while not self._wish.done:
            outcomes = yield from together(
                [self._rank(place, 0, 1) for place in first] + ([] if in_session else [_listed(lines)])
            )
            ranked += outcomes[: len(first)]
            if in_session:
                break
            entries: Entries = outcomes[-1]
            names = [namespace_of(entry.name) for entry in entries.rows]
            places = [place_of(name) for name in names if name != prefix]
            ranked += yield from together(
                self._rank(place, number, len(places)) for number, place in enumerate(places, len(ranked))
            )
            if not entries.cursor:
                break
            first, lines = [], lines._replace(after=entries.cursor)
        return (yield from self._pick(heapq.merge(*ranked, key=lambda each: each[:2])))

    def _rank(self, place: Place, number: int, many: int) -> Plan[Iterator[_Candidate]]:
        """The items of a namespace, one of so many that are looked at, the nearest first."""
        few = self._vectors.few(many)
        known = self._vectors.of(place.partition)
        guess = self._guess(place, known)
        gets = [op for where in guess for op in place.gets(where)]
        asked = self._vectors.ask(place, known, few)
        (replies,) = yield from must_all([Call(place.partition, Batch(*asked, *gets))])
        for at, where in enumerate(guess):
            self._fetched[place.partition, where] = replies[len(asked) + 3 * at : len(asked) + 3 * at + 3]
        items, scores = yield from self._vectors.look(place, known, few, replies[: len(asked)], self._query)
        return _in_order(place, number, items, scores)

    def _guess(self, place: Place, known: Known | None) -> list[Where]:
        if known is None or place.rest:
            return []
        best = _in_order(place, 0, known.items, known.best(self._query))
        return [each.where for each in islice(best, self._pace)]

    def _pick(self, candidates: Iterator[_Candidate]) -> Plan[list[Hit]]:
        """Look at items in their order, as long as more are wanted."""
        found: list[Hit] = []
        while not self._wish.done:
            some = list(islice(candidates, self._pace))
            if not some:
                break
            yield from self._fetch(some)
            size = 0
            for each in some:
                rows = self._fetched.pop((each.place.partition, each.where))
                size += len(rows[0] or b"")
                read = each.place.reader(self._serde, each.where, rows, self._now)
                if read is None or self._wish.done:
                    continue
                item = read()
                if filters.fits(item.value, self._wanted) and self._wish.wants():
                    found.append(Hit(item, None if each.distance == float("inf") else -each.distance))
            self._pace = pace(self._pace, size)
        return found

    def _fetch(self, some: Sequence[_Candidate]) -> Plan[None]:
        missing = [(each.place, each.where) for each in some if (each.place.partition, each.where) not in self._fetched]
        for (place, where), rows in zip(missing, (yield from fetch(missing)), strict=True):
            self._fetched[place.partition, where] = rows


def _listed(lines: Page) -> Plan[Entries]:
    ((entries,),) = yield from must_all([Call(STORE, Batch(lines))])
    made: Entries = entries
    return made


def _in_order(place: Place, number: int, items: Sequence[Where], scores: NDArray[np.float32]) -> Iterator[_Candidate]:
    for at in np.argsort(-scores, kind="stable").tolist():
        yield _Candidate(-float(scores[at]), number, place, items[at])
