"""What is logged: nothing that is secret, and nothing of what is stored."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from support.binaries import find_binary
from support.lifetimes import Clock
from support.servers import RedisServer

from langgraph_sessionstore import (
    BackendError,
    BackendUnavailable,
    Keyring,
    SessionCache,
    SessionManager,
    SessionStore,
    WrongKey,
)
from langgraph_sessionstore.adapters import store
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.observability import log_calls
from langgraph_sessionstore.testing import Fault, FaultyBackend

SECRET = "s3cret"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All logs of all loggers."""
    caplog.set_level(logging.DEBUG)
    return caplog


def lines(logged: pytest.LogCaptureFixture) -> str:
    """What our loggers have said, which has to be something."""
    ours = [record for record in logged.records if record.name.startswith("langgraph_sessionstore")]
    assert ours
    assert SECRET not in logged.text
    return "\n".join(record.getMessage() for record in ours)


def test_each_call_is_one_line(logged: pytest.LogCaptureFixture) -> None:
    with SessionManager.from_url("memory:", observe=log_calls) as manager:
        manager.create_session(SECRET, title=SECRET, messages=[SECRET])
    said = lines(logged)
    assert {record.levelno for record in logged.records if record.name.startswith("langgraph_ses")} == {logging.DEBUG}
    assert "MemoryBackend write in " in said
    assert "; batches 2, partitions 2, sent " in said


def test_passwords_of_urls_are_not_logged(logged: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        url = f"redis://{SECRET}:{SECRET}@127.0.0.1:{port}?patience=0.1"
        with (
            SessionManager.from_url(url, observe=log_calls) as manager,
            pytest.raises(BackendUnavailable) as caught,
        ):
            manager.create_session()
    assert "error BackendUnavailable" in lines(logged)
    assert SECRET not in str(caught.value)
    with RedisServer(find_binary("7"), password=f"right-{uuid.uuid4()}") as server:
        url = f"redis://:{SECRET}@{server.host}:{server.port}"
        with SessionManager.from_url(url, observe=log_calls) as manager, pytest.raises(BackendError) as refused:
            manager.create_session()
    assert "does not let us in" in str(refused.value)
    assert SECRET not in str(refused.value)
    lines(logged)


def test_values_that_cannot_be_cached_are_not_logged(logged: pytest.LogCaptureFixture) -> None:
    class Unknown:
        def __repr__(self) -> str:
            return SECRET

    value: Any = {SECRET: [SECRET, Unknown()]}
    with SessionCache[Any].from_url("memory:") as cache:
        cache.set({((SECRET,), SECRET): (value, None)})
    assert lines(logged) == "a value of the type dict is not cached: Unstorable"


def test_items_whose_use_cannot_be_noted_are_not_logged(
    logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(store, "_now", lambda: clock.now)
    backend = MemoryBackend()
    SessionStore(backend).put((SECRET,), SECRET, {SECRET: SECRET}, ttl=10)
    clock.pass_(2)
    found = SessionStore(FaultyBackend(backend, {2: Fault.FAIL})).get((SECRET,), SECRET)
    assert found is not None
    assert found.value == {SECRET: SECRET}
    assert "does not let them live longer" in lines(logged)


def test_keys_are_not_logged(logged: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    key, other = Keyring.new_key(), Keyring.new_key()
    with SessionManager.from_url(tmp_path, encryption=key, observe=log_calls) as manager:
        manager.create_session("a", messages=[SECRET])
    with (
        SessionManager.from_url(tmp_path, encryption=other, observe=log_calls) as manager,
        pytest.raises(WrongKey),
    ):
        manager.create_session("b")
    lines(logged)
    assert key not in logged.text
    assert other not in logged.text


def test_who_has_not_asked_for_logs_hears_nothing() -> None:
    code = (
        "from langgraph_sessionstore import SessionCache\n"
        "with SessionCache.from_url('memory:') as cache: cache.set({(('a',), 'b'): (object(), None)})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
