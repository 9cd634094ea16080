"""LangGraph's server with all of its settings: in Redis, encrypted, with an end, and with types that are named only."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import pytest
from server.acts import ACTS, Played, play
from server.running import LangGraphServer
from server.since import needs_server
from support.servers import RedisServer

from langgraph_sessionstore import Keyring, SessionManager

pytestmark = needs_server
DAY = 86_400


@pytest.fixture(scope="module")
def played(redis7: RedisServer) -> Iterator[Played]:
    """What came of all acts."""
    url, key = f"{redis7.url}?prefix=server-{uuid.uuid4()}", Keyring.new_key()
    settings = {"SESSIONSTORE_ENCRYPTION_KEYS": key, "SESSIONSTORE_TTL": str(DAY), "SESSIONSTORE_STORE_TTL": "1440"}
    settings |= {"LANGGRAPH_STRICT_MSGPACK": "true", "SESSIONSTORE_ALLOW": "server.graphs:Place"}
    with LangGraphServer(url, **settings) as server:
        yield asyncio.run(play(server, SessionManager.from_url(url, encryption=key, ttl=DAY)))


@pytest.mark.parametrize("act", ACTS)
def test_server(act: str, played: Played) -> None:
    if error := played.errors[act]:
        raise error


def test_nothing_is_left_and_nothing_was_complained_of(played: Played) -> None:
    played.well()
