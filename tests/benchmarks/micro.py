"""Single calls on conversations of ten messages, in both forms; see `calls`.

Rule: a sample is the median of a round's calls. The raw client sends again what our Redis has sent: see `raw_client`.
"""

from __future__ import annotations

import asyncio
from statistics import median

from benchmarks.calls import CALLS, adrive, drive, series
from benchmarks.contender import Contender
from benchmarks.race import Race, settle
from benchmarks.raw_client import RawClient
from benchmarks.savers import KEEPERS
from benchmarks.workload import Workload

BUDGET = 12.0
CONTENDERS = (*KEEPERS, RawClient)


def run(race: Race[Contender]) -> None:
    """Both forms."""
    calls, rounds = race.stage.size(CALLS, 10), race.stage.size(15, 3)
    for number, contender in enumerate(race.rounds(rounds, "sync", budget=BUDGET)):
        with race.trying(contender), contender.open() as saver:
            settle()
            keep(race, contender, drive(series(saver, "", calls, number)))
    for number, contender in enumerate(race.rounds(rounds, "async", budget=BUDGET)):
        with race.trying(contender):
            keep(race, contender, asyncio.run(around(contender, calls, number)))


async def around(contender: Contender, calls: int, number: int) -> dict[str, list[float]]:
    """One round in the async form."""
    async with contender.aopen() as saver:
        settle()
        return await adrive(series(saver, "a", calls, f"async {number}"))


def keep(race: Race[Contender], contender: Contender, found: dict[str, list[float]]) -> None:
    """A sample of each measure."""
    for name, seconds in found.items():
        if name:
            race.record(contender, name, median(seconds))


WORKLOAD = Workload("micro", "single calls on conversations of ten messages", CONTENDERS, run)
