"""What no replica confirms is done all the same: a user hears of it, goes on with it, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import START, StateGraph
from pydantic import BaseModel
from support.sittings import Form
from support.speakers import Speaker, listen, untimed
from typing_extensions import TypedDict

from langgraph_sessionstore import (
    Backend,
    ConflictError,
    NotReplicated,
    OutcomeUnknown,
    Session,
    SessionExists,
    SessionManager,
    Usage,
)
from langgraph_sessionstore.strategies import Summary, asummarize, summarize
from langgraph_sessionstore.testing import Fault, FaultyBackend

pytestmark = pytest.mark.parametrize("kind", ["memory"], indirect=True)
ALL = dict.fromkeys(range(1, 10_000), Fault.UNCONFIRMED)


class State(TypedDict):
    """Of a graph."""

    a: int


class Reply(BaseModel):
    """An answer as data."""

    said: str


@pytest.fixture
def faulty(storage: Callable[[], Backend]) -> FaultyBackend:
    """A storage of which no replica confirms anything, until `faults` are gone."""
    return FaultyBackend(storage(), dict(ALL))


@pytest.fixture
def doubtful(faulty: FaultyBackend) -> SessionManager:
    """A manager on it."""
    return SessionManager(faulty)


def doubt(form: Form, subject: Any, name: str, *args: Any, **options: Any) -> Any:
    """What a call would have returned, that says so."""
    with pytest.raises(NotReplicated) as caught:
        form.do(subject, name, *args, **options)
    assert not isinstance(caught.value, OutcomeUnknown)
    return caught.value.result


def test_a_session_that_nobody_confirms_is_there_to_go_on_with(
    doubtful: SessionManager, faulty: FaultyBackend, form: Form
) -> None:
    session = doubt(form, doubtful, "create_session", "trip", messages=["one"], title="A trip")
    assert isinstance(session, Session)
    doubt(form, session, "append", "user", "two")
    doubt(form, session, "replace", 0, "user", "first")
    fork = doubt(form, session, "fork", "other")
    assert isinstance(fork, Session)
    assert form.texts(fork) == form.texts(session) == ["first", "two"]
    with pytest.raises(SessionExists):
        form.do(doubtful, "create_session", "trip")
    assert doubt(form, session, "undo").startswith("Restored")
    assert form.texts(session) == ["one", "two"]
    # reading needs nobody's word, whatever it tidies up on its way
    assert [info.id for info in form.everything(doubtful)] == ["trip", "other"]
    assert form.do(doubtful, "get_session", "trip").id == "trip"
    faulty.faults.clear()
    costs = []
    for _ in range(2):
        before = faulty.calls
        form.do(session, "append", "user", "more")
        costs.append(faulty.calls - before)
    assert costs[0] == costs[1]  # what was in doubt was known all the same
    faulty.faults.update(ALL)
    assert doubt(form, doubtful, "delete_sessions", older_than=0) == 2
    assert form.do(doubtful, "count_sessions") == 0


def test_a_change_that_somebody_else_forestalled_is_a_conflict(doubtful: SessionManager, form: Form) -> None:
    session = doubt(form, doubtful, "create_session", messages=["one"])
    transaction = session.transaction()
    draft = form.enter(transaction)
    draft.replace(0, "user", "mine")
    doubt(form, session, "replace", 0, "user", "theirs")
    with pytest.raises(ConflictError):
        form.leave(transaction)
    transaction = session.transaction()
    form.enter(transaction).replace(0, "user", "mine")
    with pytest.raises(NotReplicated):
        form.leave(transaction)
    assert form.texts(session) == ["mine"]


def test_a_lease_needs_nobodys_word_and_what_is_written_with_it_does(doubtful: SessionManager, form: Form) -> None:
    session = doubt(form, doubtful, "create_session")
    lease = session.lease(30)
    turn = form.enter(lease)
    doubt(form, turn, "append", "user", "mine")
    form.leave(lease)
    doubt(form, session, "append", "user", "ours")
    assert form.texts(session) == ["mine", "ours"]


@pytest.mark.parametrize("given", ["hi", HumanMessage("hi", id="mine")], ids=["text", "id"])
@pytest.mark.parametrize("way", ["run", "json"])
def test_a_turn_that_is_said_again_is_there_once_and_is_confirmed(
    doubtful: SessionManager, faulty: FaultyBackend, form: Form, given: Any, way: str
) -> None:
    session = doubt(form, doubtful, "create_session")
    model = Speaker(responses=['{"said": "yes"}', "never"], used=(3, 1, 2))
    conversation = session.conversation(model)
    asked = (given, Reply) if way == "json" else (given,)
    answer = doubt(form, conversation, way, *asked)
    assert (answer.said if way == "json" else answer.text) == ("yes" if way == "json" else '{"said": "yes"}')
    for _ in range(2):
        again = doubt(form, conversation, way, *asked)  # in doubt still
        assert again == answer
    faulty.faults.clear()
    again = form.do(conversation, way, *asked)
    assert again == answer if way == "json" else again.text == answer.text
    assert model.calls == 1
    assert len(form.texts(session)) == 2
    assert untimed(form, session) == {"chat": Usage(1, 3, 2, 1)}
    form.do(conversation, "run", HumanMessage("hi", id="other"))
    assert model.calls == 2


def test_a_stream_says_it_at_its_end(doubtful: SessionManager, faulty: FaultyBackend, form: Form) -> None:
    session = doubt(form, doubtful, "create_session")
    conversation = session.conversation(model := Speaker())
    with pytest.raises(NotReplicated):
        listen(form, conversation, "hi")
    faulty.faults.clear()
    assert "".join(piece.text for piece in listen(form, conversation, "hi")) == "re: hi"
    assert (model.calls, form.texts(session)) == (1, ["hi", "re: hi"])


def test_a_lost_answer_among_doubts(doubtful: SessionManager, faulty: FaultyBackend, form: Form) -> None:
    """Whichever it is, the turn is there once when it is said again; a doubt is told when it was stored."""
    met = set()
    for at in range(1, 6):
        session = doubt(form, doubtful, "create_session")
        conversation = session.conversation(Speaker())
        faulty.faults[faulty.calls + at] = Fault.CUT_AFTER
        with pytest.raises((NotReplicated, OutcomeUnknown)) as caught:
            form.do(conversation, "run", "hi")
        met.add((at, type(caught.value)))
        faulty.faults.clear()
        stored = isinstance(caught.value, NotReplicated)
        assert form.texts(session) == (["hi", "re: hi"] if stored else []), at
        assert form.do(conversation, "run", "hi").text == "re: hi"
        assert form.texts(session) == ["hi", "re: hi"], at
        faulty.faults.update(ALL)
    assert {kind for _, kind in met} == {NotReplicated, OutcomeUnknown}, met


class Summaries:
    """Summaries of a session, in both forms."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def summarize(self, model: Speaker) -> Any:
        return summarize(self.session, model, 2, after=2, drop=True)

    async def asummarize(self, model: Speaker) -> Any:
        return await asummarize(self.session, model, 2, after=2, drop=True)


def test_a_summary_in_doubt_does_not_keep_a_turn_from_its_end(
    doubtful: SessionManager, faulty: FaultyBackend, form: Form
) -> None:
    session = doubt(form, doubtful, "create_session", messages=[("user", str(n)) for n in range(8)])
    conversation = session.conversation(Speaker(), strategy=Summary(Speaker(responses=["so far"]), keep=2))
    assert doubt(form, conversation, "run", "hi").text == "re: hi"
    assert form.texts(session)[-2:] == ["hi", "re: hi"]
    assert form.do(session, "summary") == "so far"
    sent = doubt(form, Summaries(session), "summarize", Speaker(responses=["all"]))
    assert [message.text for message in sent][-2:] == ["hi", "re: hi"]
    assert form.texts(session) == ["hi", "re: hi"]


def test_checkpoints_in_doubt_are_built_upon(doubtful: SessionManager, faulty: FaultyBackend, form: Form) -> None:
    saver, config = doubtful.checkpointer, {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    for number in range(3):
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"items": list(range(number + 1))}
        checkpoint["channel_versions"] = {"items": number + 1}
        config = doubt(form, saver, "put", config, checkpoint, {"step": number}, {"items": number + 1})
        assert config["configurable"]["checkpoint_id"] == checkpoint["id"]
        doubt(form, saver, "put_writes", config, [("items", number)], "task")
    found = form.do(saver, "get_tuple", config)
    assert found.checkpoint["channel_values"] == {"items": [0, 1, 2]}
    assert not form.do(saver, "check", "t")
    doubt(form, saver, "prune", ["t", "other"])
    with pytest.raises(NotReplicated):
        form.do(saver, "delete_thread", "t")
    assert form.do(saver, "get_tuple", config) is None


def test_items_in_doubt_are_there(doubtful: SessionManager, faulty: FaultyBackend, form: Form) -> None:
    store = doubtful.store
    doubt(form, store, "put", ("notes",), "one", {"text": "hi"})
    assert form.do(store, "get", ("notes",), "one").value == {"text": "hi"}
    assert [item.key for item in form.do(store, "search", ("notes",))] == ["one"]


def test_a_graph_goes_on_from_a_checkpoint_in_doubt(doubtful: SessionManager, faulty: FaultyBackend) -> None:
    """The run ends, as whoever has started it has to hear of it; what it has stored is stored."""
    done: list[str] = []
    builder = StateGraph(State)
    for name in ("first", "second"):
        builder.add_node(name, lambda _, name=name: done.append(name))
    builder.add_edge(START, "first").add_edge("first", "second")
    graph = builder.compile(checkpointer=doubtful.checkpointer)
    config: Any = {"configurable": {"thread_id": "t"}}
    with pytest.raises(NotReplicated):
        graph.invoke({"a": 1}, config, durability="sync")
    faulty.faults.clear()
    graph.invoke(None, config, durability="sync")
    assert done == ["first", "second"]
    assert not graph.get_state(config).next
