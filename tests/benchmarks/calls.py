"""Single calls of a checkpointer: `put` of the step that adds the tenth message, `put_writes`, `get_tuple`.

Rule: each call is to a conversation of its own, so that none is larger than the others. Calls are made by a generator
that is told what they returned, so that the sync and the async form are one series.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from support.savers import checkpoint, config
from support.turns import text

MESSAGES = 10
CALLS = 40

Series = Generator[tuple[str, list[Callable[[], Any]]], list[Any], None]
"""Acts by the name of what is measured ("" is not), and what they returned."""


def series(saver: Any, form: str, calls: int, mark: object) -> Series:
    """The calls of one round, in one form: "" is the sync one, "a" the async one."""
    if callable(saver):
        yield from saver(form)  # the raw client
        return
    put, put_writes, get_tuple = (getattr(saver, form + name) for name in ("put", "put_writes", "get_tuple"))
    first = saver.get_next_version(None, None)
    second = saver.get_next_version(first, None)
    threads = [config(f"{mark} {number}") for number in range(calls)]
    messages: list[AnyMessage] = [
        (HumanMessage, AIMessage)[number % 2](text("message", number), id=f"message-{number}")
        for number in range(MESSAGES)
    ]
    base = partial(checkpoint, {"messages": messages[:-1]}, {"messages": first})
    more = partial(checkpoint, {"messages": messages}, {"messages": second}, updated_channels=["messages"])
    told: Any = {"source": "input", "step": -1, "parents": {}}
    step: Any = {"source": "loop", "step": 0, "parents": {}}
    written = [("messages", [messages[-1]])]

    threads = yield "", [partial(put, each, base(), told, {"messages": first}) for each in threads]
    threads = yield f"{form}put", [partial(put, each, more(), step, {"messages": second}) for each in threads]
    yield f"{form}put_writes", [partial(put_writes, each, written, "task") for each in threads]
    yield f"{form}get_tuple", [partial(get_tuple, config(f"{mark} {number}")) for number in range(calls)]


def drive(acts: Series) -> dict[str, list[float]]:
    """Do the acts of a sync series one after the other; how long each took."""
    found: dict[str, list[float]] = {}
    try:
        name, todo = next(acts)
        while True:
            results, found[name] = [], []
            for act in todo:
                begun = time.perf_counter()
                results.append(act())
                found[name].append(time.perf_counter() - begun)
            name, todo = acts.send(results)
    except StopIteration:
        return found


async def adrive(acts: Series) -> dict[str, list[float]]:
    """The same for an async series."""
    found: dict[str, list[float]] = {}
    try:
        name, todo = next(acts)
        while True:
            results, found[name] = [], []
            for act in todo:
                begun = time.perf_counter()
                results.append(await act())
                found[name].append(time.perf_counter() - begun)
            name, todo = acts.send(results)
    except StopIteration:
        return found
