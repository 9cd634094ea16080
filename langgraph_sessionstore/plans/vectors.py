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
from collections.abc import Sequence
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
_KEYS = 5_000
"""Items whose places are fetched at once."""
_BYTES = 1 << 22
"""So many bytes of vectors are fetched at once."""


class Known(NamedTuple):
    """The items of a partition, and the vectors of their texts."""

    version: bytes | None
    items: list[Where]
    texts: list[bytes]
    """Of each item, the digests of its texts."""
    matrix: Matrix
    """The vectors, of length 1, in the order of the items and their texts."""

    def best(self, query: Matrix) -> NDArray[np.float32]:
        """How near each item comes to a query with one of its texts; -inf for those without."""
        return best(self.texts, self.matrix, query)


def best(texts: Sequence[bytes], matrix: Matrix, query: Matrix) -> NDArray[np.float32]:
    """The greatest cosine among the texts of each item; -inf for an item without."""
    counts = np.array([len(each) // DIGEST for each in texts], dtype=np.intp)
    found = np.full(len(texts), -np.inf, dtype=np.float32)
    if len(matrix):
        some = np.flatnonzero(counts)
        starts = np.concatenate(([0], np.cumsum(counts[some])[:-1]))
        found[some] = np.nan_to_num(np.maximum.reduceat(matrix @ query, starts), nan=-np.inf)
    return found


def unit(vectors: Any) -> Matrix:
    """The same vectors with length 1; one without length stays."""
    made: Matrix = np.array(vectors, dtype=np.float32)
    length = np.linalg.norm(made, axis=-1, keepdims=True)
    made /= np.where(length == 0, np.float32(1), length)
    return made


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

    def few(self, many: int) -> int:
        """How many items of each of so many partitions are fetched at once with their vectors."""
        return max(16, _BYTES // (4 * self.dims * max(1, many)))

    def ask(self, place: Place, known: Known | None, few: int) -> list[Op]:
        """What tells whether that is still right; or brings all, when there are only a few items."""
        version: list[Op] = [Get(place.own(VERSION))]
        if known is not None:
            return version
        whole = place._replace(rest=())
        return [*version, *whole.page(None, few, (CREATED, TEXTS, VECTORS))]

    def look(
        self, place: Place, known: Known | None, few: int, replies: Sequence[Any], query: Matrix
    ) -> Plan[tuple[list[Where], NDArray[np.float32]]]:
        """The items of a place and below it, and how near each comes to a query; after what `ask` has brought."""
        version, *pages = replies
        if known is None or known.version != version or version is None:
            all_of_it = bool(pages) and all(len(page) < few for page in pages)
            known = self._at_once(place, version, pages) if all_of_it else None
        if known is None:
            known, scores = yield from self._renew(place, query)
        else:
            scores = known.best(query)
        depth = len(place.rest)
        if not depth:
            return known.items, scores
        inside = [at for at, where in enumerate(known.items) if where[:depth] == place.rest]
        return [known.items[at] for at in inside], scores[inside]

    def stored(self, texts: bytes | None, vectors: bytes | None) -> tuple[bytes, Matrix]:
        """The digests and vectors of an item, from its rows; none, when they are not for this number of dimensions."""
        texts, vectors = texts or b"", vectors or b""
        if len(texts) % DIGEST or len(vectors) != len(texts) // DIGEST * self.dims * 4:
            texts = vectors = b""
        return texts, np.frombuffer(vectors, dtype="<f4").reshape(-1, self.dims)

    # -- pieces

    def _at_once(self, place: Place, version: bytes | None, pages: Sequence[Any]) -> Known:
        items = [place.at(row) for row, _ in pages[0]]
        stored = dict(pages[1]), dict(pages[2])
        texts, rows = [], []
        for where in items:
            mine = [rows_of.get(place.row(kind, where)) for kind, rows_of in zip((TEXTS, VECTORS), stored, strict=True)]
            digests, made = self.stored(*mine)
            texts.append(digests)
            rows.append(unit(made))
        return self._keep(place, Known(version, items, texts, self._stack(rows)))

    def _stack(self, rows: Sequence[Matrix]) -> Matrix:
        return np.concatenate(rows) if rows else np.empty((0, self.dims), dtype=np.float32)

    def _renew(self, place: Place, query: Matrix) -> Plan[tuple[Known, NDArray[np.float32]]]:
        """See what a partition holds now, and fetch the vectors that are new."""
        whole = place._replace(rest=())
        version: bytes | None = None
        items: list[Where] = []
        texts: list[bytes] = []
        after: Where | None = None
        while True:
            first, rows, digests = yield from must(
                place.partition, Get(place.own(VERSION)), *whole.page(after, _KEYS, (CREATED, TEXTS))
            )
            version = version if items else first
            named = dict(digests)
            page = [place.at(row) for row, _ in rows]
            items += page
            texts += [named.get(place.row(TEXTS, where), b"") for where in page]
            if len(rows) < _KEYS:
                break
            after = page[-1]
        old = self.of(place.partition)
        there = _rows_of(old) if old is not None else {}
        size = sum(len(each) // DIGEST for each in texts) * self.dims * 4
        step = max(1, _BYTES // (4 * self.dims))
        matrices: list[Matrix] = []
        scores: list[NDArray[np.float32]] = []
        for start in range(0, len(items), step):
            some, named_ = items[start : start + step], texts[start : start + step]
            rows = [there.get(digests) for digests in named_]
            missing = [at for at, digests in enumerate(named_) if digests and rows[at] is None]
            fetched = yield from fetch([(place, some[at]) for at in missing], (TEXTS, VECTORS))
            for at, (digests, made) in zip(missing, starmap(self.stored, fetched), strict=True):
                named_[at], rows[at] = digests, unit(made)
            texts[start : start + step] = named_
            matrix = self._stack([row for row in rows if row is not None])
            scores.append(best(named_, matrix, query))
            if size <= self._limit:
                matrices.append(matrix)
        renewed = Known(version, items, texts, self._stack(matrices))
        if size <= self._limit:
            self._keep(place, renewed)
        return renewed, np.concatenate(scores) if scores else np.empty(0, dtype=np.float32)

    def _keep(self, place: Place, known: Known) -> Known:
        with self._lock:
            self._drop(place.partition)
            if known.version is not None and (size := _size(known)) <= self._limit:
                self._known[place.partition] = known
                self._bytes += size
                while self._bytes > self._limit:
                    self._drop(next(iter(self._known)))
        return known

    def _drop(self, partition: bytes) -> None:
        known = self._known.pop(partition, None)
        if known is not None:
            self._bytes -= _size(known)


def _size(known: Known) -> int:
    return int(known.matrix.nbytes) + sum(200 + len(each) for each in known.texts)


def _rows_of(known: Known) -> dict[bytes, Matrix]:
    """The vectors of each item, by the digests of its texts."""
    found, start = {}, 0
    for each in known.texts:
        end = start + len(each) // DIGEST
        if each:
            found[each] = known.matrix[start:end]
        start = end
    return found
