"""The figures of a run: what was measured, of whom, and who could not take part.

Rule: every table, plot and target is made from these alone, so all of them can be made again from the JSON file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from benchmarks.contender import OURS

Kind = Literal["absent", "stopped", "erred", "failed"]
Unit = Literal["s", "B", "/s", ""]
DIGITS = 4
SAMPLES = re.compile(r"\[\n\s+([-+.,\de\s]+?)\n\s+\]")
"""A list of numbers, which is to stand on one line."""


@dataclass
class Measure:
    """One thing that was measured, by contender: a sample of each round."""

    unit: Unit
    samples: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Note:
    """What a reader has to know of a contender in a workload."""

    workload: str
    contender: str
    kind: Kind
    text: str


@dataclass
class Figures:
    """Everything that a run has found."""

    run: dict[str, Any] = field(default_factory=dict)
    """When, how and on what: see `machine`."""
    workloads: dict[str, dict[str, Measure]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    beside: dict[str, str] = field(default_factory=dict)
    """Which of ours each contender is compared with."""

    def record(self, workload: str, measure: str, contender: str, value: float, unit: Unit = "s") -> None:
        """Add a sample."""
        found = self.workloads.setdefault(workload, {}).setdefault(measure, Measure(unit))
        found.samples.setdefault(contender, []).append(float(f"{value:.{DIGITS}g}"))

    def median(self, workload: str, measure: str, contender: str) -> float | None:
        """The median of the samples; None when there are none."""
        found = self.workloads.get(workload, {}).get(measure)
        samples = found.samples.get(contender) if found else None
        return median(samples) if samples else None

    def ratio(self, workload: str, measure: str, one: str, other: str, of_other: str | None = None) -> float | None:
        """How much more one is than the other (of the same measure, unless the other's is named)."""
        above, below = self.median(workload, measure, one), self.median(workload, of_other or measure, other)
        return None if above is None or not below else above / below

    def groups(self, workload: str) -> Iterator[list[str]]:
        """The contenders of a workload: each of ours, and those that are compared with it."""
        measured = {name for measure in self.workloads.get(workload, {}).values() for name in measure.samples}
        for ours in OURS:
            others = [name for name, beside in self.beside.items() if beside == ours and name != ours]
            if group := [name for name in (ours, *others) if name in measured]:
                yield group

    @property
    def failures(self) -> list[Note]:
        """What went wrong with ours."""
        return [note for note in self.notes if note.contender in OURS and note.kind != "stopped"]

    def save(self, file: Path) -> None:
        """Write all of it as JSON."""
        text = json.dumps(asdict(self), indent=1)
        file.write_text(SAMPLES.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n")

    @classmethod
    def load(cls, file: Path) -> Figures:
        """Read what was saved."""
        found = json.loads(file.read_text())
        workloads = {
            name: {measure: Measure(**each) for measure, each in measures.items()}
            for name, measures in found["workloads"].items()
        }
        return cls(found["run"], workloads, [Note(**note) for note in found["notes"]], found["beside"])
