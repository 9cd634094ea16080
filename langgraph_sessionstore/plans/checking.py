"""Is what is stored of a thread whole? Finds rows that are missing, damaged, or that nothing refers to.

Rule: reads everything of the thread in one atomic step, and changes nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from .. import keys
from ..errors import DataError
from ..ops import Links, Plan, Range, Run, call, split_links
from . import layout, records
from .layout import Slice
from .reading import load_typed, unpack_write
from .records import Stored, Typed, merged
from .tools import Tools, unpack_typed

_NAMED = 100  # so many missing elements of a piece are named


class Problem(NamedTuple):
    """Something that is not as it should be."""

    kind: Literal["missing", "damaged", "unreferenced"]
    """Missing and damaged rows are losses. Unreferenced ones only take space: `collect` takes them away."""
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def check(tools: Tools, thread: str) -> Plan[list[Problem]]:
    """All problems of a thread; none: every checkpoint can be read, and no row is wasted."""
    spans = (layout.RECORDS, layout.INDEX, layout.BRANCHES, layout.ELEMENTS, layout.WRITES)
    outcome = yield from call(keys.session(thread), *(Range(*span) for span in spans))
    assert isinstance(outcome, list)
    found, index, branches, elements, writes = (dict(rows) for rows in outcome)
    problems: list[Problem] = []
    stored: list[Stored] = []
    for key, value in found.items():
        try:
            stored.append(records.unpack(key, value, thread))
            if _spread(split_links(value)[0]) != _spread(stored[-1].record.links()):
                problems.append(Problem("damaged", f"the links of checkpoint {stored[-1].record.id!r} lead elsewhere"))
        except DataError as exc:
            problems.append(Problem("damaged", str(exc)))
    problems += _index(index, stored)
    problems += _elements(tools, thread, stored, elements)
    if len(stored) == len(found):  # else nobody knows what those that cannot be read refer to
        problems += _branches(stored, elements, branches)
    for one in stored:
        problems += _record(tools, thread, one)
    for key, value in writes.items():
        try:
            write = unpack_write(key, value, thread)
            load_typed(tools.serde, write.typed, f"the write at {_shown(key)} in thread {thread!r}")
        except DataError as exc:
            problems.append(Problem("damaged", str(exc)))
    return problems


def _spread(links: Links) -> tuple[set[bytes], set[Run]]:
    return set(links.below), set(links.runs)


def _index(index: dict[bytes, bytes], stored: list[Stored]) -> list[Problem]:
    wanted = {layout.index(one.record.ns, one.record.id) for one in stored if one.record.ns}
    problems = [Problem("missing", f"index row {_shown(key)}") for key in sorted(wanted - index.keys())]
    return problems + [Problem("unreferenced", f"index row {_shown(key)}") for key in sorted(index.keys() - wanted)]


def _elements(tools: Tools, thread: str, stored: list[Stored], elements: dict[bytes, bytes]) -> list[Problem]:
    """Each element that a record refers to is there and can be read."""
    problems = []
    for branch, first, stop in merged(part for one in stored for part in one.record.parts()):
        missing = 0
        for slot in range(first, stop):
            place = f"element {slot} of branch {branch} in thread {thread!r}"
            value = elements.get(layout.element(branch, slot))
            if value is None:
                missing += 1
                if missing > _NAMED:
                    problems.append(Problem("missing", f"{place}, and perhaps others up to {stop - 1}"))
                    break
                problems.append(Problem("missing", place))
                continue
            try:
                load_typed(tools.serde, unpack_typed(value, place), place)
            except DataError as exc:
                problems.append(Problem("damaged", str(exc)))
    return problems


def _branches(stored: list[Stored], elements: dict[bytes, bytes], branches: dict[bytes, bytes]) -> list[Problem]:
    """Each element and each branch has a record that refers to it, and branches know their size."""
    problems = []
    live: dict[int, list[Slice]] = {}
    sizes: dict[bytes, int] = {}
    for one in stored:
        for part in one.record.parts():
            live.setdefault(part.branch, []).append(part)
            name = layout.branch(part.branch)
            sizes[name] = max(sizes.get(name, 0), part.stop)
    tails = {layout.branch(tail) for one in stored for tail in one.record.tails()}
    referenced = {branch: merged(parts) for branch, parts in live.items()}
    for key in sorted(elements):
        place = _named(key)[1:]
        if not _within(referenced, place):
            problems.append(Problem("unreferenced", f"element {place or _shown(key)}"))
    for key in sorted(branches.keys() - sizes.keys() - tails):
        problems.append(Problem("unreferenced", f"branch {_shown(key, last=True)}"))
    for key, size in sizes.items():
        there = branches.get(key, b"")
        if not there.isdigit() or len(there) > 16 or int(there) < size:
            problems.append(
                Problem("damaged", f"branch {_shown(key, last=True)} has {size} elements, says {there[:40]!r}")
            )
    return problems


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


def _record(tools: Tools, thread: str, stored: Stored) -> list[Problem]:
    """What stands in the record itself can be read."""
    record = stored.record
    place = f"checkpoint {record.id!r} of thread {thread!r}"
    parts: list[tuple[Typed, type, str]] = [
        (record.fields, dict, place),
        (record.metadata, dict, f"metadata of {place}"),
    ]
    for name, value in record.values.items():
        if value.typed is not None:
            parts.append((value.typed, list if value.kind == "dict" else object, f"channel {name!r} of {place}"))
    problems = []
    for typed, kind, where in parts:
        try:
            if not isinstance(load_typed(tools.serde, typed, where), kind):
                problems.append(Problem("damaged", f"{where} is no {kind.__name__}"))
        except DataError as exc:
            problems.append(Problem("damaged", str(exc)))
    return problems
