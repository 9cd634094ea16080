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
from typing import Literal, NamedTuple, TypeVar, get_args

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
from ..ops import Call
from .apply import apply
from .base import Answer, Backend, is_stop, not_tried, refuse_copies
from .sqlite_rows import Partition, WriteNeeded, connect, prepare, sweep

Durability = Literal["normal", "full"]
T = TypeVar("T")
GROUP = 256  # so many async callers share a transaction at most


class _Unit(NamedTuple):
    """The calls of one caller, to be answered together."""

    calls: Sequence[Call]
    ordered: bool


class _Waiting(NamedTuple):
    """A unit of an async caller, and where its answers go."""

    unit: _Unit
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Answer]]


class FilesystemBackend(Backend):
    """Partitions in a directory on a local disk.

    `durability="normal"`: an answered write survives the end of the process, however it ends; a power cut may take
    the last moments, never the consistency. `"full"`: it survives a power cut, too, at the price of one fsync a group.
    `busy_timeout`: how many seconds to wait for other processes before `BackendUnavailable`.
    """

    _thread: threading.Thread | None

    def __init__(
        self, path: str | os.PathLike[str], *, durability: Durability = "normal", busy_timeout: float = 30.0
    ) -> None:
        if durability not in get_args(Durability):
            raise ConfigurationError(f"durability is {' or '.join(get_args(Durability))}, not {durability!r}")
        if not 0 <= busy_timeout < 1e6:
            raise ConfigurationError(f"busy_timeout is a number of seconds, not {busy_timeout!r}")
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
        refuse_copies(calls)
        self._renew_after_fork()
        if self._closed:
            raise self._closed_error()
        (answers,) = self._with_connection([_Unit(calls, ordered)])
        if isinstance(answers, BaseException):
            raise answers
        return answers

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`. A caller that is cancelled does not stop it."""
        refuse_copies(calls)
        self._renew_after_fork()
        loop = asyncio.get_running_loop()
        waiting = _Waiting(_Unit(calls, ordered), loop, loop.create_future())
        with self._starting:
            if self._closed:
                raise self._closed_error()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="sessionstore-sqlite", daemon=True)
                self._thread.start()
            self._queue.put(waiting)
        return await waiting.future

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
        self._thread = None
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._swept = 0

    def _renew_after_fork(self) -> None:
        if self._pid != os.getpid():
            self._begin()

    def _closed_error(self) -> BackendClosed:
        return BackendClosed(f"the backend at {self.path} is closed")

    def _with_connection(self, units: list[_Unit]) -> list[list[Answer] | Exception]:
        """Do a group on this thread: for each unit its answers, or what its caller did wrong."""
        try:
            db = self._idle.pop()
        except IndexError:
            try:
                db = self._connect()
            except SessionStoreError as exc:
                return [[exc] * len(unit.calls) for unit in units]
        try:
            answers = self._group(db, units)
        except BaseException:
            db.close()
            raise
        self._idle.append(db)
        while self._closed and self._idle:  # closed meanwhile: nobody else will
            self._idle.pop().close()
        return answers

    def _work(self) -> None:
        """The dedicated thread: takes all that waits as one group, until `close`."""
        open_ = True
        while open_:
            group = [self._queue.get()]
            with suppress(Empty):
                while len(group) < GROUP:
                    group.append(self._queue.get_nowait())
            open_ = None not in group
            waiting = [item for item in group if item]
            if waiting:
                try:
                    answers = self._with_connection([item.unit for item in waiting])
                except Exception as exc:
                    answers = [exc] * len(waiting)
                _deliver(waiting, answers)

    # -- one group of calls

    def _group(self, db: sqlite3.Connection, units: list[_Unit]) -> list[list[Answer] | Exception]:
        """One transaction for all; or, when something goes wrong in it, one for each unit, or for each call."""
        writing = any(call.batch.writes or call.source is not None for unit in units for call in unit.calls)
        try:
            try:
                return [*self._patiently(lambda: self._transaction(db, units, writing))]
            except WriteNeeded:
                return [*self._patiently(lambda: self._transaction(db, units, True))]
        except (BackendUnavailable, OutcomeUnknown) as exc:  # it would be no better one by one
            return [[exc] * len(unit.calls) for unit in units]
        except Exception as exc:
            if len(units) > 1:
                return [self._group(db, [unit])[0] for unit in units]
            if not isinstance(exc, sqlite3.Error):
                return [exc]
            if len(units[0].calls) == 1:
                return [[self._translate(exc)]]
            answers: list[Answer] = []
            for call in units[0].calls:
                if units[0].ordered and answers and is_stop(answers[-1]):
                    answers.append(not_tried(answers[-1]))
                    continue
                (alone,) = self._group(db, [_Unit([call], False)])
                if isinstance(alone, Exception):
                    return [alone]
                answers += alone
            return [answers]

    def _transaction(self, db: sqlite3.Connection, units: list[_Unit], writing: bool) -> list[list[Answer]]:
        if not writing:
            return self._inside(db, units, False)
        if not self._writing.acquire(timeout=self._patience):
            raise BackendUnavailable(f"other threads kept {self.path} busy for {self._patience} s")
        try:
            return self._inside(db, units, True)
        finally:
            self._writing.release()

    def _inside(self, db: sqlite3.Connection, units: list[_Unit], writing: bool) -> list[list[Answer]]:
        db.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
        try:
            now = time.time_ns() // 1_000_000
            if writing and now - self._swept > 1000:
                self._swept = now
                sweep(db, now)
            answers = [self._unit(db, unit, now, writing) for unit in units]
        except BaseException:
            if db.in_transaction:  # some errors end it by themselves
                db.execute("ROLLBACK")
            raise
        self._commit(db)
        return answers

    def _unit(self, db: sqlite3.Connection, unit: _Unit, now: int, writing: bool) -> list[Answer]:
        answers: list[Answer] = []
        for call in unit.calls:
            if unit.ordered and answers and is_stop(answers[-1]):
                answers.append(not_tried(answers[-1]))
                continue
            target = Partition(db, call.partition, now, writing)
            source = None if call.source is None else Partition(db, call.source, now, writing)
            try:
                answers.append(apply(target, call.batch, now, source))
            except SessionStoreError as exc:  # only raised while nothing of this call has changed
                answers.append(exc)
        return answers

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


def _deliver(waiting: list[_Waiting], answers: list[list[Answer] | Exception]) -> None:
    """Give every caller its answers, with one wake-up for each event loop."""
    shares: dict[asyncio.AbstractEventLoop, list[tuple[_Waiting, list[Answer] | Exception]]] = {}
    for item, share in zip(waiting, answers, strict=True):
        shares.setdefault(item.loop, []).append((item, share))
    for loop, share_list in shares.items():
        with suppress(RuntimeError):  # that loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(_resolve, share_list)


def _resolve(shares: list[tuple[_Waiting, list[Answer] | Exception]]) -> None:
    for item, share in shares:
        if item.future.done():
            continue  # cancelled meanwhile
        if isinstance(share, Exception):
            item.future.set_exception(share)
        else:
            item.future.set_result(share)
