"""Sessions as dicts and as files of JSON lines: from any backend into any other, checkpoints and all.

    {"format": "langgraph_sessionstore.session", "version": 1, "id": ..., "rows": how many}
    {"k": key, "v": value}                      one line for each row; both in base64
    {"end": how many, "sha256": of all lines above}

Rule 1: a file is complete or it is refused: the last line proves it. It appears under its name when it is complete.
Rule 2: what is read is rows of a session or it is refused; nothing in it is executed, and types are revived under the
        policy of the checkpointer, as always.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from .backends.base import Backend
from .drive import arun, run
from .errors import BackendFull, ConfigurationError, CorruptData, UnsupportedFormat
from .ops import Plan, Row
from .plans import moving
from .plans.desk import Desk
from .plans.given import as_id

FORMAT = "langgraph_sessionstore.session"
VERSION = 1
Progress = Callable[[int, int], None]


# -- leaving


def _leaving(desk: Desk, take: Callable[[Row], None], progress: Progress | None) -> Plan[int]:
    """Read a session in pieces."""
    at = moving.place(desk.chance.new_id())
    total = (yield from moving.leave(desk, at)).rows
    reader = moving.Reader(at, total)
    try:
        while rows := (yield from reader.piece()):
            for row in rows:
                take(row)
            if progress is not None:
                progress(reader.rows, total)
    finally:
        yield from moving.drop(at)
    return total


def _as_dict(desk: Desk) -> Plan[dict[str, Any]]:
    rows: list[list[str]] = []
    yield from _leaving(desk, lambda row: rows.append([_text(row[0]), _text(row[1])]), None)
    return {"format": FORMAT, "version": VERSION, "id": desk.session_id, "rows": rows}


def to_dict(backend: Backend, desk: Desk) -> dict[str, Any]:
    """A whole session as a dict that JSON can hold."""
    return run(backend, _as_dict(desk))


async def ato_dict(backend: Backend, desk: Desk) -> dict[str, Any]:
    """The async form of `to_dict`."""
    return await arun(backend, _as_dict(desk))


class _Target:
    """A file under way: it takes its name when it is complete."""

    def __init__(self, file: str | os.PathLike[str], session_id: str) -> None:
        self.path = Path(file)
        with self._writing():
            number, self.temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name[:40]}.")
        self.file = os.fdopen(number, "wb")
        self.hash = sha256()
        self.rows = 0
        self._line({"format": FORMAT, "version": VERSION, "id": session_id})

    def take(self, row: Row) -> None:
        self._line({"k": _text(row[0]), "v": _text(row[1])})
        self.rows += 1

    def _line(self, content: dict[str, Any]) -> None:
        line = json.dumps(content).encode() + b"\n"
        self.hash.update(line)
        with self._writing():
            self.file.write(line)

    def finish(self) -> None:
        self._line({"end": self.rows, "sha256": self.hash.hexdigest()})
        with self._writing():
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            os.replace(self.temporary, self.path)

    def abandon(self) -> None:
        with suppress(OSError):  # why it is abandoned is the error that matters
            self.file.close()
        with suppress(OSError):
            Path(self.temporary).unlink()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What goes wrong with the file is a `ConfigurationError` that names it; what a caller's code raises is not."""
        try:
            yield
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                raise BackendFull(f"{self.path} cannot be written: {exc.strerror}") from exc
            raise ConfigurationError(f"{self.path} cannot be written: {exc}") from exc


def export(backend: Backend, desk: Desk, file: str | os.PathLike[str], progress: Progress | None) -> int:
    """Write a whole session to a file; how many rows it has."""
    target = _Target(file, desk.session_id)
    try:
        rows = run(backend, _leaving(desk, target.take, progress))
        target.finish()
    except BaseException:
        target.abandon()
        raise
    return rows


async def aexport(backend: Backend, desk: Desk, file: str | os.PathLike[str], progress: Progress | None) -> int:
    """The async form of `export`."""
    target = _Target(file, desk.session_id)
    try:
        rows = await arun(backend, _leaving(desk, target.take, progress))
        await asyncio.to_thread(target.finish)
    except BaseException:
        target.abandon()
        raise
    return rows


# -- arriving


class Arrival:
    """A session that arrives: its id, and its rows in pieces."""

    def __init__(self, session_id: str, total: int, pieces: Iterator[list[Row]]) -> None:
        self.session_id = session_id
        self.total = total
        self.pieces = pieces


def of_dict(data: Mapping[str, Any]) -> Arrival:
    """The session that `to_dict` made this of."""
    rows = data.get("rows") if isinstance(data, Mapping) else None
    if not isinstance(rows, list):
        raise CorruptData("this is not what Session.to_dict() made: it holds no rows")
    session_id = _head(data)

    def pieces() -> Iterator[list[Row]]:
        for at in range(0, len(rows), moving.CHUNK):
            yield [_row(pair, at + number) for number, pair in enumerate(rows[at : at + moving.CHUNK])]

    return Arrival(session_id, len(rows), pieces())


def of_file(file: str | os.PathLike[str]) -> Arrival:
    """The session that `export` wrote to this file. The whole of it is checked before anything is stored."""
    path = Path(file)
    with _reading(path):
        if path.exists() and not path.is_file():
            raise ConfigurationError(f"{path} cannot be read twice, as an import does: it is no regular file")
        session_id, total = _check(path)

    def pieces() -> Iterator[list[Row]]:
        gathered: list[Row] = []
        size = 0
        with _reading(path), path.open("rb") as lines:
            next(lines, b"")
            for number in range(total):  # what was cut meanwhile has empty lines
                content = _json(next(lines, b""), number)
                gathered.append(_row([content.get("k"), content.get("v")], number))
                size += len(gathered[-1][1])
                if len(gathered) == moving.CHUNK or size >= moving.PIECE:
                    yield gathered
                    gathered, size = [], 0
        if gathered:
            yield gathered

    return Arrival(session_id, total, pieces())


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc}") from exc


def _check(path: Path) -> tuple[str, int]:
    """The session's id and the number of rows of a file that is complete."""
    digest, count = sha256(), -1
    with path.open("rb") as lines:
        head = _json(next(lines, b""), 0)
        session_id = _head(head)
        digest.update(json.dumps(head).encode() + b"\n")
        last: dict[str, Any] = {}
        for line in lines:
            count += 1
            last = _json(line, count)
            if "end" in last:
                break
            digest.update(line)
        if last.get("end") != count or last.get("sha256") != digest.hexdigest() or next(lines, b""):
            raise CorruptData(f"{path} is not complete, or was changed: nothing of it was taken")
    return session_id, count


def _head(data: Mapping[str, Any]) -> str:
    if data.get("format") != FORMAT or not isinstance(data.get("version"), int):
        raise CorruptData("this is no session that this library has exported")
    if data["version"] > VERSION:
        raise UnsupportedFormat(
            f"this session is exported in version {data['version']}, this library reads up to {VERSION}: "
            "upgrade langgraph-sessionstore"
        )
    return as_id(data.get("id"))


def _json(line: bytes, number: int) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise CorruptData(f"row {number} of an exported session is no JSON") from exc
    if not isinstance(content, dict):
        raise CorruptData(f"row {number} of an exported session is damaged")
    return content


def _row(pair: Any, number: int) -> Row:
    try:
        key, value = pair
        return base64.b64decode(key, validate=True), base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error) as exc:
        raise CorruptData(f"row {number} of an exported session is damaged") from exc


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def arriving(desk: Desk, arrival: Arrival, progress: Progress | None) -> Plan[bytes | None]:
    """Let a session arrive: its incarnation; None: it has no rows."""
    at = moving.place(desk.chance.new_id())
    gathered, done = moving.Gathering(at, desk.chance.new_id), 0
    try:
        for rows in arrival.pieces:
            moving.check(desk, rows)
            yield from gathered.add(rows)
            done += len(rows)
            if progress is not None:
                progress(done, arrival.total)
        return (yield from moving.arrive(desk, gathered))
    except BaseException:
        yield from moving.drop(at)
        raise
