"""LangGraph's server with its threads and items in files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from server.acts import ACTS, Played, play
from server.running import LangGraphServer
from server.since import needs_server

from langgraph_sessionstore import SessionManager

pytestmark = needs_server


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    """What came of all acts."""
    with LangGraphServer("./sessions") as server:
        yield asyncio.run(play(server, SessionManager.from_url(server.folder / "sessions")))


@pytest.mark.parametrize("act", ACTS)
def test_server(act: str, played: Played) -> None:
    if error := played.errors[act]:
        raise error


def test_nothing_is_left_and_nothing_was_complained_of(played: Played) -> None:
    played.well()
