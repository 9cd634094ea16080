"""The serializer of the checkpointer: LangGraph's values <-> bytes, under a type policy.

The rule: what `dumps_typed` takes, `loads_typed` gives back with the same value and the same type, wherever it is
nested; what could not be given back is refused when it is written. Reading gives a value or a `DataError`.

Exceptions to it, all as in LangGraph: an exception is stored as its `repr`, a subclass of a builtin type that has no
form of its own as that builtin type, and a bytearray inside another value as bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import CorruptData
from . import codes
from .policy import TypePolicy
from .read import Reader
from .write import Writer

_HEAD = bytes([codes.FORMAT])


class SessionSerializer:
    """Packs data and messages; revives only types that are loaded and allowed, and imports nothing.

    `allow` holds classes or (module, name) pairs. A class given as itself may also be a local one, which cannot be
    found by its name. `strict=True` takes only the types of the fixed table and those; None leaves it to
    LANGGRAPH_STRICT_MSGPACK.
    """

    def __init__(self, *, allow: Iterable[type | tuple[str, ...]] = (), strict: bool | None = None) -> None:
        self._use(TypePolicy(allow, strict))

    def _use(self, policy: TypePolicy) -> None:
        self._policy = policy
        self._writer = Writer(policy)
        self._reader = Reader(policy)
        self._pack = self._writer.pack

    def with_allowlist(self, extra: Iterable[type | tuple[str, ...]]) -> SessionSerializer:
        """A serializer that takes these as well; this one when it does already."""
        policy = self._policy.extended(extra)
        if policy is self._policy:
            return self
        new = type(self).__new__(type(self))
        new._use(policy)
        return new

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """The tag and the bytes of a value; `Unstorable` names what has no stored form, and where it is."""
        if obj is None:
            return "null", b""
        if type(obj) is bytes:
            return "bytes", obj
        if type(obj) is bytearray:
            return "bytearray", bytes(obj)
        try:
            return "data", _HEAD + self._pack(obj)
        except Exception:  # it has no reason yet: the slow way finds one, or a form
            return "data", _HEAD + self._writer.pack_slowly(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value; `CorruptData`, `UntrustedType` or `UnsupportedFormat` when there is none."""
        try:
            tag, stored = data
        except (TypeError, ValueError):
            raise CorruptData("not a tag and bytes") from None
        if tag == "data":
            return self._reader.unpack(stored)
        if tag == "null":
            return None
        if tag in ("bytes", "bytearray"):
            try:
                return bytes(memoryview(stored)) if tag == "bytes" else bytearray(memoryview(stored))
            except TypeError:
                raise CorruptData(f"not bytes but {type(stored).__name__}") from None
        raise CorruptData(
            f"was written by another serializer (tag {tag!r}): give that one to the checkpointer as serde="
        )
