"""Values of classes that are found by their name: models, dataclasses, enums, named tuples, LangGraph's records.

The rule: what is stored are the name of the class and the values of its fields, as they are. They are revived through
the constructor, so that the class of today fills in what is new to it and leaves out what it no longer has; where
the constructor would make another value of what it has taken before, what was stored wins.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import ormsgpack
import pydantic

from ..errors import CorruptData, DataError, Unstorable, UntrustedType
from . import codes
from .plain import Pack, Rule
from .policy import RECORDS, TypePolicy, name_of

_BY_NAME: dict[str, Any] = (
    {"by_name": True, "by_alias": False}
    if "by_name" in inspect.signature(pydantic.BaseModel.model_validate).parameters
    else {}
)
_ATOMS = (str, bytes, int, float, bool)
_set = object.__setattr__


def rule_for(cls: Any, code: int, ref: Any) -> Rule:
    """How to store values of this class, which reading finds as `ref`."""
    if code == codes.MODEL:
        return code, _take_model(cls, ref)
    if code == codes.ENUM:
        return code, lambda value, pack: _take_enum(value, ref)
    if code == codes.NAMED_TUPLE:
        return code, lambda value, pack: [ref, dict(zip(cls._fields, tuple.__iter__(value), strict=False))]
    if code == codes.MODEL_V1:
        return code, lambda value, pack: [ref, dict(value.__dict__), sorted(value.__fields_set__)]
    if code == codes.RECORD:
        names = next(fields for name, fields in RECORDS.items() if name in {name_of(base) for base in cls.__mro__})
    else:
        names = tuple(field.name for field in dataclasses.fields(cls))
    return code, lambda value, pack: [ref, _attributes(value, names)]


def makers(policy: TypePolicy, unknown: Callable[[Any, Any], Any] | None = None) -> dict[int, Callable[[Any], Any]]:
    """What makes a value of its parts, for each form that names a class; `unknown` of one that may not be revived."""

    def maker(code: int, make: Callable[..., Any]) -> Callable[[Any], Any]:
        def revive(parts: Any) -> Any:
            ref, *rest = parts
            try:
                cls = policy.find(ref, code)
            except UntrustedType:
                if unknown is None:
                    raise
                return unknown(ref, rest)
            try:
                return make(cls, *rest)
            except DataError:
                raise
            except Exception as exc:
                raise CorruptData(
                    f"the class {'.'.join(name_of(cls))} does not take what is stored: {str(exc)[:200]}"
                ) from exc

        return revive

    return {
        codes.MODEL: maker(codes.MODEL, _make_model),
        codes.MODEL_V1: maker(codes.MODEL_V1, _make_v1),
        codes.DATACLASS: maker(codes.DATACLASS, _make_dataclass),
        codes.ENUM: maker(codes.ENUM, _make_enum),
        codes.NAMED_TUPLE: maker(codes.NAMED_TUPLE, _make_named_tuple),
        codes.RECORD: maker(codes.RECORD, _make_record),
    }


def _attributes(value: Any, names: tuple[str, ...]) -> dict[str, Any]:
    absent = object()
    found = {name: getattr(value, name, absent) for name in names}
    return {name: part for name, part in found.items() if part is not absent}


def _optional(values: dict[str, Any], pack: Pack) -> dict[str, Any]:
    """Those that can be stored: what a class keeps to itself may be a lock or a client, and is then made anew."""
    kept = {}
    for name, value in values.items():
        try:
            kept[name] = ormsgpack.Ext(codes.PACKED, pack(value))
        except Unstorable:
            continue
    return kept


def _take_model(cls: Any, ref: Any) -> Callable[[Any, Pack], list[Any]]:
    fields = cls.model_fields
    names = tuple(name for name, field in fields.items() if field.exclude is not True)
    excluded = tuple(name for name in fields if name not in names)

    def take(value: Any, pack: Pack) -> list[Any]:
        state = value.__dict__
        values = {name: state[name] for name in names if name in state}  # a cached property lies there as well
        if excluded:
            values |= _optional({name: state[name] for name in excluded if name in state}, pack)
        given = value.__pydantic_fields_set__
        private = value.__pydantic_private__
        parts = [
            ref,
            values,
            value.__pydantic_extra__ or None,
            [name for name in values if name not in given] or None,
            (_optional(private, pack) or None) if private else None,
        ]
        while parts[-1] is None:
            parts.pop()
        return parts

    return take


def _make_model(cls: Any, stored: Any, extra: Any = None, unset: Any = None, private: Any = None) -> Any:
    fields = cls.model_fields
    values = {name: value for name, value in stored.items() if name in fields}
    given = {**values, **(extra or {})}
    if cls.model_config.get("extra") == "allow":
        given = {**stored, **given}
    try:
        made = _validated(cls, given)
        for name, value in values.items():  # a validator that changes what it has changed before must not do it again
            if type(value) in _ATOMS and type(made.__dict__.get(name)) is type(value):
                made.__dict__[name] = value
    except Exception:
        made = cls.model_construct(**given)
        made.__dict__.update(values)
    chosen = [name for name in dict.fromkeys([*made.__dict__, *given]) if name in given and name not in (unset or ())]
    _set(made, "__pydantic_fields_set__", set(chosen))  # filled in pydantic's order: LangGraph's cache keys are pickles
    own = {name: value for name, value in (private or {}).items() if name in cls.__private_attributes__}
    if own:
        _set(made, "__pydantic_private__", {**(made.__pydantic_private__ or {}), **own})
    return made


def _validated(cls: Any, values: dict[str, Any]) -> Any:
    if cls.__pydantic_root_model__:
        return cls.model_validate(values["root"])
    if not _BY_NAME:  # an older pydantic takes fields by their alias alone
        values = {_alias(cls, name): value for name, value in values.items()}
    return cls.model_validate(values, **_BY_NAME)


def _alias(cls: Any, name: str) -> str:
    field = cls.model_fields.get(name)
    if field is None or cls.model_config.get("populate_by_name"):
        return name
    alias = field.validation_alias or field.alias
    if isinstance(alias, pydantic.AliasChoices):
        alias = next((choice for choice in alias.choices if isinstance(choice, str)), None)
    return alias if isinstance(alias, str) else name


def _make_v1(cls: Any, values: Any, given: Any) -> Any:
    try:
        fields = cls.__fields__
        made = cls(**{fields[name].alias if name in fields else name: value for name, value in values.items()})
    except Exception:
        made = cls.construct(**values)
    _set(made, "__fields_set__", set(given))
    return made


def _make_dataclass(cls: Any, stored: Any) -> Any:
    fields = dataclasses.fields(cls)
    values = {field.name: stored[field.name] for field in fields if field.name in stored}
    given = {field.name: values[field.name] for field in fields if field.init and field.name in values}
    try:
        made: Any = cls(**given)
    except (TypeError, pydantic.ValidationError) as exc:
        # A constructor that wants what is no field, or a value that was changed after it was validated.
        if (isinstance(exc, TypeError) and _fits(cls, given)) or any(_lacks(field, values) for field in fields):
            raise
        made = cls.__new__(cls)
        for field in fields:
            if field.default_factory is not dataclasses.MISSING:
                _set(made, field.name, field.default_factory())
            elif field.default is not dataclasses.MISSING:
                _set(made, field.name, field.default)
    for name, value in values.items():
        if getattr(made, name, None) is not value:
            try:
                _set(made, name, value)
            except AttributeError:  # a property that computes it
                continue
    return made


def _fits(cls: Any, given: dict[str, Any]) -> bool:
    try:
        inspect.signature(cls).bind(**given)
    except (TypeError, ValueError):
        return False
    return True


def _lacks(field: Any, values: dict[str, Any]) -> bool:
    missing = dataclasses.MISSING
    return field.init and field.name not in values and field.default is missing and field.default_factory is missing


def _take_enum(value: Any, ref: Any) -> list[Any]:
    """By its value, which is what data usually is; by its name when the value is an object."""
    if type(value._value_) in (str, bytes, int) or value._name_ not in type(value)._member_map_:
        return [ref, value._value_]
    return [ref, None, value._name_]


def _make_enum(cls: Any, value: Any, name: Any = None) -> Any:
    members = cls._member_map_
    if not members:
        raise CorruptData(f"the enum {'.'.join(name_of(cls))} has no members")
    return cls(value) if name is None else members[name]


def _make_named_tuple(cls: Any, stored: Any) -> Any:
    values = {**cls._field_defaults, **stored}
    return tuple.__new__(cls, [values[name] for name in cls._fields])


def _make_record(cls: Any, stored: Any) -> Any:
    return cls(**{name: value for name, value in stored.items() if value is not None or name != "timeout"})
