"""What a workload is: a name, who runs in it, and what is done. `workloads` knows them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.contender import Contender


class Workload(NamedTuple):
    """Figures of one kind."""

    name: str
    what: str
    contenders: tuple[type[Contender], ...]
    run: Callable[[Any], None]
    """Given the race of these contenders."""
