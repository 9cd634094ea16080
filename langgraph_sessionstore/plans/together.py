"""Several plans at once.

Rule: in each step, what all of them ask for goes out in one trip. When a trip fails, all of them end: so they are plans
that read, or that may stop anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from ..ops import Calls, Plan


def together(plans: Iterable[Plan[Any]]) -> Plan[list[Any]]:
    """Do these plans side by side; their results."""
    plans = list(plans)
    results: list[Any] = [None] * len(plans)
    replies: dict[int, Any] = dict.fromkeys(range(len(plans)))
    try:
        while replies:
            asked: dict[int, Calls] = {}
            for number, reply in replies.items():
                try:
                    asked[number] = plans[number].send(reply)
                except StopIteration as stop:
                    results[number] = stop.value
            replies = {}
            if asked:
                outcomes = iter((yield Calls([call for request in asked.values() for call in request.calls])))
                replies = {number: list(islice(outcomes, len(request.calls))) for number, request in asked.items()}
        return results
    finally:
        for plan in plans:
            plan.close()
