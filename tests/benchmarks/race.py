"""The rounds of one workload: every contender once a round, each round in another order.

Rule: the first round warms up, and nothing of it is kept. Who fails is out, and why is noted; so is who takes too long.
"""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

from benchmarks.absent import Absent
from benchmarks.contender import Contender
from benchmarks.figures import Figures, Kind, Note, Unit
from benchmarks.stage import Stage

T = TypeVar("T")
C = TypeVar("C", bound=Contender)


class Race(Generic[C]):
    """Contenders in one workload; whoever is in `there` still runs."""

    def __init__(
        self, stage: Stage, figures: Figures, workload: str, kinds: Sequence[type[C]], say: Callable[[str], None]
    ) -> None:
        self.stage = stage
        self.figures = figures
        self.workload = workload
        self.there: list[C] = []
        self.warming = False
        self._say = say
        for kind in kinds:
            self.figures.beside[kind.name] = kind.beside
            try:
                self.there.append(kind(stage))
            except Absent as reason:
                self.note(kind.name, "absent", str(reason))
            except Exception as error:
                self._failed(kind.name, error)

    def rounds(self, count: int, what: str = "", *, warm: bool = True, budget: float | None = None) -> Iterator[C]:
        """Each contender once a round; one that has taken more seconds than its budget takes no further part."""
        spent = dict.fromkeys([each.name for each in self.there], 0.0)
        over: set[str] = set()
        for number in range(-1 if warm else 0, count):
            self.warming = number < 0
            self.say(f"{what} {'warming up' if number < 0 else f'round {number + 1} of {count}'}")
            for contender in self.rotated(number):
                name = contender.name
                if name in over:
                    continue
                begun = time.perf_counter()
                yield contender
                spent[name] += time.perf_counter() - begun
                if budget and spent[name] > budget and 0 <= number < count - 1:
                    over.add(name)
                    self.note(name, "stopped", f"{what or 'all'}: {number + 1} of {count} rounds".strip())
        self.warming = False

    def rotated(self, number: int) -> list[C]:
        """Those who are there, beginning with another one each time."""
        first = number % max(1, len(self.there))
        return self.there[first:] + self.there[:first]

    @contextmanager
    def trying(self, contender: C) -> Iterator[None]:
        """What fails in here takes the contender out."""
        try:
            yield
        except Exception as error:
            self.there.remove(contender)
            self._failed(contender.name, error)

    def record(self, contender: C, measure: str, value: float, unit: Unit = "s") -> None:
        """Keep a figure, unless this is to warm up."""
        if not self.warming:
            self.figures.record(self.workload, measure, contender.name, value, unit)

    def note(self, name: str, kind: Kind, text: str) -> None:
        """What a reader has to know."""
        note = Note(self.workload, name, kind, " ".join(text.split()))
        if note not in self.figures.notes:
            self.figures.notes.append(note)
            self.say(f"{name} {kind}: {note.text}")

    def say(self, text: str) -> None:
        """What is being done."""
        self._say(f"{self.workload}: {text.strip()}")

    def _failed(self, name: str, error: Exception) -> None:
        self._say("".join(traceback.format_exception(error)))
        self.note(name, "failed", f"{type(error).__name__}: {error}"[:300])


def timed(act: Callable[..., T], *args: object) -> tuple[float, T]:
    """How many seconds it takes, and what it returns."""
    begun = time.perf_counter()
    result = act(*args)
    return time.perf_counter() - begun, result


def settle() -> None:
    """Before a series: what others have left behind is not for the next one to clear away."""
    gc.collect()
