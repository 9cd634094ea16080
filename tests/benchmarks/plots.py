"""The growing conversation as pictures: the time of a turn, and what is stored.

Rule: both axes are logarithmic, so that a line that rises is one that costs more with every turn; ours are drawn
strong. A line ends where its contender stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.absent import needed
from benchmarks.contender import OURS
from benchmarks.figures import Figures

STRONG = ("#0b5fa5", "#1b9e77", "#d1495b")
OTHERS = ("#8c6bb1", "#e08214", "#878787", "#a6761d", "#4d4d4d", "#c994c7", "#66a61e")
PICTURES = {
    "turns.png": ("turn", 1e-3, "milliseconds of a turn"),
    "storage.png": ("storage", 2**20, "MiB stored"),
}


def draw(figures: Figures, folder: Path) -> None:
    """Both pictures, where there is something to draw; `Absent` without matplotlib."""
    canvas = needed("matplotlib.figure", "matplotlib")
    ticker = needed("matplotlib.ticker", "matplotlib")
    others = sorted(set(figures.beside) - set(OURS))
    colours = {name: OTHERS[number % len(OTHERS)] for number, name in enumerate(others)}  # the same in both
    colours.update(zip(OURS, STRONG, strict=True))
    for file, (measure, scale, title) in PICTURES.items():
        lines = list(curves(figures, measure))
        if not lines:
            continue
        picture = canvas.Figure(figsize=(8, 4.6), layout="constrained")
        axes = picture.add_subplot()
        for name, turns, values in lines:
            line = {"color": colours[name], "linewidth": 2.6 if name in OURS else 1.3}
            axes.plot(turns, [value / scale for value in values], label=name, marker="o", markersize=3, **line)
        axes.set(xscale="log", yscale="log", xlabel="turns of the conversation", ylabel=title)
        ticks = sorted({turn for _, turns, _ in lines for turn in turns})
        axes.set_xticks(ticks, [f"{turn:,}" for turn in ticks])
        axes.minorticks_off()
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
        picture.legend(loc="outside right upper", frameon=False)
        picture.savefig(folder / file, dpi=110)


def curves(figures: Figures, measure: str) -> Iterator[tuple[str, list[int], list[float]]]:
    """Each contender, the turns that it reached, and the figure at each of them."""
    growth = figures.workloads.get("growth", {})
    points = [int(name.split()[1]) for name in growth if name.split()[0] == measure]
    for name in (name for group in figures.groups("growth") for name in group):
        found = [(turn, figures.median("growth", f"{measure} {turn}", name)) for turn in points]
        known = [(turn, value) for turn, value in found if value is not None]
        if known:
            yield name, [turn for turn, _ in known], [value for _, value in known]
