"""The vectors of a store's items: how they are stored, and what this process remembers of them.

Rule 1: a vector belongs to a text, named by its digest, not to an item. So what is known of a text is neither embedded
        nor fetched again.
Rule 2: what is remembered of a partition is right while the name of its state is the same. After a change, only the
        vectors of texts that are new here are fetched.
Rule 3: what is remembered has a limit in bytes; a partition that goes beyond it is looked through piece by piece.

This needs numpy.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import starmap
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..forks import Lock
from ..ops import Get, Op, Plan, must
from .items import CREATED, TEXTS, VECTORS, VERSION, Place, Where, fetch

Matrix = NDArray[np.float32]
DIGEST = 16
"""Bytes that name a text."""
_FEW = 16
"""Items that are fetched with their vectors before anything is known of them."""
_KEYS = 5_000
"""Items whose places are fetched in a trip, at the most."""
_OVERHEAD = 500
"""Bytes that a partition costs beside its items, roughly."""
_BYTES = 1 << 22
"""So many bytes of vectors are fetched in a trip."""


class Near(NamedTuple):
    """Items, the digests of their texts, and how near each comes to a query; -inf for those without vectors."""

    items: Sequence[Where]
    texts: Sequence[bytes]
    scores: NDArray[np.float32]


class Known(NamedTuple):
    """The items of a partition, and the vectors of their texts."""

    version: bytes | None
    items: list[Where]
    texts: list[bytes]
    """Of each item, the digests of its texts."""
    counts: list[int]
    """And how many vectors it has: one for each text, or none that could be used."""
    matrix: Matrix
    """The vectors, of length 1, in the order of the items and their texts."""

    def near(self, query: Matrix, rest: Sequence[str] = ()) -> Near:
        """How near the items below some labels come to a query."""
        found = Near(self.items, self.texts, _best(self.counts, self.matrix, query))
        return found if not rest else _below(found, rest)


def _below(near: Near, rest: Sequence[str]) -> Near:
    inside = [at for at, where in enumerate(near.items) if where[: len(rest)] == tuple(rest)]
    return Near([near.items[at] for at in inside], [near.texts[at] for at in inside], near.scores[inside])


def _best(counts: Sequence[int], matrix: Matrix, query: Matrix) -> NDArray[np.float32]:
    """The greatest cosine among the vectors of each item."""
    found = np.full(len(counts), -np.inf, dtype=np.float32)
    if len(matrix):
        many = np.array(counts, dtype=np.intp)
        some = np.flatnonzero(many)
        starts = np.concatenate(([0], np.cumsum(many[some])[:-1]))
        found[some] = np.nan_to_num(np.maximum.reduceat(matrix @ query, starts), nan=-np.inf)
    return found


def unit(vectors: Any) -> Matrix:
    """The same vectors with length 1; one without length stays."""
    made = np.array(vectors, dtype=np.float64)  # where the squares of all float32 have room
    length = np.linalg.norm(made, axis=-1, keepdims=True)
    made /= np.where(length == 0, 1, length)
    return made.astype(np.float32)


class Vectors:
    """What this process remembers of the vectors of all partitions."""

    def __init__(self, dims: int, limit: int) -> None:
        self.dims = dims
        self._limit = limit
        self._lock = Lock()
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._bytes = 0

    def of(self, partition: bytes) -> Known | None:
        """What is remembered of a partition."""
        with self._lock:
            known = self._known.get(partition)
            if known is not None:
                self._known.move_to_end(partition)
            return known

    def at_once(self) -> int:
        """How many partitions that are not known may be looked at in a trip."""
        return max(1, _BYTES // (4 * self.dims * _FEW))

    def ask(self, place: Place, known: Known | None, many: int) -> list[Op]:
        """What tells whether that is still right; or brings what there is, and the vectors of a few items.

        It is one of so many places that are looked at together.
        """
        version: list[Op] = [Get(place.own(VERSION))]
        if known is not None:
            return version
        whole = _whole(place)
        return [*version, *whole.page(None, _most(many), (CREATED, TEXTS)), *whole.page(None, _FEW, (VECTORS,))]

    def look(
        self, place: Place, known: Known | None, replies: Sequence[Any], query: Matrix, many: int
    ) -> Plan[Near | None]:
        """How near the items come to a query, after what `ask` has brought; None: what is known is still right."""
        version, *pages = replies
        if known is not None and version is not None and known.version == version:
            return None
        items: list[Where] = []
        texts: list[bytes] = []
        there = {} if known is None else _rows_of(known)
        if pages:
            vectors = pages.pop()
            items, texts = _read(place, pages)
            named = dict(zip(items, texts, strict=True))
            for row, stored in vectors:
                digests = named.get(place.at(row), b"")
                there[digests] = unit(self.stored(digests, stored)[1])
        if not pages or len(items) == _most(many):
            version, items, texts = yield from _listed(place, version, items, texts, _most(many))
        near = yield from self._score(place, Known(version, items, texts, [], self._stack([])), there, query, many)
        return _below(near, place.rest) if place.rest else near

    def stored(self, texts: bytes | None, vectors: bytes | None) -> tuple[bytes, Matrix]:
        """The digests and vectors of an item, from its rows; no vectors, when they are not for these dimensions."""
        texts, vectors = texts or b"", vectors or b""
        if len(texts) % DIGEST or len(vectors) != len(texts) // DIGEST * self.dims * 4:
            vectors = b""
        return texts, np.frombuffer(vectors, dtype="<f4").reshape(-1, self.dims)

    def score(self, texts: bytes | None, vectors: bytes | None, query: Matrix) -> float:
        """How near one item comes to a query, from its rows."""
        _, made = self.stored(texts, vectors)
        return float(_best([len(made)], unit(made), query)[0])

    # -- pieces

    def _stack(self, rows: Sequence[Matrix]) -> Matrix:
        return np.concatenate(rows) if rows else np.empty((0, self.dims), dtype=np.float32)

    def _score(
        self, place: Place, listed: Known, there: Mapping[bytes, Matrix], query: Matrix, many: int
    ) -> Plan[Near]:
        """Fetch the vectors that are not there, and see how near they come."""
        items, texts = listed.items, listed.texts
        kept = sum(len(each) // DIGEST for each in texts) * self.dims * 4 <= self._limit
        counts: list[int] = []
        matrices: list[Matrix] = []
        scores: list[NDArray[np.float32]] = []
        for piece in _pieces(texts, max(1, _BYTES // (4 * self.dims * many))):
            rows = {at: there[texts[at]] for at in piece if texts[at] in there}
            missing = [at for at in piece if texts[at] and at not in rows]
            fetched = yield from fetch([(place, items[at]) for at in missing], (TEXTS, VECTORS))
            for at, (texts[at], vectors) in zip(missing, starmap(self.stored, fetched), strict=True):
                rows[at] = unit(vectors)
            counts += (some := [len(rows.get(at, ())) for at in piece])
            matrices.append(self._stack([rows[at] for at in piece if at in rows]))
            scores.append(_best(some, matrices[-1], query))
            if not kept:
                matrices.clear()
        if kept:
            self._keep(place, listed._replace(counts=counts, matrix=self._stack(matrices)))
        return Near(items, texts, np.concatenate(scores) if scores else np.empty(0, dtype=np.float32))

    def _keep(self, place: Place, known: Known) -> None:
        with self._lock:
            self._drop(place.partition)
            if known.version is not None and (size := _size(known)) <= self._limit:
                self._known[place.partition] = known
                self._bytes += size
                while self._bytes > self._limit:
                    self._drop(next(iter(self._known)))

    def _drop(self, partition: bytes) -> None:
        known = self._known.pop(partition, None)
        if known is not None:
            self._bytes -= _size(known)


def _whole(place: Place) -> Place:
    return place._replace(rest=())


def _most(many: int) -> int:
    """How many items of each of so many places are listed in a trip."""
    return max(_FEW, _KEYS // many)


def _read(place: Place, pages: Sequence[Any]) -> tuple[list[Where], list[bytes]]:
    rows, digests = pages
    named = dict(digests)
    items = [place.at(row) for row, _ in rows]
    return items, [named.get(place.row(TEXTS, where), b"") for where in items]


def _listed(
    place: Place, version: bytes | None, items: list[Where], texts: list[bytes], most: int
) -> Plan[tuple[bytes | None, list[Where], list[bytes]]]:
    """The name of a partition's state, its items, and the digests of their texts; some may be there already."""
    while True:
        asked = _whole(place).page(items[-1] if items else None, most, (CREATED, TEXTS))
        now, *pages = yield from must(place.partition, Get(place.own(VERSION)), *asked)
        version = version if items else now  # what changes after the first page is seen by the next query
        more = _read(place, pages)
        items, texts = items + more[0], texts + more[1]
        if len(more[0]) < most:
            return version, items, texts


def _pieces(texts: Sequence[bytes], most: int) -> Iterator[range]:
    """Items, one after the other, with so many vectors at the most, or one item."""
    first = count = 0
    for at, each in enumerate(texts):
        own = max(1, len(each) // DIGEST)
        if at > first and count + own > most:
            yield range(first, at)
            first, count = at, 0
        count += own
    if first < len(texts):
        yield range(first, len(texts))


def _size(known: Known) -> int:
    return _OVERHEAD + int(known.matrix.nbytes) + sum(200 + len(each) for each in known.texts)


def _rows_of(known: Known) -> dict[bytes, Matrix]:
    """The vectors of each item, by the digests of its texts."""
    found, start = {}, 0
    for each, count in zip(known.texts, known.counts, strict=True):
        if each:
            found[each] = known.matrix[start : start + count]
        start += count
    return found
