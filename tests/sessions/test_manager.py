"""The manager: sessions are created, listed, counted, forked, given an end, deleted."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from support.ends import let_end
from support.savers import checkpoint, config
from support.servers import RedisServer
from support.sittings import Form

from langgraph_sessionstore import (
    Backend,
    ConfigurationError,
    CorruptData,
    ForeignStorage,
    Session,
    SessionDeleted,
    SessionExists,
    SessionManager,
    SessionNotFound,
    Unstorable,
    keys,
    run,
)
from langgraph_sessionstore.ops import Put, must
from langgraph_sessionstore.plans import sessions
from langgraph_sessionstore.plans.entry import Life
from langgraph_sessionstore.plans.places import DETAILS


def ids(form: Form, manager: SessionManager, **options: Any) -> list[str]:
    """The sessions that are listed."""
    return [info.id for info in form.everything(manager, **options)]


def test_a_session_begins_with_what_it_is_given(manager: SessionManager, form: Form) -> None:
    session = form.do(
        manager,
        "create_session",
        title="T",
        system="S",
        messages=["a", ("ai", "b")],
        summary="short",
        metadata={"k": [1]},
    )
    assert str(UUID(session.id)) == session.id
    assert session.config == {"configurable": {"thread_id": session.id}}
    again = form.do(manager, "get_session", session.id)
    assert isinstance(again, Session)
    assert (form.texts(again), form.do(again, "summary")) == (["a", "b"], "short")
    info = form.do(again, "info")
    assert (info.id, info.title, info.system, info.metadata, info.parent, info.expires_at) == (
        session.id, "T", "S", {"k": [1]}, None, None,
    )  # fmt: skip
    created = datetime.fromisoformat(info.created_at)
    assert abs(datetime.now(timezone.utc) - created) < timedelta(minutes=1)
    time.sleep(0.01)
    form.do(session, "append", "user", "c")
    later = form.do(session, "info")
    assert later.created_at == info.created_at
    assert datetime.fromisoformat(later.updated_at) > datetime.fromisoformat(info.updated_at)


@pytest.mark.parametrize("session_id", ["{a}", "a:b*?%_", "\0/../x", "emoji 🙂", "x" * 3000, " ", "\ud800"])
def test_any_text_is_an_id(manager: SessionManager, form: Form, session_id: str) -> None:
    form.do(manager, "create_session", session_id, messages=["a"])
    form.do(manager, "create_session", session_id + "b")
    assert ids(form, manager) == [session_id, session_id + "b"]
    assert form.do(manager, "delete_session", session_id + "b") is True
    assert form.texts(form.do(manager, "get_session", session_id)) == ["a"]


def test_an_id_that_is_taken(manager: SessionManager, form: Form) -> None:
    form.do(manager, "create_session", "taken", messages=["a"])
    with pytest.raises(SessionExists, match="taken"):
        form.do(manager, "create_session", "taken", messages=["b"])
    same = form.do(manager, "create_session", "taken", messages=["b"], exist_ok=True)
    assert form.texts(same) == ["a"]


def test_bad_input(manager: SessionManager, form: Form) -> None:
    assert form.do(manager, "get_session", "nobody") is None
    assert form.do(manager, "delete_session", "nobody") is False
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("create_session", ("",), {}),
        ("create_session", (3,), {}),
        ("create_session", (), {"metadata": [1]}),
        ("create_session", (), {"title": 3}),
        ("create_session", (), {"messages": "text"}),
        ("create_session", (), {"ttl": -1}),
        ("create_session", (), {"ttl": "1h"}),
        ("get_session", (None,), {}),
        ("list_sessions", (), {"by": "name"}),
        ("list_sessions", (), {"limit": 0}),
        ("list_sessions", (), {"cursor": "no cursor"}),
        ("list_sessions", (), {"filter": 3}),
        ("delete_sessions", (), {}),
        ("delete_sessions", (), {"filter": {}}),
        ("delete_sessions", (), {"older_than": "a day"}),
    ]
    for name, args, options in calls:
        with pytest.raises(ConfigurationError):
            form.do(manager, name, *args, **options)
    with pytest.raises(Unstorable):
        form.do(manager, "create_session", metadata={"f": open})
    assert form.do(manager, "count_sessions") == 0
    for options in ({"ttl": -1}, {"undo": -1}, {"prices": {"m": (1, "2")}}, {"prices": {"m": 3}}):
        with pytest.raises(ConfigurationError):
            SessionManager(manager.backend, **options)
    with pytest.raises(ConfigurationError, match="from_url"):
        SessionManager("memory:")  # type: ignore[arg-type]


def test_lists(manager: SessionManager, form: Form) -> None:
    made = []
    for number in range(12):
        made.append(form.do(manager, "create_session", f"s{number:02}", metadata={"odd": number % 2 == 1}))
        time.sleep(0.002)
    names = [session.id for session in made]
    assert ids(form, manager) == names
    assert ids(form, manager, descending=True) == names[::-1]
    form.do(made[3], "append", "user", "x")
    assert ids(form, manager, by="updated")[-1] == "s03"
    assert ids(form, manager, by="updated", descending=True)[0] == "s03"
    assert ids(form, manager, filter={"odd": True}) == names[1::2]
    assert ids(form, manager, filter={"odd": None}) == []
    assert form.do(manager, "count_sessions") == 12
    assert form.do(manager, "count_sessions", filter={"odd": True}) == 6

    found, cursor = [], None
    while True:
        page = form.do(manager, "list_sessions", limit=5, cursor=cursor)
        assert len(page) <= 5
        assert [info.id for info in page] == [page[at].id for at in range(len(page))]
        found += [info.id for info in page]
        if (cursor := page.cursor) is None:
            break
    assert found == names
    page = form.do(manager, "list_sessions", limit=4, filter={"odd": True}, descending=True)
    rest = form.do(manager, "list_sessions", limit=4, filter={"odd": True}, descending=True, cursor=page.cursor)
    assert [info.id for info in (*page, *rest)] == names[::-2]
    with pytest.raises(ConfigurationError, match="order"):
        form.do(manager, "list_sessions", by="updated", cursor=page.cursor)


def test_threads_of_graphs_are_sessions(manager: SessionManager, form: Form) -> None:
    place, values = config("a thread"), checkpoint({"n": 1}, {"n": "1"})
    metadata = {"source": "input", "step": -1, "parents": {}}
    form.do(manager.checkpointer, "put", place, values, metadata, {"n": "1"})
    (info,) = form.everything(manager)
    assert (info.id, info.title, info.parent) == ("a thread", None, None)
    session = form.do(manager, "get_session", "a thread")
    assert form.do(session, "len") == 0
    form.do(session, "append", "user", "beside it")
    assert "Checkpoints: 1" in form.do(session, "status")
    assert form.do(manager, "delete_session", "a thread") is True
    assert form.do(manager.checkpointer, "get_tuple", place) is None


def test_a_fork_is_independent(manager: SessionManager, form: Form) -> None:
    session = form.do(manager, "create_session", "one", title="T", messages=["a"], summary="short")
    form.do(session, "append", "user", "b")
    form.do(session, "record_usage", "chat", input_tokens=3)
    fork = form.do(session, "fork", "two")
    assert (form.texts(fork), form.do(fork, "summary"), form.do(fork, "usage").input_tokens) == (["a", "b"], "short", 3)
    info = form.do(fork, "info")
    assert (info.parent, info.title) == ("one", "T")
    assert info.created_at >= form.do(session, "info").created_at
    form.do(fork, "append", "user", "c")
    form.do(session, "remove", 0)
    form.do(fork, "undo")
    assert form.do(fork, "undo") == "Restored: before append of 1 message"
    assert (form.texts(fork), form.texts(session)) == (["a"], ["b"])
    with pytest.raises(SessionExists):
        form.do(session, "fork", "two")
    with pytest.raises(SessionExists):
        form.do(session, "fork", "one")
    form.do(manager, "delete_session", "two")
    assert form.texts(form.do(session, "fork", "two")) == ["b"]
    form.do(manager, "delete_session", "one")
    with pytest.raises(SessionDeleted):
        form.do(session, "fork", "three")
    assert ids(form, manager) == ["two"]


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("form", ["sync"], indirect=True)
def test_a_fork_lives_as_the_manager_says(manager_on: Callable[..., SessionManager]) -> None:
    """When what it was made from does not say how long it lives itself."""
    manager = manager_on(sliding=False)
    manager.memory().append("a thread", "user", "x")
    session = manager.get_session("a thread")
    assert session is not None
    for known in (True, False):
        if not known:
            manager.checkpointer.writer.noted.forget(keys.session("a thread"))
        life, _ = run(manager.backend, sessions.life_of(session.fork(ttl=60)._desk))
        assert life == Life(60_000, False)


def test_a_deleted_session_does_not_come_back(manager_on: Callable[..., SessionManager], form: Form) -> None:
    manager, other = manager_on(), manager_on()
    session = form.do(manager, "create_session", "gone", messages=["a"])
    late = form.do(other, "get_session", "gone")
    form.do(late, "append", "user", "b")
    assert form.do(session, "delete") is True
    assert form.do(manager, "delete_session", "gone") is False
    metadata = {"source": "input", "step": -1, "parents": {}}
    values = checkpoint({"n": 1}, {"n": "1"})
    writes: list[Callable[[], Any]] = [
        lambda: form.do(late, "append", "user", "c"),
        lambda: form.do(late, "insert", 0, "user", "c"),
        lambda: form.do(late, "set_summary", "c"),
        lambda: form.do(late, "record_usage", "c"),
        lambda: form.do(late, "undo"),
        lambda: form.do(late, "set_ttl", 100),
        lambda: form.do(late, "messages"),
        lambda: form.do(late, "metrics"),
        lambda: form.do(late, "to_dict"),
        lambda: form.do(other.memory(), "append", "gone", "user", "c"),
        lambda: form.do(other.checkpointer, "put", config("gone"), values, metadata, {"n": "1"}),
        lambda: form.do(other.checkpointer, "put_writes", config("gone", "", "1"), [("n", 1)], "task"),
        lambda: form.enter(late.lease(1)),
    ]
    for write in writes:
        with pytest.raises(SessionDeleted, match="gone"):
            write()
    assert (form.do(manager, "get_session", "gone"), ids(form, manager)) == (None, [])
    assert form.do(manager, "count_sessions") == 0
    again = form.do(manager, "create_session", "gone")
    assert form.texts(again) == []
    with pytest.raises(SessionNotFound):
        form.do(late, "append", "user", "for the one before")
    form.do(other.memory(), "append", "gone", "user", "for the new one")
    assert form.texts(again) == ["for the new one"]
    assert ids(form, manager) == ["gone"]


def test_many_are_deleted(manager: SessionManager, form: Form) -> None:
    for number in range(7):
        form.do(manager, "create_session", f"{number}", metadata={"odd": number % 2 == 1})
    assert form.do(manager, "delete_sessions", older_than=3600) == 0
    assert form.do(manager, "delete_sessions", older_than=timedelta(hours=1)) == 0
    assert form.do(manager, "delete_sessions", older_than=datetime.now(timezone.utc) - timedelta(hours=1)) == 0
    assert form.do(manager, "delete_sessions", filter={"odd": True}, older_than=0) == 3
    assert ids(form, manager) == ["0", "2", "4", "6"]
    assert form.do(manager, "delete_sessions", filter={"odd": False}) == 4
    assert form.do(manager, "count_sessions") == 0


def gone(form: Form, manager: SessionManager, session_id: str) -> None:
    """Wait until a session has expired; then nothing of it is anywhere."""
    deadline = time.monotonic() + 10
    while form.do(manager, "get_session", session_id) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert session_id not in ids(form, manager)


def test_sessions_expire(manager_on: Callable[..., SessionManager], storage: Callable[[], Backend], form: Form) -> None:
    manager, other = manager_on(ttl=60), manager_on(ttl=60)
    form.do(manager, "create_session", "never", ttl=0)
    form.do(manager, "create_session", "brief", ttl=0.1)
    fixed = form.do(manager, "create_session", "fixed", sliding=False)
    used = form.do(manager, "create_session", "used")
    form.do(other.memory(), "append", "implicit", "user", "x")
    implicit = form.do(other, "get_session", "implicit")
    for number in range(3):
        before = [form.do(session, "info").expires_at for session in (used, implicit, fixed)]
        time.sleep(0.002)
        form.do(used, "append", "user", f"{number}")
        form.do(fixed, "append", "user", f"{number}")
        form.do(other.memory(), "append", "implicit", "user", "x")
        form.do(other.memory(), "append", "never", "user", "x")
        after = [form.do(session, "info").expires_at for session in (used, implicit, fixed)]
        assert [new > old for new, old in zip(after, before, strict=True)] == [True, True, False]
    gone(form, manager, "brief")
    let_end(storage(), "fixed")
    with pytest.raises(SessionNotFound):
        form.do(fixed, "append", "user", "too late")
    assert sorted(ids(form, manager)) == ["implicit", "never", "used"]
    assert form.do(manager, "count_sessions") == 3
    for session in (used, implicit):
        form.do(session, "set_ttl", 0.1)
        gone(form, manager, session.id)
    never = form.do(manager, "get_session", "never")
    assert (form.do(never, "len"), form.do(never, "info").expires_at, ids(form, manager)) == (3, None, ["never"])
    assert form.do(manager, "count_sessions") == 1
    form.do(never, "set_ttl", 0.1)
    gone(form, manager, "never")
    assert form.do(manager, "count_sessions") == 0


def test_a_damaged_session_says_how_to_go_on(
    manager: SessionManager, storage: Callable[[], Backend], form: Form
) -> None:
    for name in ("good", "bad"):
        form.do(manager, "create_session", name, title="T")
    run(storage(), must(keys.session("bad"), Put(DETAILS, b"junk")))
    with pytest.raises(CorruptData, match=r"'bad'.*delete_session\('bad'\)"):
        form.do(manager, "list_sessions")
    assert form.do(manager, "delete_session", "bad") is True
    assert ids(form, manager) == ["good"]


def test_what_others_keep_in_a_sessions_place_does_not_harm_the_list(redis7: RedisServer, form: Form) -> None:
    manager = SessionManager.from_url(redis7.url, prefix=(prefix := f"foreign-{uuid4()}"))
    with redis.Redis.from_url(redis7.url) as client:
        client.set(f"{prefix}:{{$session/$taken/}}", "theirs")
        with pytest.raises(ForeignStorage):
            form.do(manager, "create_session", "taken")
        assert ids(form, manager) == []
        form.do(manager, "create_session", "good")
        with pytest.raises(ForeignStorage):
            form.do(manager.memory(), "append", "taken", "user", "x")
        assert ids(form, manager) == ["good"]
        assert form.do(manager, "delete_sessions", older_than=0) == 1
        assert client.get(f"{prefix}:{{$session/$taken/}}") == b"theirs"
    form.do(manager, "close")
