"""All sessions and items go from one storage into another: everything, once, and as it was."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.ends import move_end
from support.kept import graph_on, said, with_graph, with_log
from support.savers import BACKENDS
from support.servers import RedisServer
from support.sittings import Form

from langgraph_sessionstore import (
    BackendUnavailable,
    ConfigurationError,
    Copied,
    CorruptData,
    NotReplicated,
    SessionManager,
    SessionNotFound,
    keys,
    open_backend,
    run,
)
from langgraph_sessionstore.ops import Count, Expire, Put, Tally, must
from langgraph_sessionstore.plans import moving
from langgraph_sessionstore.plans.places import SUMMARY

ROUTES = pytest.mark.parametrize(
    ("kind", "other"), [*zip(BACKENDS, BACKENDS[1:] + BACKENDS[:1], strict=True)], indirect=True
)


@pytest.fixture
def other(request: pytest.FixtureRequest) -> str:
    """The backend there."""
    return str(request.param)


@pytest.fixture
def there(other: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SessionManager]:
    """The other storage."""
    url = "memory:" if other == "memory" else str(tmp_path / "there")
    if other not in ("memory", "file"):
        url = f"{request.getfixturevalue(other).url}?prefix=there-{uuid.uuid4()}"
    with SessionManager(open_backend(url)) as manager:
        yield manager
        manager.backend.close()


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Where things are gathered on their way."""
    made: list[bytes] = []
    place = moving.place

    def noted(name: bytes) -> bytes:
        made.append(place(name))
        return made[-1]

    monkeypatch.setattr(moving, "place", noted)
    return made


def _nothing_is_left(places: list[bytes], *managers: SessionManager) -> None:
    assert places
    for manager in managers:
        assert [run(manager.backend, must(at, Count(b"", None))) for at in places] == [[0]] * len(places)


@ROUTES
def test_everything_arrives_once(
    form: Form, manager: SessionManager, there: SessionManager, places: list[bytes]
) -> None:
    log, graph = with_log(manager, ttl=3600), with_graph(manager)
    manager.store.put(("users", "ann"), "diet", {"likes": "noodles"})
    manager.store.put(("users",), "bob", {"n": 1}, ttl=60)
    seen: list[tuple[int, int]] = []
    done = form.do(manager, "copy_to", there, progress=lambda *each: seen.append(each), verify=True)
    assert done == Copied(2, 0, 2, 0)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    _nothing_is_left(places, manager, there)
    for session in (log, graph):
        copied = there.get_session(session.id)
        assert copied is not None
        assert copied.to_dict()["rows"] == session.to_dict()["rows"]
        assert copied.info.created_at == session.info.created_at
    assert there.get_session("log").info.expires_at is not None  # type: ignore[union-attr]
    assert there.store.get(("users", "ann"), "diet").value == {"likes": "noodles"}  # type: ignore[union-attr]
    assert sorted(there.store.list_namespaces()) == [("users",), ("users", "ann")]
    assert graph_on(there.checkpointer).invoke(said("Nara"), graph.config)["messages"][4].text == "Nara"

    assert form.do(manager, "copy_to", there) == Copied(0, 2, 0, 2)
    again = form.do(manager, "copy_to", there, verify=True)
    assert again.differences == ("session 'graph' is not the same on both sides",)
    there.store.put(("users", "ann"), "more", {})
    there.store.delete(("users",), "bob")
    last = form.do(manager, "copy_to", there, verify=True)
    assert (last.namespaces, last.namespaces_there) == (1, 1)
    assert "namespace ('users', 'ann') is not the same on both sides" in last.differences
    assert run(there.backend, must(keys.registry("session"), Tally())) == [2]


@pytest.mark.parametrize(("kind", "other"), [("memory", "file")], indirect=True)
def test_some_of_them(form: Form, manager: SessionManager, there: SessionManager) -> None:
    for name in ("a", "b", "c"):
        manager.create_session(name)
    manager.store.put(("users",), "k", {})
    assert form.do(manager, "copy_to", there, ["a", "c", "a"], store=False) == Copied(2, 0)
    assert sorted(info.id for info in there.list_sessions()) == ["a", "c"]
    with pytest.raises(SessionNotFound, match="no session 'nobody'"):
        form.do(manager, "copy_to", there, ["b", "nobody"])
    assert there.get_session("b") is None
    wrong: list[tuple[Any, Any]] = [(manager, None), ("./there", None), (there, "a"), (there, [1])]
    for target, chosen in wrong:
        with pytest.raises(ConfigurationError):
            form.do(manager, "copy_to", target, chosen)


@pytest.mark.parametrize(("kind", "other"), [("file", "memory"), ("redis7", "file")], indirect=True)
def test_one_that_is_deleted_meanwhile_and_one_that_is_damaged(
    form: Form, manager: SessionManager, there: SessionManager, places: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        manager.create_session(name, summary="x")
    leave = moving.leave

    def late(desk: Any, at: bytes) -> Any:
        if desk.session_id == "b" and manager.get_session("b") is not None:
            manager.delete_session("b")
        return leave(desk, at)

    monkeypatch.setattr(moving, "leave", late)
    done = form.do(manager, "copy_to", there)
    assert done == Copied(2, 0)
    assert sorted(info.id for info in there.list_sessions()) == ["a", "c"]
    manager.create_session("b")
    run(manager.backend, must(keys.session("b"), Put(SUMMARY, b"\xff")))
    monkeypatch.setattr(moving, "leave", leave)
    assert form.do(manager, "copy_to", there).sessions == 1  # rows travel as they are
    with pytest.raises(CorruptData):
        _ = there.get_session("b").summary  # type: ignore[union-attr]
    _nothing_is_left(places, manager, there)


@pytest.mark.parametrize(("kind", "other"), [("file", "redis7")], indirect=True)
def test_a_copy_that_is_stopped_leaves_nothing_half(
    form: Form, manager: SessionManager, there: SessionManager, places: list[bytes]
) -> None:
    for number in range(20):
        manager.create_session(f"s{number}", messages=["Hello"])

    def stop(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt if form.loop is None else asyncio.CancelledError

    with pytest.raises((KeyboardInterrupt, asyncio.CancelledError)):
        form.do(manager, "copy_to", there, progress=stop)
    assert there.count_sessions() == 7
    _nothing_is_left(places, manager, there)
    assert form.do(manager, "copy_to", there, verify=True) == Copied(13, 7)


@pytest.mark.parametrize(("kind", "other"), [("redis7", "file")], indirect=True)
def test_two_copies_at_once_bring_nothing_twice(
    manager_on: Callable[..., SessionManager], there: SessionManager, form: Form
) -> None:
    managers = [manager_on(), manager_on()]
    for number in range(30):
        managers[0].create_session(f"s{number}")

    async def both() -> list[Copied]:
        return await asyncio.gather(*(manager.acopy_to(there) for manager in managers))

    done = form.loop.run_until_complete(both()) if form.loop is not None else asyncio.run(both())
    assert sum(each.sessions for each in done) == 30
    assert sum(each.sessions + each.sessions_there for each in done) == 60
    assert there.count_sessions() == 30


@pytest.mark.parametrize(("kind", "other"), [("memory", "file"), ("redis7", "file"), ("file", "redis7")], indirect=True)
@pytest.mark.parametrize("where", ["here", "there", "there at the end"])
def test_what_a_storage_loses_on_the_way_is_not_taken_for_the_whole(
    form: Form, manager: SessionManager, there: SessionManager, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a server comes back with an earlier state."""
    manager.create_session("s", messages=[f"message {number}" for number in range(60)])
    for number in range(30):
        manager.store.put(("users",), f"user {number}", {"n": number})
    pieces: dict[bytes, int] = {}
    piece, add, arrive, arrive_items = moving.Reader.piece, moving.Gathering.add, moving.arrive, moving.arrive_items

    def lossy_piece(self: moving.Reader) -> Any:
        rows = yield from piece(self)
        if self._total is not None:
            pieces[self._at] = pieces.get(self._at, 0) + 1
            if where == "here" and pieces[self._at] == 2:
                yield from moving.drop(self._at)
        return rows

    def lossy_add(self: moving.Gathering, rows: Any) -> Any:
        yield from add(self, rows)
        if where == "there" and self._pieces == 2:
            yield from moving.drop(self.at)

    def lossy_arrival(which: Callable[..., Any]) -> Callable[..., Any]:
        def late(desk: Any, gathered: moving.Gathering, *left: Any) -> Any:
            if where == "there at the end":
                yield from must(gathered.at, Put(keys.PIECES, b"1"))
            return (yield from which(desk, gathered, *left))

        return late

    with monkeypatch.context() as broken:
        broken.setattr(moving.Reader, "piece", lossy_piece)
        broken.setattr(moving.Gathering, "add", lossy_add)
        broken.setattr(moving, "arrive", lossy_arrival(arrive))
        broken.setattr(moving, "arrive_items", lossy_arrival(arrive_items))
        everything: list[list[str] | None] = [None, []]  # with none chosen the items alone
        for chosen in everything:
            with pytest.raises(BackendUnavailable, match="nothing was brought"):
                form.do(manager, "copy_to", there, chosen)
    assert there.count_sessions() == 0
    assert there.store.search(("users",)) == []
    assert form.do(manager, "copy_to", there, verify=True) == Copied(1, 0, 1, 0)


@pytest.mark.parametrize(("kind", "other"), [("file", "memory"), ("redis7", "file")], indirect=True)
@pytest.mark.parametrize("sliding", [True, False])
def test_a_copy_is_as_old_and_ends_when_the_original_does(
    form: Form, manager: SessionManager, there: SessionManager, sliding: bool
) -> None:
    session = manager.create_session("s", ttl=3600, sliding=sliding)
    manager.create_session("forever")
    partition = keys.session("s")
    soon = int(time.time() * 1000) + 60_000
    move_end(manager.backend, "s", soon)
    old = session.info
    later = time.time_ns() // 1_000_000 + 5
    while time.time_ns() // 1_000_000 < later:
        time.sleep(0.001)
    form.do(manager, "copy_to", there, verify=True)
    copied = there.get_session("s")
    assert copied is not None
    info = copied.info
    assert (info.created_at, info.updated_at) == (old.created_at, old.updated_at)
    assert info.expires_at == session.info.expires_at
    assert run(there.backend, must(partition, Expire(at=soon))) == [soon]
    copied.append("user", "x")
    moved = copied.info.expires_at
    assert moved is not None
    assert (moved > info.expires_at) == sliding  # type: ignore[operator]
    assert there.get_session("forever").info.expires_at is None  # type: ignore[union-attr]
    assert [each.id for each in there.list_sessions(by="created")] == ["s", "forever"]


@pytest.mark.parametrize("kind", ["file"], indirect=True)
def test_replicas_that_have_not_confirmed_stop_nothing(
    form: Form, manager: SessionManager, redis7: RedisServer
) -> None:
    manager.create_session("a")
    manager.create_session("b")
    manager.store.put(("users",), "k", {})
    url = f"{redis7.url}?prefix=there-{uuid.uuid4()}"
    with SessionManager.from_url(url, wait_replicas=1, wait_timeout=0.01) as lone:
        with pytest.raises(NotReplicated) as caught:
            form.do(manager, "copy_to", lone)
        assert caught.value.result == Copied(2, 0, 1, 0)
    with SessionManager.from_url(url) as there:
        assert sorted(info.id for info in there.list_sessions()) == ["a", "b"]
        assert form.do(manager, "copy_to", there, verify=True) == Copied(0, 2, 0, 1)
