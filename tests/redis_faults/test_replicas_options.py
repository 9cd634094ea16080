"""How a backend is told to wait for replicas, and what cannot work."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

import pytest
import redis
import redis.asyncio
from redis_faults.load import SUM, one, session
from support.pair import LATER, SOON, Pair, doubted
from support.waiting import wait_until

from langgraph_sessionstore import (
    ConfigurationError,
    NotReplicated,
    SessionManager,
    open_backend,
)
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.backends.redis import RedisBackend
from langgraph_sessionstore.ops import (
    Add,
)


@pytest.mark.parametrize(
    "wrong",
    [
        {"wait_replicas": -1},
        {"wait_replicas": 1.5},
        {"wait_replicas": "one"},
        {"wait_replicas": None},
        {"wait_replicas": 1, "wait_timeout": 0},
        {"wait_replicas": 1, "wait_timeout": -1},
        {"wait_replicas": 1, "wait_timeout": "nan"},
        {"wait_replicas": 1, "wait_timeout": "inf"},
        {"wait_replicas": 1, "wait_timeout": "soon"},
        {"wait_replicas": 1, "wait_timeout": 10},  # as long as redis-py waits for any answer
    ],
    ids=str,
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    query = "&".join(f"{name}={value}" for name, value in wrong.items())
    for url in ("redis://localhost", "redis+sentinel://localhost/main", "redis+cluster://localhost"):
        with pytest.raises(ConfigurationError, match=r"wait_|cannot work"):
            open_backend(url, **wrong)
        with pytest.raises(ConfigurationError, match=r"wait_|cannot work"):
            open_backend(f"{url}?{query}")
    with redis.Redis(socket_timeout=10) as client, pytest.raises(ConfigurationError):
        RedisBackend(client, **wrong)


@pytest.mark.parametrize("form", ["options", "query"])
def test_it_may_stand_in_the_query_and_be_given_to_a_manager(pair: Pair, form: str) -> None:
    def manager(options: dict[str, Any]) -> SessionManager:
        if form == "options":
            return SessionManager.from_url(pair.master.url, **options)
        return SessionManager.from_url(f"{pair.master.url}?{urlencode(options)}")

    with manager(LATER) as patient, manager(SOON) as hasty:
        waits = pair.waits()
        kept = patient.create_session(messages=["hi"])
        assert pair.waits() > waits
        pair.replica.pause()
        with pytest.raises(NotReplicated) as caught:
            hasty.create_session("mine")
        with pytest.raises(NotReplicated):
            caught.value.result.append("user", "hello")
        assert [message.text for message in caught.value.result.messages] == ["hello"]
        pair.replica.resume()
        wait_until(lambda: pair.master.ask("WAIT", 1, 1000) == 1, "the replica is back")
        assert patient.delete_session("mine")
        assert patient.delete_session(kept.id)


def test_given_clients_wait_too(pair: Pair) -> None:
    async def work(client: redis.asyncio.Redis, backend: RedisBackend) -> list[Answer]:
        async with client:
            answers = await backend.aexecute([one(name, Add(SUM, 1))])
            await backend.aclose()
            return answers

    for pause in (False, True):
        name, url = session(), pair.master.url
        if pause:
            pair.replica.pause()
        options = SOON if pause else LATER | {"wait_timeout": 2.5}
        asynchronous = redis.asyncio.Redis.from_url(url, socket_timeout=3)
        with redis.Redis.from_url(url, socket_timeout=3) as client:
            with pytest.raises(ConfigurationError, match="socket_timeout, 3 s"):
                RedisBackend(client, asynchronous, wait_replicas=1, wait_timeout=3)
            backend = RedisBackend(client, asynchronous, **options)
            answers = backend.execute([one(name, Add(SUM, 1))]) + asyncio.run(work(asynchronous, backend))
            assert (doubted(answers) if pause else answers) == [[1], [2]]
