"""Where a test of stores runs: a store does the same on all backends, so few pairs of a backend and a form say all."""

from __future__ import annotations

import pytest

every_place = pytest.mark.parametrize(
    ("kind", "form"),
    [("memory", "sync"), ("memory", "async"), ("file", "sync"), ("redis7", "async"), ("cluster", "sync")],
    indirect=True,
)
"""Every backend, and both forms: for what depends on how things are stored, and for races."""
two_places = pytest.mark.parametrize(("kind", "form"), [("memory", "sync"), ("redis7", "async")], indirect=True)
"""Memory and a server, each in one of the forms: for what the store decides by itself."""
two_kinds = pytest.mark.parametrize("kind", ["memory", "redis7"], indirect=True)
"""The same for tests with a form of their own."""
