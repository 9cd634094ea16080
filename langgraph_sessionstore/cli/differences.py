"""What has changed from one state of a graph to another, channel by channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from .parsing import count
from .viewing import described, plain


class Change(NamedTuple):
    """One difference. Of a list or a dict, `before` and `after` hold only the part that differs."""

    channel: str
    kind: Literal["added", "removed", "changed"]
    what: str
    before: Any = None
    after: Any = None


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """The channels that differ, by their names."""
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            yield Change(name, "added", described(new[name]), None, new[name])
        elif name not in new:
            yield Change(name, "removed", described(old[name]), old[name], None)
        elif isinstance(old[name], list) and isinstance(new[name], list):
            yield from _lists(name, old[name], new[name])
        elif isinstance(old[name], dict) and isinstance(new[name], dict):
            yield from _dicts(name, old[name], new[name])
        elif not _same(old[name], new[name]):
            yield Change(name, "changed", f"{described(old[name])} -> {described(new[name])}", old[name], new[name])


def _lists(name: str, old: list[Any], new: list[Any]) -> Iterator[Change]:
    """What lies between the beginning and the end that both have."""
    first = 0
    while first < min(len(old), len(new)) and _same(old[first], new[first]):
        first += 1
    last = 0
    while last < min(len(old), len(new)) - first and _same(old[-1 - last], new[-1 - last]):
        last += 1
    before, after = old[first : len(old) - last], new[first : len(new) - last]
    if before or after:
        kind: Literal["added", "removed", "changed"] = (
            "changed" if before and after else "added" if after else "removed"
        )
        parts = [f"{count(len(part), 'item')} {how}" for part, how in ((before, "gone"), (after, "new")) if part]
        what = f"at {first}: {', '.join(parts)}"
        kinds = ", ".join(described(each) for each in (after or before)[:5])
        yield Change(name, kind, f"{what} ({kinds}{', ...' if len(after or before) > 5 else ''})", before, after)


def _dicts(name: str, old: dict[Any, Any], new: dict[Any, Any]) -> Iterator[Change]:
    gone, fresh = old.keys() - new.keys(), new.keys() - old.keys()
    other = {key for key in old.keys() & new.keys() if not _same(old[key], new[key])}
    parts = [
        f"{count(len(part), 'key')} {how}" for part, how in ((gone, "gone"), (fresh, "new"), (other, "changed")) if part
    ]
    if parts:
        before = {key: old[key] for key in old if key in gone | other}
        yield Change(name, "changed", ", ".join(parts), before, {key: new[key] for key in new if key in fresh | other})


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    try:
        return bool(one == other)
    except Exception:  # too deep, or a class that compares in its own way
        return bool(plain(one) == plain(other))
