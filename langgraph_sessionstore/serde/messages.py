"""The messages of LangChain: how they are stored, copied and compared.

The rule: a message is its fields. Only those that differ from the empty defaults are stored; what is missing comes
back with the defaults that the class has today. Nothing is validated again, since a message is built once and read
a thousand times. This holds for the exact classes below; a class derived from them is a pydantic model like others.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import langchain_core.messages as lc
import ormsgpack

from ..errors import CorruptData

# The numbers are a stored format: never change or reuse one.
CLASSES: dict[int, type[lc.BaseMessage]] = {
    1: lc.HumanMessage,
    2: lc.HumanMessageChunk,
    3: lc.AIMessage,
    4: lc.AIMessageChunk,
    5: lc.SystemMessage,
    6: lc.SystemMessageChunk,
    7: lc.ToolMessage,
    8: lc.ToolMessageChunk,
    9: lc.FunctionMessage,
    10: lc.FunctionMessageChunk,
    11: lc.ChatMessage,
    12: lc.ChatMessageChunk,
    13: lc.RemoveMessage,
    14: lc.BaseMessage,
    15: lc.BaseMessageChunk,
}


class _Form(NamedTuple):
    """What is known of one class: its number, its defaults, and those of them that need a new object each time."""

    number: int
    defaults: dict[str, Any]
    constants: dict[str, Any]
    containers: tuple[tuple[str, type], ...]
    required: frozenset[str]
    known: frozenset[str]


def _form(number: int, cls: type[lc.BaseMessage]) -> _Form:
    fields = cls.model_fields
    defaults = {
        name: field.get_default(call_default_factory=True) for name, field in fields.items() if not field.is_required()
    }
    return _Form(
        number,
        defaults,
        # all fields in their order: a message that was read looks in all like the one that was stored
        {name: None if type(defaults.get(name)) in (dict, list) else defaults.get(name) for name in fields},
        tuple((name, type(default)) for name, default in defaults.items() if type(default) in (dict, list)),
        frozenset(fields) - defaults.keys(),
        frozenset(fields),
    )


_FORMS: dict[type, _Form] = {cls: _form(number, cls) for number, cls in CLASSES.items()}
_ABSENT = object()
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
_EXACT = (
    ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_UUID
)
_new = object.__new__
_set = object.__setattr__


def is_message(obj: Any) -> bool:
    """Whether this is one of LangChain's own messages, and not of a class derived from them."""
    return type(obj) in _FORMS


def take(obj: Any, pack: Any) -> list[Any]:
    """The parts that a message is stored as."""
    form = _FORMS[type(obj)]
    defaults = form.defaults
    state = {}
    for name, value in obj.__dict__.items():
        default = defaults.get(name, _ABSENT)
        if type(value) is not type(default) or value != default:
            state[name] = value
    extra = obj.__pydantic_extra__
    return [form.number, state, extra] if extra else [form.number, state]


def make(parts: Any) -> Any:
    """The message that was taken apart."""
    number, state = parts[0], parts[1]
    extra = parts[2] if len(parts) > 2 else {}
    cls = CLASSES[number]
    form = _FORMS[cls]
    if type(state) is not dict or type(extra) is not dict:
        raise CorruptData(f"a stored {cls.__name__} is damaged")
    values = {**form.constants, **state}
    for name, container in form.containers:
        if name not in state:
            values[name] = container()
    if not form.required <= state.keys():  # it was made without them
        for name in form.required - state.keys():
            del values[name]
    if not state.keys() <= form.known:  # fields that the class of today does not have
        extra = {**{name: values.pop(name) for name in state.keys() - form.known}, **extra}
    obj = _new(cls)
    _set(obj, "__dict__", values)
    _set(obj, "__pydantic_fields_set__", {*state} & form.known)
    _set(obj, "__pydantic_extra__", extra)
    _set(obj, "__pydantic_private__", None)
    return obj


def clone(obj: Any) -> Any:
    """A copy of a message that shares nothing with it that could be changed."""
    try:
        atoms = _ATOMS
        new = _new(type(obj))
        _set(new, "__dict__", {k: v if type(v) in atoms else _copy(v) for k, v in obj.__dict__.items()})
        _set(new, "__pydantic_fields_set__", obj.__pydantic_fields_set__.copy())
        _set(new, "__pydantic_extra__", _copy(obj.__pydantic_extra__))
        _set(new, "__pydantic_private__", _copy(obj.__pydantic_private__))
        return new
    except RecursionError:  # something in it contains itself
        return copy.deepcopy(obj)


def fingerprint(obj: Any) -> bytes | None:
    """Bytes that only messages with the same stored value share; None when the message has parts that need care."""
    try:
        return ormsgpack.packb(
            [_FORMS[type(obj)].number, obj.__dict__, obj.__pydantic_extra__, obj.__pydantic_private__], option=_EXACT
        )
    except TypeError:
        return None


def _copy(value: Any) -> Any:
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is dict:
        return {k if type(k) in _ATOMS else _copy(k): _copy(v) for k, v in value.items()} if value else {}
    if kind is list:
        return [_copy(v) for v in value] if value else []
    if kind is tuple:
        return tuple([_copy(v) for v in value])
    return copy.deepcopy(value)
