"""What a session has used: recording, sums, and tables to read."""

from __future__ import annotations

from ..adapters.usage_handler import UsageHandler
from ..errors import ConfigurationError
from ..ops import Plan
from ..plans import accounts
from ..plans.accounts import Call, Spent
from ..usage import Metrics, Usage, cost_of
from .common import Handle

_MOST = 10**9
"""Tokens, calls or seconds of one record; sums have room for millions of such."""


class Costs(Handle):
    """Usage and cost."""

    def record_usage(
        self,
        phase: str,
        model: str = "",
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cached_tokens: int = 0,
        seconds: float = 0.0,
        cost: float | None = None,
        calls: int = 1,
    ) -> None:
        """Add to what was used in a phase, by a model. Without `cost` it is calculated from the manager's prices."""
        used = Usage(calls, input_tokens, output_tokens, cached_tokens, seconds)
        self._run(accounts.record(self._desk, [self._call(phase, model, used, cost)]))

    async def arecord_usage(
        self,
        phase: str,
        model: str = "",
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cached_tokens: int = 0,
        seconds: float = 0.0,
        cost: float | None = None,
        calls: int = 1,
    ) -> None:
        """The async form of `record_usage`."""
        used = Usage(calls, input_tokens, output_tokens, cached_tokens, seconds)
        await self._arun(accounts.record(self._desk, [self._call(phase, model, used, cost)]))

    def usage_handler(self, phase: str | None = None) -> UsageHandler:
        """A LangChain callback that records each call of a model: `model.invoke(..., {"callbacks": [handler]})`.

        Without a phase, that is the node of the graph in which the call is made, else "chat".
        """
        return UsageHandler(self.record_usage, phase, self._place)

    @property
    def usage(self) -> Usage:
        """All that was used so far."""
        return self.metrics.total

    async def ausage(self) -> Usage:
        """The async form of `usage`."""
        return (await self.ametrics()).total

    @property
    def last_usage(self) -> Usage | None:
        """What was recorded last."""
        return self._run(accounts.read(self._desk))[1]

    async def alast_usage(self) -> Usage | None:
        """The async form of `last_usage`."""
        return (await self._arun(accounts.read(self._desk)))[1]

    @property
    def metrics(self) -> Metrics:
        """Totals, and their breakdown by phase and model."""
        return self._run(self._metrics())

    async def ametrics(self) -> Metrics:
        """The async form of `metrics`."""
        return await self._arun(self._metrics())

    def show_cost(self) -> str:
        """Cost, calls, tokens and time by phase, as a table."""
        return self.metrics.table()

    async def ashow_cost(self) -> str:
        """The async form of `show_cost`."""
        return (await self.ametrics()).table()

    def show_cost_summary(self) -> str:
        """Cost, calls and time in one line."""
        return self.metrics.summary()

    async def ashow_cost_summary(self) -> str:
        """The async form of `show_cost_summary`."""
        return (await self.ametrics()).summary()

    def _metrics(self) -> Plan[Metrics]:
        return (yield from accounts.read(self._desk))[0]

    def _call(self, phase: str, model: str, usage: Usage, cost: float | None = None) -> Call:
        """A call of a model as it is recorded, with what it costs."""
        _name(model, "model")
        for name, number in usage._asdict().items():
            whole = name not in ("seconds", "cost")
            kinds = int if whole else (int, float)
            if isinstance(number, bool) or not isinstance(number, kinds) or not 0 <= number < _MOST:
                raise ConfigurationError(f"record_usage: {name} is a number from 0 to {_MOST:,}, not {number!r:.80}")
        if usage.cached_tokens > usage.input_tokens:
            raise ConfigurationError("record_usage: cached_tokens are a part of input_tokens, and cannot be more")
        if cost is None:
            cost = cost_of(self._common.prices, model, usage)
        if isinstance(cost, bool) or not isinstance(cost, (int, float)) or not 0 <= cost < 1e6:
            raise ConfigurationError(f"record_usage: cost is a number from 0 on, not {cost!r:.80}")
        micros, nanos = round(usage.seconds * 1e6), round(cost * 1e9)
        spent = Spent(usage.calls, usage.input_tokens, usage.output_tokens, usage.cached_tokens, micros, nanos)
        return Call(_name(phase, "phase"), model, spent)


def _name(given: str, what: str) -> str:
    if not isinstance(given, str):
        raise ConfigurationError(f"record_usage: a {what} is text, not {type(given).__name__}")
    return given
