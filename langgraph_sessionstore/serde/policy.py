"""Which classes may be written, and revived when they are read.

The rule: reading imports nothing and runs nothing by name. A stored name stands for a class only when this process has
loaded that class already, the class calls itself by that name, and it is a data type: a pydantic model, a dataclass,
an enum, a named tuple, or one of LangGraph's records. The way to it goes through the dictionaries of modules and
classes alone, so that no `__getattr__`, no property and no lazy module wakes up.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import os
import sys
import uuid
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from ..errors import ConfigurationError, CorruptData, Unstorable, UntrustedType
from . import codes
from .messages import CLASSES as MESSAGES

# Classes with slots and a constructor that takes them by name, which are no dataclasses.
RECORDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("langgraph.types", "Send"): ("node", "arg", "timeout"),
    ("langgraph.store.base", "SearchItem"): ("namespace", "key", "value", "created_at", "updated_at", "score"),
    ("langgraph.store.base", "Item"): ("namespace", "key", "value", "created_at", "updated_at"),
}
# What a strict policy revives without being told: the containers of LangGraph and LangChain.
SAFE = {
    *RECORDS,
    *((cls.__module__, cls.__qualname__) for cls in MESSAGES.values()),
    ("langchain_core.documents.base", "Document"),
    ("langgraph.checkpoint.serde.types", "_DeltaSnapshot"),
    ("langgraph.store.base", "GetOp"),
    ("langgraph.types", "Command"),
    ("langgraph.types", "Interrupt"),
    ("langgraph.types", "Overwrite"),
    ("langgraph.types", "PregelTask"),
    ("langgraph.types", "StateSnapshot"),
    ("langgraph.types", "TimeoutPolicy"),
}
_V1_MODEL = ("pydantic.v1.main", "BaseModel")
# What a generic model may be of, besides the data types themselves.
_ARGUMENTS: dict[str, Any] = {
    **{kind.__name__: kind for kind in (bool, bytes, dict, float, frozenset, int, list, object, set, str, tuple)},
    **{kind.__name__: kind for kind in (datetime.date, datetime.datetime, datetime.timedelta, decimal.Decimal)},
    "Any": Any,
    "NoneType": type(None),
    "UUID": uuid.UUID,
}
_NAME_OF_ARGUMENT = {id(kind): name for name, kind in _ARGUMENTS.items()}
_module_dict: Any = vars(ModuleType)["__dict__"].__get__
_class_dict = type.__dict__["__dict__"].__get__
_class_mro = type.__dict__["__mro__"].__get__
_class_module = type.__dict__["__module__"].__get__
_class_name = type.__dict__["__name__"].__get__
_class_qualname = type.__dict__["__qualname__"].__get__


class TypePolicy:
    """Turns a class into its stored name, and a stored name into a class that may be revived."""

    def __init__(self, allow: Iterable[type | tuple[str, ...]] = (), strict: bool | None = None) -> None:
        self.strict = strict_by_environment() if strict is None else bool(strict)
        self._objects: dict[str, type] = {}
        self._names: set[tuple[str, str]] = set()
        for entry in allow:
            if isinstance(entry, type):
                self._objects[":".join(name_of(entry))] = entry
            elif isinstance(entry, tuple) and len(entry) > 1 and all(isinstance(part, str) for part in entry):
                self._names.add((".".join(entry[:-1]), entry[-1]))
            else:
                raise ConfigurationError(f"allow= takes classes and (module, name) pairs, not {entry!r}")

    def extended(self, extra: Iterable[type | tuple[str, ...]]) -> TypePolicy:
        """The same policy with more classes; this very policy when it knows them all."""
        more = TypePolicy(extra, self.strict)
        if more._objects.items() <= self._objects.items() and more._names <= self._names:
            return self
        more._objects = {**self._objects, **more._objects}
        more._names |= self._names
        return more

    def ref(self, cls: type) -> Any:
        """The stored name of a class; `Unstorable` when reading could not find or would not take it."""
        ref = self._ref(cls)
        if not self._permits(cls):
            raise Unstorable(
                f"the class {_shown(cls)} is not allowed by the strict policy: "
                f"pass allow=[{_remedy(cls)}] to the checkpointer"
            )
        return ref

    def find(self, ref: Any, code: int) -> type:
        """The class of a stored name; `UntrustedType` when it is not loaded, no such data type, or not allowed."""
        cls: type = self._find(ref)
        if kind(cls) != code:
            raise UntrustedType(f"{_shown(cls)} is not a data type of the stored kind: it is not revived")
        if not self._permits(cls):
            raise UntrustedType(
                f"{_shown(cls)} is not allowed by the strict policy: pass allow=[{_remedy(cls)}] to the checkpointer"
            )
        return cls

    def _ref(self, cls: type) -> Any:
        module, qualname = name_of(cls)
        ref = f"{module}:{qualname}"
        if self._objects.get(ref) is cls or _loaded(module, qualname) is cls:
            return ref
        origin, arguments = _generic(cls)
        if origin is not None and all(id(part) in _NAME_OF_ARGUMENT or _is_data(part) for part in arguments):
            # `Box[int]` is seldom found by its name; it is stored as `Box`, and what it is of.
            return [self._ref(origin), *(_NAME_OF_ARGUMENT.get(id(part)) or self._ref(part) for part in arguments)]
        raise Unstorable(
            f"the class {_shown(cls)} cannot be found by its name when it is read: "
            f"define it at the top level of a module, or pass allow=[{_remedy(cls)}] to the checkpointer"
        )

    def _find(self, ref: Any) -> Any:
        if isinstance(ref, list) and len(ref) > 1:
            origin, *arguments = [_ARGUMENTS.get(str(part)) or self._find(part) for part in ref]
            if kind(origin) == codes.MODEL and origin.__pydantic_generic_metadata__["parameters"]:
                return origin[tuple(arguments)]
        if not isinstance(ref, str) or ":" not in ref:
            raise CorruptData("the stored name of a class is damaged")
        module, _, qualname = ref.partition(":")
        cls = self._objects.get(ref) or _loaded(module, qualname)
        if cls is None:
            raise UntrustedType(
                f"{module[:200]}.{qualname[:200]} is not loaded in this process: import its module before reading, "
                "or pass allow=[the class] to the checkpointer"
            )
        return cls

    def _permits(self, cls: type) -> bool:
        module, qualname = name_of(cls)
        if not self.strict or (module, qualname) in SAFE or (module, qualname) in self._names:
            return True
        if self._objects.get(f"{module}:{qualname}") is cls or (module, _class_name(cls)) in self._names:
            return True
        origin, arguments = _generic(cls)
        return origin is not None and all(
            id(part) in _NAME_OF_ARGUMENT or (_is_data(part) and self._permits(part)) for part in (origin, *arguments)
        )


def kind(cls: type) -> int | None:
    """The number of the stored form of a data type; None for every other class."""
    mro = _class_mro(cls)
    if BaseModel in mro:
        return codes.MODEL if cls is not BaseModel else None
    if enum.Enum in mro:
        return codes.ENUM
    if tuple in mro and any("_fields" in _class_dict(base) for base in mro):
        return codes.NAMED_TUPLE
    if any("__dataclass_fields__" in _class_dict(base) for base in mro):
        return codes.DATACLASS
    names = {name_of(base) for base in mro}
    if not names.isdisjoint(RECORDS):
        return codes.RECORD
    if _V1_MODEL in names and name_of(cls) != _V1_MODEL:
        return codes.MODEL_V1
    return None


def name_of(cls: type) -> tuple[str, str]:
    """Module and qualified name, as the class itself has them."""
    return str(_class_module(cls)), _class_qualname(cls)


def strict_by_environment() -> bool:
    """Whether LANGGRAPH_STRICT_MSGPACK asks for the strict policy, as LangGraph reads it."""
    try:
        from langgraph.checkpoint.serde._msgpack import STRICT_MSGPACK_ENABLED
    except ImportError:
        return os.environ.get("LANGGRAPH_STRICT_MSGPACK", "").lower() in ("1", "true", "yes")
    return bool(STRICT_MSGPACK_ENABLED)


def _loaded(module: str, qualname: str) -> type | None:
    """The class of that name, if this process has it."""
    found: Any = sys.modules.get(module)
    if not issubclass(type(found), ModuleType):
        return None
    space = _module_dict(found)
    for part in qualname.split("."):
        found = space.get(part)
        if not issubclass(type(found), type):
            return None
        space = _class_dict(found)
    return found if name_of(found) == (module, qualname) else None


def _generic(cls: type) -> tuple[type | None, tuple[Any, ...]]:
    """What a parametrised pydantic model is made of."""
    if BaseModel not in _class_mro(cls):
        return None, ()
    made_of = _class_dict(cls).get("__pydantic_generic_metadata__") or {}
    return made_of.get("origin"), made_of.get("args", ())


def _is_data(part: Any) -> bool:
    return isinstance(part, type) and kind(part) is not None


def _shown(cls: type) -> str:
    return ".".join(name_of(cls))[:200]


def _remedy(cls: type) -> str:
    return name_of(cls)[1].rpartition("<locals>.")[2]
