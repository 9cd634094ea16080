"""Many processes on one session: nothing is lost, nothing is there twice, and sums are exact."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.crowd_of_writers import all_at_once, append, edit, record

from langgraph_sessionstore import NothingToUndo, SessionManager

pytestmark = pytest.mark.long

SHARED = ("file", "redis7", "cluster")


@pytest.fixture(params=SHARED)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A storage that processes share."""
    return f"file:{tmp_path}/s" if request.param == "file" else str(request.getfixturevalue(request.param).url)


@pytest.fixture
def options(url: str) -> dict[str, Any]:
    return {} if url.startswith("file") else {"prefix": f"crowd-{uuid.uuid4()}"}


@pytest.fixture
def manager(url: str, options: dict[str, Any]) -> Iterator[SessionManager]:
    with SessionManager.from_url(url, **options) as manager:
        yield manager


def test_eight_processes_append_in_their_own_order(url: str, options: dict[str, Any], manager: SessionManager) -> None:
    session = manager.create_session()
    all_at_once(append, url, session.id, 8, 1000, **options)
    texts = [message.text for message in session.messages]
    assert len(texts) == len(session) == 8000
    for member in range(8):
        assert [text for text in texts if text.startswith(f"{member} ")] == [f"{member} {n}" for n in range(1000)]


def test_edits_at_once_are_done_once_or_refused(url: str, options: dict[str, Any], manager: SessionManager) -> None:
    session = manager.create_session(messages=["start"])
    said = all_at_once(edit, url, session.id, 4, 40, **options)
    done = [text for each in said for text in each]
    texts = [message.text for message in session.messages]
    found = [part for text in texts for part in text.split("+") if part != "start"]
    assert sorted(found) == sorted(done)
    assert len(done) > 40
    operations = 0
    try:
        while session.undo():
            operations += 1
    except NothingToUndo:
        assert operations == min(50, len(done))
    assert sum(text.count("edit") for message in session.messages for text in [message.text]) == len(done) - operations


def test_sums_are_exact(url: str, options: dict[str, Any], manager: SessionManager) -> None:
    session = manager.create_session()
    all_at_once(record, url, session.id, 4, 300, **options)
    metrics = session.metrics
    assert metrics.total_calls == 4 * 300
    assert metrics.total_tokens == sum(range(4)) * 300 + 4 * 300
    assert metrics.total_seconds == 4 * 300 * 0.5
    assert metrics.total_cost == pytest.approx(4 * 300 * 0.000001)
    assert {phase: used.calls for phase, used in metrics.by_phase.items()} == {f"phase {n}": 400 for n in range(3)}
