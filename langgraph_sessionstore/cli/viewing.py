"""Values for people: what they are, how large, and what is in them, whether or not their types are at hand.

Rule 1: a class that is not loaded is shown by its name and its fields; a message of such a class is still a message.
        Nothing is imported to look at something.
Rule 2: whatever a value is, it is shown. What JSON has nothing for becomes text, and so does what lies too deep.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage
from pydantic import BaseModel, PrivateAttr
from pydantic_core import to_jsonable_python

from ..serde.policy import TypePolicy
from ..serde.read import Reader
from ..serde.serializer import SessionSerializer
from .parsing import count

_LEVELS = 100  # so deep a value is shown
_BITS = 2048  # whole numbers up to here have few enough digits for everyone who reads JSON
_MANY = (list, tuple, set, frozenset)
_MESSAGE = {"content", "additional_kwargs", "response_metadata", "type"}  # fields that only a message has together
_ARRAYS = ("numpy.ndarray", "numpy.generic")
_CALLS = ("tool_calls", "invalid_tool_calls")


class Unknown(NamedTuple):
    """An object whose class this process does not have, or an array."""

    type: str
    fields: Any
    more: str = ""
    """What else tells what it is."""

    def __str__(self) -> str:
        return f"{self.type}({self.fields!r})"

    def __hash__(self) -> int:  # it may be a key, or in a set
        return hash(_text(self))


class UnknownMessage(BaseMessage):
    """A message whose class this process does not have."""

    _class: str = PrivateAttr("")


class Viewer(SessionSerializer):
    """Reads whatever was stored."""

    def _use(self, policy: TypePolicy) -> None:
        super()._use(policy)
        self._reader = Reader(policy, _unknown)


def _unknown(ref: Any, parts: Sequence[Any]) -> Unknown | UnknownMessage:
    name = str(ref[0] if isinstance(ref, list) and ref else ref).replace(":", ".")
    if name in _ARRAYS:
        dtype, shape, order, data = parts
        kind = dtype if isinstance(dtype, str) else "objects" if dtype is None else "records"
        size = f", {' x '.join(map(str, shape))}" if shape else ""
        return Unknown(name, {"dtype": dtype, "shape": shape, "order": order, "data": data}, f" of {kind}{size}")
    values = parts[0] if parts else None
    if isinstance(values, dict) and values.keys() >= _MESSAGE and isinstance(values["type"], str):
        extra = parts[1] if len(parts) > 1 else None
        message = UnknownMessage.model_construct(**{**values, **(extra or {})})
        message._class = name
        return message
    return Unknown(name, values if len(parts) == 1 else list(parts))


def described(value: Any) -> str:
    """What a value is, without what is in it."""
    if isinstance(value, Unknown):
        return value.type + value.more
    if isinstance(value, BaseMessage):
        return f"{value.type} message, {count(len(_content(value)[0]), 'character')}"
    if isinstance(value, list) and value and all(isinstance(each, BaseMessage) for each in value):
        return count(len(value), "message")
    if isinstance(value, str):
        return f"text, {count(len(value), 'character')}"
    if isinstance(value, (bytes, bytearray)):
        return f"bytes, {len(value):,}"
    if isinstance(value, (Mapping, *_MANY)) and not hasattr(value, "_fields"):
        return f"{type(value).__name__}, {count(len(value), 'item')}"
    return type(value).__name__


def plain(value: Any, levels: int = _LEVELS) -> Any:
    """A value as JSON can hold it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() <= _BITS else hex(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, str):
        return _text(value)
    if not levels:
        return described(value)
    opened = _opened(value)
    if opened is None:
        try:  # dates, paths, bytes and the like
            opened = to_jsonable_python(value, serialize_unknown=True, bytes_mode="base64")
        except Exception:
            opened = _text(value)
    if isinstance(opened, Mapping):
        return {_text(key): plain(each, levels - 1) for key, each in opened.items()}
    if isinstance(opened, _MANY):
        return [plain(each, levels - 1) for each in opened]
    return plain(opened, levels - 1)


def told(message: Mapping[str, Any]) -> str:
    """What was said in a message that is plain already: text, other parts by their types, and calls of tools."""
    lines = [message["text"]] if message["text"] else []
    for part in message.get("parts", ()):
        lines.append(f"[{part['type'] if isinstance(part, dict) and 'type' in part else described(part)}]")
    for call in (call for kind in _CALLS for call in message.get(kind, ())):
        lines.append(f"-> {call['name']} {json.dumps(call['args'], ensure_ascii=False)}")
    return "\n".join(lines)


def _text(value: Any) -> str:
    """Anything as text."""
    try:
        return str.__str__(value) if isinstance(value, str) else str(value)  # an enum of texts is what it holds
    except Exception:  # such as a number with too many digits
        return described(value)


def _opened(value: Any) -> Any:
    """What is in a value that has parts; None: it has none."""
    if isinstance(value, Unknown):
        return {"type": value.type, "fields": value.fields}
    if isinstance(value, BaseMessage):
        return _spoken(value)
    if isinstance(value, (Mapping, *_MANY)):
        return value
    if isinstance(value, BaseModel):
        shown = {name for name, field in type(value).model_fields.items() if not field.exclude}
        own = {name: each for name, each in value.__dict__.items() if name in shown}
        return own | (value.__pydantic_extra__ or {})
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name, None) for field in fields(value)}
    return None


def _spoken(message: BaseMessage) -> dict[str, Any]:
    text, parts = _content(message)
    shown: dict[str, Any] = {"type": message.type, "id": message.id, "text": text}
    if parts:
        shown["parts"] = parts
    for kind in _CALLS:
        calls = getattr(message, kind, None)
        if isinstance(calls, list) and calls:
            known = (call for call in calls if isinstance(call, dict))
            shown[kind] = [{"name": call.get("name"), "args": call.get("args")} for call in known]
    if isinstance(message, UnknownMessage):
        more = message.__pydantic_extra__ or {}
        shown |= {"class": message._class, "fields": {name: more[name] for name in more if name not in _CALLS}}
    return shown


def _content(message: BaseMessage) -> tuple[str, list[Any]]:
    """The text of a message, and the parts of it that are no text."""
    content = getattr(message, "content", None) or ""
    texts, others = [], []
    for part in content if isinstance(content, list) else [content]:
        text = part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else part
        if isinstance(text, str):
            texts.append(text)
        else:
            others.append(part)
    return "".join(texts), others
