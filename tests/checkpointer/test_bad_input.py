"""What cannot work is refused at once, in words that say what would; and what cannot be reached says so."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from support.savers import Saver, checkpoint, config
from support.servers import RedisServer

from langgraph_sessionstore import (
    Backend,
    BackendClosed,
    BackendUnavailable,
    ConfigurationError,
    Unstorable,
    keys,
    open_backend,
    run,
)
from langgraph_sessionstore.adapters.checkpointer import SessionCheckpointer
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.ops import Range, must

Make = Callable[..., Saver]


def calls(saver: Saver, place: Any) -> dict[str, Callable[[], Any]]:
    """Everything that takes a config."""
    return {
        "get_tuple": lambda: saver.get(place),
        "list": lambda: saver.list(place),
        "put": lambda: saver.put(place, checkpoint()),
        "put_writes": lambda: saver.put_writes(place, [("a", 1)], "task"),
        "history": lambda: saver.history(place, ["a"]),
    }


def rows(backend: Backend, thread: str) -> list[Any]:
    """All that is stored of a thread."""
    (stored,) = run(backend, must(keys.session(thread), Range(b"", None)))
    return list(stored)


# -- configs


def test_without_a_thread_id_the_error_shows_one(saver: Saver) -> None:
    places: list[Any] = [{}, {"configurable": {}}, {"configurable": {"thread_id": None}}]
    for place in places:
        for call in calls(saver, place).values():
            with pytest.raises(ConfigurationError, match=r'"configurable": \{"thread_id": '):
                call()


def thread_calls(saver: Saver, thread: Any) -> list[Callable[[], Any]]:
    """Everything that takes a thread."""
    return [
        lambda: saver.delete_thread(thread),
        lambda: saver.copy_thread(thread, "target"),
        lambda: saver.copy_thread("source", thread),
        lambda: saver.prune([thread]),
        lambda: saver.prune([thread], strategy="delete"),
        lambda: saver.check(thread),
        lambda: saver.collect(thread),
    ]


def test_a_thread_id_of_another_type_is_refused(saver: Saver) -> None:
    for wrong in (1.5, True, b"thread", ["thread"], {"id": 1}, object()):
        for call in (*calls(saver, config(wrong)).values(), *thread_calls(saver, wrong)):
            with pytest.raises(ConfigurationError, match=type(wrong).__name__):
                call()


def test_a_namespace_of_another_type_is_refused(saver: Saver, thread: str) -> None:
    wrongs: list[Any] = [5, b"node", ["node"], 1.5]
    for wrong in wrongs:
        for call in calls(saver, config(thread, wrong, "1")).values():
            with pytest.raises(ConfigurationError, match="checkpoint_ns"):
                call()
    assert rows(saver.checkpointer.backend, thread) == []


def test_what_is_no_config_is_refused(saver: Saver) -> None:
    for place in ("thread", ["thread"], {"configurable": "thread"}):
        for call in calls(saver, place).values():
            with pytest.raises(ConfigurationError, match="config"):
                call()


def test_writes_without_a_checkpoint_are_refused(saver: Saver, thread: str) -> None:
    for checkpoint_id in (None, ""):
        with pytest.raises(ConfigurationError, match="checkpoint_id"):
            saver.put_writes(config(thread, "", checkpoint_id), [("a", 1)], "task")
    assert rows(saver.checkpointer.backend, thread) == []


def test_a_checkpoint_without_an_id_is_refused(saver: Saver, thread: str) -> None:
    for wrong in ("", None, 5):
        with pytest.raises(ConfigurationError, match="id is text"):
            saver.put(config(thread), checkpoint(id=wrong))
    assert rows(saver.checkpointer.backend, thread) == []


# -- values


@pytest.mark.parametrize("large", [False, True])
def test_what_cannot_be_stored_names_its_channel_and_leaves_no_trace(
    saver: Saver, saver_on: Make, thread: str, large: bool
) -> None:
    first = checkpoint({"good": 1})
    here = saver.put(config(thread), first)
    before = rows(saver.checkpointer.backend, thread)
    bad: Any = [{"text": "x" * 300 * large, "lock": threading.Lock()}]
    with pytest.raises(Unstorable, match=r"'broken'.*" + thread):
        saver.put(here, checkpoint({"good": 2, "broken": bad}, {"good": 2, "broken": 1}))
    with pytest.raises(Unstorable, match=r"'broken'.*" + thread):
        saver.put_writes(here, [("good", 2), ("broken", bad)], "task")
    with pytest.raises(Unstorable, match=rf"metadata .*{thread}"):
        saver.put(here, checkpoint(), {"bad": bad})
    with pytest.raises(Unstorable, match=thread):
        saver.put(here, checkpoint(unknown=bad))
    assert rows(saver.checkpointer.backend, thread) == before
    for worker in (saver, saver_on()):
        assert worker.load(config(thread)).checkpoint == first


def test_channel_versions_of_another_form_are_refused(saver: Saver, thread: str) -> None:
    wrongs: list[Any] = [None, [], {"a": None}, {"a": True}, {"a": [1]}, {1: 1}, {"a": 2**63}]
    for versions in wrongs:
        saved: Any = {**checkpoint({"a": 1}), "channel_versions": versions}
        with pytest.raises((Unstorable, ConfigurationError), match="channel_versions"):
            saver.put(config(thread), saved, {}, {})
    assert rows(saver.checkpointer.backend, thread) == []


# -- lists


def test_one_name_is_not_taken_for_a_list(saver: Saver, thread: str) -> None:
    letters = sorted(set(thread))
    for letter in letters:
        saver.put(config(f"{thread}{letter}"), checkpoint(), {"source": "loop", "run_id": letter})
    with pytest.raises(ConfigurationError, match="list of thread ids"):
        saver.prune(thread)
    with pytest.raises(ConfigurationError, match="list of thread ids"):
        saver.prune(thread, strategy="delete")
    with pytest.raises(ConfigurationError, match="list of run ids"):
        saver.delete_for_runs(thread)
    no_list: list[Any] = [None, 7, thread.encode()]
    for none in no_list:
        with pytest.raises(ConfigurationError, match="list of thread ids, not"):
            saver.prune(none)
        with pytest.raises(ConfigurationError, match="list of run ids, not"):
            saver.delete_for_runs(none)
    for letter in letters:
        assert saver.get(config(f"{thread}{letter}")) is not None


def test_a_thread_is_not_copied_onto_itself(saver: Saver, thread: str) -> None:
    saver.put(config(thread), checkpoint())
    with pytest.raises(ConfigurationError, match="itself"):
        saver.copy_thread(thread, thread)
    assert saver.get(config(thread)) is not None


# -- making one


@pytest.mark.parametrize("wrong", ["redis://localhost", "file:./here", None, 5, Path("here"), MemoryBackend, {}])
def test_what_is_no_backend_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"SessionCheckpointer\.from_url"):
        SessionCheckpointer(wrong)


@pytest.mark.parametrize("options", [{"allow": [uuid.UUID]}, {"strict": True}, {"strict": False}])
def test_allow_and_strict_are_not_for_another_serializer(options: Any) -> None:
    with pytest.raises(ConfigurationError, match="own serializer"):
        SessionCheckpointer(MemoryBackend(), serde=JsonPlusSerializer(), **options)
    with pytest.raises(ConfigurationError, match="own serializer"):
        SessionCheckpointer.from_url("memory:", serde=JsonPlusSerializer(), **options)


def test_a_url_that_names_no_backend_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="gopher"):
        SessionCheckpointer.from_url("gopher://localhost")
    with pytest.raises(ConfigurationError, match="memory"):
        SessionCheckpointer.from_url("memory:", patience=3)


def test_a_checkpointer_closes_the_backend_that_it_opened_and_no_other(tmp_path: Path) -> None:
    with SessionCheckpointer.from_url(tmp_path / "sessions") as owner:
        owner.put(config("a"), checkpoint(), {}, {})
    with pytest.raises(BackendClosed):
        owner.get_tuple(config("a"))
    owner.close()
    with open_backend(tmp_path / "sessions") as backend:
        with SessionCheckpointer(backend) as guest:
            assert guest.get_tuple(config("a")) is not None
        assert guest.get_tuple(config("a")) is not None


# -- storage that does not answer


def everything(saver: Saver, thread: str) -> list[Callable[[], Any]]:
    """All that asks the storage."""
    place = config(thread, "", "1")
    return [
        *calls(saver, place).values(),
        lambda: saver.list(None),
        lambda: saver.delete_thread(thread),
        lambda: saver.delete_for_runs(["run"]),
        lambda: saver.copy_thread(thread, f"{thread}-copy"),
        lambda: saver.prune([thread]),
        lambda: saver.prune([thread], strategy="delete"),
        lambda: saver.check(thread),
        lambda: saver.collect(thread),
    ]


def test_a_closed_backend_says_so(saver: Saver, thread: str) -> None:
    saver.put(config(thread), checkpoint(id="1"))
    saver.checkpointer.backend.close()
    for call in everything(saver, thread):
        with pytest.raises(BackendClosed):
            call()


@pytest.mark.parametrize("kind", ["memory"])  # its storage is not asked for
def test_a_dead_redis_says_so_and_serves_again_when_it_is_back(
    kind: str, saver_on: Make, own_redis: RedisServer, thread: str
) -> None:
    saver = saver_on()
    with open_backend(own_redis.url, patience=0.1) as backend:
        saver.checkpointer.backend = backend
        saver.put(config(thread), checkpoint({"a": 1}))
        own_redis.stop()
        for call in everything(saver, thread):
            with pytest.raises(BackendUnavailable, match=str(own_redis.port)):
                call()
        own_redis.restart()
        for call in everything(saver, thread):
            call()
        here = saver.put(config(thread), checkpoint({"a": 2}, {"a": 2}))
        assert saver.load(config(thread)).config == here
        saver.close()


def test_what_has_no_name_is_refused_before_it_is_stored(saver: Saver, thread: str) -> None:
    odd: dict[Any, Any] = {"source": "loop", 1: 2}
    with pytest.raises(Unstorable, match="names"):
        saver.put(config(thread), checkpoint({"a": 1}), odd)
    assert saver.get(config(thread)) is None
    where = saver.put(config(thread), checkpoint({"a": 1}))
    path: Any = ("a", 1)
    with pytest.raises(Unstorable, match="names"):
        saver.put_writes(where, [("a", 1)], "task", path)
    channel: Any = 7
    with pytest.raises(Unstorable, match="names"):
        saver.put_writes(where, [(channel, 1)], "task")
    assert saver.load(where).pending_writes == []
