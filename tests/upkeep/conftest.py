"""Upkeep is tested on the backends of sessions, in both forms, but for a cluster: each of its nodes is a Redis."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sessions.conftest import form, look, manager, manager_on, session, storage
from support.savers import BACKENDS
from support.sittings import Form
from upkeep.care import Care

from langgraph_sessionstore import SessionManager

__all__ = ["form", "look", "manager", "manager_on", "session", "storage"]


@pytest.fixture(params=[name for name in BACKENDS if name != "cluster"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which backend."""
    return str(request.param)


@pytest.fixture
def care(form: Form, manager_on: Callable[..., SessionManager]) -> Care:
    """A storage whose rows are damaged, and which is looked after."""
    return Care(form, manager_on)
