"""Partitions in one SQLite database inside a directory, shared by any number of processes of one machine.

    sqlite_file     the database file      sqlite_rows      one partition's rows in it
    sqlite_pool     connections            sqlite_worker    the threads for async callers

Rule 1: a group of calls is one transaction, answered after its COMMIT. Guards are checked before anything is
        written (see `apply`), so a refused batch has nothing to undo; on any other trouble the whole
        group is rolled back, and its calls run again one by one.
Rule 2: sync callers work on their own thread. Async callers hand their calls to one dedicated thread for what writes
        and one for what reads, so that readers never wait for a writer.
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
from pathlib import Path
from typing import Literal, TypeVar, get_args

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
from .base import Answer, Backend, not_tried, refuse_copies
from .retries import COUNTED, again
from .sqlite_file import connect, prepare
from .sqlite_pool import Pool
from .sqlite_rows import Partition, WriteNeeded, sweep
from .sqlite_worker import Result, Unit, Worker

Durability = Literal["normal", "full"]
T = TypeVar("T")


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
        if not 0 <= busy_timeout < 1e6:
            raise ConfigurationError(f"busy_timeout is a number of seconds, not {busy_timeout!r}")
        if "\0" in os.fspath(path):
            raise ConfigurationError(f"a path holds no NUL: {path!r}")
        self.path = Path(path)
        self._home = self.path.absolute()  # so that a later chdir leads nobody astray
        self._durability = durability
        self._patience = busy_timeout
        self._closed = False
        self._swept = 0
        self._begin()
        self._pool = Pool(self._connect, in_child=self._begin)
        self._pool.give(self._pool.take())  # what cannot be used shall say so now

    def _begin(self) -> None:
        """Start with nothing under way, as at first and in a forked child."""
        self._writing = threading.Lock()
        self._workers = {kind: Worker(f"sessionstore-{kind}", self._do) for kind in ("reads", "writes")}

    def __repr__(self) -> str:
        return f"FilesystemBackend({str(self.path)!r}, durability={self._durability!r})"

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        refuse_copies(calls)
        self._refuse_closed()
        (result,) = self._do([Unit(calls, ordered, COUNTED.get())])
        if isinstance(result, Exception):
            raise result
        return result

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`. A caller that is cancelled does not stop it."""
        refuse_copies(calls)
        self._refuse_closed()
        unit = Unit(calls, ordered, COUNTED.get())
        return await self._workers["writes" if unit.writes else "reads"].do(unit)

    def close(self) -> None:
        """Finish what async callers handed over, then close all connections."""
        self._closed = True
        for worker in self._workers.values():
            worker.close()
        self._pool.close()

    async def aclose(self) -> None:
        """The async form of `close`."""
        await asyncio.get_running_loop().run_in_executor(None, self.close)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise BackendClosed(f"the backend at {self.path} is closed")

    def _do(self, units: list[Unit]) -> list[Result]:
        """Do a group on this thread."""
        try:
            db = self._pool.take()
        except SessionStoreError as exc:
            return [[exc] * len(unit.calls) for unit in units]
        broken = True
        try:
            results = self._group(db, units)
            broken = False
        finally:
            self._pool.give(db, broken=broken)
        return results

    # -- one group of calls

    def _group(self, db: sqlite3.Connection, units: list[Unit]) -> list[Result]:
        """One transaction for all; or, when something goes wrong in it, one for each unit, or for each call."""
        writing = any(unit.writes for unit in units)
        try:
            try:
                return [*self._patiently(lambda: self._transaction(db, units, writing), units)]
            except WriteNeeded:
                return [*self._patiently(lambda: self._transaction(db, units, True), units)]
        except (BackendUnavailable, OutcomeUnknown) as exc:  # it would be no better one by one
            return [[exc] * len(unit.calls) for unit in units]
        except Exception as exc:
            if len(units) > 1:
                return [self._group(db, [unit])[0] for unit in units]
            if not isinstance(exc, (sqlite3.Error, UnicodeDecodeError)):
                return [exc]
            if len(units[0].calls) == 1:
                return [[self._translate(exc)]]
            answers: list[Answer] = []
            for call in units[0].calls:
                if skipped := not_tried(units[0].ordered, answers):
                    answers.append(skipped)
                    continue
                (alone,) = self._group(db, [Unit([call], False, units[0].retries)])
                if isinstance(alone, Exception):
                    return [alone]
                answers += alone
            return [answers]

    def _transaction(self, db: sqlite3.Connection, units: list[Unit], writing: bool) -> list[list[Answer]]:
        if not writing:
            return self._inside(db, units, False)
        if not self._writing.acquire(timeout=self._patience):
            raise BackendUnavailable(f"other threads kept {self.path} busy for {self._patience} s")
        try:
            return self._inside(db, units, True)
        finally:
            self._writing.release()

    def _inside(self, db: sqlite3.Connection, units: list[Unit], writing: bool) -> list[list[Answer]]:
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

    def _unit(self, db: sqlite3.Connection, unit: Unit, now: int, writing: bool) -> list[Answer]:
        answers: list[Answer] = []
        for call in unit.calls:
            if skipped := not_tried(unit.ordered, answers):
                answers.append(skipped)
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
        try:
            file = prepare(self._home)
            return self._patiently(lambda: connect(file, self._durability))
        except (sqlite3.Error, UnicodeDecodeError) as exc:
            raise self._translate(exc) from exc

    def _patiently(self, attempt: Callable[[], T], units: Sequence[Unit] = ()) -> T:
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
            for unit in units:
                again(unit.retries)

    def _translate(self, exc: sqlite3.Error | UnicodeDecodeError) -> BackendError:
        """The only place where SQLite's errors become ours. Its messages are fixed texts in its source."""
        text = str(exc)
        kind: type[BackendError] = BackendError
        if "full" in text:
            kind = BackendFull
        elif "malformed" in text or "not a database" in text or isinstance(exc, UnicodeDecodeError):
            # damage can stand in the text of an error, which sqlite3 then fails to decode
            kind = DamagedStorage
        elif "unable to open" in text:
            kind = BackendUnavailable
        error = kind(f"{self.path}: {text}")
        error.__cause__ = exc
        return error
