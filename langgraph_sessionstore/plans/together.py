"""Several plans at once.

Rule: in each step, what all of them ask for goes out in one trip. When a trip fails, all of them end: so they are plans
that read, or that may stop anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..ops import Calls, Plan


def together(plans: Iterable[Plan[Any]]) -> Plan[list[Any]]:
    """Do these plans side by side; their results."""
    plans = list(plans)
    results: list[Any] = [None] * len(plans)
    waiting: dict[int, Calls] = {}
    replies: dict[int, Any] = dict.fromkeys(range(len(plans)))
    while replies:
        for number, reply in replies.items():
            try:
                waiting[number] = plans[number].send(reply)
            except StopIteration as stop:
                results[number] = stop.value
        replies = {}
        if waiting:
            outcomes = iter((yield Calls([call for request in waiting.values() for call in request.calls])))
            for number, request in waiting.items():
                replies[number] = [next(outcomes) for _ in request.calls]
            waiting = {}
    return results
