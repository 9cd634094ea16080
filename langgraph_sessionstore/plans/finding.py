"""Searching the items of a store, and its namespaces.

Rule 1: items come in the order of their namespaces and keys. They are read a bounded number at a time, and no longer
        than more of them are wanted. A namespace with nothing below it takes one trip, others two, or as many as it is
        long.
Rule 2: what belongs to a session is found when the session is named: no search goes through all sessions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from .. import keys
from ..errors import BackendError, ConfigurationError
from ..ops import Batch, Call, Entries, Page, Plan, Row, casual, must, must_all
from . import filters
from .ending import end_of
from .items import (
    CREATED,
    END,
    SESSION_NAMESPACE,
    STORE,
    Hit,
    Namespace,
    Place,
    Stored,
    Where,
    namespaces_in,
    place_of,
)
from .keeping import sweep
from .shelves import Shelves
from .together import together

_LOG = logging.getLogger(__name__)
ITEMS = 256
"""Items that are fetched at once of one namespace, at the most."""
_FEW = 16
"""Items that are fetched at first, when a filter may pass over them."""
_BYTES = 1 << 18
"""So large may a page be before the next one is made smaller."""
_AT_ONCE = 16
"""Namespaces whose items are fetched in one trip at first; more when they are small."""
_NAMES = 200
"""Namespaces that are looked at in one trip."""


class Wish:
    """What is still to be passed over, and to be found."""

    def __init__(self, offset: int, limit: int) -> None:
        for number, what in ((offset, "offset"), (limit, "limit")):
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise ConfigurationError(f"{what} is a whole number from 0 on, not {number!r:.80}")
        self.offset = offset
        self.limit = limit

    @property
    def left(self) -> int:
        """How many that fit are to be looked at."""
        return self.offset + self.limit

    @property
    def done(self) -> bool:
        return self.limit == 0

    def wants(self) -> bool:
        """Whether the next one that fits is wanted, or passed over."""
        if self.offset:
            self.offset -= 1
            return False
        self.limit -= 1
        return True


class Search:
    """One search for items."""

    def __init__(
        self, serde: SerializerProtocol, wanted: Mapping[str, Any] | None, offset: int, limit: int, now: int
    ) -> None:
        filters.check(wanted)
        self._serde = serde
        self._wanted = wanted
        self._wish = Wish(offset, limit)
        self._now = now
        self._found: list[Hit] = []
        self._pace = _FEW if wanted else ITEMS
        """How many items to fetch at once; less when they are large."""
        self._many = _AT_ONCE
        self._sparse = bool(wanted)
        """Whether more have to be looked at than are found."""

    def run(self, prefix: Namespace) -> Plan[list[Hit]]:
        """What is in the namespaces that begin so."""
        if prefix[:1] == (SESSION_NAMESPACE,):
            yield from self._all_of(place_of(prefix))
            return self._found
        first = [place_of(prefix)] if prefix else []
        lines = lines_below(prefix)
        while not self._wish.done:
            size = self._size()
            calls = [Call(place.partition, Batch(*place.page(None, size))) for place in first]
            *pages, listed = yield from must_all([*calls, Call(STORE, Batch(lines))])
            for place, page in zip(first, pages, strict=True):
                yield from self._all_of(place, page, size)
            entries: Entries = listed[0]
            places = places_below(prefix, entries)
            while places and not self._wish.done:
                many = self._many if self._sparse else min(self._many, self._wish.left)
                some, places = places[:many], places[many:]
                size = min(_FEW, self._pace) if self._sparse else self._size()
                asked = [Call(place.partition, Batch(*place.page(None, size))) for place in some]
                outcomes = yield from must_all(asked)
                large = sum(len(value) for page in outcomes for _, value in page[0])
                self._many = pace(self._many, large, _NAMES)
                for place, page in zip(some, outcomes, strict=True):
                    yield from self._all_of(place, page, size)
            if not entries.cursor:
                break
            first, lines = [], lines._replace(after=entries.cursor)
        return self._found

    def _size(self) -> int:
        return self._pace if self._sparse else min(self._pace, self._wish.left)

    def _all_of(self, place: Place, page: Sequence[Any] | None = None, size: int = 0) -> Plan[None]:
        """Look at all items of a place, as long as more are wanted; its first page may be there already."""
        after: Where | None = None
        while not self._wish.done:
            if page is None:
                size = self._size()
                page = yield from must(place.partition, *place.page(after, size))
            self._pace = pace(self._pace, sum(len(value) for _, value in page[0]))
            for after, read in place.found(self._serde, page, self._now):  # noqa: B007
                if self._wish.done:
                    return
                if read is not None:
                    self._look(read)
                else:
                    self._sparse = True
            if len(page[0]) < size:
                return
            page = None

    def _look(self, read: Callable[[], Stored]) -> None:
        if not self._wanted:
            if self._wish.wants():
                self._found.append(Hit(read()))
        elif filters.fits((item := read()).value, self._wanted) and self._wish.wants():
            self._found.append(Hit(item))


def lines_below(prefix: Namespace) -> Page:
    """What reads the first page of the list, from a namespace on."""
    return Page("name", prefix=keys.encode("store", *prefix), limit=_NAMES)


def places_below(prefix: Namespace, entries: Entries) -> list[Place]:
    """The places of the namespaces on a page of the list, but for that one itself."""
    return [place_of(name) for name in namespaces_in(entries) if name != prefix]


def pace(many: int, size: int, most: int = ITEMS) -> int:
    """How many items (or namespaces) to fetch next, when so many had this size."""
    return max(1, min(most, many * (2 if size < _BYTES else 1) * _BYTES // max(_BYTES, size)))


class Conditions:
    """Which namespaces a listing wants, of those below a base: their names are what follows it."""

    def __init__(
        self, prefix: Sequence[Namespace], suffix: Sequence[Namespace], max_depth: int | None, base: Namespace = ()
    ) -> None:
        if max_depth is not None and (isinstance(max_depth, bool) or not isinstance(max_depth, int) or max_depth < 1):
            raise ConfigurationError(f"max_depth is a whole number from 1 on, not {max_depth!r:.80}")
        self._prefix = prefix
        self._suffix = suffix
        self._depth = max_depth
        self._base = len(base)
        literal = [path[: path.index("*")] if "*" in path else path for path in prefix]
        self.start: Namespace = base + max(literal, key=len, default=())
        """How all of them begin."""

    def fit(self, namespace: Namespace) -> bool:
        namespace = namespace[self._base :]
        return all(_begins(namespace, path) for path in self._prefix) and all(
            _begins(namespace[::-1], path[::-1]) for path in self._suffix
        )

    def cut(self, namespace: Namespace) -> Namespace:
        return namespace[self._base :][: self._depth]


def _begins(namespace: Namespace, path: Namespace) -> bool:
    return len(namespace) >= len(path) and all(
        wanted in ("*", label) for label, wanted in zip(namespace, path, strict=False)
    )


def namespaces(conditions: Conditions, shelves: Shelves, offset: int, limit: int, now: int) -> Plan[list[Namespace]]:
    """The namespaces with items, in order."""
    wish, found = Wish(offset, limit), list[Namespace]()
    last: Namespace | None = None
    of_session = conditions.start[:1] == (SESSION_NAMESPACE,)
    source = _of_session(conditions, now) if of_session else _listed(conditions, shelves, now)
    after: Any = None
    while not wish.done:
        names, after = yield from source(after)
        for name in names:
            if (cut := conditions.cut(name)) != last:
                last = cut
                if wish.wants():
                    found.append(cut)
                if wish.done:
                    break
        if after is None:
            break
    return found


_Source = Callable[[Any], Plan[tuple[list[Namespace], Any]]]
"""Pages of the namespaces that fit."""


def _listed(conditions: Conditions, shelves: Shelves, now: int) -> _Source:
    """Pages of the list, without those namespaces that turn out to have no items."""

    def read(after: bytes | None) -> Plan[tuple[list[Namespace], Any]]:
        (listed,) = yield from must(STORE, lines_below(conditions.start)._replace(after=after or b""))
        entries: Entries = listed
        names = [name for name in namespaces_in(entries) if conditions.fit(name)]
        places = [place_of(name) for name in names]
        look = Batch(*[op for place in places[:1] for op in (place.any_item(), place.past(now, 1))])  # the same for all
        rows = yield from must_all([Call(place.partition, look) for place in places])
        doubtful = {place.partition: place for place, (_, ended) in zip(places, rows, strict=True) if ended}
        some = yield from together(_has_items(shelves, place, now) for place in doubtful.values())
        empty = {name for name, there in zip(doubtful, some, strict=True) if not there}
        found = zip(names, places, rows, strict=True)
        names = [name for name, place, (row, _) in found if row and place.partition not in empty]
        return names, entries.cursor or None

    return read


def _has_items(shelves: Shelves, place: Place, now: int) -> Plan[bool]:
    """Whether not all items of a namespace have ended."""
    after: Where | None = None
    swept = False
    while True:
        rows, ends = yield from must(place.partition, *place.page(after, ITEMS, (CREATED, END)))
        if _alive(place, rows, ends, now):
            return True
        if len(rows) < ITEMS:
            return False
        if not swept:  # so that this is not gone through again and again
            swept = True
            try:
                yield from casual(sweep(shelves, place, now))
                continue
            except BackendError as exc:
                _LOG.warning("what has ended could not be taken away: %s", exc)
        after = place.at(rows[-1][0])


def _alive(place: Place, rows: Sequence[Row], ends: Sequence[Row], now: int) -> list[Where]:
    """The items on a page that have not ended."""
    over = {row for row, stored in ends if (end := end_of(stored)) is not None and end.at <= now}
    return [where for row, _ in rows if place.row(END, where := place.at(row)) not in over]


def _of_session(conditions: Conditions, now: int) -> _Source:
    """Pages of what belongs to a session."""
    place = place_of(conditions.start)

    def read(after: Where | None) -> Plan[tuple[list[Namespace], Any]]:
        rows, ends = yield from must(place.partition, *place.page(after, ITEMS, (CREATED, END)))
        names = dict.fromkeys(place.namespace(where) for where in _alive(place, rows, ends, now))
        fitting = [name for name in names if conditions.fit(name)]
        return fitting, place.at(rows[-1][0]) if len(rows) == ITEMS else None

    return read
