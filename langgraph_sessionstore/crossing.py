"""What works on two storages, and its two drivers.

A crossing is to storages what a plan is to one: a generator that yields steps and receives what they reply. What goes
wrong in a step is thrown into it there. `NotReplicated` does not stop it: what was done counts, and its end raises the
error, with the crossing's result.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, Protocol, TypeVar

from .backends.base import Backend, vouch
from .drive import arun, run
from .errors import NotReplicated
from .ops import Plan

T = TypeVar("T")


class Step(Protocol):
    """Something to do on one of the sides."""

    def do(self) -> Any:
        """Do it."""

    async def ado(self) -> Any:
        """The async form of `do`."""


class On(NamedTuple):
    """A plan, and the storage that it is for."""

    backend: Backend
    plan: Plan[Any]

    def do(self) -> Any:
        """Do it."""
        return run(self.backend, self.plan)

    async def ado(self) -> Any:
        """The async form of `do`."""
        return await arun(self.backend, self.plan)


Crossing = Generator[Step, Any, T]


def cross(crossing: Crossing[T]) -> T:
    """Carry it out."""
    doubts: list[NotReplicated] = []
    try:
        step = next(crossing)
        while True:
            try:
                reply = step.do()
            except NotReplicated as doubt:
                doubts.append(doubt)
                step = crossing.send(doubt.result)
            except BaseException as exc:
                step = crossing.throw(exc)
            else:
                step = crossing.send(reply)
    except StopIteration as stop:
        result: T = stop.value
    return vouch(result, doubts)


async def across(crossing: Crossing[T]) -> T:
    """The async form of `cross`."""
    doubts: list[NotReplicated] = []
    try:
        step = next(crossing)
        while True:
            try:
                reply = await step.ado()
            except NotReplicated as doubt:
                doubts.append(doubt)
                step = crossing.send(doubt.result)
            except BaseException as exc:
                step = crossing.throw(exc)
            else:
                step = crossing.send(reply)
    except StopIteration as stop:
        result: T = stop.value
    return vouch(result, doubts)
