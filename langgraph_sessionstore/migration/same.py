"""Whether two values are the same, also where their classes do not know it or will not say it in one word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..serde.serializer import SessionSerializer

_SERDE = SessionSerializer()


def same(one: Any, other: Any, *, lists: bool = False) -> bool:
    """Whether they are the same; with `lists`, a tuple is the same as a list, which JSON makes of it."""
    if one is other:
        return True
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key], lists=lists) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        alike = type(one) is type(other) or lists
        return alike and len(one) == len(other) and all(map(lambda a, b: same(a, b, lists=lists), one, other))
    try:
        if one == other:
            return True
    except Exception:  # an array has no truth of its own
        pass
    try:
        return type(one) is type(other) and _SERDE.dumps_typed(one) == _SERDE.dumps_typed(other)
    except Exception:  # of a class that has no stored form here
        return False
