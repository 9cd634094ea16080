"""Trips of many tasks to one server, made as one: to send and to be woken costs more than most of them.

Rule 1: whoever finds nobody under way travels alone, at once. The others of one turn of the event loop travel together.
Rule 2: a task that is cancelled does not stop those that it travels with.
Rule 3: what may keep others waiting travels alone: large requests, and waiting for replicas.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from .connections import AT_ONCE, pack
from .steps import Address, Arrival, Trip

_MOST = 64  # who travel together
Travel = Callable[["Address | None", bytes, int], Awaitable[Arrival]]
"""Sends a request to a server, and reads so many replies."""


class _Passenger(NamedTuple):
    packed: bytes
    replies: int
    """How many it waits for."""
    arrival: asyncio.Future[Arrival]


class _Group:
    """Those who travel together."""

    def __init__(self) -> None:
        self.passengers: list[_Passenger] = []
        self.task: asyncio.Task[None] | None = None

    def leave(self) -> None:
        """One has been cancelled. When it was the last, nobody needs the journey."""
        if self.task is not None and all(each.arrival.done() for each in self.passengers):
            self.task.cancel()


class Sharing:
    """The trips of one event loop."""

    def __init__(self, travel: Travel) -> None:
        self._travel = travel
        self._under_way: dict[Address | None, int] = {}
        self._waiting: dict[Address | None, _Group] = {}

    async def make(self, trip: Trip) -> Arrival:
        """Make a trip, alone or with others."""
        address, count = trip.address, len(trip.commands)
        packed = pack(trip.commands)
        if not self._under_way.get(address) or len(packed) >= AT_ONCE or trip.commands[-1][0] == "WAIT":
            return await self._counted(address, packed, count)
        loop = asyncio.get_running_loop()
        group = self._waiting.get(address)
        if group is None or len(group.passengers) >= _MOST:
            group = self._waiting[address] = _Group()
            loop.call_soon(self._depart, address, group)
        passenger = _Passenger(packed, count, loop.create_future())
        group.passengers.append(passenger)
        try:
            return await passenger.arrival
        except asyncio.CancelledError:
            group.leave()
            raise

    async def _counted(self, address: Address | None, packed: bytes, count: int) -> Arrival:
        self._under_way[address] = self._under_way.get(address, 0) + 1
        try:
            return await self._travel(address, packed, count)
        finally:
            self._under_way[address] -= 1

    def _depart(self, address: Address | None, group: _Group) -> None:
        if self._waiting.get(address) is group:
            del self._waiting[address]
        group.passengers = [each for each in group.passengers if not each.arrival.done()]
        if group.passengers:
            group.task = asyncio.get_running_loop().create_task(self._together(address, group.passengers))

    async def _together(self, address: Address | None, passengers: list[_Passenger]) -> None:
        try:
            packed = b"".join([each.packed for each in passengers])
            arrival = await self._counted(address, packed, sum(each.replies for each in passengers))
        except BaseException as exc:
            for each in passengers:
                if isinstance(exc, Exception) and not each.arrival.done():
                    each.arrival.set_exception(exc)
                else:
                    each.arrival.cancel()
            if not isinstance(exc, Exception):
                raise
            return
        begin = 0
        for each in passengers:
            replies = arrival.replies[begin : begin + each.replies]
            begin += each.replies
            if not each.arrival.done():
                lost = arrival.lost if len(replies) < each.replies else None
                each.arrival.set_result(Arrival(replies, lost, arrival.sent))
