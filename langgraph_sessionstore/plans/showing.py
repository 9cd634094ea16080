"""Sessions as the items of a store: what is shown of each. Searching is in `browsing`.

    ("sessions",)        session id         what is known about the session
    ("memory", id)       "messages"         its messages
    ("memory", id)       "summary"          its summary, when it has one
    ("checkpoints", id)  a checkpoint's id  what it says of itself; outside the root namespace the key is "ns|id"
    ("usage", id)        "usage"            what was used

Rule 1: nothing of this is stored as it is shown. What describes a session and what it holds are read in one trip, and
        shown when they are of the same incarnation: a session that was deleted or has expired shows nothing.
Rule 2: what is shown is what JSON can hold, and a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import datetime, timezone
from functools import partial
from typing import Any, NamedTuple

from langchain_core.messages import messages_to_dict
from pydantic_core import to_jsonable_python

from .. import keys
from ..errors import SessionDeleted
from ..info import SessionInfo
from ..ops import Get, Plan, Range, Row, must
from . import accounts, contents, layout, listing, reading, records, sessions
from .desk import Desk
from .details import unpack_summary
from .listing import Position
from .places import SUMMARY, USAGE
from .sessions import Found
from .together import together

Namespace = tuple[str, ...]
Load = Callable[[], dict[str, Any]]


class Shown(NamedTuple):
    """An item. Times are in UTC."""

    namespace: Namespace
    key: str
    value: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class Part(NamedTuple):
    """A page of what one session shows in a namespace."""

    incarnation: bytes | None
    items: dict[str, Load]
    """By their keys what makes their values."""
    more: Position | None = None
    """Where the next page begins."""


# -- what is shown of a session: all of it, or what has this key


def _memory(desk: Desk, key: str | None, after: Position | None, size: int) -> Plan[Part]:
    if key == "summary":  # which needs no messages
        incarnation, row = yield from must(desk.partition, Get(keys.INCARNATION), Get(SUMMARY))
        return Part(incarnation, _summary(desk, row))
    try:
        found = yield from contents.read(desk)
    except SessionDeleted:
        return Part(None, {})
    return Part(found.incarnation, {"messages": partial(_messages, desk, found), **_summary(desk, found.summary)})


def _messages(desk: Desk, found: contents.Contents) -> dict[str, Any]:
    return {"messages": plain(messages_to_dict(contents.messages(desk, found)))}


def _summary(desk: Desk, row: bytes | None) -> dict[str, Load]:
    def load() -> dict[str, Any]:
        summary = unpack_summary(row, desk.session_id)
        return {"summary": summary.text if summary else None}

    return {} if row is None else {"summary": load}


def _checkpoints(desk: Desk, key: str | None, after: Position | None, size: int) -> Plan[Part]:
    more: Position | None = None
    if key is None:
        incarnation, stored, more = yield from listing.bare(desk.session_id, after, size)
    else:
        ns, _, checkpoint_id = key.rpartition("|")  # a namespace may hold "|" too; ids that LangGraph makes do not
        rows = [layout.record("", key), *([layout.record(ns, checkpoint_id)] if ns else [])]
        incarnation, *found = yield from must(desk.partition, Get(keys.INCARNATION), *map(Get, rows))
        read = [(at, row) for at, row in zip(rows, found, strict=True) if row is not None]
        stored = [records.unpack(at, row, desk.session_id) for at, row in read[:1]]
    return Part(incarnation, {_key(each.record): partial(_checkpoint, desk, each) for each in stored}, more)


def _key(record: records.Record) -> str:
    return f"{record.ns}|{record.id}" if record.ns else record.id


def _checkpoint(desk: Desk, stored: records.Stored) -> dict[str, Any]:
    record = stored.record
    return {
        "checkpoint_id": record.id,
        "checkpoint_ns": record.ns,
        "parent_checkpoint_id": record.parent or None,
        "ts": plain(reading.load_fields(desk.tools, desk.session_id, stored).get("ts")),
        "metadata": plain(reading.load_metadata(desk.tools, desk.session_id, stored)),
        "channel_versions": plain(record.versions),
    }


def _usage(desk: Desk, key: str | None, after: Position | None, size: int) -> Plan[Part]:
    incarnation, rows = yield from must(desk.partition, Get(keys.INCARNATION), Range(*USAGE))
    return Part(incarnation, {"usage": partial(_metrics, desk, rows)})


def _metrics(desk: Desk, rows: Sequence[Row]) -> dict[str, Any]:
    metrics = accounts.metrics(desk, rows)
    return {
        "total_cost": metrics.total_cost,
        "total_calls": metrics.total_calls,
        "total_tokens": metrics.total_tokens,
        "total_seconds": metrics.total_seconds,
        "total": metrics.total._asdict(),
        "breakdown": metrics.breakdown,
        "by_phase": {phase: usage._asdict() for phase, usage in metrics.by_phase.items()},
        "by_model": {model: usage._asdict() for model, usage in metrics.by_model.items()},
    }


Read = Callable[[Desk, str | None, Position | None, int], Plan[Part]]
ROOTS: Mapping[str, Read | None] = {
    "checkpoints": _checkpoints,
    "memory": _memory,
    "sessions": None,  # what describes a session is all there is
    "usage": _usage,
}
"""The first labels in their order, and what reads the items of a session below them."""


# -- looking at it; `desk` is that of any session


def get(desk: Desk, namespace: Namespace, key: str) -> Plan[Shown | None]:
    """One item."""
    if namespace == ("sessions",):
        found = yield from sessions.describe(desk.tools, key)
        return shown(namespace, found.info, key, described(found.info)) if found else None
    read = ROOTS.get(namespace[0]) if len(namespace) == 2 else None
    if read is None:
        return None
    found, part = yield from look_at(desk, namespace[1], read, key, 1)
    load = part.items.get(key)
    return shown(namespace, found.info, key, load()) if found and load else None


def look_at(desk: Desk, session_id: str, read: Read, key: str | None, size: int) -> Plan[tuple[Found | None, Part]]:
    """A session, and what it shows, in one trip."""
    plan = read(desk._replace(session_id=session_id), key, None, size)
    found, part = yield from together([sessions.describe(desk.tools, session_id), plan])
    same = found is not None and found.incarnation == part.incarnation
    return (found, part) if same else (None, Part(None, {}))


def shown(namespace: Namespace, info: SessionInfo, key: str, value: dict[str, Any]) -> Shown:
    """An item with its times: a checkpoint's own, or those of the session."""
    created, updated = (datetime.fromisoformat(text) for text in (info.created_at, info.updated_at))
    if namespace[0] == "checkpoints":
        with suppress(AttributeError, ValueError, OverflowError):  # a time that is none says nothing
            moment = datetime.fromisoformat(value["ts"].replace("Z", "+00:00"))
            moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
            created = updated = moment.astimezone(timezone.utc)
    return Shown(namespace, key, value, created, updated)


def described(info: SessionInfo) -> dict[str, Any]:
    """What is known about a session, as a value."""
    return {field.name: plain(getattr(info, field.name)) for field in fields(info)}


def plain(value: Any) -> Any:
    """A copy that JSON can hold; what it has nothing for becomes text."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {name if type(name) is str else str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(part) for part in value]
    try:
        return to_jsonable_python(value, bytes_mode="base64", inf_nan_mode="constants", serialize_unknown=True)
    except (ValueError, TypeError):  # it has no form for that either
        return repr(value)
