"""What models have cost: usage, prices, and tables to read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from .errors import ConfigurationError


class Price(NamedTuple):
    """What a model costs, in your currency for a million tokens."""

    input: float
    output: float
    cached: float | None = None
    """Of input tokens that the provider had in its cache; None: the price of others."""


Prices = Mapping[str, Price]
"""By the name of the model. A name with a date or version behind it has the price of the name without."""


class Usage(NamedTuple):
    """Tokens, calls, seconds, cost."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Those of the input tokens that the provider had in its cache."""
    seconds: float = 0.0
    cost: float = 0.0

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class Metrics:
    """What a session has used so far."""

    def __init__(self, parts: Mapping[tuple[str, str], Usage]) -> None:
        self._parts = parts

    def __repr__(self) -> str:
        return f"<Metrics: {self.summary()}>"

    @property
    def total(self) -> Usage:
        """All together."""
        return _sum(self._parts.values())

    @property
    def total_cost(self) -> float:
        """In the currency of the prices."""
        return self.total.cost

    @property
    def total_calls(self) -> int:
        """Calls of models."""
        return self.total.calls

    @property
    def total_tokens(self) -> int:
        """Input and output tokens."""
        return self.total.total_tokens

    @property
    def total_seconds(self) -> float:
        """Spent in calls."""
        return self.total.seconds

    @property
    def breakdown(self) -> dict[str, float]:
        """The cost by phase."""
        return {phase: usage.cost for phase, usage in self.by_phase.items()}

    @property
    def by_phase(self) -> dict[str, Usage]:
        """By phase, in the order of their names."""
        return self._by(0)

    @property
    def by_model(self) -> dict[str, Usage]:
        """By model, in the order of their names."""
        return self._by(1)

    def _by(self, field: int) -> dict[str, Usage]:
        names = sorted({place[field] for place in self._parts})
        return {name: _sum(usage for place, usage in self._parts.items() if place[field] == name) for name in names}

    def summary(self) -> str:
        """One line: cost, calls, time."""
        return f"Cost: {money(self.total_cost)} | Calls: {self.total_calls} | Time: {duration(self.total_seconds)}"

    def table(self) -> str:
        """Cost, calls, tokens and time by phase."""
        rows = [(phase, usage) for phase, usage in self.by_phase.items()]
        width = max([14, *(len(phase) for phase, _ in rows)])
        line = "-" * (width + 44)
        head = f"{'Phase':<{width}}{'Cost':>12}{'Calls':>9}{'Tokens':>12}{'Time':>11}"
        body = [_row(phase, usage, width) for phase, usage in rows]
        return "\n".join(["Phase Breakdown:", line, head, line, *body, line, _row("Total", self.total, width)])


def _row(name: str, usage: Usage, width: int) -> str:
    numbers = f"{money(usage.cost):>12}{usage.calls:>9}{usage.total_tokens:>12}{duration(usage.seconds):>11}"
    return f"{name:<{width}}{numbers}"


def _sum(parts: object) -> Usage:
    total = Usage()
    for part in parts:  # type: ignore[attr-defined]
        total = Usage(*(a + b for a, b in zip(total, part, strict=True)))
    return total


def money(amount: float) -> str:
    """An amount as people read it."""
    return f"${amount:.4f}"


def duration(seconds: float) -> str:
    """A time as people read it."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m {rest}s" if hours else f"{minutes}m {rest}s"


def cost_of(prices: Prices, model: str, usage: Usage) -> float:
    """What it costs; nothing for a model without a price."""
    price = prices.get(model)
    if price is None:
        versions = r"[-@:](\d[\d.-]*|latest)"
        price = next((each for name, each in prices.items() if re.fullmatch(re.escape(name) + versions, model)), None)
    if price is None:
        return 0.0
    cached = price.input if price.cached is None else price.cached
    fresh = usage.input_tokens - usage.cached_tokens
    return (fresh * price.input + usage.cached_tokens * cached + usage.output_tokens * price.output) / 1e6


def as_prices(prices: Mapping[str, Price | tuple[float, ...]] | None) -> dict[str, Price]:
    """A table of prices: `{"model": Price(input, output)}`, per million tokens."""
    table: dict[str, Price] = {}
    if not isinstance(prices, Mapping | None) or not all(isinstance(model, str) for model in prices or ()):
        raise ConfigurationError("prices are a table by the name of the model: {'model': Price(input, output)}")
    for model, price in (prices or {}).items():
        try:
            table[model] = Price(*price)
        except TypeError as exc:
            raise ConfigurationError(f"the price of {model!r} is Price(input, output), not {price!r:.80}") from exc
        if not all(part is None or (isinstance(part, (int, float)) and part >= 0) for part in table[model]):
            raise ConfigurationError(f"the price of {model!r} is made of numbers from 0 on, not {price!r:.80}")
    return table
