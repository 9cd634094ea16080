"""Whether two values are the same, also where their classes do not know it or will not say it in one word.

Rule: what LangGraph's own serializer makes the same is the same: a tuple and a list, above all. To it, as in JSON,
      True is not 1, and 1 is not 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

_SERDE = JsonPlusSerializer()


def same(one: Any, other: Any) -> bool:
    """Whether they are the same."""
    if one is other:
        return True
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        alike = type(one) is type(other) or {type(one), type(other)} == {list, tuple}
        return alike and len(one) == len(other) and all(map(same, one, other))
    number = isinstance(one, (int, float)) and isinstance(other, (int, float))
    if type(one) is not type(other) and number:
        return stored(one) == stored(other) is not None
    try:
        if one == other:
            return True
    except Exception:  # an array has no truth of its own
        pass
    return type(one) is type(other) and stored(one) == stored(other) is not None


def stored(value: Any) -> tuple[str, bytes] | None:
    """What LangGraph's own serializer makes of a value; None of a class that has no stored form here."""
    try:
        return _SERDE.dumps_typed(value)
    except Exception:
        return None
