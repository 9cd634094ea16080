"""A lease: an exclusive turn on a session, across all workers.

Rule 1: the storage decides who has it, by its clock. A writer without it is refused, and so is one that has lost it:
        the guard rides in each write.
Rule 2: it is renewed while it is held, by a thread (`with`) or a task (`async with`), which end with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from typing import TYPE_CHECKING

from ..errors import BackendClosed, ConfigurationError, ConflictError, LeaseHeld, SessionError, SessionStoreError
from ..ops import Plan
from ..plans import sessions
from ..plans.given import Duration, as_milliseconds

if TYPE_CHECKING:
    from .handle import Session

_PAUSE = 0.02  # seconds between two tries to get a lease, at first; then longer
_LONGEST = 0.5


class Lease:
    """A turn on a session: `with session.lease(30) as turn: graph.invoke(input, turn.config)`.

    `turn` is the session with the lease in its hands; other handles are refused with `LeaseHeld` meanwhile.
    """

    def __init__(self, session: Session, ttl: Duration, wait: Duration) -> None:
        self._ttl = as_milliseconds(ttl, "ttl")
        if self._ttl < 50:
            raise ConfigurationError("a lease lasts for 0.05 seconds or longer")
        self._wait = as_milliseconds(wait, "wait") / 1000
        self._session = session
        self._turn = session._with_lease(session._common.chance.new_id().hex().encode())
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._used = False

    def __enter__(self) -> Session:
        self._begin()
        deadline, pause = time.monotonic() + self._wait, _PAUSE
        while True:
            try:
                self._session._run(self._taking())
                break
            except LeaseHeld:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(min(pause * random.uniform(0.5, 1), max(0.0, deadline - time.monotonic())))
            pause = min(pause * 2, _LONGEST)
        self._thread = threading.Thread(target=self._renew, name=f"lease on {self._session.id}", daemon=True)
        self._thread.start()
        return self._turn

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(SessionStoreError):  # it ends by itself
            self._session._run(self._end())

    async def __aenter__(self) -> Session:
        self._begin()
        deadline, pause = time.monotonic() + self._wait, _PAUSE
        while True:
            try:
                await self._session._arun(self._taking())
                break
            except LeaseHeld:
                if time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(min(pause * random.uniform(0.5, 1), max(0.0, deadline - time.monotonic())))
            pause = min(pause * 2, _LONGEST)
        self._task = asyncio.create_task(self._arenew())
        return self._turn

    async def __aexit__(self, *exc_info: object) -> None:
        self._stop.set()
        if self._task is not None:
            self._task.cancel()
        await asyncio.shield(asyncio.ensure_future(self._give_back()))  # which a cancelled caller does as well

    async def _give_back(self) -> None:
        if self._task is not None:
            await asyncio.wait([self._task])
        with contextlib.suppress(SessionStoreError):
            await self._session._arun(self._end())

    def _begin(self) -> None:
        if self._used:
            raise SessionError("a lease is used once: take another one with session.lease(ttl)")
        self._used = True

    def _taking(self) -> Plan[None]:
        try:
            yield from self._take()
        except LeaseHeld:
            raise
        except BaseException:  # it may have been taken all the same, and nobody would use it
            with contextlib.suppress(SessionStoreError):
                yield from self._end()
            raise

    def _take(self) -> Plan[None]:
        return sessions.take_lease(self._turn._desk, self._turn._lease, self._ttl)

    def _again(self) -> Plan[None]:
        return sessions.renew_lease(self._turn._desk, self._turn._lease, self._ttl)

    def _end(self) -> Plan[None]:
        return sessions.end_lease(self._turn._desk, self._turn._lease)

    def _renew(self) -> None:
        while not self._stop.wait(self._ttl / 3000):
            try:
                self._session._run(self._again())
            except (BackendClosed, ConflictError, SessionError):
                return  # lost: the next write says so
            except SessionStoreError:
                continue  # not reachable just now

    async def _arenew(self) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(self._ttl / 3000)
            try:
                await self._session._arun(self._again())
            except (BackendClosed, ConflictError, SessionError):
                return
            except SessionStoreError:
                continue
