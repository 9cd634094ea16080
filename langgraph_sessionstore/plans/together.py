"""Several plans at once.

Rule: in each step, what all of them ask for goes out in one trip. When a trip fails, each of them is told; when one of
them ends in an error, all of them end. So they are plans that read, or that may stop anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from ..errors import OutcomeUnknown
from ..ops import Calls, Plan, through

T = TypeVar("T")


class Counted:
    """A plan whose trips are counted."""

    def __init__(self) -> None:
        self.trips = 0

    def of(self, plan: Plan[T]) -> Plan[T]:
        """The same plan, counted."""
        return through(plan, self._count)

    def _count(self, request: Calls) -> Calls:
        self.trips += 1
        return request


def together(plans: Iterable[Plan[Any]]) -> Plan[list[Any]]:
    """Do these plans side by side; their results."""
    plans = list(plans)
    if len(plans) < 2:  # which is by far the most frequent case
        return [(yield from plans[0])] if plans else []
    results: list[Any] = [None] * len(plans)
    steps: dict[int, Callable[[], Calls]] = {number: partial(next, plan) for number, plan in enumerate(plans)}
    try:
        while steps:
            asked: dict[int, Calls] = {}
            errors: list[Exception] = []
            for number, step in steps.items():
                try:
                    asked[number] = step()
                except StopIteration as stop:
                    results[number] = stop.value
                except Exception as exc:
                    errors.append(exc)
            if errors:
                raise next((error for error in errors if isinstance(error, OutcomeUnknown)), errors[0])
            steps = {}
            if asked:
                try:
                    calls = [call for request in asked.values() for call in request.calls]
                    light = all(request.casual for request in asked.values())
                    outcomes = iter((yield Calls(calls, casual=light)))
                except Exception as exc:
                    steps = {number: partial(plans[number].throw, exc) for number in asked}
                else:
                    for number, request in asked.items():
                        steps[number] = partial(plans[number].send, list(islice(outcomes, len(request.calls))))
        return results
    finally:
        for plan in plans:
            plan.close()
