"""Is a list of partitions whole inside? Its records and its indexes must say the same; see `backends.registry`.

Rule 1: a list is read in pieces, each row with what has to be there beside it. What looks wrong is looked at again in
        one atomic step, since writers change it meanwhile.
Rule 2: the partitions are the truth. A line whose record is lost is written anew when its partition is there; with the
        times that its other rows tell, as far as these are left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from .. import keys
from ..backends.registry import entry_of, index
from ..errors import ConflictError, DataError, ForeignStorage
from ..ops import Delete, Expect, Get, Op, Plan, Put, Range, Row, Touch, must
from .details import unpack_born
from .editing import state_of
from .entry import unpack_life
from .places import BORN, LIFE
from .problems import REPAIR, Finding, Problem, repairing
from .tools import TRIES

_PIECE = 500
"""Rows that are read at once."""
_MOMENT = re.compile(rb"[0-9a-f]{12}")
_UNKNOWN = "a newer version of this library may have written it"


def find(registry: bytes, hidden: set[bytes]) -> Plan[list[Finding]]:
    """What is wrong inside a list; partitions that are there, and no page of it names, come into `hidden`."""
    hidden.clear()
    suspects: dict[bytes, set[bytes]] = {}
    findings: list[Finding] = []
    after = b""
    while True:
        (rows,) = yield from must(registry, Range(after, None, limit=_PIECE))
        if not rows:
            break
        after = rows[-1][0] + keys.END
        findings += yield from _piece(registry, rows, suspects)
    for name in sorted(suspects):
        findings += yield from _line(registry, name, suspects[name], hidden)
    return findings


def again(registry: bytes, name: bytes) -> Plan[list[Finding]]:
    """What is wrong with the line of a partition that no page names, after reading all of the list for what is left."""
    left: set[bytes] = set()
    for kind in (b"a", b"c", b"x"):
        after = kind
        while True:
            (rows,) = yield from must(registry, Range(after, kind + b"\xff", limit=_PIECE))
            left.update(key for key, _ in rows if key[13:] == name and _MOMENT.fullmatch(key[1:13]))
            if len(rows) < _PIECE:
                break
            after = rows[-1][0] + keys.END
    return (yield from _line(registry, name, left, set()))


def _piece(registry: bytes, rows: Sequence[Row], suspects: dict[bytes, set[bytes]]) -> Plan[list[Finding]]:
    """Look at some rows of a list; what may be wrong with lines comes to the suspects."""
    findings: list[Finding] = []
    beside: list[tuple[bytes, bytes, Sequence[bytes]]] = []
    """A row, its line, and the rows of which one has to be there."""
    records: list[tuple[bytes, bytes]] = []
    """Rows of an index, and their lines."""
    for key, value in rows:
        kind, rest = key[:1], key[1:]
        if kind == b"n":
            entry = entry_of(rest, value)
            if entry is None:
                suspects.setdefault(rest, set())
            else:
                beside += [(key, rest, [row]) for row in index(entry)]
        elif kind in (b"c", b"a", b"x") and _MOMENT.fullmatch(rest[:12]):
            records.append((key, rest[12:]))
        elif kind == b"t" and keys.END + keys.END in rest:
            name, run = _named_run(rest)
            beside += [(key, name, [b"r" + run + name]), (key, name, [b"n" + name])]
        elif kind == b"r" and keys.END in rest:
            pairs = [*_runs_named(rest)]
            beside.append((key, pairs[0][0], [b"t" + name + keys.END + run for name, run in pairs]))
        else:
            findings.append(_stray(key, value))
    asked = [*map(Get, dict.fromkeys(row for _, _, wanted in beside for row in wanted))]
    asked += [*map(Get, dict.fromkeys(b"n" + name for _, name in records))]
    there = dict(zip([op.key for op in asked], (yield from must(registry, *asked)), strict=True)) if asked else {}
    for key, name, wanted in beside:
        if all(there[row] is None for row in wanted):
            suspects.setdefault(name, set()).add(key)
    for key, name in records:
        entry = entry_of(name, there[b"n" + name])
        if entry is None or key not in index(entry):
            suspects.setdefault(name, set()).add(key)
    return findings


def _stray(key: bytes, value: bytes) -> Finding:
    """A row that no line can have."""
    if key[:1] in (b"c", b"a", b"x", b"t", b"r"):
        return Finding(
            Problem("unreferenced", f"the row {key[:80]!r} belongs to nothing"),
            repairing(Expect(key, state_of(value)), Delete(key)),
            "deleted a row that belongs to nothing",
        )
    return Finding(Problem("damaged", f"the row {key[:80]!r} is none of a list", _UNKNOWN))


def _line(registry: bytes, name: bytes, seen: set[bytes], hidden: set[bytes]) -> Plan[list[Finding]]:
    """Look at one line and all its rows, as they are at one moment."""
    own, runs = Get(b"n" + name), Range(b"t" + name + keys.END, b"t" + name + b"\x02")
    for _ in range(TRIES):
        record, tied = yield from must(registry, own, runs)
        entry = entry_of(name, record)
        wanted = index(entry) if entry is not None else []
        found = [b"r" + _named_run(key[1:])[1] + name for key, _ in tied]
        extra = sorted(key for key in seen if key[:1] in (b"c", b"a", b"x", b"r"))
        looked = [*dict.fromkeys([*wanted, *found, *extra])]
        again, tied_again, *values = yield from must(registry, own, runs, *map(Get, looked))
        if (again, tied_again) == (record, tied):
            there = {key for key, value in zip(looked, values, strict=True) if value is not None}
            break
    else:
        raise ConflictError(f"the line of {name!r} was changed each time while it was looked at")
    same = Expect(own.key, state_of(record))
    ties = {key for key, _ in tied}
    if entry is not None:
        return [*_rows_of(name, same, wanted, there, ties)]
    return (yield from _lost(name, same, record, there, ties, hidden))


def _rows_of(
    name: bytes, same: Expect, wanted: Sequence[bytes], there: set[bytes], ties: set[bytes]
) -> Iterator[Finding]:
    """What is wrong with the rows of a line whose record can be read."""
    for key in sorted(set(wanted) - there):
        yield _finding("missing", name, key, "put a row of a list back", same, Put(key, b""))
    for key in sorted(there - set(wanted)):
        if key[:1] != b"r":
            yield _finding("unreferenced", name, key, "deleted a row of a list", same, Delete(key))
    both = {b"t" + name + keys.END + run for key in there if key[:1] == b"r" for run in _runs_of(name, key)}
    for key in sorted(both - ties):
        other = b"r" + _named_run(key[1:])[1] + name
        yield _finding("missing", name, key, "put a row of a list back", same, Expect(other, True), Put(key, b""))
    for key in sorted(ties):
        other = b"r" + _named_run(key[1:])[1] + name
        if other not in there:
            yield _finding("missing", name, other, "put a row of a list back", same, Expect(key, True), Put(other, b""))


def _finding(kind: Literal["missing", "unreferenced"], name: bytes, key: bytes, done: str, *ops: Op) -> Finding:
    what = "is missing" if kind == "missing" else "belongs to nothing"
    return Finding(Problem(kind, f"in the line of {_shown(name)} the row {key[:80]!r} {what}"), repairing(*ops), done)


def _lost(
    name: bytes, same: Expect, record: bytes | None, there: set[bytes], ties: set[bytes], hidden: set[bytes]
) -> Plan[list[Finding]]:
    """A line without a record that can be read: written anew if its partition is there, else taken away."""
    rows = there | ties | ({same.key} if record is not None else set())
    touches = yield from _anew(name, there)
    if not touches and not rows:
        return []
    if not touches:
        gone = Problem("unreferenced", f"rows in the line of {_shown(name)}, which is not there")
        deletes = [Delete(key) for key in sorted(rows)]
        return [Finding(gone, repairing(same, *deletes), "deleted rows of a line that names nothing")]
    hidden.add(name)
    stale = [Delete(key) for key in sorted(there) if key[:1] != b"r"]
    return [
        Finding(
            Problem("damaged", f"the record of {_shown(name)} in the list cannot be read, so no page names it", REPAIR),
            repairing(same, *stale, *touches),
            f"listed {_shown(name)} again",
        )
    ]


def _anew(name: bytes, there: Iterable[bytes]) -> Plan[list[Op]]:
    """What lists a partition again; nothing, when it is not there."""
    life = born = None
    try:
        incarnation, tombstone = yield from must(name, Get(keys.INCARNATION), Get(keys.TOMBSTONE))
        if incarnation is None or tombstone is not None:
            return []
        life, born = yield from must(name, Get(LIFE), Get(BORN))
    except ForeignStorage:
        return []
    except DataError:  # which the check of the session tells
        pass
    moments = {kind: [int(key[1:13], 16) for key in there if key[:1] == kind] for kind in (b"c", b"a")}
    return _listing(name, life, born, min(moments[b"c"], default=None), max(moments[b"a"], default=None))


def _listing(
    partition: bytes, life: bytes | None, born: bytes | None, created: int | None, active: int | None
) -> list[Op]:
    """What lists a partition that is there: with the moments that are known, and for as long as its rows say."""
    ttl = 0
    try:
        begun: Any = unpack_born(born, "")
        created = begun.created if begun is not None else created
        ttl = unpack_life(life, "").ttl
    except DataError:  # which the check of the session tells
        pass
    ops: list[Op] = [Touch(partition, at=created, new=True)] if created is not None else []
    return [*ops, Touch(partition, at=active, ttl=ttl or None, expires=None if ttl else 0)]


def _named_run(rest: bytes) -> tuple[bytes, bytes]:
    """The line and the run of a row `t`, without its first byte."""
    name, _, run = rest.partition(keys.END + keys.END)
    return name + keys.END, run


def _runs_named(rest: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The lines and runs that a row `r` may be of, without its first byte; a run of the library's own is the first."""
    at = rest.find(keys.END) + 1
    while at:
        yield rest[at:], rest[:at]
        at = rest.find(keys.END, at) + 1


def _runs_of(name: bytes, key: bytes) -> list[bytes]:
    """The run of a row `r` of this line."""
    return [key[1 : -len(name)]] if key.endswith(name) else []


def _shown(name: bytes) -> str:
    try:
        return repr(keys.decode(name)[-1])
    except (DataError, IndexError):
        return repr(name[:80])
