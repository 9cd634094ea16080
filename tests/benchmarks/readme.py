"""The part of the README that comes from the figures.

Rule: what stands between the two markers is made here and nowhere else; the words around it are not touched.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.figures import Figures
from benchmarks.report import rows_of_targets

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- benchmarks -->\n", "<!-- /benchmarks -->\n"
FOLDER = "tests/benchmarks/results"


def part(figures: Figures) -> str:
    """What stands between the markers."""
    run = figures.run
    packages = ", ".join(f"{name} {version}" for name, version in run["packages"].items())
    servers = ", ".join(f"{name} {version}" for name, version in sorted(run["servers"].items()))
    return "\n".join(
        [
            "",
            "| ratio of medians | wanted | reached | |",
            "|---|---|---|---|",
            *[f"| {' | '.join(row)} |" for row in rows_of_targets(figures)],
            "",
            *[f"- {note.workload}: {note.contender} {note.kind}, {note.text}" for note in figures.notes],
            "",
            f"![The time of a turn as a conversation grows]({FOLDER}/turns.png)",
            "",
            f"![What is stored as a conversation grows]({FOLDER}/storage.png)",
            "",
            f"`{run['command']}` on {run['date']}, in {run['seconds'] / 60:.0f} minutes: {run['processor']},"
            f" {run['cores']} cores, {run['memory']}, {run['system']}, {run['python']}. {packages}. {servers}.",
            "",
            "",
        ]
    )


def rewritten(text: str, figures: Figures) -> str:
    """The README with this part."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN.strip()} and {END.strip()} in the README")
    return before + begin + part(figures) + end + after
