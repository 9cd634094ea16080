"""Every copy is tried with each of the others, in both forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.peers import OURS, PEERS, Form, Peer, forms
from support.postgres import postgres
from support.servers import RedisServer, with_modules


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server."""
    with postgres() as url:
        yield url


@pytest.fixture(scope="session")
def redis_stack() -> Iterator[RedisServer]:
    """A Redis with modules."""
    with with_modules() as server:
        yield server


@pytest.fixture
def new_peer(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Peer]:
    """Makes a storage of one of the others; a Redis is emptied for it."""

    def make(name: str) -> Peer:
        return Peer(
            name,
            tmp_path,
            lambda: str(request.getfixturevalue("postgres_url")),
            lambda: request.getfixturevalue("redis_stack"),
        )

    return make


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest, new_peer: Callable[[str], Peer]) -> Peer:
    """One of the others."""
    return new_peer(request.param)


@pytest.fixture(params=["sync", "async"])
def form(request: pytest.FixtureRequest) -> Iterator[Form]:
    """One of the two forms."""
    with forms(request.param) as form:
        yield form


@pytest.fixture
def our_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """The URL of an empty storage of ours."""

    def make(name: str) -> str:
        if name == "redis7":
            return str(request.getfixturevalue("own_redis").url)
        return "memory:" if name == "memory" else f"file:{tmp_path}/sessions"

    return make


@pytest.fixture(params=OURS)
def ours(request: pytest.FixtureRequest, our_url: Callable[[str], str]) -> str:
    """The URL of an empty storage of ours, on each backend."""
    return our_url(request.param)
