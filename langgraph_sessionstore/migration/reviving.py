"""Notices what the serializer of others could not revive.

LangGraph's serializer hands out the bare data of an object whose class it cannot import, or may not use. A copy of that
would be another value, and nobody would know.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module

from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener

from ..errors import UntrustedType


class Lost:
    """The classes that were missed."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def note(self, event: SerdeEvent) -> None:
        """Note what becomes of an object."""
        if event["kind"] != "msgpack_unregistered_allowed" or not _is_there(event["module"], event["name"]):
            self._names.add(f"{event['module']}.{event['name']}")

    def forget(self) -> None:
        """What was read until now is not to be stored."""
        self._names.clear()

    def check(self) -> None:
        """Refuse what was read, if something of it is not what it was."""
        if self._names:
            names = ", ".join(sorted(self._names))
            self._names.clear()
            raise UntrustedType(
                f"it holds {names}, which cannot be imported here, or which the serializer of the source may not use: "
                "run the copy where your application can be imported, or tell the serializer what is allowed"
            )


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


def _is_there(module: str, name: str) -> bool:
    try:
        return hasattr(import_module(module), name)  # as the serializer is about to do itself
    except Exception:
        return False
