"""Is what is stored of a session beside its thread whole? Its details, log, order, undo, usage, items; see `places`.

Rule: the same as in `checking`: one atomic step, nothing is changed, and what can be put right without guessing has a
batch that does so. Messages that only undo needs, and hints of items' ends, may be one too many at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from .. import codec, keys
from ..errors import DataError
from ..ops import Delete, Expect, Get, Op, Plan, Put, PutNew, Range, must
from . import accounts, contents, items, order, places
from .desk import Desk
from .editing import state_of, unpack_head
from .ending import unpack_end
from .moving import check_row
from .places import GRAPH, HEAD, LAST_USAGE, LOG, MESSAGES, ORDER, REDO, UNDO, UNDONE, USAGE
from .problems import REPAIR, Finding, Problem, advice, opened, repairing

_ITEMS = keys.encode("x")
_OF_THREADS = "bceivw"
"""The first segments of what `checking` looks at."""
_DELETE = "only delete_session() takes it away"
_FORGET = "clear(purge=True) takes it away, with all that could be undone and with the messages"


def find(desk: Desk) -> Plan[list[Finding]]:
    """What is wrong with a session beside its thread, with what puts it right."""
    name = desk.session_id
    spans: list[Op] = []
    at = b""
    for letter in _OF_THREADS:
        lo, hi = keys.within(letter)
        spans.append(Range(at, lo))
        at = hi
    spans.append(Range(at, None))
    incarnation, *found = yield from must(desk.partition, Get(keys.INCARNATION), *spans)
    rows = {key: value for part in found for key, value in part}
    opened(((key, value) for key, value in rows.items() if _is_packed(key, value)), f"session {name!r}")
    return [*_Session(desk, incarnation, rows).findings()]


class _Session:
    """A session's rows as they were read."""

    def __init__(self, desk: Desk, incarnation: bytes | None, rows: Mapping[bytes, bytes]) -> None:
        self.desk, self.rows = desk, rows
        self.name = f"session {desk.session_id!r}"
        self.here = Expect(keys.INCARNATION, state_of(incarnation))
        self.listed: dict[int, int] = {}
        """Which messages there should be: by their numbers, the places in the list of messages."""
        self.upto: int | None = None
        """Messages from this number on are listed without being named; None: nobody knows."""
        self.trouble: DataError | None = None
        """Why nobody can know which messages there should be."""
        view, counter, held = rows.get(ORDER), rows.get(LOG), len(self._between(MESSAGES))
        with suppress(DataError):  # which is told with the row
            self.upto = order.unpack(view, desk.session_id).upto
        try:
            numbers = [] if GRAPH in rows else contents.numbers(desk.session_id, view, counter, held)
            self.listed = {number: place for place, number in enumerate(numbers)}
        except DataError as exc:
            self.trouble = exc

    def findings(self) -> Iterator[Finding]:
        """All that is wrong with it."""
        yield from self._small()
        yield from self._counters()
        yield from map(Finding, self._missing())
        yield from self._items()

    def _between(self, span: keys.Span) -> list[bytes]:
        return [key for key in self.rows if span[0] <= key < span[1]]

    def _small(self) -> Iterator[Finding]:
        """Each row can be read."""
        desk = self.desk
        for key, value in self.rows.items():
            if key in (LOG, UNDO) or key.startswith(_ITEMS):  # see below
                continue
            try:
                check_row(desk, key, value)
                if key == GRAPH:
                    contents.channel_of(value, desk.session_id)
                elif key == HEAD:
                    unpack_head(value, desk.session_id)
                elif key == LAST_USAGE:
                    accounts.last_usage(desk, value)
                elif USAGE[0] <= key < USAGE[1]:
                    accounts.metrics(desk, [(key, value)])
                elif MESSAGES[0] <= key < MESSAGES[1]:
                    contents.load_message(desk, places.operation(key, desk.session_id), value)
            except DataError as exc:
                yield Finding(Problem("damaged", str(exc), advice(exc, self._help(key))))

    def _help(self, key: bytes) -> str:
        if any(lo <= key < hi for lo, hi in (UNDONE, REDO)):
            return _FORGET
        if MESSAGES[0] <= key < MESSAGES[1]:
            return self._remove(key)
        return _DELETE

    def _remove(self, key: bytes) -> str:
        """What takes a message away that cannot be read."""
        with suppress(DataError, LookupError):
            place = self.listed[places.operation(key, self.desk.session_id)]
            return f"remove({place}) takes it from the messages"
        return "only undo would need it"

    def _missing(self) -> Iterator[Problem]:
        if self.trouble is not None and self.upto is not None and _is_counter(self.rows.get(LOG)):  # else it is told
            yield Problem("damaged", str(self.trouble), _DELETE)
        for number in self.listed:
            if (key := places.message(number)) not in self.rows:
                what = f"message {number} in the log of {self.name}; without it the messages cannot be read"
                yield Problem("missing", what, self._remove(key))

    def _counters(self) -> Iterator[Finding]:
        """The storage numbers messages and operations by counters; one that is too low would overwrite some."""
        if self.upto is not None:
            yield from self._counter(LOG, "messages", self._between(MESSAGES), self.upto)
        yield from self._counter(UNDO, "operations", [*self._between(UNDONE), *self._between(REDO)], 0)

    def _counter(self, counter: bytes, of: str, numbered: Iterable[bytes], least: int) -> Iterator[Finding]:
        for key in numbered:
            with suppress(DataError):  # which is told with the row
                least = max(least, places.operation(key, self.desk.session_id) + 1)
        stored = self.rows.get(counter)
        if stored is None and not least:
            return
        if not _is_counter(stored) or int(stored or b"0") < least:
            told = (stored or b"")[:40]
            what = f"{self.name} has had {least} {of} or more, and counts {told!r}; the next would take their places"
            yield Finding(
                Problem("damaged", what, REPAIR),
                repairing(self.here, Expect(counter, state_of(stored)), Put(counter, b"%d" % least)),
                f"counted the {of} anew",
            )

    # -- items

    def _items(self) -> Iterator[Finding]:
        """Each item can be read, and nothing is left of one that is gone."""
        place = items.place_of((items.SESSION_NAMESPACE, self.desk.session_id))
        fronts = {place.own(kind): kind for kind in (*items.ALL, items.HINT)}
        size = len(place.own(items.VALUE))
        for key, value in self.rows.items():
            if not key.startswith(_ITEMS) or key == place.own(items.VERSION):
                continue
            kind = fronts.get(key[:size])
            if kind is None:
                yield Finding(Problem("damaged", f"{self.name} holds {key[:80]!r}, which is no item's", _DELETE))
                continue
            if kind == items.HINT:  # it is only looked at for what it names
                continue
            try:
                where = place.at(key)
                if kind == items.END:
                    unpack_end(value, f"item {where[-1]!r} of {self.name}")
                if kind == items.VALUE:
                    created = self.rows.get(place.row(items.CREATED, where))
                    name = place.namespace(where)
                    serde = self.desk.tools.serde
                    found = items.unpack_item(serde, name, str(where[-1]), value, created, None)
                    if created is None:
                        yield self._uncreated(place.row(items.CREATED, where), key, found)
                    continue
            except DataError as exc:
                yield Finding(Problem("damaged", str(exc), advice(exc, "put or delete the item anew")))
                continue
            if (owner := place.row(items.VALUE, where)) not in self.rows:
                yield Finding(
                    Problem("unreferenced", f"{self.name} holds {keys.decode(key)!r} of an item that is gone"),
                    repairing(self.here, Expect(owner, False), Delete(key)),
                    "deleted a row of an item that is gone",
                )

    def _uncreated(self, key: bytes, value: bytes, found: items.Stored) -> Finding:
        """Without the row that says when it was made an item is shown, and does not count as one."""
        what = f"when item {found.key!r} of {self.name} was made"
        same = Expect(value, state_of(self.rows[value]))
        again = repairing(self.here, same, PutNew(key, codec.pack(found.updated)))
        return Finding(Problem("missing", what, REPAIR), again, "noted anew when an item was made")


def _is_packed(key: bytes, stored: bytes) -> bool:
    """Whether what this row begins with says how it is packed: not where the bytes are text, digests or chance."""
    if key != GRAPH:
        return not key.startswith(_ITEMS)
    try:
        return not stored.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return True


def _is_counter(stored: bytes | None) -> bool:
    return stored is not None and stored.isdigit() and len(stored) <= 16
