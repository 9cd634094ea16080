"""Which server holds which slot. No I/O: asking is a step.

Rule: the map is a guess. Servers correct it (MOVED), and whatever goes wrong makes it stale.
"""

from __future__ import annotations

import random

from redis.crc import key_slot

from .steps import Address, Steps, Trip, Trips


class Topology:
    """The servers of a cluster; without seeds, the one server there is."""

    def __init__(self, seeds: list[Address] | None = None) -> None:
        self.cluster = seeds is not None
        self.stale = self.cluster
        self.trouble: Exception | None = None  # why the map could not be had
        self._seeds = seeds or []
        self._slots: dict[int, Address] = {}
        self._distrusted: set[Address] = set()

    def address(self, key: bytes) -> Address | None:
        """Where a key lives. In a cluster, None: not known now."""
        return self._slots.get(key_slot(key)) if self.cluster else None

    def moved(self, slot: int, address: Address) -> None:
        """A server said where a slot lives now; the rest of the map may be old, too."""
        self._slots[slot] = address
        self.stale = True

    def distrust(self, address: Address | None) -> None:
        """Something went wrong with a server: the map may be old, and others are asked for the new one first."""
        self.stale = self.cluster
        if address:
            self._distrusted.add(address)

    def refresh(self) -> Steps[None]:
        """Ask one server after another for the map, until one answers."""
        known = list(dict.fromkeys([*self._slots.values(), *self._seeds]))
        random.shuffle(known)
        for address in sorted(known, key=self._distrusted.__contains__):
            (arrival,) = yield Trips([Trip(address, [("CLUSTER", "SLOTS")])])
            reply = arrival.lost or arrival.replies[0]
            if isinstance(reply, Exception):
                self.trouble = reply
                self._distrusted.add(address)
                continue
            slots: dict[int, Address] = {}
            for first, last, master, *_ in reply:
                host = master[0].decode() if master[0] else ""  # unknown: the host that was asked
                slots.update(dict.fromkeys(range(first, last + 1), (host or address[0], master[1])))
            if slots:
                self._slots, self.trouble, self.stale = slots, None, False
                self._distrusted &= {*slots.values(), *self._seeds} - {address}
                return
            self.trouble = ConnectionError(f"the cluster node {address[0]}:{address[1]} knows of no slots")
