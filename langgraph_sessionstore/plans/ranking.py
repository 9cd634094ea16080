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
from itertools import islice, tee
from typing import Any, NamedTuple

import numpy as np
from langgraph.checkpoint.serde.base import SerializerProtocol

from ..ops import Batch, Call, Entries, Get, Page, Plan, must_all
from . import filters
from .finding import ITEMS, Wish, lines_below, pace, places_below
from .items import (
    CREATED,
    END,
    SESSION_NAMESPACE,
    STORE,
    TEXTS,
    VALUE,
    VECTORS,
    Hit,
    Place,
    Where,
    fetch,
    place_of,
)
from .together import together
from .vectors import Known, Matrix, Near, Vectors

_FEW = 32
"""Items that are fetched at first, when a filter may pass over them."""
_KINDS = VALUE, CREATED, END, TEXTS
"""What is read of an item; the texts tell whether it is the one whose vectors were looked at."""


_NOTHING = Near((), (), np.empty(0, dtype=np.float32))


class _Candidate(NamedTuple):
    distance: float
    """Greater is further away; infinite for an item without vectors."""
    number: int
    """Of the namespace: how many come before it."""
    place: Place
    where: Where
    texts: bytes

    @property
    def name(self) -> tuple[bytes, Where]:
        """Of the item."""
        return self.place.partition, self.where


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
        self._pace = _FEW if wanted else max(1, min(ITEMS, self._wish.left))
        self._fetched: dict[tuple[bytes, Where], Sequence[Any]] = {}
        """Rows that were fetched before they were asked for."""

    def run(self, prefix: tuple[str, ...]) -> Plan[list[Hit]]:
        """What is in the namespaces that begin so, the nearest first."""
        ranked: list[Iterator[_Candidate]] = []
        in_session = prefix[:1] == (SESSION_NAMESPACE,)
        first = [place_of(prefix)] if prefix else []
        lines = lines_below(prefix)
        while not self._wish.done:
            outcomes = yield from together([*self._ranks(first, 0), *([] if in_session else [_listed(lines)])])
            ranked += outcomes[: len(first)]
            if in_session:
                break
            entries: Entries = outcomes[-1]
            places = places_below(prefix, entries)
            while places:
                some, places = self._affordable(places)
                ranked += yield from together(self._ranks(some, len(ranked)))
            if not entries.cursor:
                break
            first, lines = [], lines._replace(after=entries.cursor)
        return (yield from self._pick(_merged(ranked)))

    def _affordable(self, places: list[Place]) -> tuple[list[Place], list[Place]]:
        """So many that one trip may look at all of them, and the others."""
        unknown = 0
        for at, place in enumerate(places):
            unknown += self._vectors.of(place.partition) is None
            if at and unknown > self._vectors.at_once():
                return places[:at], places[at:]
        return places, []

    def _ranks(self, places: Sequence[Place], number: int) -> list[Plan[Iterator[_Candidate]]]:
        """What ranks the items of these places, which are looked at together; the first one has this number."""
        looks, known_order = [], []
        for at, place in enumerate(places, number):
            known = self._vectors.of(place.partition)
            near = _NOTHING if known is None else known.near(self._query, place.rest)
            order, again = tee(_in_order(place, at, near))
            known_order.append(order)
            looks.append((place, at, known, again))
        guess: dict[bytes, list[Where]] = {}
        for each in islice(_merged(known_order), self._pace):
            guess.setdefault(each.place.partition, []).append(each.where)
        return [self._rank(*look, guess.get(look[0].partition, []), len(places)) for look in looks]

    def _rank(
        self,
        place: Place,
        number: int,
        known: Known | None,
        order: Iterator[_Candidate],
        guess: Sequence[Where],
        many: int,
    ) -> Plan[Iterator[_Candidate]]:
        """The items of a place, one of so many, the nearest first: in this order, if what is known is still right.

        Those that are likely to be found come along.
        """
        asked = self._vectors.ask(place, known, many)
        gets = [Get(row) for where in guess for row in place.rows(_KINDS, where)]
        (replies,) = yield from must_all([Call(place.partition, Batch(*asked, *gets))])
        rows = iter(replies[len(asked) :])
        self._fetched |= {(place.partition, where): [next(rows) for _ in _KINDS] for where in guess}
        near = yield from self._vectors.look(place, known, replies[: len(asked)], self._query, many)
        return order if near is None else _in_order(place, number, near)

    def _pick(self, candidates: Iterator[_Candidate]) -> Plan[list[Hit]]:
        """Look at items in their order, as long as more are wanted."""
        found: list[Hit] = []
        while not self._wish.done:
            some = list(islice(candidates, self._pace))
            if not some:
                break
            scores = yield from self._fetch(some)
            size = 0
            for each in some:
                *rows, _ = self._fetched.pop(each.name)
                size += len(rows[0] or b"")
                read = each.place.reader(self._serde, each.where, rows, self._now)
                if read is None or self._wish.done:
                    continue
                item, score = read(), scores.get(each.name, -each.distance)
                if filters.fits(item.value, self._wanted) and self._wish.wants():
                    found.append(Hit(item, None if score == -np.inf else score))
            self._pace = pace(self._pace, size)
        return sorted(found, key=lambda hit: -np.inf if hit.score is None else hit.score, reverse=True)

    def _fetch(self, some: Sequence[_Candidate]) -> Plan[dict[tuple[bytes, Where], float]]:
        """Fetch items, and have the scores of those that have been put again since their vectors were looked at."""
        missing = [each for each in some if each.name not in self._fetched]
        places = [(each.place, each.where) for each in missing]
        for each, rows in zip(missing, (yield from fetch(places, _KINDS)), strict=True):
            self._fetched[each.name] = rows
        changed = [each for each in some if (self._fetched[each.name][-1] or b"") != each.texts]
        places = [(each.place, each.where) for each in changed]
        scores = {}
        for each, rows in zip(changed, (yield from fetch(places, (*_KINDS, VECTORS))), strict=True):
            self._fetched[each.name] = rows[:-1]
            scores[each.name] = self._vectors.score(rows[-2], rows[-1], self._query)
        return scores


def _listed(lines: Page) -> Plan[Entries]:
    ((entries,),) = yield from must_all([Call(STORE, Batch(lines))])
    made: Entries = entries
    return made


def _merged(ranked: Sequence[Iterator[_Candidate]]) -> Iterator[_Candidate]:
    """The candidates of all places in one order."""
    return heapq.merge(*ranked, key=lambda each: each[:2])


def _in_order(place: Place, number: int, near: Near) -> Iterator[_Candidate]:
    for at in np.argsort(-near.scores, kind="stable").tolist():
        yield _Candidate(-float(near.scores[at]), number, place, near.items[at], near.texts[at])
