"""A strategy decides what is sent of what was said before; the session keeps all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModelError
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage, trim_messages
from langchain_core.runnables import RunnableLambda
from support.sittings import Form
from support.speakers import Speaker, Worker, listen, untimed

from langgraph_sessionstore import ConfigurationError, OutcomeUnknown, Session, SessionManager, Usage
from langgraph_sessionstore.strategies import Summary, Window
from langgraph_sessionstore.strategies.summarizing import HEADING
from langgraph_sessionstore.testing import Fault

LONG = [(("user", "ai")[number % 2], f"{number}") for number in range(12)]


def last_two(messages: list[BaseMessage]) -> list[BaseMessage]:
    """A strategy of a user's own."""
    return messages[-2:]


async def alast_two(messages: list[BaseMessage]) -> list[BaseMessage]:
    """The async form of `last_two`."""
    return messages[-2:]


def in_words(number: int) -> Any:
    """LangChain's own, which counts messages here."""
    return trim_messages(max_tokens=number, token_counter=len, strategy="last", start_on="human", include_system=True)


STRATEGIES: list[tuple[Any, list[str]]] = [
    (Window(2), ["10", "11"]),
    (Window(0), []),
    (Window(99), [text for _, text in LONG]),
    (last_two, ["10", "11"]),
    (lambda messages: [], []),
    (lambda messages: tuple(messages[:1]), ["0"]),
    (lambda messages: [SystemMessage("in short"), messages[-1]], ["in short", "11"]),
    (in_words(2), ["10", "11"]),
    (in_words(3), ["10", "11"]),
    (RunnableLambda(last_two, afunc=alast_two), ["10", "11"]),
]


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize(("strategy", "sent"), STRATEGIES, ids=range(len(STRATEGIES)))
def test_what_is_sent_and_what_is_kept(manager: SessionManager, form: Form, strategy: Any, sent: list[str]) -> None:
    session = form.do(manager, "create_session", messages=LONG, system="S")
    model = Speaker()
    conversation = session.conversation(model, strategy=strategy)
    given = [("system", "mind"), "a", ("ai", "b"), "new"]
    form.do(conversation, "run", given)
    assert model.texts() == ["S", *sent, "mind", "a", "b", "new"]  # what is new is never cut
    all_ = [text for _, text in LONG] + ["mind", "a", "b", "new", "re: new"]
    assert form.texts(session) == all_
    form.do(session, "undo")
    assert form.texts(session) == all_[:12]


def test_a_window_on_every_backend(session: Session, form: Form) -> None:
    model = Speaker()
    conversation = session.conversation(model, strategy=Window(2), system="C")
    for text in ("one", "two", "three"):
        form.do(conversation, "run", text)
    assert model.texts() == ["C", "two", "re: two", "three"]
    assert len(form.texts(session)) == 6


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
def test_a_window_does_not_part_calls_from_results(session: Session, form: Form) -> None:
    call = {"name": "look", "args": {}, "id": "1", "type": "tool_call"}
    form.do(
        session, "extend", ["a", AIMessage("", tool_calls=[call]), ToolMessage("seen", tool_call_id="1"), ("ai", "b")]
    )
    for size, sent in ((1, ["b"]), (2, ["b"]), (3, ["", "seen", "b"])):
        model = Speaker()
        form.do(form.do(session, "fork").conversation(model, strategy=Window(size)), "run", "new")
        assert model.texts() == [*sent, "new"]


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("strategy", [3, "last", object(), Window])
def test_what_is_no_strategy_is_refused(session: Session, form: Form, strategy: Any) -> None:
    model = Speaker()
    with pytest.raises((ConfigurationError, TypeError)):
        form.do(session.conversation(model, strategy=strategy), "run", "hi")
    assert (model.calls, form.texts(session)) == (0, [])


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("chosen", [None, "text", ["text"], [None], 3])
def test_a_strategy_that_chooses_no_messages_is_refused(session: Session, form: Form, chosen: Any) -> None:
    model = Speaker()
    with pytest.raises(ConfigurationError, match="a strategy gives"):
        form.do(session.conversation(model, strategy=lambda messages: chosen), "run", "hi")
    assert (model.calls, form.texts(session)) == (0, [])


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
def test_a_strategy_that_changes_messages_changes_nothing_that_is_kept(manager: SessionManager, form: Form) -> None:
    def shorten(messages: list[BaseMessage]) -> list[BaseMessage]:
        for message in messages:
            message.content = message.text[:1]
        messages.pop(0)
        return messages

    session = form.do(manager, "create_session", messages=["first", ("ai", "second"), "third"])
    model = Speaker()
    form.do(session.conversation(model, strategy=shorten), "run", "hello")
    assert model.texts() == ["s", "t", "hello"]
    assert form.texts(session) == ["first", "second", "third", "hello", "re: hello"]


def test_a_summary_is_stored_and_its_use_recorded(manager_on: Callable[..., SessionManager], form: Form) -> None:
    session = form.do(manager_on(), "create_session", "s", messages=LONG, system="S")
    short, model = Speaker(responses=["in short", "shorter"], used=(50, 0, 5), name_="mini"), Speaker(used=(3, 1, 2))
    strategy: Any = Summary(short, keep=2, after=4)
    conversation = session.conversation(model, strategy=strategy, phase="talk")
    form.do(conversation, "run", "new")
    assert model.texts() == ["S", HEADING + "in short", "10", "11", "new"]
    assert (form.do(session, "summary"), form.texts(session)) == ("in short", [*map(str, range(12)), "new", "re: new"])
    assert untimed(form, session) == {"summary": Usage(1, 50, 5), "talk": Usage(1, 3, 2, 1)}
    assert untimed(form, session, "by_model")["mini"] == Usage(1, 50, 5)
    other = form.do(manager_on(), "get_session", "s").conversation(model, strategy=strategy)
    listen(form, other, "and")
    assert (short.calls, model.texts()) == (1, ["S", HEADING + "in short", "10", "11", "new", "re: new", "and"])
    form.do(other, "run", "end")
    assert (short.calls, model.texts()) == (2, ["S", HEADING + "shorter", "and", "re: and", "end"])
    assert "in short" in short.texts()[0]
    assert form.do(session, "undo") == "Restored: before append of 2 messages"
    assert form.texts(session)[-2:] == ["and", "re: and"]


@pytest.mark.parametrize("failing", ["summary", "model"])
def test_a_turn_with_a_summary_that_fails(manager: SessionManager, form: Form, failing: str) -> None:
    session = form.do(manager, "create_session", messages=LONG)
    short = Speaker(responses=["in short"], used=(50, 0, 5), fails={1} if failing == "summary" else set())
    model = Speaker(fails=set() if failing == "summary" else {1})
    conversation = session.conversation(model, strategy=Summary(short, keep=2))
    with pytest.raises(FakeListChatModelError):
        form.do(conversation, "run", "new")
    assert form.texts(session) == [text for _, text in LONG]
    assert untimed(form, session) == ({} if failing == "summary" else {"summary": Usage(1, 50, 5)})
    form.do(conversation, "run", "new")
    assert untimed(form, session) == {"summary": Usage(1, 50, 5), "chat": Usage(1)}


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_a_turn_with_a_summary_is_there_once(manager: SessionManager, form: Form, fault: Fault) -> None:
    for at in range(1, 10):
        session = form.do(manager, "create_session", messages=LONG)
        worker = Worker(form, manager, session.id)
        short, model = Speaker(responses=["in short"], used=(50, 0, 5)), Speaker(used=(3, 1, 2))
        conversation = worker.session.conversation(model, strategy=Summary(short, keep=2))
        worker.fails({at: fault})
        try:
            form.do(conversation, "run", "new")
        except OutcomeUnknown:
            form.do(conversation, "run", "new")
        assert form.texts(session)[12:] == ["new", "re: new"], at
        assert form.do(session, "summary") == "in short"
        assert model.calls == 1
        spent = untimed(form, session)
        assert (spent["chat"], spent["summary"].calls) == (Usage(1, 3, 2, 1), short.calls), at
