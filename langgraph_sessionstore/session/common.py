"""What a manager and its sessions share, and the piece of a handle that drives plans."""

from __future__ import annotations

import os
import time
from typing import Any, TypeVar
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base.id import uuid6

from ..adapters.checkpointer import SessionCheckpointer
from ..adapters.configs import LEASE
from ..adapters.store import SessionStore
from ..backends.base import Backend
from ..drive import arun, run
from ..ops import Plan
from ..plans.desk import Chance, Desk
from ..plans.entry import Life
from ..plans.given import Duration, as_milliseconds
from ..usage import Price

T = TypeVar("T")


class Common:
    """What a manager and its sessions share."""

    def __init__(
        self,
        checkpointer: SessionCheckpointer,
        store: SessionStore,
        *,
        life: Life,
        depth: int,
        stays: int,
        prices: dict[str, Price],
    ) -> None:
        self.backend: Backend = checkpointer.backend
        self.checkpointer = checkpointer
        self.store = store
        self.life = life
        self.depth = depth
        self.stays = stays
        self.prices = prices
        self.chance = CHANCE

    def desk(self, session_id: str, incarnation: bytes | None = None, lease: bytes = b"") -> Desk:
        """What plans need to work on one session."""
        writer = self.checkpointer.writer._replace(incarnation=incarnation, lease=lease)
        return Desk(self.checkpointer.tools(), self.chance, writer, session_id, self.depth)

    def lifetime(self, ttl: Duration | None, sliding: bool | None, default: Life | None = None) -> Life:
        """How long a session lives, from what a user says; 0: for ever."""
        default = self.life if default is None else default
        milliseconds = default.ttl if ttl is None else as_milliseconds(ttl, "ttl")
        return Life(milliseconds, default.sliding if sliding is None else sliding)


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _new_id() -> bytes:
    return os.urandom(16)


def _new_checkpoint(after: str | None, step: int) -> tuple[str, str]:
    """An id that is greater, also where the clock is not; and the time."""
    new = str(uuid6(clock_seq=step))
    if after is not None and new <= after:
        try:
            new = str(UUID(int=UUID(after).int + 1))
        except ValueError:
            new = f"{after}~"
    moment = time.time_ns() // 1000
    seconds, micros = divmod(moment, 1_000_000)
    return new, f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{micros:06d}+00:00"


CHANCE = Chance(now, _new_id, _new_checkpoint)


class Handle:
    """What all pieces of a session's handle stand on. It holds no state of the session, so threads may share it."""

    def __init__(self, common: Common, session_id: str, incarnation: bytes | None) -> None:
        self._common = common
        self._incarnation = incarnation
        """The session has to be this one still; None: whichever there is, and a new one when something is written."""
        self._lease = b""
        self.id = session_id

    @property
    def config(self) -> RunnableConfig:
        """The config for graphs: `graph.invoke(input, session.config)`. It carries the lease that this handle holds."""
        configurable: dict[str, Any] = {"thread_id": self.id}
        if self._lease:
            configurable[LEASE] = self._lease.decode()
        return {"configurable": configurable}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    @property
    def _place(self) -> str:
        """Tells the session from all others, also from those with its id in other storages."""
        return self._incarnation.hex() if self._incarnation else f"{id(self._common.backend)} {self.id}"

    @property
    def _desk(self) -> Desk:
        return self._common.desk(self.id, self._incarnation, self._lease)

    def _run(self, plan: Plan[T]) -> T:
        return run(self._common.backend, plan)

    async def _arun(self, plan: Plan[T]) -> T:
        return await arun(self._common.backend, plan)
