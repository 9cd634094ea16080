"""The fault campaign in its short form: each scenario once, and what judges it.

Rule: the long form is `python -m tox -e faults`.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from faults.campaign import SCENARIOS, table
from faults.ledger import Ledger, judge, text_of
from faults.writers import SHARED, Plan

from langgraph_sessionstore import SessionManager

UNKNOWN_TOO = {"redis-cut", "redis-late"}
REFUSED_TOO = {"file-read-only", "sentinel-failover", "cluster-promotion"}
"""In which of them trouble is certain to be noticed."""


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "file-disk-full"])  # which needs to mount
def test_what_is_promised_is_kept(name: str, tmp_path: Path) -> None:
    with SCENARIOS[name].servers() as servers:
        figures = SCENARIOS[name].run(Plan(tmp_path, random.Random()), servers)
    assert not figures.broken
    assert figures.acknowledged > 20
    assert figures.unknown or name not in UNKNOWN_TOO
    assert figures.refused or name not in REFUSED_TOO
