"""What people type, and what they like to read: durations, conditions, sizes, times."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

import typer

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def age(text: str) -> timedelta | datetime:
    """How old something has to be: `30d`, `12h`, or since when: `2026-01-31`."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found:
        try:
            return timedelta(seconds=float(found[1]) * _UNITS[found[2]])
        except OverflowError:
            raise typer.BadParameter(f"{text!r} is longer than anything lasts") from None
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(f"{text!r} is no age (30d, 12h, 15m, 90s, 2w) and no date (2026-01-31)") from None


def moment_of(given: timedelta | datetime) -> datetime:
    """The moment that an age means now."""
    if isinstance(given, datetime):
        return given
    try:
        return datetime.now(timezone.utc) - given
    except OverflowError:
        return datetime.min.replace(tzinfo=timezone.utc)


def conditions(given: Iterable[str]) -> dict[str, Any]:
    """Conditions on metadata: `user=ann`, `level=3`, `tags=["a"]`. A value that is JSON is taken as such."""
    wanted: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{each!r} is no condition such as user=ann")
        try:
            wanted[name] = json.loads(value)
        except (ValueError, RecursionError):
            wanted[name] = value
    return wanted


def size(number: int) -> str:
    """Bytes, for people."""
    amount, unit = float(number), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{number} B" if unit == "B" else f"{amount:.1f} {unit}"


def ago(iso: str, now: datetime | None = None) -> str:
    """A time stamp, for people: how long ago it was, or in how long it will be."""
    seconds = ((now or datetime.now(timezone.utc)) - datetime.fromisoformat(iso)).total_seconds()
    past, seconds = seconds >= 0, abs(seconds)
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        if seconds >= unit:
            length = f"{seconds / unit:.0f} {name}"
            return f"{length} ago" if past else f"in {length}"
    return "now"


def count(number: int, one: str) -> str:
    """`1 session`, `2 sessions`."""
    return f"{number:,} {one if number == 1 else one + 's'}"
