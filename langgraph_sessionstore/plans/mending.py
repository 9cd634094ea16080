"""Checking sessions, and putting right what can be put right without guessing.

Rule 1: a repair takes away what nothing refers to, and puts back what other rows tell. It never takes away what a user
        has stored: what is missing or damaged otherwise stays a problem.
Rule 2: each repair is one guarded batch, which does nothing when a writer has changed what it relies on: then it is
        looked at again. So it may be done at any time, and again.
Rule 3: a session that cannot be read keeps no other from being checked.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from .. import keys
from ..errors import ConflictError, DataError, ForeignStorage
from ..ops import Call, Calls, Conflict, Entries, Entry, Forget, Get, Page, Plan, Tally, casual, must
from . import checking, inspecting, lists
from .caching import CACHE
from .collecting import collect
from .desk import Desk
from .entry import unlist
from .items import STORE
from .places import REGISTRY, session_named
from .problems import REPAIR, CheckedSession, Finding, Problem, advice
from .sessions import LONG_GONE

_ROUNDS = 10
"""So often is something repaired while writers keep changing it."""
_BATCHES = 100
"""Repairs that go out in one trip."""
_PAGE = 100
_DELETE = "delete_session() takes the session away"
Find = Callable[[], Plan[list[Finding]]]


class Report:
    """What was found and done so far."""

    def __init__(self, repair: bool) -> None:
        self.repair = repair
        self.problems: list[Problem] = []
        self.done: Counter[str] = Counter()

    def of(self, session_id: str | None) -> CheckedSession:
        """The same, as it is told."""
        said = [what if times == 1 else f"{what} ({times} times)" for what, times in self.done.items()]
        return CheckedSession(session_id, tuple(self.problems), tuple(said))

    def look(self, partition: bytes, find: Find, collect: Callable[[], Plan[int]] | None = None) -> Plan[None]:
        """Find problems of a partition; and repair them, as far as that can be done."""
        try:
            found = yield from find()
            for _ in range(_ROUNDS if self.repair else 0):
                if not any(finding.repair for finding in found):
                    break
                yield from self._repair(partition, found)
                if collect is not None and any(finding.problem.kind == "unreferenced" for finding in found):
                    yield from self._collect(collect())
                found = yield from find()
            self.problems += [finding.problem for finding in found]
        except (DataError, ConflictError) as exc:  # rows that no plan may see; or too many writers
            help = advice(exc, _DELETE) if isinstance(exc, DataError) else "try again"
            self.problems.append(Problem("damaged", str(exc), help))

    def _repair(self, partition: bytes, found: list[Finding]) -> Plan[None]:
        due = [finding for finding in found if finding.repair is not None]
        for at in range(0, len(due), _BATCHES):
            some = due[at : at + _BATCHES]
            calls = [Call(partition, finding.repair) for finding in some if finding.repair is not None]
            for finding, outcome in zip(some, (yield Calls(calls, casual=True)), strict=True):
                if not isinstance(outcome, Conflict):
                    self.done[finding.done] += 1

    def _collect(self, plan: Plan[int]) -> Plan[None]:
        """Take away what nothing refers to, also while writers go on."""
        try:
            gone = yield from casual(plan)
        except DataError:  # something else has to be repaired first
            return
        if gone:
            self.done["deleted an element that nothing refers to"] += gone


def check_session(desk: Desk, repair: bool) -> Plan[CheckedSession | None]:
    """Check one session; None: there is none."""
    report, partition, name = Report(repair), desk.partition, f"session {desk.session_id!r}"
    entry = yield from _listed(partition)
    try:
        incarnation, tombstone = yield from must(partition, Get(keys.INCARNATION), Get(keys.TOMBSTONE))
    except ForeignStorage:
        incarnation = tombstone = None
    if incarnation is None or tombstone is not None:
        if entry is None or max(entry.created, entry.active) >= desk.chance.now() - LONG_GONE:
            return None  # it has just gone, or will be there soon
        if not repair:
            report.problems.append(Problem("unreferenced", f"the list names {name}, which is not there", REPAIR))
        else:
            yield from casual(_take_off(partition))
            report.done[f"took {name}, which is not there, off the list"] += 1
        return report.of(desk.session_id)
    if entry is None:
        if not repair:
            report.problems.append(Problem("missing", f"{name} is in no list", REPAIR))
        else:
            yield from report.look(REGISTRY, lambda: lists.again(REGISTRY, partition))
    thread = desk.tools, desk.session_id
    yield from report.look(partition, lambda: checking.find(*thread), lambda: collect(*thread))
    yield from report.look(partition, lambda: inspecting.find(desk))
    return report.of(desk.session_id)


def _listed(partition: bytes) -> Plan[Entry | None]:
    (found,) = yield from must(REGISTRY, Page("name", partition, limit=1))
    entries: Entries = found
    return next((entry for entry in entries.rows if entry.name == partition), None)


def _take_off(partition: bytes) -> Plan[None]:
    try:
        yield from unlist([partition])
    except ForeignStorage:  # the place is somebody else's
        yield from must(REGISTRY, Forget(partition))


class Checkup:
    """All sessions and lists, one after the other."""

    def __init__(self, desk: Callable[[str], Desk], repair: bool, progress: Callable[[int, int], None] | None) -> None:
        self._desk, self._repair, self._progress = desk, repair, progress
        self._lists = deque([REGISTRY, STORE, CACHE])
        self._names: deque[str] = deque()
        self._cursor: bytes | None = b""
        self._done = self._total = 0

    def next(self) -> Plan[CheckedSession | None] | None:
        """What comes next; None: nothing does."""
        if self._lists:
            return self._list(self._lists.popleft())
        if self._names:
            return self._session(self._names.popleft())
        return None if self._cursor is None else self._page(self._cursor)

    def _list(self, registry: bytes) -> Plan[CheckedSession | None]:
        report, hidden = Report(self._repair), set[bytes]()
        yield from report.look(registry, lambda: lists.find(registry, hidden))
        if registry == REGISTRY:
            self._names += sorted(name for name in map(session_named, hidden) if name is not None)
        return report.of(None) if report.problems or report.done else None

    def _page(self, cursor: bytes) -> Plan[None]:
        found, self._total = yield from must(REGISTRY, Page("name", after=cursor, limit=_PAGE), Tally())
        entries: Entries = found
        self._names += [name for entry in entries.rows if (name := session_named(entry.name)) is not None]
        self._cursor = entries.cursor or None

    def _session(self, name: str) -> Plan[CheckedSession | None]:
        checked = yield from check_session(self._desk(name), self._repair)
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, max(self._done, self._total))
        return checked
