"""The two drivers, the only place where sync and async differ.

A plan yields `Calls` or a `Copy` and receives a list of outcomes. What goes wrong in between (an error of the backend,
a cancelled task) is thrown into the plan at that point: it may handle it and go on, or let it pass.
"""

from __future__ import annotations

from typing import TypeVar

from .backends.base import Backend, settle
from .ops import Copy, Plan

T = TypeVar("T")


def run(backend: Backend, plan: Plan[T]) -> T:
    """Drive a plan on a backend to its result."""
    try:
        request = next(plan)
        while True:
            try:
                if isinstance(request, Copy):
                    outcomes = [backend.copy(*request)]
                else:
                    outcomes = settle(backend.execute(request.calls, ordered=request.ordered))
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
                if isinstance(request, Copy):
                    outcomes = [await backend.acopy(*request)]
                else:
                    outcomes = settle(await backend.aexecute(request.calls, ordered=request.ordered))
            except BaseException as exc:
                request = plan.throw(exc)
            else:
                request = plan.send(outcomes)
    except StopIteration as stop:
        result: T = stop.value
        return result
