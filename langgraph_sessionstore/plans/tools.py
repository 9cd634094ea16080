"""What the plans of checkpoints have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from langgraph.checkpoint.serde.base import SerializerProtocol

from .. import codec
from ..errors import CorruptData
from .cache import Cache
from .records import Typed

TRIES = 50
"""How often a plan begins again when others keep changing what it relies on."""
_USUAL = codec.pack(["data", bytes(256)])[:8]
"""How most elements begin: a tag, and between 256 bytes and 64 kB, whose number follows."""


class Tools(NamedTuple):
    """What a plan works with: the serializer of its checkpointer, what this process remembers, and chance."""

    serde: SerializerProtocol
    cache: Cache
    share: bool
    new_branch: Callable[[], int]
    """A number that no branch has had, greater than those of earlier branches."""


def pack_typed(typed: Typed) -> bytes:
    """The stored form of an element."""
    return codec.pack(typed)


def unpack_typed(stored: bytes, place: str) -> Typed:
    """An element from its stored form; `CorruptData` when it is none."""
    if stored[:8] == _USUAL and len(stored) == 10 + int.from_bytes(stored[8:10], "big"):  # in half the time
        return "data", stored[10:]
    pair = codec.unpack(stored, place)
    if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], bytes):
        return pair[0], pair[1]
    raise CorruptData(f"{place} is not an element")
