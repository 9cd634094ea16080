"""What encryption costs on the wire: hardly a trip, and some 70 bytes for each value."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from encryption.filled import KEY, graph
from langchain_core.language_models import FakeListChatModel
from support.proxy import Proxy
from support.savers import config
from support.servers import RedisServer
from support.sittings import Form

from langgraph_sessionstore import Keyring, SessionManager, open_backend
from langgraph_sessionstore.backends.encrypted.seals import OVERHEAD, Seals


@pytest.mark.parametrize("form", [Form(None)], ids=["sync"])  # the other form goes the same way
def test_a_worker_that_knows_the_session_makes_no_trip_more(redis7: RedisServer, form: Form) -> None:
    counts: dict[Any, list[tuple[str, int]]] = {}
    with Proxy(redis7.host, redis7.port) as proxy:
        for encryption in (None, KEY):
            prefix = f"costs-{uuid.uuid4()}"
            url = f"redis://{proxy.host}:{proxy.port}/0"
            with SessionManager(open_backend(url, prefix=prefix, encryption=encryption)) as manager:
                counts[encryption] = _trips(proxy, form, manager)
            with SessionManager(open_backend(url, prefix=prefix, encryption=encryption)) as fresh:
                fresh.get_session("none")
                counts[encryption] += _trips_of_a_new_worker(proxy, fresh)
    plain, sealed = counts[None], counts[KEY]
    more = {name: trips - before for (name, before), (_, trips) in zip(plain, sealed, strict=True) if trips != before}
    assert more == {
        "record usage, the first": 1,
        "a turn, the first": 1,
        "append, a new worker": 1,
        "messages of a fork, a new worker": 1,
    }


def _trips(proxy: Proxy, form: Form, manager: SessionManager) -> list[tuple[str, int]]:
    manager.create_session("warm")
    found: list[tuple[str, int]] = []

    def count(name: str, do: Callable[[], Any]) -> Any:
        result: list[Any] = []
        found.append(_count(proxy, name, lambda: result.append(do())))
        return result[0]

    session = count("create", lambda: manager.create_session("talk", messages=["one"], summary="s"))
    count("append", lambda: session.append("user", "two"))
    count("append again", lambda: session.append("user", "three"))
    count("messages", lambda: session.messages)
    count("replace", lambda: session.replace(0, "uno"))
    count("undo", lambda: session.undo())
    count("summary", lambda: setattr(session, "summary", "t"))
    count("record usage, the first", lambda: session.record_usage("p", "m", input_tokens=1))
    count("record usage", lambda: session.record_usage("p", "m", input_tokens=1))
    talk = session.conversation(FakeListChatModel(responses=["yes"]))
    count("a turn, the first", lambda: talk.run("hello"))
    count("a turn", lambda: talk.run("hello"))
    count("checkpoints", lambda: graph(form, manager, "graph", 4))
    count("get_tuple", lambda: manager.checkpointer.get_tuple(config("graph")))
    count("list", lambda: list(manager.checkpointer.list(config("graph"))))
    count("fork", lambda: session.fork("fork"))
    count("put item", lambda: manager.store.put(("a",), "k", {"v": 1}))
    count("get item", lambda: manager.store.get(("a",), "k"))
    count("search", lambda: manager.store.search(("a",)))
    count("list sessions", lambda: manager.list_sessions())
    manager.create_session("gone")
    count("delete", lambda: manager.delete_session("gone"))
    return found


def _trips_of_a_new_worker(proxy: Proxy, manager: SessionManager) -> list[tuple[str, int]]:
    manager.get_session("none")
    fork, session = manager.history("fork"), manager.history("talk")
    return [
        _count(proxy, "append, a new worker", lambda: session.add_user_message("hi")),
        _count(proxy, "append, known since", lambda: session.add_user_message("hi")),
        _count(proxy, "messages of a fork, a new worker", lambda: fork.messages),
        _count(proxy, "messages of a fork, known since", lambda: fork.messages),
    ]


def _count(proxy: Proxy, name: str, do: Callable[[], Any]) -> tuple[str, int]:
    proxy.reset()
    do()
    return name, proxy.round_trips


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000])
def test_a_value_grows_by_a_fixed_size(size: int) -> None:
    assert len(Seals(Keyring(KEY)).seal(b"p", b"k", b"x" * size)) == size + OVERHEAD
    assert OVERHEAD == 66
