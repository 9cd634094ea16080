"""The small rows of a session, and their stored form: its details, its summary, how it began."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .. import codec
from ..errors import CorruptData
from .reading import load_typed
from .tools import Tools, pack_typed, unpack_typed


class Details(NamedTuple):
    """What a user says about a session."""

    title: str | None = None
    system: str | None = None
    metadata: Mapping[str, Any] = {}


class Summary(NamedTuple):
    """A summary, and which messages it covers: so many from the first on, the last of which has this mark."""

    text: str
    covers: int = 0
    mark: bytes = b""


class Born(NamedTuple):
    """How a session began."""

    created: int
    """Milliseconds since 1970."""
    parent: str | None


def pack_details(tools: Tools, details: Details) -> bytes | None:
    """The stored form; None: nothing to store."""
    if details == Details():
        return None
    return pack_typed(tools.serde.dumps_typed([details.title, details.system, dict(details.metadata)]))


def unpack_details(tools: Tools, stored: bytes | None, session_id: str) -> Details:
    """The details from their stored form."""
    if stored is None:
        return Details()
    place = f"the details of session {session_id!r}"
    fields = load_typed(tools.serde, unpack_typed(stored, place), place)
    if isinstance(fields, list) and len(fields) == 3:
        title, system, metadata = fields
        if all(text is None or isinstance(text, str) for text in (title, system)) and isinstance(metadata, dict):
            return Details(title, system, metadata)
    raise CorruptData(f"{place} are damaged")


def pack_summary(summary: Summary | None) -> bytes | None:
    """The stored form; None: nothing to store."""
    return None if summary is None else codec.pack(list(summary))


def unpack_summary(stored: bytes | None, session_id: str) -> Summary | None:
    """The summary from its stored form."""
    if stored is None:
        return None
    place = f"the summary of session {session_id!r}"
    match codec.unpack(stored, place):
        case [str(text), int(covers), bytes(mark)]:
            return Summary(text, covers, mark)
    raise CorruptData(f"{place} is damaged")


def pack_born(born: Born) -> bytes:
    """The stored form."""
    return codec.pack(list(born))


def unpack_born(stored: bytes | None, session_id: str) -> Born | None:
    """How a session began; None: a graph began it."""
    if stored is None:
        return None
    place = f"the beginning of session {session_id!r}"
    match codec.unpack(stored, place):
        case [int(created), None | str() as parent] if 0 <= created < 1 << 46:
            return Born(created, parent)
    raise CorruptData(f"{place} is damaged")
