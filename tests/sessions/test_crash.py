"""A fault at every call of every operation leaves a session as it was before or as it is after, never in between."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from support.savers import Saver, checkpoint, config
from support.sittings import Form

from langgraph_sessionstore import (
    SESSION_NAMESPACE,
    Backend,
    OutcomeUnknown,
    Session,
    SessionManager,
    SessionStoreError,
    many,
)
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.testing import Fault, FaultyBackend

pytestmark = pytest.mark.long

FAULTS = (Fault.FAIL, Fault.CUT_BEFORE, Fault.CUT_AFTER)
WASTEFUL = ("purge", "prune", "delete runs")
"""These leave elements for a later collection when they are cut."""
Act = Callable[[Form, SessionManager, Session], Any]


def _both(tx: Any) -> None:
    tx.append("u")
    tx.insert(0, "first")
    tx.set_summary("T")


def _begin(form: Form, manager: SessionManager, session: Session) -> Any:
    return form.do(
        manager, "create_session", f"{session.id} made", messages=["1", "2"], summary="x", metadata={"m": 1}, ttl=99
    )


def _arrive(form: Form, manager: SessionManager, session: Session) -> Any:
    return form.do(manager, "from_dict", form.exported, session_id=f"{session.id} made")  # type: ignore[attr-defined]


EDITS: dict[str, Act] = {
    "append": lambda form, _, session: form.do(session, "append", "user", "n"),
    "extend": lambda form, _, session: form.do(session, "extend", ["x", "y"]),
    "insert": lambda form, _, session: form.do(session, "insert", 1, "user", "i"),
    "replace": lambda form, _, session: form.do(session, "replace", 0, "user", "r"),
    "remove": lambda form, _, session: form.do(session, "remove", 1),
    "clear": lambda form, _, session: form.do(session, "clear"),
    "purge": lambda form, _, session: form.do(session, "clear", purge=True),
    "summary": lambda form, _, session: form.do(session, "set_summary", "S"),
    "transaction": lambda form, _, session: form.do(session, "transact", _both),
    "undo": lambda form, _, session: form.do(session, "undo"),
    "redo": lambda form, _, session: form.do(session, "redo"),
    "rewind": lambda form, _, session: form.do(session, "rewind", 1),
    "fork": lambda form, _, session: form.do(session, "fork", f"{session.id} made"),
    "import": _arrive,
    "delete": lambda form, _, session: form.do(session, "delete"),
}
OTHERS: dict[str, Act] = {
    "create": _begin,
    "usage": lambda form, _, session: form.do(session, "record_usage", "p", input_tokens=3),
    "ttl": lambda form, _, session: form.do(session, "set_ttl", 100),
    "delete many": lambda form, manager, _: form.do(manager, "delete_sessions", filter={"of": "crash"}),
    "item": lambda form, manager, session: form.do(
        manager.store, "put", (SESSION_NAMESPACE, session.id), "k", {"v": 2}
    ),
}
THREADS: dict[str, Act] = {
    "prune": lambda form, manager, session: form.do(manager.checkpointer, "prune", [session.id]),
    "delete runs": lambda form, manager, session: form.do(manager.checkpointer, "delete_for_runs", [session.id]),
    "delete thread": lambda form, manager, session: form.do(manager.checkpointer, "delete_thread", session.id),
    "copy thread": lambda form, manager, session: form.do(
        manager.checkpointer, "copy_thread", session.id, f"{session.id} made"
    ),
}


def talk(manager: SessionManager) -> CompiledStateGraph[Any]:
    """A graph that answers."""

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", f"answer {len(state['messages'])}")]}

    builder = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")
    return builder.compile(checkpointer=manager.checkpointer)


def prepared(form: Form, manager: SessionManager, name: str, graph: bool) -> Session:
    """A session with something to undo and to redo, in its log or in a graph."""
    ttl = 3600 if graph else None
    session: Session = form.do(manager, "create_session", name, metadata={"of": "crash"}, ttl=ttl)
    if graph:
        for number in range(2):
            run = {"metadata": {"run_id": name} if number else {}}
            form.do(talk(manager), "invoke", {"messages": [("user", f"{number}")]}, {**session.config, **run})
    else:
        form.do(session, "extend", ["a", "b", "c", ("ai", "d")])
    form.do(session, "append", "user", "e")
    form.do(session, "append", "user", "f")
    form.do(session, "undo")
    form.do(manager.store, "put", (SESSION_NAMESPACE, name), "k", {"v": 1})
    return session


def seen(form: Form, manager: SessionManager, name: str, waste: bool = False) -> Any:
    """All that can be seen of a session, and of the one that may have come from it; and whether they are listed."""
    allowed = {"unreferenced"} if waste else set()
    found: dict[str, Any] = {}
    listed = {info.id for info in form.everything(manager)}
    for each in (name, f"{name} made"):
        session = form.do(manager, "get_session", each)
        what = each[len(name) :]
        found[what] = session and {
            "messages": form.texts(session),
            "summary": form.do(session, "summary"),
            "metadata": form.do(session, "info").metadata,
            "ends": form.do(session, "info").expires_at is not None,
            "calls": form.do(session, "usage").calls,
            "checkpoints": len(list(manager.checkpointer.list(session.config))),
            "item": [item.value for item in manager.store.search((SESSION_NAMESPACE, each))],
        }
        assert (each in listed) == (session is not None)
        if session is not None:
            assert {problem.kind for problem in manager.checkpointer.check(each)} <= allowed
    return found


ACTS = [(name, False) for name in (*EDITS, *OTHERS)] + [(name, True) for name in (*EDITS, *THREADS)]
ELSEWHERE = [("memory", "async"), ("file", "sync"), ("redis7", "sync")]
WHERE = [
    *(("memory", "sync", *act) for act in ACTS),
    # the plans are the same everywhere: each of these takes a third of the acts in turn, together they take all
    *((*where, *act) for at, where in enumerate(ELSEWHERE) for act in ACTS[at :: len(ELSEWHERE)]),
    *(("cluster", "sync", name, False) for name in ("create", "fork", "delete")),  # these write into several slots
]


@pytest.mark.parametrize(
    ("kind", "form", "name", "graph"),
    [pytest.param(*each, id="-".join([*each[:3], *["graph"] * each[3]])) for each in WHERE],
    indirect=["kind", "form"],
)
def test_before_or_after(
    name: str, graph: bool, storage: Callable[[], Backend], manager_on: Callable[..., SessionManager], form: Form
) -> None:
    act, manager, sync = {**EDITS, **OTHERS, **THREADS}[name], manager_on(), Form(None)
    numbers = count()

    def attempt(faults: dict[int, Fault]) -> tuple[Any, Any, int, SessionStoreError | None]:
        """What was before, what is after, how many calls there were, and how it ended."""
        session_id = f"crash {next(numbers)}"
        sync.exported = form.exported = None  # type: ignore[attr-defined]
        session = prepared(sync, manager, session_id, graph)
        form.exported = session.to_dict()  # type: ignore[attr-defined]
        before, error = seen(sync, manager, session_id), None
        faulty = FaultyBackend(manager.backend, faults)
        worker = SessionManager(faulty)
        handle = Session(worker._common, session_id, session._incarnation)
        try:
            act(form, worker, handle)
        except SessionStoreError as exc:
            error = exc
        after = seen(sync, manager, session_id, waste=name in WASTEFUL and isinstance(error, OutcomeUnknown))
        manager.delete_session(session_id)
        manager.delete_session(f"{session_id} made")
        return before, after, faulty.calls, error

    before, right, calls, error = attempt({})
    assert error is None
    assert right != before
    for at in range(1, calls + 1):
        for fault in FAULTS:
            was, is_, _, error = attempt({at: fault})
            assert was == before
            possible = [before, right]
            if name == "purge" and graph and isinstance(error, OutcomeUnknown):  # cleared in one step, then pruned
                possible.append({**right, "": {**right[""], "checkpoints": is_[""]["checkpoints"]}})
            assert is_ in possible, (at, fault, error)
            if error is None:
                assert is_ == right, (at, fault)
            elif not isinstance(error, OutcomeUnknown):
                assert is_ == before, (at, fault, error)


MANY: dict[str, Callable[[Form, SessionManager, list[str]], Any]] = {
    "prune": lambda form, manager, names: form.do(manager.checkpointer, "prune", names),
    "delete threads": lambda form, manager, names: form.do(manager.checkpointer, "prune", names, strategy="delete"),
    "delete runs": lambda form, manager, names: form.do(manager.checkpointer, "delete_for_runs", names),
    "delete": lambda form, manager, _: form.do(manager, "delete_sessions", filter={"of": "crash"}),
}


@pytest.mark.parametrize("name", MANY)
def test_what_was_done_before_the_trouble_is_not_denied(name: str, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that says that nothing was applied speaks for all sessions that the operation is about."""
    monkeypatch.setattr(many, "PAGE", 1)
    sync, names = Form(None), ["a", "b"]
    for at in count(1):
        manager = SessionManager(MemoryBackend())
        for each in names:
            manager.create_session(each, metadata={"of": "crash"})
            where = config(each)
            for _ in range(2):
                where = Saver(manager.checkpointer, None).put(where, checkpoint({"n": at}), {"run_id": each})
        before = [seen(sync, manager, each) for each in names]
        faulty = FaultyBackend(manager.backend, {at: Fault.FAIL})
        try:
            MANY[name](form, SessionManager(faulty), names)
        except OutcomeUnknown:
            pass
        except SessionStoreError:
            assert [seen(sync, manager, each) for each in names] == before, at
        if faulty.calls < at:
            break
    assert at > len(names)
