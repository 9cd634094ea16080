"""Leases: one worker at a time, and nothing of those that have lost theirs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.savers import checkpoint
from support.sittings import Form

from langgraph_sessionstore import ConfigurationError, LeaseHeld, LeaseLost, SessionError, SessionManager

METADATA = {"source": "input", "step": -1, "parents": {}}


def put(form: Form, manager: SessionManager, place: Any, number: int) -> Any:
    """Put a checkpoint as a graph would."""
    where = {"configurable": {"checkpoint_ns": "", **place["configurable"]}}
    values = checkpoint({"n": number}, {"n": f"{number}"})
    return form.do(manager.checkpointer, "put", where, values, METADATA, {"n": f"{number}"})


def test_a_lease_is_exclusive(manager_on: Callable[..., SessionManager], form: Form) -> None:
    manager, other = manager_on(), manager_on()
    session = form.do(manager, "create_session", "held")
    lease = session.lease(5)
    turn = form.enter(lease)
    late = form.do(other, "get_session", "held")
    form.do(turn, "append", "user", "mine")
    saved = put(form, manager, turn.config, 1)
    at = {"configurable": {**late.config["configurable"], "checkpoint_id": "1"}}
    refusals: tuple[Callable[[], Any], ...] = (
        lambda: form.do(late, "append", "user", "no"),
        lambda: form.do(session, "clear"),
        lambda: form.do(late, "set_summary", "no"),
        lambda: put(form, other, late.config, 2),
        lambda: form.do(other.checkpointer, "put_writes", at, [("n", 1)], "t"),
        lambda: form.enter(late.lease(5)),
        lambda: form.enter(late.lease(5, wait=0.1)),
    )
    for refused in refusals:
        with pytest.raises(LeaseHeld, match="held"):
            refused()
    found = form.do(manager.checkpointer, "get_tuple", turn.config)
    assert found.config["configurable"] == saved["configurable"]
    assert "__" not in "".join(found.metadata)
    put(form, manager, found.config, 3)
    form.do(late, "record_usage", "whoever's turn it is")
    form.leave(lease)
    assert form.texts(session) == ["mine"]
    assert form.do(session, "usage").calls == 1
    form.do(late, "append", "user", "free again")
    with pytest.raises(LeaseLost):
        form.do(turn, "append", "user", "too late")
    with pytest.raises(LeaseLost):
        put(form, manager, saved, 4)
    with pytest.raises(LeaseLost):
        form.do(manager.checkpointer, "put_writes", saved, [("n", 1)], "t")
    latest = form.do(manager.checkpointer, "get_tuple", session.config)
    assert (latest.checkpoint["channel_values"], latest.pending_writes) == ({"n": 3}, [])
    assert form.texts(session) == ["mine", "free again"]
    with pytest.raises(SessionError, match="once"):
        form.enter(lease)


def test_a_lease_is_renewed_while_it_is_held(manager_on: Callable[..., SessionManager], form: Form) -> None:
    manager, other = manager_on(), manager_on()
    session = form.do(manager, "create_session", "held")
    lease = session.lease(1)  # renewed each third of it
    turn = form.enter(lease)
    form.pause(1.3)
    with pytest.raises(LeaseHeld):
        form.do(form.do(other, "get_session", "held"), "append", "user", "no")
    form.do(turn, "append", "user", "still mine")
    form.leave(lease)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lease")]


def test_who_waits_gets_it(manager: SessionManager, form: Form) -> None:
    session = form.do(manager, "create_session")
    first, second = session.lease(0.2), session.lease(5, wait=5)
    turn = form.enter(first)
    first._stop.set()  # this holder dies: nobody renews it
    if first._task is not None:
        first._task.cancel()
    begun = time.monotonic()
    later = form.enter(second)
    assert time.monotonic() - begun < 4
    with pytest.raises(LeaseLost):
        form.do(turn, "append", "user", "of the dead")
    form.leave(first)
    form.do(later, "append", "user", "of the living")
    form.leave(second)
    assert form.texts(session) == ["of the living"]


def test_bad_input(manager: SessionManager, form: Form) -> None:
    session = form.do(manager, "create_session")
    for ttl in (0, 0.01, -1, "1", None):
        with pytest.raises(ConfigurationError):
            session.lease(ttl)
    with pytest.raises(ConfigurationError, match="lease"):
        put(form, manager, {"configurable": {"thread_id": session.id, "__sessionstore_lease__": 3}}, 1)
