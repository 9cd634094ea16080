"""Every threat is tried where its hole was: in a storage that others can reach, in both forms."""

from __future__ import annotations

import pytest
from fuzz.guard import GUARD
from sessions.conftest import form, kind, look, manager, manager_on, storage

__all__ = ["form", "kind", "look", "manager", "manager_on", "storage"]


@pytest.fixture(autouse=True)
def servers(request: pytest.FixtureRequest) -> None:
    """Those that may be connected to, whatever is read."""
    if "kind" in request.fixturenames and request.getfixturevalue("kind") == "redis7":
        GUARD.ports.add(request.getfixturevalue("redis7").port)
