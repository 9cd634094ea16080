"""What this library costs beside what else there is: `python -m tox -e bench`, or `python -m benchmarks` in `tests`.

Rule: it ends with 1 when one of ours failed. A target that is missed, or somebody who cannot take part, is said.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.absent import Absent
from benchmarks.figures import Figures
from benchmarks.machine import described
from benchmarks.plots import draw
from benchmarks.race import Race
from benchmarks.readme import README, rewritten
from benchmarks.report import table, table_of_targets
from benchmarks.stage import Stage
from benchmarks.workloads import WORKLOADS

RESULTS = Path(__file__).resolve().parent / "results"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks",
        description=__doc__.splitlines()[0],
        epilog="A run of all workloads in full is kept in the folder of results; another one only where --out says.",
    )
    parser.add_argument("workload", nargs="*", metavar="workload", help=f"all by default: {', '.join(WORKLOADS)}")
    parser.add_argument("--list", action="store_true", help="what the workloads are")
    parser.add_argument("--quick", action="store_true", help="few rounds and few turns: does everything run?")
    parser.add_argument("--out", type=Path, help="folder for results.json and the plots")
    parser.add_argument(
        "--from", type=Path, dest="file", metavar="FILE", help="figures of an earlier run; measure nothing"
    )
    parser.add_argument("--readme", action="store_true", help="write the figures into the README")
    return parser


def main() -> int:
    """Measure, and show what was found."""
    parser = arguments()
    asked = parser.parse_args()
    if unknown := set(asked.workload) - set(WORKLOADS):
        parser.error(f"no workload {', '.join(sorted(unknown))}; there are: {', '.join(WORKLOADS)}")
    if asked.list:
        say(
            *[
                f"{each.name:<12}{each.what}: {', '.join(kind.name for kind in each.contenders)}"
                for each in WORKLOADS.values()
            ]
        )
        return 0
    folder = folder_of(asked)
    if asked.readme and folder != RESULTS:
        parser.error(f"the README shows what is in {RESULTS}: all workloads in full, or --from with --out")
    if asked.file:
        figures = Figures.load(asked.file)
        say(*[f"{table(figures, name)}\n" for name in figures.workloads])
    else:
        figures = measured(asked.workload or list(WORKLOADS), asked.quick)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        figures.save(folder / "results.json")
    say("", table_of_targets(figures))
    if folder is not None:
        try:
            draw(figures, folder)
        except Absent as reason:
            say(f"no pictures: {reason}")
    if asked.readme:
        README.write_text(rewritten(README.read_text(), figures))
    for note in figures.failures:
        say(f"FAILED: {note.workload}: {note.contender}: {note.text}")
    return int(bool(figures.failures))


def folder_of(asked: argparse.Namespace) -> Path | None:
    """Where the results go: where they were asked for, or come from, or belong when they are complete."""
    complete = RESULTS if not (asked.quick or asked.workload) else None
    folder: Path | None = asked.out or (asked.file.parent if asked.file else complete)
    return folder.resolve() if folder else None


def measured(names: list[str], quick: bool) -> Figures:
    """Run these workloads."""
    figures, begun = Figures(), time.monotonic()

    def progress(text: str) -> None:
        say(f"[{time.monotonic() - begun:6.1f} s] {text}")

    with Stage(quick=quick) as stage:
        for name in names:
            workload = WORKLOADS[name]
            workload.run(Race(stage, figures, name, workload.contenders, progress))
            say("", table(figures, name), "")
        chosen = [] if names == list(WORKLOADS) else names
        figures.run = described([*["--quick"] * quick, *chosen], stage.versions)
    figures.run["seconds"] = round(time.monotonic() - begun)
    return figures


def say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
