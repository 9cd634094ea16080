"""Searching what sessions show as items of a store, and the namespaces of these; see `showing`.

Rule 1: sessions are gone through in the order of their ids, a page at a time, and no longer than more is wanted.
Rule 2: only what is wanted is made of what was read, and with a filter what may be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from .. import keys
from ..ops import Batch, Call, Count, Plan, must_all
from . import filters, layout, sessions
from .desk import Desk
from .finding import Conditions, Wish
from .sessions import Found
from .showing import ROOTS, Load, Namespace, Part, Read, Shown, described, look_at, shown
from .together import together

PAGE = 50
"""Sessions that are looked at in one trip, at the most."""
_FEW = 16
"""And at the least, as there may be some without what is wanted."""
_AT_ONCE = 8
"""Sessions whose content is read in one trip, at the most."""
_CHECKPOINTS = 100
"""Checkpoints of a session that are read in one trip, at the most."""


class Search:
    """One search for items."""

    def __init__(self, desk: Desk, wanted: Mapping[str, Any] | None, offset: int, limit: int) -> None:
        filters.check(wanted)
        self._desk = desk
        self._wanted = wanted
        self._wish = Wish(offset, limit)
        self._found: list[Shown] = []

    def run(self, prefix: Namespace) -> Plan[list[Shown]]:
        """What is in the namespaces that begin so."""
        read = ROOTS.get(prefix[0]) if len(prefix) == 2 else None
        if read is not None and not self._wish.done:
            found, part = yield from look_at(self._desk, prefix[1], read, None, self._size(_CHECKPOINTS))
            if found is not None:
                yield from self._through(prefix, found, part, read)
        for root, read in ROOTS.items():
            if prefix in ((), (root,)):
                yield from self._all(root, read)
        return self._found

    def _size(self, most: int) -> int:
        return most if self._wanted else min(most, self._wish.left)

    def _all(self, root: str, read: Read | None) -> Plan[None]:
        walk = Walk(self._desk)
        while not self._wish.done and not walk.over:
            found = yield from walk.page(max(_FEW, self._size(PAGE)))
            if read is None:
                for each in found:
                    self._take((root,), each, each.info.id, partial(described, each.info))
                continue
            while found and not self._wish.done:
                size, many = self._size(_CHECKPOINTS), self._size(_AT_ONCE)
                some, found = found[:many], found[many:]
                parts = yield from together(
                    [read(self._desk._replace(session_id=each.info.id), None, None, size) for each in some]
                )
                for each, part in zip(some, parts, strict=True):
                    yield from self._through((root, each.info.id), each, part, read)

    def _through(self, namespace: Namespace, found: Found, part: Part, read: Read) -> Plan[None]:
        """Take what is wanted of one session, from its first page on."""
        desk = self._desk._replace(session_id=namespace[1])
        while part.incarnation == found.incarnation:
            for key, load in part.items.items():
                self._take(namespace, found, key, load)
            if part.more is None or self._wish.done:
                return
            part = yield from read(desk, None, part.more, self._size(_CHECKPOINTS))

    def _take(self, namespace: Namespace, found: Found, key: str, load: Load) -> None:
        if self._wish.done:
            return
        if not self._wanted:
            if self._wish.wants():  # what is passed over need not be made
                self._found.append(shown(namespace, found.info, key, load()))
        elif filters.fits((value := load()), self._wanted) and self._wish.wants():
            self._found.append(shown(namespace, found.info, key, value))


def namespaces(desk: Desk, conditions: Conditions, wish: Wish) -> Plan[list[Namespace]]:
    """The namespaces with items, in order."""
    found, start = list[Namespace](), conditions.start
    for root in ROOTS:
        if start[:1] not in ((), (root,)):
            continue
        walk = Walk(desk, start[1] if len(start) > 1 else None)
        last: Namespace = ()
        while not wish.done and not walk.over:
            for name in (yield from _names(desk, root, (yield from walk.page(PAGE)))):
                if conditions.fit(name) and (cut := conditions.cut(name)) != last and not wish.done:
                    last = cut
                    if wish.wants():
                        found.append(cut)
            if len(last) == 1:  # and all that follow here are cut to the same
                break
    return found


def _names(desk: Desk, root: str, found: Sequence[Found]) -> Plan[list[Namespace]]:
    """The namespaces that have items of these sessions."""
    names: list[Namespace] = [(root, each.info.id) for each in found]
    if root == "sessions":
        return [(root,)] if found else []
    if root == "checkpoints":
        counts = yield from must_all([Call(keys.session(name), Batch(Count(*layout.RECORDS))) for _, name in names])
        return [name for name, (count,) in zip(names, counts, strict=True) if count]
    return names


class Walk:
    """All sessions by id, page by page; or only one."""

    def __init__(self, desk: Desk, only: str | None = None) -> None:
        self._desk = desk
        self._only = only
        self._after = b""
        self.over = False
        """Whether no page follows."""

    def page(self, lines: int) -> Plan[list[Found]]:
        """Those of the next lines of the list that are there."""
        if self._only is not None:
            self.over = True
            found = yield from sessions.describe(self._desk.tools, self._only)
            return [found] if found else []
        page = yield from sessions.page(
            self._desk.tools, "name", False, self._after, lines, {}, self._desk.chance.now()
        )
        self._after, self.over = page.cursor, not page.cursor
        return page.found
