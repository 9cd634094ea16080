"""The two drivers, the only place where sync and async differ.

A plan yields `Calls` and receives a list of outcomes. What goes wrong in between (an error of the backend, a
cancelled task) is thrown into the plan at that point: it may handle it and go on, or let it pass.
"""

from __future__ import annotations

from typing import TypeVar

from .backends.base import Backend, settle
from .ops import Plan

T = TypeVar("T")


def run(backend: Backend, plan: Plan[T]) -> T:
    """Drive a plan on a backend to its result."""
    try:
        request = next(plan)
        while True:
            try:
                outcomes = settle(request.calls, backend.execute(request.calls, ordered=request.ordered))
            except BaseException as exc:
                request = plan.throw(exc)
            else:
                request = plan.send(outcomes)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def arun(backend: Backend, plan: Plan[T]) -> T:
    """Drive a plan on a backend to its result, without blocking the event loop."""
    try:
        request = next(plan)
        while True:
            try:
                outcomes = settle(request.calls, await backend.aexecute(request.calls, ordered=request.ordered))
            except BaseException as exc:
                request = plan.throw(exc)
            else:
                request = plan.send(outcomes)
    except StopIteration as stop:
        result: T = stop.value
        return result
