"""Partitions in one SQLite database inside a directory, shared by any number of processes of one machine.

Rule 1: a group of calls is one transaction, answered after its COMMIT. Guards are checked before anything is
        written (see `apply`), so a refused batch has nothing to undo; on any other trouble the whole
        group is rolled back, and its calls run again one by one.
Rule 2: sync callers work on their own thread, with a connection out of a pool. Async callers hand their calls to one
        dedicated thread, which takes all that wait as one group.
Rule 3: one writer at a time: threads queue at a lock, processes retry with jitter (SQLite's own
        handler stalls writers for seconds).
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from ..errors import (
    BackendClosed,
    BackendError,
    BackendFull,
    BackendUnavailable,
    ConfigurationError,
    DamagedStorage,
    OutcomeUnknown,
    SessionStoreError,
)
from ..ops import Batch, Call, Outcome
from .apply import apply
from .base import Answer, Backend, refuse_copy, settle
from .sqlite_rows import Partition, WriteNeeded, connect, prepare, sweep

Durability = Literal["normal", "full"]
T = TypeVar("T")
GROUP = 256  # at most so many calls share a transaction


class _Task(NamedTuple):
    """One thing to do on a database: a call, or a copy when it has a source."""

    partition: bytes
    batch: Batch
    source: bytes | None = None


class _Waiting(NamedTuple):
    """Tasks of an async caller, and where its answers go."""

    tasks: list[_Task]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Answer]]


class FilesystemBackend(Backend):
    """Partitions in a directory on a local disk.

    `durability="normal"`: an answered write survives the end of the process, however it ends; a power cut may take
    the last moments, never the consistency. `"full"`: it survives a power cut, too, at the price of one fsync a group.
    `busy_timeout`: how many seconds to wait for other processes before `BackendUnavailable`.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, durability: Durability = "normal", busy_timeout: float = 30.0
    ) -> None:
        if durability not in get_args(Durability):
            raise ConfigurationError(f"durability is {' or '.join(get_args(Durability))}, not {durability!r}")
        self.path = Path(path)
        self._home = self.path.absolute()  # so that a later chdir leads nobody astray
        self._durability = durability
        self._patience = busy_timeout
        self._closed = False
        self._begin()
        self._idle.append(self._connect())

    def __repr__(self) -> str:
        return f"FilesystemBackend({str(self.path)!r}, durability={self._durability!r})"

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        return self._with_connection([_Task(*call) for call in calls])

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        return await self._hand_over([_Task(*call) for call in calls])

    def copy(self, source: bytes, target: bytes, batch: Batch) -> Outcome:
        """See `Backend.copy`."""
        refuse_copy(source, target, batch)
        return settle(self._with_connection([_Task(target, batch, source)]))[0]

    async def acopy(self, source: bytes, target: bytes, batch: Batch) -> Outcome:
        """See `Backend.copy`."""
        refuse_copy(source, target, batch)
        return settle(await self._hand_over([_Task(target, batch, source)]))[0]

    def close(self) -> None:
        """Finish what async callers handed over, then close all connections."""
        self._renew_after_fork()
        with self._starting:
            self._closed = True
            if self._thread:
                self._queue.put(None)
        if self._thread:
            self._thread.join()
        while self._idle:
            self._idle.pop().close()

    async def aclose(self) -> None:
        """The async form of `close`."""
        await asyncio.get_running_loop().run_in_executor(None, self.close)

    # -- who works where

    def _begin(self) -> None:
        """Start without connections, as at first and in a forked child: connections do not survive a fork."""
        self._pid = os.getpid()
        self._abandoned = getattr(self, "_idle", None)  # the parent's; closing them here would harm it
        self._idle: list[sqlite3.Connection] = []
        self._writing = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._swept = 0

    def _renew_after_fork(self) -> None:
        if self._pid != os.getpid():
            self._begin()

    def _with_connection(self, tasks: list[_Task]) -> list[Answer]:
        """Do a group on this thread."""
        self._renew_after_fork()
        if self._closed:
            raise BackendClosed(f"the backend at {self.path} is closed")
        try:
            db = self._idle.pop()
        except IndexError:
            try:
                db = self._connect()
            except SessionStoreError as exc:
                return [exc] * len(tasks)
        try:
            answers = self._group(db, tasks)
        except BaseException:
            db.close()
            raise
        self._idle.append(db)
        if self._closed:  # closed meanwhile: nobody else will
            while self._idle:
                self._idle.pop().close()
        return answers

    async def _hand_over(self, tasks: list[_Task]) -> list[Answer]:
        """Do a group on the dedicated thread. A caller that is cancelled does not stop it."""
        self._renew_after_fork()
        loop = asyncio.get_running_loop()
        waiting = _Waiting(tasks, loop, loop.create_future())
        with self._starting:
            if self._closed:
                raise BackendClosed(f"the backend at {self.path} is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="sessionstore-sqlite", daemon=True)
                self._thread.start()
            self._queue.put(waiting)
        return await waiting.future

    def _work(self) -> None:
        """The dedicated thread: takes all that waits as one group, until `close`."""
        open_ = True
        while open_:
            group = [self._queue.get()]
            try:
                while len(group) < GROUP:
                    group.append(self._queue.get_nowait())
            except Empty:
                pass
            open_ = None not in group
            waiting = [item for item in group if item]
            if not waiting:
                continue
            try:
                answers: Any = self._with_connection([task for item in waiting for task in item.tasks])
            except BaseException as exc:
                answers = exc
            _deliver(waiting, answers)

    # -- one group of calls

    def _group(self, db: sqlite3.Connection, tasks: list[_Task]) -> list[Answer]:
        """One transaction for all, or, when something goes wrong, one for each."""
        writing = any(task.batch.writes or task.source is not None for task in tasks)
        try:
            try:
                return self._patiently(lambda: self._transaction(db, tasks, writing))
            except WriteNeeded:
                return self._patiently(lambda: self._transaction(db, tasks, True))
        except (sqlite3.Error, BackendError) as exc:
            if len(tasks) > 1 and not isinstance(exc, OutcomeUnknown):
                return [self._group(db, [task])[0] for task in tasks]
            return [exc if isinstance(exc, BackendError) else self._translate(exc)] * len(tasks)

    def _transaction(self, db: sqlite3.Connection, tasks: list[_Task], writing: bool) -> list[Answer]:
        if not writing:
            return self._inside(db, tasks, False)
        if not self._writing.acquire(timeout=self._patience):
            raise BackendUnavailable(f"other threads kept {self.path} busy for {self._patience} s")
        try:
            return self._inside(db, tasks, True)
        finally:
            self._writing.release()

    def _inside(self, db: sqlite3.Connection, tasks: list[_Task], writing: bool) -> list[Answer]:
        db.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
        try:
            now = time.time_ns() // 1_000_000
            if writing and now - self._swept > 1000:
                self._swept = now
                sweep(db, now)
            answers = [self._answer(db, task, now, writing) for task in tasks]
        except BaseException:
            if db.in_transaction:  # some errors end it by themselves
                db.execute("ROLLBACK")
            raise
        self._commit(db)
        return answers

    def _answer(self, db: sqlite3.Connection, task: _Task, now: int, writing: bool) -> Answer:
        target = Partition(db, task.partition, now, writing)
        origin = None if task.source is None else Partition(db, task.source, now, writing)
        try:
            return apply(target, task.batch, now, origin)
        except SessionStoreError as exc:  # only raised while nothing of this task has changed
            return exc

    def _commit(self, db: sqlite3.Connection) -> None:
        try:
            db.execute("COMMIT")
        except sqlite3.Error as exc:
            if db.in_transaction:
                db.execute("ROLLBACK")
            if "disk I/O error" in str(exc):  # the log may hold the whole commit and only its sync failed
                raise OutcomeUnknown(f"the disk failed while {self.path} was written: {exc}") from exc
            raise

    # -- connections and trouble

    def _connect(self) -> sqlite3.Connection:
        file = prepare(self._home)
        try:
            return self._patiently(lambda: connect(file, self._durability))
        except sqlite3.Error as exc:
            raise self._translate(exc) from exc

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Try again, with jitter, while another process holds the file."""
        until = time.monotonic() + self._patience
        pause = 0.001
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as exc:
                if "locked" not in str(exc):
                    raise
                if time.monotonic() > until:
                    raise BackendUnavailable(f"other processes kept {self.path} busy for {self._patience} s") from exc
            time.sleep(random.uniform(0.2, 1.0) * pause)
            pause = min(pause * 1.5, 0.05)

    def _translate(self, exc: sqlite3.Error) -> BackendError:
        """The only place where SQLite's errors become ours. Its messages are fixed texts in its source."""
        text = str(exc)
        kind: type[BackendError] = BackendError
        if "full" in text:
            kind = BackendFull
        elif "malformed" in text or "not a database" in text:
            kind = DamagedStorage
        elif "unable to open" in text:
            kind = BackendUnavailable
        error = kind(f"{self.path}: {text}")
        error.__cause__ = exc
        return error


def _deliver(waiting: list[_Waiting], answers: list[Answer] | BaseException) -> None:
    """Give every caller its share, with one wake-up for each event loop."""
    begin = 0
    shares: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[list[Answer]], Any]]] = {}
    for item in waiting:
        end = begin + len(item.tasks)
        share = answers if isinstance(answers, BaseException) else answers[begin:end]
        shares.setdefault(item.loop, []).append((item.future, share))
        begin = end
    for loop, share_list in shares.items():
        with suppress(RuntimeError):  # that loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(_resolve, share_list)


def _resolve(shares: list[tuple[asyncio.Future[list[Answer]], Any]]) -> None:
    for future, share in shares:
        if future.done():
            continue  # cancelled meanwhile
        if isinstance(share, BaseException):
            future.set_exception(share)
        else:
            future.set_result(share)
