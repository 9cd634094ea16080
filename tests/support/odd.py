"""Types that only an application has, and values that are not easily shown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class Loud(AIMessage):
    """A message of the application's own."""

    volume: int = 11


class Level(IntEnum):
    """Goes along in the metadata of checkpoints."""

    HIGH = 3


class Colour(str, Enum):
    """A text with a name."""

    GREEN = "green"


@dataclass(frozen=True)
class Place:
    """Can be a key."""

    name: str


class Odd(TypedDict):
    """A state of any values."""

    values: Any


def nested(levels: int) -> list[Any]:
    """Lists in each other."""
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


ODD: dict[str, Any] = {
    "bytes": b"\xff\xfe",
    "number": 10**5000,
    "deep": nested(400),
    "\ud800": ["\ud800", Colour.GREEN],
    "nan": math.nan,
    "infinite": [-math.inf],
    "keys": {10**5000: 1, (1, 2): 2, Place("Rome"): 3, b"\xff": 4},
    "model": Document("", metadata={"far": math.inf}),
    "places": {Place("Rome"), Place("Oslo")},
}


def odd_graph(checkpointer: Any) -> Any:
    """A graph that takes a state as it is."""
    graph = StateGraph(Odd).add_node("keep", lambda state: None)
    return graph.add_edge(START, "keep").compile(checkpointer=checkpointer)
