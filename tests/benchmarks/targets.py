"""What is to be reached, each a ratio of two medians of one run.

Rule: a bound is met when every figure of a target is; one that was not measured is neither met nor missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from benchmarks.figures import Figures

Figure = Callable[[Figures], "float | None"]


class Target(NamedTuple):
    """A bound for some figures."""

    name: str
    bound: float
    figures: Mapping[str, Figure]
    least: bool = False
    """The figures are to be at least the bound, not at most."""

    @property
    def wanted(self) -> str:
        """The bound in words."""
        return f"{'≥' if self.least else '≤'} {self.bound:.3g}"

    def reached(self, figures: Figures) -> dict[str, float | None]:
        """What each figure is."""
        return {name: figure(figures) for name, figure in self.figures.items()}

    def met(self, figures: Figures) -> bool | None:
        """Whether the bound is kept; None when something was not measured."""
        reached = list(self.reached(figures).values())
        if any(value is not None and (value < self.bound if self.least else value > self.bound) for value in reached):
            return False
        return None if None in reached else True


def ratio(workload: str, measure: str, ours: str, other: str, of_other: str | None = None) -> Figure:
    """Ours in proportion to the other: of the same measure, unless the other's is named."""
    return lambda figures: figures.ratio(workload, measure, ours, other, of_other)


def amount(workload: str, measure: str, ours: str) -> Figure:
    """The figure itself."""
    return lambda figures: figures.median(workload, measure, ours)


def calls(ours: str, other: str, form: str = "") -> dict[str, Figure]:
    """Of the single calls."""
    return {name: ratio("micro", form + name, ours, other) for name in ("put", "put_writes", "get_tuple")}


def turn(ours: str, other: str) -> dict[str, Figure]:
    return {"turn 300": ratio("growth", "turn 300", ours, other)}


def storage(ours: str, other: str) -> dict[str, Figure]:
    return {"turn 300": ratio("growth", "storage 300", ours, other)}


MEMORY, FILE, REDIS = "our memory", "our file", "our Redis"

TARGETS = (
    Target("time of a turn: memory / InMemorySaver", 0.3, turn(MEMORY, "InMemorySaver")),
    Target("time of a turn: file / SqliteSaver", 0.25, turn(FILE, "SqliteSaver")),
    Target("time of a turn: Redis / InMemorySaver", 0.4, turn(REDIS, "InMemorySaver")),
    Target("time of a turn: Redis / RedisSaver", 0.05, turn(REDIS, "RedisSaver")),
    Target(
        "new worker: Redis / PostgresSaver",
        1.1,
        {
            "read": ratio("growth", "cold read 300", REDIS, "PostgresSaver"),
            "turn": ratio("growth", "cold turn 300", REDIS, "PostgresSaver"),
        },
    ),
    Target("storage: Redis / RedisSaver", 1 / 100, storage(REDIS, "RedisSaver")),
    Target("storage: file / SqliteSaver", 1 / 120, storage(FILE, "SqliteSaver")),
    Target("storage: Redis / PostgresSaver", 1 / 40, storage(REDIS, "PostgresSaver")),
    Target("calls: memory / InMemorySaver", 1.0, calls(MEMORY, "InMemorySaver")),
    Target("calls: file / SqliteSaver", 1.0, calls(FILE, "SqliteSaver")),
    Target("async calls: file / AsyncSqliteSaver", 0.4, calls(FILE, "SqliteSaver", "a")),
    Target("calls: Redis / RedisSaver", 0.5, calls(REDIS, "RedisSaver")),
    Target("calls: Redis / ValkeySaver", 0.5, calls(REDIS, "ValkeySaver")),
    Target("calls: Redis / raw client", 1.5, calls(REDIS, "raw client")),
    Target("async calls: Redis / raw client", 1.5, calls(REDIS, "raw client", "a")),
    Target(
        "history of 500 checkpoints: memory / InMemorySaver",
        0.25,
        {name: ratio("listing", name, MEMORY, "InMemorySaver") for name in ("history of 500", "list 10 of 500")},
    ),
    Target(
        "50 conversations at once: errors",
        0,
        {name: amount("crowd", "errors of 50", name) for name in (MEMORY, FILE, REDIS)},
    ),
    Target(
        "50 conversations at once: Redis / AsyncRedisSaver",
        3,
        {"turns a second": ratio("crowd", "turns of 50", REDIS, "RedisSaver")},
        least=True,
    ),
    Target(
        "50 conversations at once: Redis / AsyncPostgresSaver",
        1.5,
        {"turns a second": ratio("crowd", "turns of 50", REDIS, "PostgresSaver")},
        least=True,
    ),
    Target(
        "fork with 1,000 checkpoints: Redis / bare COPY",
        1.5,
        {"fork": ratio("fork", "fork 1,000", REDIS, "bare COPY")},
    ),
    Target(
        "one more message: to 5,000 / to 10",
        1.2,
        {name: ratio("histories", "append to 5,000", name, name, "append to 10") for name in (MEMORY, FILE, REDIS)},
    ),
    Target(
        "1,000 messages / their rows read raw, and loads of each",
        1.2,
        {
            ours: ratio("histories", "load 1,000", ours, raw)
            for ours, raw in ((MEMORY, "raw dict"), (FILE, "raw sqlite3"), (REDIS, "raw redis-py"))
        },
    ),
    Target(
        "a page of sessions: of 100,000 / of 100",
        2,
        {
            f"{name} by {by}": ratio("sessions", f"{by} of 100,000", name, name, f"{by} of 100")
            for name in (MEMORY, FILE, REDIS)
            for by in ("created", "updated")
        },
    ),
)
