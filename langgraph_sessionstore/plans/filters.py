"""Which items of a store a filter lets through.

Rule: a filter is compared with values that are read already, as LangGraph's own in-memory store compares them. It never
becomes a part of a query, so nothing in it reaches another row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigurationError

_OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")


def check(wanted: Mapping[str, Any] | None) -> None:
    """Refuse a filter that could not be applied, also when there is nothing to apply it to."""
    if wanted is not None and not isinstance(wanted, Mapping):
        raise ConfigurationError(f"a filter is a mapping of keys and values, not {type(wanted).__name__}")
    for value in (wanted or {}).values():
        _check_value(value)


def _check_value(wanted: Any) -> None:
    if isinstance(wanted, (list, tuple)):
        for part in wanted:
            _check_value(part)
    if not isinstance(wanted, Mapping):
        return
    operators = any(isinstance(name, str) and name.startswith("$") for name in wanted)
    for name, value in wanted.items():
        if not operators:
            _check_value(value)
        elif name not in _OPERATORS:
            raise ConfigurationError(f"a filter knows {', '.join(_OPERATORS)}, not {name!r:.80}")
        elif name not in ("$eq", "$ne") and _number(value) is None:
            raise ConfigurationError(f"{name} compares with a number, not with {value!r:.80}")


def fits(value: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> bool:
    """Whether an item's value is one that the filter asks for."""
    return all(_fits(value.get(name), part) for name, part in (wanted or {}).items())


def _fits(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        if any(isinstance(name, str) and name.startswith("$") for name in wanted):
            return all(_compare(found, name, value) for name, value in wanted.items())
        return isinstance(found, Mapping) and all(_fits(found.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, (list, tuple)):
        same = isinstance(found, (list, tuple)) and len(found) == len(wanted)
        return same and all(map(_fits, found, wanted))
    return bool(found == wanted)


def _compare(found: Any, operator: str, wanted: Any) -> bool:
    if operator == "$eq":
        return bool(found == wanted)
    if operator == "$ne":
        return bool(found != wanted)
    left, right = _number(found), _number(wanted)
    if left is None or right is None:  # what has no order is neither greater nor less
        return False
    return {"$gt": left > right, "$gte": left >= right, "$lt": left < right, "$lte": left <= right}[operator]


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
