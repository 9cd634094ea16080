"""Trips of many tasks to one server, made as one: to send and to be woken costs more than most of them.

Rule 1: whoever finds nobody under way travels alone, at once. The others of one turn of the event loop travel together.
Rule 2: a task that is cancelled does not stop those that it travels with, and nothing is sent for it any more.
Rule 3: what may keep others waiting travels alone: large requests, and waiting for replicas.
Rule 4: so does everybody while the server is in trouble. Behind an error that ends the connection, nobody would know
        whether he was heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from .connections import AT_ONCE, pack
from .steps import Address, Arrival, Trip

_MOST = 64  # who travel together
_BYTES = 1 << 14  # what they send: as much as Redis reads before it turns to others, so that nothing comes in between
Load: TypeAlias = Callable[[], tuple[bytes, int]]
"""What is to be sent, asked for when the connection is open; and how many replies follow."""
Travel = Callable[["Address | None", Load], Awaitable[Arrival]]


class _Passenger(NamedTuple):
    packed: bytes
    replies: int
    """How many it waits for."""
    arrival: asyncio.Future[Arrival]


class _Group:
    """Those who travel together."""

    def __init__(self) -> None:
        self.passengers: list[_Passenger] = []
        self.size = 0
        self.task: asyncio.Task[None] | None = None

    def has_room(self, packed: bytes) -> bool:
        return len(self.passengers) < _MOST and self.size + len(packed) <= _BYTES

    def load(self) -> tuple[bytes, int]:
        """What those send who are still there."""
        self.passengers = [each for each in self.passengers if not each.arrival.done()]
        return b"".join([each.packed for each in self.passengers]), sum(each.replies for each in self.passengers)

    def leave(self) -> None:
        """One has been cancelled. When it was the last, nobody needs the journey."""
        if self.task is not None and all(each.arrival.done() for each in self.passengers):
            self.task.cancel()

    def end(self, task: asyncio.Task[None]) -> None:
        """Nobody waits for a journey that is over, however it ended."""
        for each in self.passengers:
            each.arrival.cancel()


class Sharing:
    """The trips of one event loop."""

    def __init__(self, travel: Travel) -> None:
        self._travel = travel
        self._under_way: dict[Address | None, int] = {}
        self._sound: set[Address | None] = set()
        """The servers whose last trip came back whole."""
        self._waiting: dict[Address | None, _Group] = {}

    async def make(self, trip: Trip) -> Arrival:
        """Make a trip, alone or with others."""
        address, count = trip.address, len(trip.commands)
        packed = pack(trip.commands)
        alone = len(packed) >= AT_ONCE or trip.commands[-1][0] == "WAIT" or address not in self._sound
        if alone or not self._under_way.get(address):
            return await self._counted(address, lambda: (packed, count))
        loop = asyncio.get_running_loop()
        group = self._waiting.get(address)
        if group is None or not group.has_room(packed):
            group = self._waiting[address] = _Group()
            loop.call_soon(self._depart, address, group)
        passenger = _Passenger(packed, count, loop.create_future())
        group.passengers.append(passenger)
        group.size += len(packed)
        try:
            return await passenger.arrival
        except asyncio.CancelledError:
            group.leave()
            raise

    async def _counted(self, address: Address | None, load: Load) -> Arrival:
        self._under_way[address] = self._under_way.get(address, 0) + 1
        try:
            arrival = await self._travel(address, load)
        finally:
            self._under_way[address] -= 1
        if arrival.lost is None:
            self._sound.add(address)
        else:
            self._sound.discard(address)
        return arrival

    def _depart(self, address: Address | None, group: _Group) -> None:
        if self._waiting.get(address) is group:
            del self._waiting[address]
        if not all(each.arrival.done() for each in group.passengers):
            group.task = asyncio.get_running_loop().create_task(self._together(address, group))
            group.task.add_done_callback(group.end)

    async def _together(self, address: Address | None, group: _Group) -> None:
        try:
            arrival = await self._counted(address, group.load)
        except Exception as exc:
            for each in group.passengers:
                if not each.arrival.done():
                    each.arrival.set_exception(exc)
            return
        begin = 0
        for each in group.passengers:
            replies = arrival.replies[begin : begin + each.replies]
            begin += each.replies
            if not each.arrival.done():
                lost = arrival.lost if len(replies) < each.replies else None
                each.arrival.set_result(Arrival(replies, lost, arrival.sent))
