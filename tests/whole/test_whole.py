"""The whole library against one model, on every backend: see `machine`.

A short campaign runs by default, the same each time. A long one, each time another:
`WHOLE_EXAMPLES=500 WHOLE_STEPS=50 pytest tests/whole -s`: so many examples for each backend, of so many steps;
`-k redis7` for one of them. What it has done is printed at its end.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from support.encryption import KEY
from whole.machine import Whole
from whole.workers import Storage, Wrap

from langgraph_sessionstore import EncryptedBackend

pytestmark = pytest.mark.long

PHASES = [phase for phase in Phase if phase is not Phase.explain]  # it traces every line, far too slowly
EXAMPLES = {"memory": 20, "file": 10, "redis7": 10, "cluster": 4, "encrypted": 10}
STEPS = 20


def plain(backend: Any) -> Any:
    return backend


def encrypted(backend: Any) -> Any:
    return EncryptedBackend(backend, KEY)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_all_parts_together(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    urls = {"memory": "memory:", "file": "file:", "encrypted": "memory:"}
    url = urls.get(kind) or request.getfixturevalue(kind).url
    figures: dict[str, int] = {}
    campaign(url, tmp_path, encrypted if kind == "encrypted" else plain, EXAMPLES[kind], figures)
    print(f"{kind}: {figures}")  # noqa: T201


def campaign(url: str, directory: Path, wrap: Wrap, examples: int, figures: dict[str, int]) -> None:
    """Run the machine on storages there, whose backends are wrapped; and count what it does."""
    with closing(asyncio.new_event_loop()) as loop:
        own = {
            "new_storage": staticmethod(lambda: Storage(url, directory, wrap)),
            "loop": loop,
            "directory": directory,
            "figures": figures,
        }
        run_state_machine_as_test(
            type("Machine", (Whole,), own),
            settings=settings(
                max_examples=int(os.environ.get("WHOLE_EXAMPLES", examples)),
                stateful_step_count=int(os.environ.get("WHOLE_STEPS", STEPS)),
                phases=PHASES,
                derandomize="WHOLE_EXAMPLES" not in os.environ,
                deadline=None,
                database=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
