"""Values -> bytes: what msgpack has as it is, all else as numbered extensions.

The rule: one pass in C does nearly everything. What it cannot take (keys that are no text, lone surrogates, great
depth, or a value without a stored form) makes it fail as a whole, without a reason. The value is then walked in
Python, part by part, which finds a form for the first three and the name and the place of the last.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ormsgpack
from ormsgpack import Ext

from .. import codec
from ..errors import Unstorable
from . import arrays, classes, codes, messages, plain
from .plain import Pack, Rule
from .policy import TypePolicy, kind

LEVELS = 256  # extensions inside extensions; reading takes as many
_DEPTH = 500  # all that contains something; reading takes twice as many
_OPTION = codec.STRICT | ormsgpack.OPT_PASSTHROUGH_TUPLE
_NATIVE = frozenset({type(None), bool, float, bytes, bytearray, Ext})
_PAIRED = frozenset({codes.PAIRS, codes.ORDERED_DICT, codes.COUNTER})
_WITH_FIELDS = frozenset({codes.MESSAGE, codes.MODEL, codes.MODEL_V1, codes.DATACLASS, codes.NAMED_TUPLE, codes.RECORD})


class Writer:
    """Packs values under a policy. `pack` raises anything; `pack_slowly` packs or says what is wrong, and where."""

    pack: Pack

    def __init__(self, policy: TypePolicy) -> None:
        self._policy = policy
        self._rules: dict[type, Rule] = {**plain.RULES, **dict.fromkeys(messages.CLASSES.values(), _MESSAGE)}
        self._packs: dict[int, Pack] = {}
        self.pack = self.pack_at(0)

    def pack_at(self, level: int) -> Pack:
        """What packs a value that lies in so many extensions."""
        if level >= LEVELS:
            return _too_deep
        pack = self._packs.get(level)
        if pack is None:
            pack = self._packs[level] = partial(ormsgpack.packb, default=self._default(level), option=_OPTION)
        return pack

    def pack_slowly(self, value: Any) -> bytes:
        try:
            return _Walk(self).pack(value)
        except Unstorable as exc:
            reason, place = (*exc.args, "")[:2]
            raise Unstorable(f"cannot be stored: {place[:200]}{': ' if place else ''}{reason}") from exc.__cause__
        except RecursionError:
            raise Unstorable("cannot be stored: it is nested too deep") from None

    def rule(self, cls: type) -> Rule:
        """How values of this class are taken apart; `Unstorable` when there is no way."""
        rule = self._rules.get(cls)
        if rule is None:
            rule = self._rules[cls] = self._rule(cls)
        return rule

    def _rule(self, cls: type) -> Rule:
        code = kind(cls)
        if code is not None:
            return classes.rule_for(cls, code, self._policy.ref(cls))
        if (rule := arrays.rule_for(cls)) is not None:
            return rule
        for base in cls.__mro__:
            if base in plain.BASES:
                return plain.BASES[base]
            if base in plain.RULES:
                return plain.RULES[base]
        raise Unstorable(
            f"no stored form for the type {cls.__module__}.{cls.__qualname__}: "
            "store data, such as a dict, a dataclass or a pydantic model"
        )

    def _default(self, level: int) -> Callable[[Any], Any]:
        """What ormsgpack calls for a value it does not know, and that lies in so many extensions."""
        rules, find = self._rules, self.rule
        pack: Pack | None = None  # for what is inside of that; few values are so deep that it is needed
        ahead: Pack = _too_deep  # for what is an extension of its own inside of that

        def default(value: Any) -> Any:
            nonlocal pack, ahead
            if pack is None:
                ahead = self.pack_at(level + 2)
                pack = self.pack_at(level + 1)
            code, take = rules.get(type(value)) or find(type(value))
            parts = take(value, ahead)
            return parts if code is None else Ext(code, pack(parts))

        return default


class _Walk:
    """One value, walked in Python."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._open: set[int] = set()  # what is being walked, to find what contains itself
        self._level = 0  # the extensions that are being walked

    def pack(self, value: Any, inside: str = "[%r]") -> bytes:
        """The packed value; `inside` is how the place of what a dict holds is shown."""
        cls = type(value)
        if cls in _NATIVE:
            return ormsgpack.packb(value)
        if cls is str and not _clean(value):
            return _extension(codes.TEXT, ormsgpack.packb(value.encode("utf-8", "surrogatepass")))
        if cls is memoryview:
            return ormsgpack.packb(bytes(value))
        try:
            return self._writer.pack_at(self._level)(value)
        except Exception:  # here, or somewhere in it
            pass
        level = self._level
        if id(value) in self._open or len(self._open) >= _DEPTH or level >= LEVELS:
            raise Unstorable("it contains itself, or is nested too deep")
        self._open.add(id(value))
        try:
            code, parts = self._apart(value)
            self._level = level if code is None else level + 1
            # One frame for each level, and not one for each step: the depth of Python's stack is limited.
            if type(parts) is list:
                packed = [_head(len(parts), 0x90, b"\xdc", b"\xdd")]
                for number, part in enumerate(parts):
                    try:
                        packed.append(self.pack(part, ".%s" if code in _WITH_FIELDS else "[%r]"))
                    except Unstorable as exc:
                        if code not in _WITH_FIELDS:
                            _add_place(exc, "[%r]", parts[number & ~1] if code in _PAIRED else number)
                        raise
            elif type(parts) is dict:
                packed = [_head(len(parts), 0x80, b"\xde", b"\xdf")]
                for name, part in parts.items():
                    try:
                        packed += (ormsgpack.packb(name), self.pack(part))
                    except Unstorable as exc:
                        _add_place(exc, inside, name)
                        raise
            else:
                packed = [self.pack(parts)]
            joined = b"".join(packed)
            return joined if code is None else _extension(code, joined)
        except (Unstorable, RecursionError, MemoryError):
            raise
        except Exception as exc:
            raise Unstorable(f"a value of the type {cls.__module__}.{cls.__qualname__}: {exc}") from exc
        finally:
            self._open.discard(id(value))
            self._level = level

    def _apart(self, value: Any) -> tuple[int | None, Any]:
        cls = type(value)
        if cls is list:
            return None, value
        if cls is dict:
            if all(type(key) is str and _clean(key) for key in value):
                return None, value
            return codes.PAIRS, [part for pair in value.items() for part in pair]
        code, take = self._writer.rule(cls)
        self._level += 2  # as far down as what is packed ahead
        try:
            parts = take(value, self.pack)
        finally:
            self._level -= 2
        return (code, parts) if code is not None or type(parts) not in (list, dict) else self._apart(parts)


def _head(size: int, small: int, medium: bytes, large: bytes) -> bytes:
    """How msgpack begins a list or a map."""
    if size < 16:
        return bytes([small | size])
    return medium + size.to_bytes(2, "big") if size < 1 << 16 else large + size.to_bytes(4, "big")


def _extension(code: int, packed: bytes) -> bytes:
    return ormsgpack.packb(Ext(code, packed))


def _clean(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _add_place(exc: Unstorable, place: str, name: Any) -> None:
    """On its way out the error collects where it was."""
    reason, rest = (*exc.args, "")[:2]
    exc.args = (reason, (place % (name,))[:80] + rest)


def _too_deep(value: Any) -> bytes:
    raise RecursionError


_MESSAGE: Rule = (codes.MESSAGE, messages.take)
