"""What a worker knows of a session that others have changed, deleted or begun anew: it never counts as the truth."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from support.ends import let_end
from support.sittings import Form
from support.waiting import wait_until

from langgraph_sessionstore import (
    Backend,
    ConflictError,
    LeaseHeld,
    NothingToUndo,
    Session,
    SessionManager,
    SessionNotFound,
    keys,
    run,
)
from langgraph_sessionstore.ops import Drop, Page, Range, Touch, must
from langgraph_sessionstore.plans import editing, sessions
from langgraph_sessionstore.plans.places import REGISTRY
from langgraph_sessionstore.session.lease import Lease

Workers = tuple[SessionManager, SessionManager]


@pytest.fixture
def workers(manager_on: Callable[..., SessionManager]) -> Workers:
    return manager_on(), manager_on()


def moment(form: Form, session: Session) -> datetime:
    """When it was used last."""
    return datetime.fromisoformat(form.do(session, "info").updated_at)


def test_what_begins_anew_after_its_end_ends_again(
    manager_on: Callable[..., SessionManager], storage: Callable[[], Backend], form: Form
) -> None:
    manager = manager_on(ttl=60, sliding=False)
    for life in range(2):
        form.do(manager.memory(), "append", "ann", "user", f"{life}")
        assert form.do(form.do(manager, "get_session", "ann"), "info").expires_at is not None
        assert [message.text for message in form.do(manager.memory(), "load", "ann")] == [f"{life}"]
        let_end(storage(), "ann")
        assert form.do(manager, "get_session", "ann") is None


def test_a_handle_means_its_own_session(workers: Workers, form: Form) -> None:
    old = form.do(workers[0], "create_session", "a", messages=["old"])
    assert form.do(workers[1], "delete_session", "a") is True
    new = form.do(workers[1], "create_session", "a", messages=["new"])
    assert form.do(old, "delete") is False
    for name, args in (("fork", ("f",)), ("append", ("x",)), ("clear", ()), ("set_ttl", (5,)), ("messages", ())):
        with pytest.raises(SessionNotFound):
            form.do(old, name, *args)
    assert form.texts(new) == ["new"]
    assert [info.id for info in form.everything(workers[0])] == ["a"]


def test_a_loose_handle_commits_to_what_it_has_seen(workers: Workers, form: Form) -> None:
    form.do(workers[0].memory(), "append", "a", "user", "one")
    loose = workers[0].history("a").session
    transaction = loose.transaction()
    form.enter(transaction).replace(0, "user", "edited")
    form.do(workers[1], "delete_session", "a")
    new = form.do(workers[1], "create_session", "a", messages=["another"])
    with pytest.raises(ConflictError):
        form.leave(transaction)
    assert form.texts(new) == ["another"]


def test_a_lifetime_that_another_worker_sets_holds(workers: Workers, form: Form) -> None:
    one, two = workers
    session = form.do(one, "create_session", "s")
    same = form.do(two, "get_session", "s")
    for options in ({"ttl": 60, "sliding": False}, {"ttl": 50}):
        form.do(same, "set_ttl", **options)
        ends = form.do(same, "info").expires_at
        form.do(session, "append", "user", "x")
        assert form.do(session, "info").expires_at == ends
    form.do(same, "set_ttl", 0.1)
    wait_until(lambda: form.do(one, "get_session", "s") is None, "it has ended")
    assert form.do(one, "count_sessions") == 0
    sliding = form.do(one, "create_session", "t", ttl=60)
    fork = form.do(sliding, "fork", "u")
    assert form.do(fork, "info").expires_at is not None
    form.do(form.do(two, "get_session", "t"), "set_ttl", 0)
    fork = form.do(sliding, "fork", "v")
    assert form.do(fork, "info").expires_at is None
    form.do(sliding, "append", "user", "x")
    assert form.do(sliding, "info").expires_at is None


def listed_end(manager: SessionManager, name: str) -> int:
    """The moment from which on the list hides a session; 0: never."""
    (found,) = run(manager.backend, must(REGISTRY, Page("name", keys.session(name), limit=1)))
    assert [entry.name for entry in found.rows] == [keys.session(name)]
    return int(found.rows[0].expires)


@pytest.mark.parametrize("kind", ["memory", "redis7"], indirect=True)
def test_the_list_does_not_keep_an_end_that_was_told_in_vain(workers: Workers, form: Form) -> None:
    one, two = workers
    stale = {name: form.do(one, "create_session", name, ttl=60) for name in ("ever", "fixed", "leased", "new", "loose")}
    form.do(form.do(two, "get_session", "ever"), "set_ttl", 0)
    form.do(stale["ever"], "append", "user", "x")
    form.do(form.do(two, "get_session", "fixed"), "set_ttl", 600, sliding=False)
    form.do(stale["fixed"], "append", "user", "x")
    same = form.do(two, "get_session", "leased")
    form.do(same, "set_ttl", 0)
    lease = same.lease(60)
    form.enter(lease)
    with pytest.raises(LeaseHeld):
        form.do(stale["leased"], "append", "user", "x")
    form.leave(lease)
    form.do(two, "delete_session", "new")
    form.do(two, "create_session", "new")
    with pytest.raises(SessionNotFound):
        form.do(stale["new"], "append", "user", "x")
    run(two.backend, must(keys.session("loose"), Drop()))
    form.do(one.memory(), "append", "loose", "user", "x")
    assert {name: listed_end(two, name) for name in stale if name != "fixed"} == dict.fromkeys(
        ("ever", "leased", "new", "loose"), 0
    )
    assert listed_end(two, "fixed") > (time.time() + 500) * 1000


@pytest.mark.parametrize("kind", ["memory", "redis7"], indirect=True)
def test_the_list_forgets_the_end_of_an_earlier_session(workers: Workers, form: Form) -> None:
    """Its worker died between the delete and the list."""
    one, two = workers
    form.do(one, "create_session", "a", ttl=60)
    form.do(two.memory(), "append", "b", "user", "x")
    run(one.backend, must(REGISTRY, Touch(keys.session("b"), ttl=60_000)))
    for name in ("a", "b"):
        run(one.backend, must(keys.session(name), Drop()))
        form.do(two.memory(), "append", name, "user", "x")
        assert listed_end(one, name) == 0


def test_an_id_that_is_used_again_is_new_in_the_list(workers: Workers, form: Form) -> None:
    session = form.do(workers[0], "create_session", "s", ttl=0.1)
    wait_until(lambda: form.do(workers[1], "get_session", "s") is None, "it has ended")
    between = datetime.now(timezone.utc)
    time.sleep(0.005)
    new = form.do(workers[1], "create_session", "s", messages=["brand new"])
    assert form.do(workers[1], "delete_sessions", older_than=between) == 0
    assert [info.id for info in form.everything(workers[0])] == ["s"]
    assert form.texts(new) == ["brand new"]
    with pytest.raises(SessionNotFound):
        form.do(session, "messages")


def test_each_run_of_a_graph_is_use(workers: Workers, form: Form) -> None:
    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", interrupt("?"))]}

    graph = (
        StateGraph(MessagesState)
        .add_node("ask", ask)
        .add_edge(START, "ask")
        .compile(checkpointer=workers[0].checkpointer)
    )
    session = form.do(workers[0], "create_session")
    sync = Form(None)  # interrupts need a newer Python in async runs
    sync.do(graph, "invoke", {"messages": [("user", "a")]}, session.config)
    steps: list[Any] = [Command(resume="b"), {"messages": [("user", "c")]}, Command(resume="d")]
    for step in steps:
        before = moment(form, session)
        time.sleep(0.05)
        sync.do(graph, "invoke", step, session.config, durability="exit" if isinstance(step, dict) else "sync")
        assert moment(form, session) - before >= timedelta(milliseconds=40)


def test_what_is_used_meanwhile_is_not_deleted_with_others(
    workers: Workers, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = workers
    sync = Form(None)
    for name in ("used", "tagged", "new", "left"):
        form.do(one, "create_session", name, metadata={"done": True})
    delete_many = sessions.delete_many

    def slowly(*args: Any) -> Any:
        two.memory().append("used", "user", "still here")
        found = two.get_session("tagged")
        assert found is not None
        found.update(metadata={"done": False})
        two.delete_session("new")
        two.create_session("new", metadata={"done": True})
        return (yield from delete_many(*args))

    monkeypatch.setattr(sessions, "delete_many", slowly)
    assert sync.do(one, "delete_sessions", filter={"done": True}, older_than=0) == 1
    assert sorted(info.id for info in form.everything(two)) == ["new", "tagged", "used"]
    two.create_session("new too", metadata={"done": True})
    assert sync.do(one, "delete_sessions", filter={"done": True}) == 2  # in use or not
    assert sorted(info.id for info in form.everything(two)) == ["new", "tagged"]


def test_a_worker_that_keeps_no_history_ends_what_others_could_undo(
    manager_on: Callable[..., SessionManager], form: Form
) -> None:
    one, two = manager_on(), manager_on(undo=0)
    session = form.do(one, "create_session", "s")
    form.do(session, "extend", ["a", "b"])
    form.do(form.do(two, "get_session", "s"), "append", "user", "c")
    with pytest.raises(NothingToUndo):
        form.do(session, "undo")
    form.do(session, "append", "user", "d")
    form.do(session, "undo")
    assert form.texts(session) == ["a", "b", "c"]


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("form", ["sync"], indirect=True)
def test_a_purge_does_not_wait_until_nobody_appends(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    session = workers[0].create_session("s", messages=["a", "b"])
    session.insert(1, "user", "c")
    other = workers[1].get_session("s")
    begin, tries = editing.begin, []

    def meanwhile(*args: Any, **options: Any) -> Any:
        found: Any = yield from begin(*args, **options)
        if options == {"messages": False}:
            session.append("user", "new")
            tries.append(found)
        return found

    assert other is not None
    monkeypatch.setattr(editing, "begin", meanwhile)
    other.clear(purge=True)
    assert ([message.text for message in session.messages], len(tries)) == (["new"], 1)
    with pytest.raises(NothingToUndo):  # whatever was done before its end
        session.undo()
    session.append("user", "newer")
    session.undo()
    assert [message.text for message in other.messages] == ["new"]


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("form", ["sync"], indirect=True)
def test_a_purge_leaves_nothing_to_undo_that_relies_on_what_is_gone(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the order was another meanwhile, and is the same again."""
    session = workers[0].create_session("s", messages=["a", "b"])
    begin, orders = editing.begin, [["b", "a"], ["a", "b"]]

    def meanwhile(*args: Any, **options: Any) -> Any:
        found = yield from begin(*args, **options)
        if options == {"messages": False}:
            for texts in orders:
                session.set_messages(texts)
        return found

    monkeypatch.setattr(editing, "begin", meanwhile)
    session.clear(purge=True)
    assert session.messages == []
    for act in (session.undo, session.redo):
        with pytest.raises(NothingToUndo):
            act()


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("form", ["sync"], indirect=True)
def test_what_was_stored_is_not_in_doubt_when_it_cannot_tidy_up(
    workers: Workers, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = workers[0].create_session("s", messages=["a"])
    other = workers[1].get_session("s")
    trim, leases = editing._trim, list[Lease]()

    def slowly(*args: Any) -> Any:
        assert other is not None
        leases.append(other.lease(60))
        form.enter(leases[-1])
        return (yield from trim(*args))

    monkeypatch.setattr(editing, "_trim", slowly)
    monkeypatch.setattr(editing, "TRIM", 1)
    session.append("user", "b")
    form.leave(leases[-1])
    session.remove(0)
    form.leave(leases[-1])
    assert ([message.text for message in session.messages], len(leases)) == (["b"], 2)


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("form", ["sync"], indirect=True)
@pytest.mark.parametrize("redo", [False, True])
@pytest.mark.parametrize("write", [lambda own: own.append("user", "x"), lambda own: own.update(title="T")])
def test_messages_go_with_the_history_that_needed_them(
    write: Callable[[Session], Any], redo: bool, manager_on: Callable[..., SessionManager]
) -> None:
    one, two = manager_on(), manager_on(undo=0)
    session = one.create_session("s", messages=["a" if redo else "violet", "b"])
    session.remove(0)
    if redo:
        session.replace(0, "user", "violet")
        session.undo()
    own = two.get_session("s")
    assert own is not None
    write(own)
    (rows,) = run(one.backend, must(keys.session("s"), Range(b"", None)))
    assert not [key for key, value in rows if b"violet" in value]
