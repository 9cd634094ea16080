"""Writers in processes of their own, which are killed at any moment.

Rule: what became of a process is read off its notes; nobody asks it.
"""

from __future__ import annotations

import os
import tempfile
from multiprocessing.process import BaseProcess
from pathlib import Path

from faults.ledger import notes
from faults.writers import Kind
from support.nursery import NURSERY
from support.waiting import wait_until
from typing_extensions import Self


def live(kind: Kind, number: int, life: int) -> None:
    """Be a writer, until somebody kills this process."""
    writer = kind.writer(number, life)
    if kind.user is not None:
        with tempfile.TemporaryDirectory() as folder:  # whoever it is may not read what is imported on first use
            rehearsal = kind._replace(url="memory:", options={}, folder=Path(folder)).writer(number, life)
            rehearsal.step()
            rehearsal.close()
        os.setgid(kind.user)
        os.setuid(kind.user)
    while True:
        writer.step()


class Lives:
    """Writers in processes, which can be killed; another one of the same number follows."""

    def __init__(self, kind: Kind, many: int) -> None:
        self._kind = kind
        self._lives = [0] * many
        self.processes: list[BaseProcess] = []

    def __enter__(self) -> Self:
        for number in range(len(self._lives)):
            self.processes.append(self._start(number))
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill_all()

    def _start(self, number: int) -> BaseProcess:
        self._lives[number] += 1
        process = NURSERY.Process(target=live, args=(self._kind, number, self._lives[number]), daemon=True)
        process.start()
        return process

    def kill(self, number: int) -> None:
        """Kill -9."""
        self.processes[number].kill()
        self.processes[number].join()

    def follow(self, number: int) -> None:
        """Let the next one begin."""
        self.processes[number] = self._start(number)

    def kill_all(self) -> None:
        for number in range(len(self.processes)):
            self.kill(number)

    def follow_all(self) -> None:
        for number in range(len(self.processes)):
            self.follow(number)

    def progress(self, number: int, many: int, *results: str) -> None:
        """Wait until the one that lives has ended so many more acts, in one of these ways."""
        goal = self._count(number, results) + many

        def reached() -> bool:
            assert self.processes[number].is_alive(), f"writer {number} has ended by itself: see its stderr"
            return self._count(number, results) >= goal

        wait_until(reached, f"writer {number} has ended {many} more acts {results}", 120, 0.005)

    def all_progress(self, many: int, *results: str) -> None:
        """Wait until each has ended so many more acts, in one of these ways."""
        for number in range(len(self.processes)):
            self.progress(number, many, *results)

    def _count(self, number: int, results: tuple[str, ...]) -> int:
        found = notes(self._kind.folder, f"w{number}.{self._lives[number]:05}")
        return sum(note.result.startswith(results or ("done", "unknown", "refused")) for note in found)
