"""Where a threat is tried: in SQLite and in Redis, which are what was broken into, in both forms."""

from __future__ import annotations

import pytest

everywhere = pytest.mark.parametrize(
    ("kind", "form"), [("file", "sync"), ("file", "async"), ("redis7", "sync"), ("redis7", "async")], indirect=True
)
