"""The messages of LangChain: how they are stored, copied and compared.

The rule: a message is its fields. Only those that differ from the empty defaults are stored; what is missing comes
back with the defaults that the class has today. Nothing is validated again, since a message is built once and read
a thousand times. This holds for the exact classes below; a class derived from them is a pydantic model like others.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import langchain_core.messages as lc
import ormsgpack
from pydantic import BaseModel

from .. import codec
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
    names: tuple[str, ...]
    """Of all fields, in their order."""


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
        tuple(fields),
    )


_FORMS: dict[type, _Form] = {cls: _form(number, cls) for number, cls in CLASSES.items()}
_NUMBERS: dict[type, int] = {cls: number for number, cls in CLASSES.items()}
_ABSENT = object()
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
_EXACT = codec.STRICT | ormsgpack.OPT_PASSTHROUGH_TUPLE
_new = object.__new__
# What pydantic keeps of a model, by the descriptors of its slots: the fastest way around its `__setattr__`.
_set_dict = BaseModel.__dict__["__dict__"].__set__
_set_fields_set = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__
_state_of = attrgetter("__dict__")
_extra_of = attrgetter("__pydantic_extra__")


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
    _set_dict(obj, values)
    _set_fields_set(obj, {*state} & form.known)
    _set_extra(obj, extra)
    _set_private(obj, None)
    return obj


class Mold(NamedTuple):
    """A message taken apart for copies: what they share, and what each of them needs for itself."""

    cls: type
    state: dict[str, Any]
    dicts: tuple[str, ...]
    """The fields that are empty dicts, as most of those that hold something are."""
    lists: tuple[str, ...]
    deep: tuple[tuple[str, Any], ...]
    """The other fields that a copy does not share."""
    fields_set: set[str]
    plain: bool
    """Without extra fields and private attributes, as nearly all are."""
    obj: Any


def mold(obj: Any) -> Mold:
    """What copies of this message are cast from; the message must not change any more."""
    state = obj.__dict__
    own = {name: value for name, value in state.items() if type(value) not in _ATOMS}
    return Mold(
        type(obj),
        state,
        tuple(name for name, value in own.items() if type(value) is dict and not value),
        tuple(name for name, value in own.items() if type(value) is list and not value),
        tuple((name, value) for name, value in own.items() if type(value) not in (dict, list) or value),
        obj.__pydantic_fields_set__,
        obj.__pydantic_extra__ == {} and obj.__pydantic_private__ is None,
        obj,
    )


def cast(form: Mold) -> Any:
    """A copy of a message that shares nothing with it that could be changed."""
    cls, state, dicts, lists, deep, fields_set, plain, obj = form
    new: Any = _new(cls)
    state = state.copy()
    for name in dicts:
        state[name] = {}
    for name in lists:
        state[name] = []
    try:
        for name, value in deep:
            state[name] = _copy(value)
        _set_dict(new, state)
        _set_fields_set(new, fields_set.copy())
        _set_extra(new, {} if plain else _copy(obj.__pydantic_extra__))
        _set_private(new, None if plain else _copy(obj.__pydantic_private__))
        return new
    except RecursionError:  # something in it contains itself
        return copy.deepcopy(obj)


def clone(obj: Any) -> Any:
    """The same for one copy only."""
    return cast(mold(obj))


def fingerprint(obj: Any) -> bytes | None:
    """Bytes that only messages with the same stored value share; None when the message has parts that need care."""
    try:
        parts = [_NUMBERS[type(obj)], obj.__dict__]
        extra = obj.__pydantic_extra__
        return ormsgpack.packb([*parts, extra] if extra else parts, option=_EXACT)[1:]  # without the head
    except (KeyError, TypeError):
        return None


def fingerprints(messages: Sequence[Any]) -> bytes | None:
    """The fingerprints of messages, one after the other, made in one go; None when one of them has none."""
    try:
        numbers = list(map(_NUMBERS.__getitem__, map(type, messages)))
        if any(map(_extra_of, messages)):
            each = [print_ for message in messages if (print_ := fingerprint(message))]
            return b"".join(each) if len(each) == len(messages) else None
        parts = list(chain.from_iterable(zip(numbers, map(_state_of, messages), strict=True)))
        packed = ormsgpack.packb(parts, option=_EXACT)
    except (KeyError, TypeError):
        return None
    return packed[1 if len(parts) < 16 else 3 if len(parts) < 1 << 16 else 5 :]  # without the head


def is_as_read(obj: Any) -> bool:
    """Whether a message that has a fingerprint has the same when it was stored and read."""
    return tuple(obj.__dict__) == _FORMS[type(obj)].names


def _copy(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {k if type(k) in _ATOMS else _copy(k): v if type(v) in _ATOMS else _copy(v) for k, v in value.items()}
    if kind is list:
        return [v if type(v) in _ATOMS else _copy(v) for v in value]
    if kind in _ATOMS:
        return value
    if kind is tuple:
        return tuple([_copy(v) for v in value])
    return copy.deepcopy(value)
