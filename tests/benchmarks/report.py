"""Figures as tables, for the terminal.

Rule: a figure of somebody else stands beside ours, with its ratio to ours: 5x is five times ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.figures import Figures, Unit
from benchmarks.targets import TARGETS, Target

SCALES: dict[Unit, tuple[tuple[float, str], ...]] = {
    "s": ((1, " s"), (1e-3, " ms"), (0, " us")),
    "B": ((2**30, " GiB"), (2**20, " MiB"), (0, " KiB")),
    "/s": ((0, " /s"),),
    "": ((0, ""),),
}
DIVISORS = {" us": 1e-6, " ms": 1e-3, " KiB": 2**10, " MiB": 2**20, " GiB": 2**30}


def amount(value: float, unit: Unit) -> str:
    """With three digits and a fitting unit."""
    name = next(name for least, name in SCALES[unit] if abs(value) >= least)
    return f"{digits(value / DIVISORS.get(name, 1))}{name}"


def digits(value: float) -> str:
    """Three of them, and never an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(figures: Figures, workload: str) -> str:
    """A workload: a block for each of ours, with those that are compared with it."""
    blocks = []
    for group in figures.groups(workload):
        rows = [["", *group]]
        for measure, found in figures.workloads[workload].items():
            cells = [cell(figures, workload, measure, name, group[0]) for name in group]
            rows += [[measure, *cells]] if any(cells) else []
            assert found.samples
        blocks.append(aligned(rows))
    lines = [f"{note.contender} {note.kind}: {note.text}" for note in figures.notes if note.workload == workload]
    return "\n\n".join([f"== {workload}", *blocks, *(["\n".join(lines)] if lines else [])])


def cell(figures: Figures, workload: str, measure: str, name: str, ours: str) -> str:
    """A median, and its ratio to ours."""
    value = figures.median(workload, measure, name)
    if value is None:
        return ""
    compared = None if name == ours else figures.ratio(workload, measure, name, ours)
    return amount(value, figures.workloads[workload][measure].unit) + (f" {digits(compared)}x" if compared else "")


def rows_of_targets(figures: Figures, targets: Sequence[Target] = TARGETS) -> Iterator[tuple[str, str, str, str]]:
    """Each target: its name, what is wanted, what was reached, and whether that is enough."""
    for target in targets:
        reached = target.reached(figures)
        words = [f"{name} {'-' if value is None else digits(value)}" for name, value in reached.items()]
        met = {True: "met", False: "MISSED", None: "not measured"}[target.met(figures)]
        yield target.name, target.wanted, ", ".join(words), met


def table_of_targets(figures: Figures) -> str:
    """All targets."""
    return "== targets\n\n" + aligned([["target", "wanted", "reached", ""], *map(list, rows_of_targets(figures))])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in rows]
    return "\n".join("  ".join(row).rstrip() for row in padded)
