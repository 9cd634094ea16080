"""A graph for the tests of the server: two steps, with a type of its own in the state."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict


class Place(BaseModel):
    """A type of one's own."""

    name: str


class State(TypedDict, total=False):
    """What has been done, and where."""

    done: Annotated[list[str], operator.add]
    place: Place
    wait: bool


async def first(state: State) -> dict[str, Any]:
    """Note where it is, unless that is known already; what is known has to be what it was."""
    place = state.get("place") or Place(name="Kyoto")
    return {"done": [f"first in {place.name}"], "place": place, "wait": state.get("wait", False)}


async def second(state: State) -> dict[str, Any]:
    """End; or wait until somebody ends it."""
    if state["wait"]:
        await asyncio.Event().wait()
    return {"done": [f"second in {state['place'].name}"]}


builder = StateGraph(State).add_node("first", first).add_node("second", second)
builder.add_edge(START, "first").add_edge("first", "second")
steps = builder.compile()
