"""Entries of a cache: where they lie, reading, writing and clearing them.

    partition ("cache", *namespace)
        (0, key)             an entry: when it ends (0: never), and its value
        (1, moment, key)     the same entry in the order of the ends, while it has one; a hint
        (2,)                 there are, or were, entries; see `shelves`

Rule 1: what cannot be read is not there. A cache never stops what it should speed up.
Rule 2: what has ended goes with later writes (`ending`), so that a cache does not grow with what nobody asks for again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from .. import codec, keys
from ..errors import CorruptData, DataError
from ..ops import (
    Batch,
    Call,
    Delete,
    Entries,
    Get,
    Op,
    Page,
    Plan,
    Put,
    Range,
    must,
    must_all,
)
from .ending import TAKEN, End, Ended, take
from .entry import afterwards
from .shelves import Shelves
from .tools import pack_typed, unpack_typed

_LOG = logging.getLogger(__name__)
CACHE = keys.registry("cache")
"""The list of all namespaces of caches."""
_PAGE = 100
_NEVER = 1 << 60

Namespace = tuple[str, ...]
Address = tuple[Namespace, str]


def read(serde: SerializerProtocol, wanted: Iterable[Address], now: int) -> Plan[dict[Address, Any]]:
    """The entries that are there and have not ended, in one trip."""
    parts = _grouped((namespace, (namespace, key)) for namespace, key in dict.fromkeys(wanted))
    outcomes = yield from must_all(
        [Call(name, Batch(*[Get(keys.encode(0, key)) for _, key in part])) for name, part in parts]
    )
    found = {}
    for (_, part), replies in zip(parts, outcomes, strict=True):
        for address, stored in zip(part, replies, strict=True):
            try:
                if stored is not None:
                    found[address] = _load(serde, stored, now)
            except (DataError, _Ended):
                continue
            except Exception:  # another serializer's own trouble with what it finds
                continue
    return found


class _Ended(Exception):
    """The entry is there, and its time is over."""


def _load(serde: SerializerProtocol, stored: bytes, now: int) -> Any:
    match codec.unpack(stored, "an entry of the cache"):
        case [int(ends), bytes(typed)]:
            if ends and ends <= now:
                raise _Ended
            return serde.loads_typed(unpack_typed(typed, "an entry of the cache"))
    raise CorruptData("an entry of the cache is damaged")


def write(
    serde: SerializerProtocol, shelves: Shelves, entries: Mapping[Address, tuple[Any, int]], now: int
) -> Plan[None]:
    """Set these entries, each with the moment of its end (0: none)."""
    batches: dict[bytes, list[Op]] = {}
    for (namespace, key), (value, ends) in entries.items():
        try:
            typed = pack_typed(serde.dumps_typed(value))
        except Exception as exc:  # `Unstorable`, or another serializer's own words for it
            # what was wrong would be told with parts of the value
            _LOG.warning("a value of the type %s is not cached: %s", type(value).__qualname__, type(exc).__name__)
            continue
        ops = batches.setdefault(_name(namespace), [Range(keys.encode(1), keys.encode(1, now), limit=TAKEN)])
        ops.append(Put(keys.encode(0, key), codec.pack([ends, typed])))
        ops += [Put(keys.encode(1, _hint(ends, now), key), b"")] if ends else []
    replies = yield from shelves.write(batches)
    for name, (ended, *_) in zip(batches, replies, strict=True):
        if ended:
            yield from afterwards(_sweep(name, [key for key, _ in ended], now))


def _hint(ends: int, now: int) -> int:
    """A moment not before this one, which entries that are set again and again share."""
    step = max(1, (ends - now) // 8)
    return -(-ends // step) * step


def _sweep(name: bytes, hints: Sequence[bytes], now: int) -> Plan[None]:
    """Take entries that have ended, if they have not been set again: then they have another hint."""
    ended = []
    for hint in hints:
        try:
            row = keys.encode(0, *keys.decode(hint)[2:])
        except CorruptData:  # nobody needs a hint that names nothing
            row = hint
        ended.append(Ended(hint, row, [Delete(row)], lambda end: b""))
    yield from take(name, ended, now, _end_of)


def _end_of(stored: bytes) -> End:
    try:
        ends = codec.unpack(stored, "an entry of the cache")[0]
        if type(ends) is int and ends >= 0:
            return End(0, ends or _NEVER)
    except (DataError, LookupError, TypeError):
        pass
    return End(0, 0)  # nobody can read it


def clear(shelves: Shelves, namespaces: Sequence[Namespace] | None) -> Plan[None]:
    """Take all entries of these namespaces; None: of all."""
    if namespaces is not None:
        yield from shelves.drop([_name(namespace) for namespace in namespaces])
        return
    cursor = b""
    while True:
        (page,) = yield from must(CACHE, Page("name", after=cursor, limit=_PAGE))
        entries: Entries = page
        yield from shelves.drop([entry.name for entry in entries.rows if entry.name.startswith(_name(()))])
        if not (cursor := entries.cursor):
            return


def _name(namespace: Namespace) -> bytes:
    return keys.encode("cache", *namespace)


def _grouped(pairs: Iterable[tuple[Namespace, Any]]) -> list[tuple[bytes, list[Any]]]:
    parts: dict[bytes, list[Any]] = {}
    for namespace, part in pairs:
        parts.setdefault(_name(namespace), []).append(part)
    return list(parts.items())
