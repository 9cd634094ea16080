"""Items that live for a time: a clock that tests move, and what is stored of an item and of its end."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

from langgraph.store.base import IndexConfig
from support import raw

from langgraph_sessionstore import Backend, SessionManager, codec, keys, run
from langgraph_sessionstore.ops import Page, Range, must
from langgraph_sessionstore.plans.items import CREATED, END, HINT, STORE, TEXTS, VALUE, VECTORS, namespaces_in, place_of

Managers = Callable[..., SessionManager]
Look = Callable[[], raw.Rows]
Namespace = tuple[str, ...]
N = ("n",)
BEGIN = 1_800_000_000_123_000
"""Where the clock stands at first, in microseconds; no round number of minutes, nor of sixteenths of one."""
MINUTE, MILLISECOND = 60_000_000, 1_000
SECRET = "violet"


class Clock:
    """The time that the stores see, in microseconds."""

    def __init__(self) -> None:
        self.now = BEGIN

    def pass_(self, minutes: float = 0, milliseconds: int = 0) -> None:
        self.now += round(minutes * MINUTE) + milliseconds * MILLISECOND

    def at(self, minutes: float, milliseconds: int = 0) -> None:
        """Stand so long behind the beginning."""
        self.now = BEGIN
        self.pass_(minutes, milliseconds)


def left(look: Look, word: str = SECRET) -> list[bytes]:
    """The names and rows that hold a word."""
    rows = look()
    return [each for name, own in rows.items() for each in [name, *own] if word.encode() in each]


def rows(backend: Backend, namespace: Namespace = N) -> dict[int, dict[tuple[Any, ...], bytes]]:
    """The rows of a namespace's partition, by their kind and by what follows it."""
    place = place_of(namespace)
    (found,) = run(backend, must(place.partition, Range(b"", None)))
    sorted_: dict[int, dict[tuple[Any, ...], bytes]] = {}
    for key, value in found:
        head, own = keys.decode(key)[: len(place.head)], keys.decode(key)[len(place.head) :]
        if head == place.head:
            sorted_.setdefault(int(own[0]), {})[own[1:]] = value
    return sorted_


def unsound(backend: Backend, namespace: Namespace = N) -> list[str]:
    """What is wrong with the rows of a namespace: halves of items, and ends that nobody would find."""
    own = rows(backend, namespace)
    there = own.get(VALUE, {}).keys()
    wrong = [f"kind {kind}: {where}" for kind in (END, TEXTS, VECTORS) for where in own.get(kind, {}).keys() - there]
    wrong += [f"half an item: {where}" for where in own.get(CREATED, {}).keys() ^ there]
    for where, stored in own.get(END, {}).items():
        ttl, at = codec.unpack(stored, "an end")
        hints = [hint[0] for hint in own.get(HINT, {}) if hint[1:] == where]
        if not any(at - max(1, ttl // 64) <= moment <= at for moment in hints):
            wrong.append(f"no hint at the end of {where}")
    return wrong


def listed(backend: Backend) -> list[Namespace]:
    """The list of all namespaces, as it is stored."""
    (entries,) = run(backend, must(STORE, Page("name", limit=1000)))
    return namespaces_in(entries)


def names(items: Sequence[Any]) -> list[str]:
    """The keys of items."""
    return [item.key for item in items]


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Texts that are numbers, as directions."""
    return [[math.cos(float(text)), math.sin(float(text))] for text in texts]


INDEX: IndexConfig = {"dims": 2, "embed": embed, "fields": ["text"]}
PEEK = {"refresh_ttl": False}


def sweepers() -> list[threading.Thread]:
    """The threads that sweep."""
    return [thread for thread in threading.enumerate() if thread.name == "sessionstore-sweeper"]
