"""What writers note of each write, and what is found when the trouble is over.

Rule 1: a writer notes that it begins before it begins, and how it ended as soon as it knows. So what a killed writer
        has not noted is unknown, and nothing else is.
Rule 2: a text names the write that it belongs to, and which part of how many it is. So what is there is judged by
        itself, by a manager that has never seen the session.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from langgraph_sessionstore import SessionManager, keys, run
from langgraph_sessionstore.testing import check_partition, check_registry

TROUBLE = {"BackendUnavailable", "BackendFull", "BackendError"}
"""The names of errors with which a storage in trouble may refuse a write."""
REGISTRY = keys.registry("session")
"""The list of sessions."""


class Note(NamedTuple):
    """One line: which session, which act of which write, and `begun`, `done`, `unknown:` or `refused:` an error."""

    session: str
    act: str
    mark: str
    result: str


class Ledger:
    """The notes of one writer, in a file that outlives it."""

    def __init__(self, folder: Path, writer: str) -> None:
        self._file = os.open(folder / f"{writer}.notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, *note: str) -> None:
        """Add a line."""
        os.write(self._file, ("\t".join(note) + "\n").encode())

    def close(self) -> None:
        os.close(self._file)


def notes(folder: Path, writer: str = "*") -> Iterator[Note]:
    """What one writer has noted, or all, each in its order."""
    for path in sorted(folder.glob(f"{writer}.notes")):
        for line in path.read_text().splitlines():
            yield Note(*line.split("\t"))


def text_of(mark: str, part: int, parts: int, size: int = 0) -> str:
    """What a message of a write says."""
    return f"{mark} {part} {parts} {'x' * size}"


class Figures(NamedTuple):
    """What became of the writes of a scenario."""

    acknowledged: int
    unknown: int
    refused: int
    lost: list[str]
    """Acknowledged, and not there; or acknowledged as undone, and there."""
    twice: list[str]
    ghosts: list[str]
    """Refused or never begun, and there."""
    wrong: list[str]
    """Anything else that must not be: halves, another order, rows that nothing can read, errors that say too little."""
    seconds: float
    may_lose: bool
    """Whether the storage promises no more than that."""
    remark: str = ""

    @property
    def broken(self) -> list[str]:
        """What a promise forbids."""
        kinds = {"lost": [] if self.may_lose else self.lost, "twice": self.twice, "ghost": self.ghosts}
        return [f"{kind}: {each}" for kind, found in kinds.items() for each in found] + self.wrong


def judge(folder: Path, manager: SessionManager, begun: float, may_lose: bool = False) -> Figures:
    """Compare what was noted with what is there."""
    counts: Counter[str] = Counter()
    wanted: dict[tuple[str, str], str] = {}
    """Of each write: `there`, `gone` (refused), `undone` or `unknown`."""
    before: dict[tuple[str, str], str] = {}
    order: dict[str, list[str]] = {}
    wrong: list[str] = []
    for note in notes(folder):
        write = note.session, note.mark
        result, _, error = note.result.partition(":")
        if result == "begun":
            counts["begun"] += 1
            before[write] = wanted.get(write, "gone")
            wanted[write] = "unknown"
            continue
        counts[result] += 1
        if result == "done":
            wanted[write] = "undone" if note.act == "undo" else "there"
            if note.act not in ("undo", "redo"):
                order.setdefault(note.session, []).append(note.mark)
        elif result == "refused":
            wanted[write] = before[write]
            if error not in TROUBLE and not may_lose:
                wrong.append(f"{note.act} of {note.mark} was refused with {error}")
    wrong += run(manager.backend, check_registry(REGISTRY))
    found: dict[tuple[str, str], int] = {}
    listed = {info.id for info in manager.iter_sessions()}
    for session in sorted({session for session, _ in wanted}):
        marks, odd = look(manager, session)
        wrong += odd
        times = Counter(marks)
        found |= {(session, mark): many for mark, many in times.items()}
        if marks and session not in listed and not may_lose:
            wrong.append(f"{session} is not listed")
        if len(marks) == len(times):
            wrong += disordered(session, marks, order.get(session, ()))
    return Figures(
        counts["done"],
        counts["begun"] - counts["done"] - counts["refused"],
        counts["refused"],
        [f"{mark} in {session}" for (session, mark), want in wanted.items() if missed(want, (session, mark) in found)],
        [f"{mark} in {session}" for (session, mark), many in found.items() if many > 1],
        [f"{mark} in {session}" for session, mark in found if wanted.get((session, mark), "gone") == "gone"],
        wrong,
        time.monotonic() - begun,
        may_lose,
        "a failover may lose" if may_lose else "",
    )


def missed(wanted: str, found: bool) -> bool:
    return found if wanted == "undone" else wanted == "there" and not found


def disordered(session: str, found: list[str], acknowledged: Iterable[str]) -> list[str]:
    """Whose acknowledged writes are in another order than the writer's own."""
    places = {mark: place for place, mark in enumerate(found)}
    writers: dict[str, list[str]] = {}
    for mark in acknowledged:
        if mark in places:
            writers.setdefault(mark.split(".")[0], []).append(mark)
    return [
        f"{second} comes before {first} in {session}"
        for marks in writers.values()
        for first, second in itertools.pairwise(marks)
        if places[first] > places[second]
    ]


def look(manager: SessionManager, session_id: str) -> tuple[list[str], list[str]]:
    """The writes that are in a session, in their order; and what is wrong with it."""
    session = manager.get_session(session_id)
    if session is None:
        return [], []
    marks: list[str] = []
    wrong = run(manager.backend, check_partition(keys.session(session_id)))
    wrong += [str(each) for each in manager.checkpointer.check(session_id) if each.kind != "unreferenced"]
    texts: list[Any] = [message.text.split(" ")[:3] for message in session.messages]
    while texts:
        mark, part, parts = texts[0]
        whole = [[mark, str(number + 1), parts] for number in range(int(parts))]
        if texts[: len(whole)] == whole:
            marks.append(mark)
        else:
            wrong.append(f"{mark} is there by half in {session_id}: {part} of {parts}")
        del texts[: len(whole) if texts[: len(whole)] == whole else 1]
    if (summary := session.summary) is not None and summary != (marks[-1] if marks else None):
        wrong.append(f"the summary of {session_id} is of {summary}, and its last write {marks[-1:]}")
    return marks, wrong
