"""Items of sessions live for a time too, also in forks and exports; and reading one brings no session back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.between import Between
from support.lifetimes import INDEX, PEEK, Clock, Managers, N, Namespace, names, unsound
from support.places import every_place, two_places
from support.sittings import Form

from langgraph_sessionstore import SESSION_NAMESPACE, Backend, Session, SessionStore


@every_place
def test_items_of_sessions_live_for_a_time_too(
    manager_on: Managers, storage: Callable[[], Backend], form: Form, clock: Clock, tmp_path: Path
) -> None:
    manager = manager_on(index=INDEX, store_ttl={"default_ttl": 10})
    session: Session = form.do(manager, "create_session", "s")
    own = (SESSION_NAMESPACE, "s")
    form.do(session.store, "put", ("a",), "ends", {"text": "1"})
    form.do(session.store, "put", ("a", "b"), "stays", {"text": "2"}, ttl=None)
    form.do(session.store, "put", ("a", "c"), "longer", {"text": "3"}, ttl=100)
    form.do(session, "fork", "copy")
    form.do(session, "export", tmp_path / "s.jsonl")
    clock.at(10, -1)
    subjects: list[tuple[Any, Namespace]] = [(session.store, ()), (manager.store, own)]
    for store, base in subjects:
        wanted = [(*base, "a", *rest) for rest in ((), ("b",), ("c",))]
        assert form.do(store, "list_namespaces", prefix=(*base, "a")) == wanted
        assert names(form.do(store, "search", base, **PEEK)) == ["ends", "stays", "longer"]
    clock.at(10)
    form.do(manager, "import_", tmp_path / "s.jsonl", session_id="back")
    for name in ("s", "copy", "back"):
        store, base = manager.store, (SESSION_NAMESPACE, name)
        assert form.do(store, "get", (*base, "a"), "ends") is None
        assert names(form.do(store, "search", base, **PEEK)) == ["stays", "longer"]
        assert names(form.do(store, "search", base, query="1", **PEEK)) == ["stays", "longer"]
        assert names(form.do(store, "search", base, limit=1, offset=1, **PEEK)) == ["longer"]
        assert form.do(store, "list_namespaces", prefix=base) == [(*base, "a", "b"), (*base, "a", "c")]
        assert form.do(store, "list_namespaces", prefix=base, max_depth=3) == [(*base, "a")]
    assert form.do(session.store, "list_namespaces") == [("a", "b"), ("a", "c")]
    form.do(session.store, "put", ("a",), "ends", {"text": "1"})
    again = form.do(session.store, "get", ("a",), "ends")
    assert again.created_at == again.updated_at
    clock.at(99)
    assert form.do(session.store, "get", ("a", "c"), "longer") is not None
    clock.at(120)
    assert names(form.do(manager.store, "search", own, **PEEK)) == ["stays", "longer"]
    assert names(form.do(manager.store, "search", (SESSION_NAMESPACE, "copy"), **PEEK)) == ["stays"]
    assert form.do(manager.store, "sweep_ttl") == 0
    assert unsound(storage(), own) == []
    assert form.do(manager.store, "list_namespaces") == []
    assert form.do(session, "delete")
    assert form.do(manager.store, "search", own) == []


@two_places
def test_reading_an_item_brings_no_session_back(manager_on: Managers, form: Form, clock: Clock) -> None:
    one, two = manager_on(), manager_on()
    session: Session = form.do(one, "create_session", "s")
    form.do(session.store, "put", N, "k", {"v": 1}, ttl=10)
    clock.pass_(5)
    backend = Between(one.backend, {2: lambda: two.delete_session("s")})
    assert form.do(SessionStore(backend), "get", (SESSION_NAMESPACE, "s", *N), "k").value == {"v": 1}
    assert form.do(two.store, "search", (SESSION_NAMESPACE, "s")) == []
    assert form.do(two, "get_session", "s") is None
