"""The two drivers, the only place where sync and async differ.

A plan yields `Calls` and receives a list of outcomes. What goes wrong in between (an error of the backend, a
cancelled task) is thrown into the plan at that point: it may handle it and go on, or let it pass.

`NotReplicated` does not go wrong in this sense: what it is about was done. So the plan goes on with it as with anything
that was done, and knows of it afterwards; its end is what raises the error, with the plan's result.
"""

from __future__ import annotations

from typing import TypeVar

from .backends.base import Backend, settle, vouch
from .errors import NotReplicated
from .ops import Plan

T = TypeVar("T")


def run(backend: Backend, plan: Plan[T]) -> T:
    """Drive a plan on a backend to its result."""
    doubts: list[NotReplicated] = []
    try:
        request = next(plan)
        while True:
            try:
                outcomes = settle(request, backend.execute(request.calls, ordered=request.ordered), doubts)
            except BaseException as exc:
                request = plan.throw(exc)
            else:
                request = plan.send(outcomes)
    except StopIteration as stop:
        result: T = stop.value
    return vouch(result, doubts)


async def arun(backend: Backend, plan: Plan[T]) -> T:
    """Drive a plan on a backend to its result, without blocking the event loop."""
    doubts: list[NotReplicated] = []
    try:
        request = next(plan)
        while True:
            try:
                answers = await backend.aexecute(request.calls, ordered=request.ordered)
                outcomes = settle(request, answers, doubts)
            except BaseException as exc:
                request = plan.throw(exc)
            else:
                request = plan.send(outcomes)
    except StopIteration as stop:
        result: T = stop.value
    return vouch(result, doubts)
