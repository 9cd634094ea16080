"""Values for people: what they are, how large, and what is in them, whether or not their types are at hand.

Rule: a class that is not loaded is shown by its name and its fields. Nothing is imported to look at something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage
from pydantic_core import to_jsonable_python

from ..serde.policy import TypePolicy
from ..serde.read import Reader
from ..serde.serializer import SessionSerializer
from .parsing import count


class Unknown(NamedTuple):
    """An object whose class this process does not have."""

    type: str
    fields: Any


class Viewer(SessionSerializer):
    """Reads whatever was stored."""

    def _use(self, policy: TypePolicy) -> None:
        super()._use(policy)
        self._reader = Reader(policy, _unknown)


def _unknown(ref: Any, parts: Sequence[Any]) -> Unknown:
    name = ref[0] if isinstance(ref, list) and ref else ref
    return Unknown(str(name).replace(":", "."), parts[0] if len(parts) == 1 else list(parts))


def described(value: Any) -> str:
    """What a value is, without what is in it."""
    if isinstance(value, Unknown):
        return value.type
    if isinstance(value, BaseMessage):
        return f"{value.type} message, {count(len(value.text), 'character')}"
    if isinstance(value, list) and value and all(isinstance(each, BaseMessage) for each in value):
        return count(len(value), "message")
    if isinstance(value, str):
        return f"text, {count(len(value), 'character')}"
    if isinstance(value, (bytes, bytearray)):
        return f"bytes, {len(value):,}"
    if isinstance(value, (Mapping, list, tuple, set, frozenset)) and not hasattr(value, "_fields"):
        return f"{type(value).__name__}, {count(len(value), 'item')}"
    return type(value).__name__


def plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    return to_jsonable_python(_opened(value), serialize_unknown=True, by_alias=False, inf_nan_mode="constants")


def _opened(value: Any) -> Any:
    if isinstance(value, Unknown):
        return {"type": value.type, "fields": _opened(value.fields)}
    if isinstance(value, BaseMessage):
        return {"type": value.type, "id": value.id, "text": value.text, **_calls(value)}
    if isinstance(value, Mapping):
        return {str(key): _opened(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)) and not hasattr(value, "_fields"):
        return [_opened(each) for each in value]
    return value


def _calls(message: BaseMessage) -> dict[str, Any]:
    calls = getattr(message, "tool_calls", None)
    return {"tool_calls": [{"name": call["name"], "args": call["args"]} for call in calls]} if calls else {}
