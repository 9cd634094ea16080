"""Notices what the serializer of others could not revive.

LangGraph's serializer hands out the bare data of an object whose class it cannot import, or may not use, or whose class
refuses that data today. A copy of that would be another value, and nobody would know.

Rule: the serializer says of which class it is about to make an object, not what came of it. So the objects of that
      class are counted in what was read: fewer than announced, and data stands in the place of some. Of classes that
      it was told to trust (`allowed_msgpack_modules`) it says nothing: what becomes of those is not noticed.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator, Set
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.checkpoint.serde.types import TASKS

from ..errors import UntrustedType

_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType)
"""What leads out of a value, to all that the process holds."""
_PLAIN = {str, bytes, int, float, bool, type(None)}
"""What leads nowhere, and most values are made of."""


class Lost:
    """The classes that were missed."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._announced: Counter[type] = Counter()

    def note(self, event: SerdeEvent) -> None:
        """Note what becomes of an object."""
        made_by = _find(event["module"], event["name"])
        if event["kind"] != "msgpack_unregistered_allowed" or made_by is None:
            self._names.add(f"{event['module']}.{event['name']}")
        elif isinstance(made_by, type):  # what a function makes has no type to look for
            self._announced[made_by] += 1

    def forget(self) -> None:
        """What was read until now is not to be stored."""
        self._names.clear()
        self._announced.clear()

    def check(self, read: Any) -> None:
        """Refuse what was read, if something of it is not what it was."""
        names, announced = sorted(self._names), dict(self._announced)
        self.forget()
        if names:
            raise UntrustedType(
                f"it holds {', '.join(names)}, which cannot be imported here, or which the serializer of the source "
                "may not use: run the copy where your application can be imported, or tell the serializer what is "
                "allowed"
            )
        if announced and isinstance(read, CheckpointTuple):
            there = _objects(read, announced.keys())
            if (read.checkpoint.get("v") or 0) < 4:  # PostgresSaver reads tasks of that time twice
                there.update(_objects(read.checkpoint["channel_values"].get(TASKS), announced.keys()))
            refused = [f"{kind.__module__}.{kind.__name__}" for kind, count in announced.items() if there[kind] < count]
            if refused:
                raise UntrustedType(
                    f"it holds {', '.join(sorted(refused))}, which refuses what is stored of it: run the copy with the "
                    "release of your application that wrote it, or teach the class to take what it was"
                )


def _objects(value: Any, kinds: Set[type]) -> Counter[type]:
    """How many objects of these classes a value holds: one that is in two places, as a member of an enum is, is two."""
    found: Counter[type] = Counter()
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        made_of = type(each)
        if made_of in _PLAIN or issubclass(made_of, _CODE):
            continue
        found.update([kind for kind in made_of.__mro__ if kind in kinds][:1])
        if id(each) not in seen:
            seen.add(id(each))
            waiting.extend(gc.get_referents(each))
    return found


_LOST: ContextVar[Lost | None] = ContextVar("lost", default=None)
"""Of the copy that is under way here."""


@contextmanager
def watching() -> Iterator[Lost]:
    """Watch what is read here, and in threads that it is handed to."""
    lost = Lost()
    token = _LOST.set(lost)
    stop = register_serde_event_listener(_heard)
    try:
        yield lost
    finally:
        stop()
        _LOST.reset(token)


def _heard(event: SerdeEvent) -> None:
    lost = _LOST.get()
    if lost is not None:
        lost.note(event)


def _find(module: str, name: str) -> Any:
    """What the serializer is about to call; None when it is not there."""
    try:
        return getattr(import_module(module), name, None)  # as it is about to do itself
    except Exception:
        return None
