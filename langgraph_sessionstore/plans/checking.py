"""Is what is stored of a thread whole? Finds rows that are missing, damaged, or that nothing refers to.

Rule: reads everything of the thread in one atomic step, and changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from .. import keys
from ..errors import DataError
from ..ops import Delete, Expect, Get, Links, Op, Plan, Put, Range, Row, Run, must, split_links
from . import layout, records
from .cache import Name
from .editing import state_of
from .layout import Slice
from .problems import REPAIR, Finding, Problem, advice, opened, repairing
from .reading import load_metadata, load_typed, unpack_write
from .records import Stored, Typed, merged
from .tools import Tools, unpack_typed

_NAMED = 100  # so many missing elements of a piece are named
_LOST = 3  # and so many checkpoints that cannot be read without one of them
_PRUNE = "prune() takes away what cannot be read"
_GO_ON = "go on from another checkpoint by its id, then prune() takes away what cannot be read; or delete_thread()"
_DELETE = "the others can be read by their ids; only delete_thread() or delete_session() takes it away"


def check(tools: Tools, thread: str) -> Plan[list[Problem]]:
    """All problems of a thread; none: every checkpoint can be read, and no row is wasted."""
    return [finding.problem for finding in (yield from find(tools, thread))]


def find(tools: Tools, thread: str) -> Plan[list[Finding]]:
    """The same, with what puts them right."""
    spans = (layout.RECORDS, layout.INDEX, layout.BRANCHES, layout.ELEMENTS, layout.WRITES)
    asked: list[Op] = [Get(keys.INCARNATION), Get(layout.VERSION), *(Range(*span) for span in spans)]
    incarnation, version, *lists = yield from must(keys.session(thread), *asked)
    opened((row for rows in lists for row in rows), f"thread {thread!r}")
    return [*_Thread(tools, thread, incarnation, version, lists).findings()]


class _Thread:
    """A thread as it was read."""

    def __init__(
        self,
        tools: Tools,
        thread: str,
        incarnation: bytes | None,
        version: bytes | None,
        rows: Sequence[Sequence[Row]],
    ) -> None:
        self.tools, self.thread, self.version = tools, thread, version
        self.records, self.index, self.branches, self.elements, self.writes = map(dict, rows)
        self.here = Expect(keys.INCARNATION, state_of(incarnation))
        self.same = (self.here, Expect(layout.VERSION, state_of(version)))
        """The guards: no record was put or taken away since."""
        self.stored: list[Stored] = []
        self.broken: list[Problem] = []
        """Records that cannot be read, which keep others from being pruned."""
        for key, value in self.records.items():
            try:
                self.stored.append(records.unpack(key, value, thread))
                load_metadata(tools, thread, self.stored[-1])
            except DataError as exc:
                self.broken.append(Problem("damaged", str(exc), advice(exc, _DELETE)))
        self.names = sorted(filter(None, map(_record_name, self.records)))
        self.newest = dict(self.names)
        self.wanted = {layout.index(*name): name for name in self.names if name[0]}
        """The index that there should be."""

    def findings(self) -> Iterator[Finding]:
        """All that is wrong with it."""
        if self.version is not None and not (self.version.isdigit() and len(self.version) <= 16):
            fresh = b"%d" % (self.tools.new_branch() >> 22)  # which it has not had before
            what = f"thread {self.thread!r} does not know how often it was changed, and takes no checkpoint"
            yield Finding(
                Problem("damaged", what, REPAIR),
                repairing(*self.same, Put(layout.VERSION, fresh)),
                "counted the changes of the thread anew",
            )
        yield from map(Finding, self.broken)
        yield from self._links()
        yield from self._index()
        yield from self._elements()
        if len(self.stored) == len(self.records):  # else nobody knows what those that cannot be read refer to
            yield from self._branches()
        for one in self.stored:
            yield from map(Finding, self._parts(one))
        yield from map(Finding, self._writes())

    def _links(self) -> Iterator[Finding]:
        for one in self.stored:
            old, new = self.records[one.record.key], one.record.pack()
            if _spread(split_links(old)[0]) != _spread(one.record.links()):
                yield Finding(
                    Problem("damaged", f"the links of checkpoint {one.record.id!r} lead elsewhere", REPAIR),
                    repairing(self.here, Expect(one.record.key, one.etag), Put(one.record.key, new)),
                    f"put the links of checkpoint {one.record.id!r} right",
                )

    def _index(self) -> Iterator[Finding]:
        for key in sorted(self.wanted.keys() - self.index.keys()):
            there = Expect(layout.record(*self.wanted[key]), True)
            yield Finding(
                Problem("missing", f"index row {_shown(key)}", REPAIR),
                repairing(self.here, there, Put(key, b"")),
                f"put index row {_shown(key)} back",
            )
        for key in sorted(self.index.keys() - self.wanted.keys()):
            yield Finding(
                Problem("unreferenced", f"index row {_shown(key)}"),
                repairing(*self.same, Delete(key)),
                "deleted an index row that leads nowhere",
            )

    def _elements(self) -> Iterator[Finding]:
        """Each element that a record refers to is there and can be read."""
        wrong: dict[tuple[int, int], tuple[Literal["missing", "damaged"], str, DataError | None]] = {}
        for branch, first, stop in merged(part for one in self.stored for part in one.record.parts()):
            missing = 0
            for slot in range(first, stop):
                place = f"element {slot} of branch {branch} in thread {self.thread!r}"
                value = self.elements.get(layout.element(branch, slot))
                if value is None:
                    missing += 1
                    more = f", and perhaps others up to {stop - 1}" if missing > _NAMED else ""
                    wrong[branch, slot] = "missing", place + more, None
                    if more:
                        break
                    continue
                try:
                    load_typed(self.tools.serde, unpack_typed(value, place), place)
                except DataError as exc:
                    wrong[branch, slot] = "damaged", str(exc), exc
        lost = self._lost(sorted(wrong))
        for at, (kind, what, cause) in sorted(wrong.items()):
            help = self._help(lost[at])
            help = advice(cause, help) if cause is not None else help
            yield Finding(Problem(kind, what + _without(lost[at]), help))

    def _lost(self, places: list[tuple[int, int]]) -> dict[tuple[int, int], list[Name]]:
        """The checkpoints that cannot be read without these elements."""
        lost: dict[tuple[int, int], list[Name]] = {place: [] for place in places}
        for one in self.stored if places else ():
            for part in one.record.parts():
                first = bisect_left(places, (part.branch, part.first))
                for place in places[first : bisect_left(places, (part.branch, part.stop))]:
                    if lost[place][-1:] != [(one.record.ns, one.record.id)]:
                        lost[place].append((one.record.ns, one.record.id))
        return lost

    def _help(self, lost: Iterable[Name]) -> str:
        """What helps when these checkpoints cannot be read."""
        if self.broken:
            return _DELETE
        return _GO_ON if any(self.newest[ns] == checkpoint_id for ns, checkpoint_id in lost) else _PRUNE

    def _branches(self) -> Iterator[Finding]:
        """Each element and each branch has a record that refers to it, and branches know their size.

        How many elements a branch has had that are gone, nobody knows who has lost its counter: so it is closed.
        """
        live: dict[int, list[Slice]] = {}
        sizes: dict[int, int] = {}
        for one in self.stored:
            for part in one.record.parts():
                live.setdefault(part.branch, []).append(part)
                sizes[part.branch] = max(sizes.get(part.branch, 0), part.stop)
            for tail in one.record.tails():
                sizes[tail.branch] = max(sizes.get(tail.branch, 0), tail.size)
        referenced = {branch: merged(parts) for branch, parts in live.items()}
        for key in sorted(self.elements):
            place = _named(key)[1:]
            match place:
                case (int(branch), int(slot)) if branch in sizes:
                    sizes[branch] = max(sizes[branch], slot + 1)
            if not _within(referenced, place):
                yield Finding(
                    Problem("unreferenced", f"element {place or _shown(key)}"),
                    repairing(*self.same, Delete(key)),
                    "deleted an element that nothing refers to",
                )
        for key in sorted(self.branches.keys() - {*map(layout.branch, sizes)}):
            yield Finding(
                Problem("unreferenced", f"branch {_shown(key, last=True)}"),
                repairing(*self.same, Expect(key, state_of(self.branches[key])), Delete(key)),
                "deleted a branch that nothing refers to",
            )
        for branch, size in sorted(sizes.items()):
            key = layout.branch(branch)
            if key not in self.branches and branch not in live:
                continue  # it went with its last element, and no writer goes on with it
            there = self.branches.get(key, b"")
            if not there.isdigit() or len(there) > 16 or int(there) < min(size, layout.CLOSED):
                yield Finding(
                    Problem("damaged", f"branch {branch} has had {size} elements or more, says {there[:40]!r}", REPAIR),
                    repairing(
                        *self.same,
                        Expect(key, state_of(self.branches.get(key))),
                        Put(key, b"%d" % layout.CLOSED),
                    ),
                    f"closed branch {branch}, whose elements nobody can count any more",
                )

    def _parts(self, stored: Stored) -> Iterator[Problem]:
        """What stands in the record itself can be read."""
        record = stored.record
        place = f"checkpoint {record.id!r} of thread {self.thread!r}"
        parts: list[tuple[Typed, type, str]] = [(record.fields, dict, place)]
        for name, value in record.values.items():
            if value.typed is not None:
                parts.append((value.typed, list if value.kind == "dict" else object, f"channel {name!r} of {place}"))
        help = self._help([(record.ns, record.id)])
        for typed, kind, where in parts:
            try:
                if not isinstance(load_typed(self.tools.serde, typed, where), kind):
                    yield Problem("damaged", f"{where} is no {kind.__name__}", help)
            except DataError as exc:
                yield Problem("damaged", str(exc), advice(exc, help))

    def _writes(self) -> Iterator[Problem]:
        for key, value in self.writes.items():
            try:
                write = unpack_write(key, value, self.thread)
                load_typed(self.tools.serde, write.typed, f"the write at {_shown(key)} in thread {self.thread!r}")
            except DataError as exc:
                lost = [name for name in self.names if key.startswith(layout.writes(*name))]
                yield Problem("damaged", str(exc) + _without(lost), advice(exc, self._help(lost)))


def _record_name(key: bytes) -> Name | None:
    try:
        return layout.record_name(key)
    except DataError:
        return None


def _without(lost: Sequence[Name]) -> str:
    """What is lost, in words."""
    if not lost:
        return ""
    names = [f"{checkpoint_id!r} of {ns!r}" if ns else repr(checkpoint_id) for ns, checkpoint_id in lost[:_LOST]]
    more = [f"{len(lost) - _LOST} more"] if len(lost) > _LOST else []
    return f"; without it checkpoint{'s' * (len(lost) > 1)} {', '.join(names + more)} cannot be read"


def _spread(links: Links) -> tuple[set[bytes], set[Run]]:
    return set(links.below), set(links.runs)


def _within(referenced: Mapping[int, Sequence[Slice]], place: Sequence[keys.Segment | bytes]) -> bool:
    match place:
        case (int(branch), int(slot)):
            parts = referenced.get(branch, ())
            at = bisect_right(parts, (branch, slot, 1 << 64)) - 1
            return at >= 0 and slot < parts[at].stop
    return False


def _named(key: bytes) -> tuple[keys.Segment | bytes, ...]:
    """The segments of a key; or itself, when it is none."""
    try:
        return keys.decode(key)
    except DataError:
        return (key[:80],)


def _shown(key: bytes, last: bool = False) -> str:
    named = _named(key)
    return f"{named[-1]!r}" if last else f"{named!r}"
