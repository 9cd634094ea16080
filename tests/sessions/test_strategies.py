"""What is sent to a model when all of it is too much: windows, summaries, selections."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableLambda

from langgraph_sessionstore import ConfigurationError, ConflictError, Session, SessionError, SessionManager
from langgraph_sessionstore.strategies import aselect, asummarize, awindow, select, summarize, window


def tool_turn(number: int) -> list[BaseMessage]:
    """A question, a call of two tools, their results, an answer."""
    calls = [{"name": "look", "args": {}, "id": f"{number}-{each}"} for each in "ab"]
    return [
        HumanMessage(f"question {number}"),
        AIMessage("", tool_calls=calls),
        ToolMessage("a", tool_call_id=f"{number}-a"),
        ToolMessage("b", tool_call_id=f"{number}-b"),
        AIMessage(f"answer {number}"),
    ]


@pytest.fixture
def session() -> Session:
    manager = SessionManager.from_url("memory:")
    return manager.create_session(system="Be kind.", messages=[m for n in range(4) for m in tool_turn(n)])


def whole(messages: list[BaseMessage]) -> bool:
    """Whether each call has its results behind it, and each result its call before it."""
    open_: set[Any] = set()
    for message in messages:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in open_:
                return False
            open_.remove(message.tool_call_id)
        elif open_:
            return False
        if isinstance(message, AIMessage):
            open_ = {call["id"] for call in message.tool_calls}
    return not open_


@pytest.mark.parametrize("last", range(22))
def test_a_window_never_cuts_a_call_from_its_results(session: Session, last: int) -> None:
    full = session.messages
    sent = window(session, last)
    assert sent[0] == SystemMessage("Be kind.")
    assert whole(sent)
    assert len(sent) - 1 <= last
    assert sent[1:] == full[len(full) - len(sent) + 1 :]
    assert asyncio.run(awindow(session, last)) == sent
    assert session.messages == full


def test_a_window_keeps_system_messages_and_leaves_out_results_without_a_call() -> None:
    manager = SessionManager.from_url("memory:")
    stray = ToolMessage("?", tool_call_id="nobody's")
    session = manager.create_session(messages=[SystemMessage("first"), HumanMessage("a"), stray, HumanMessage("b")])
    assert [message.text for message in window(session, 2)] == ["first", "b"]
    assert [message.text for message in window(session, 1)] == ["first", "b"]
    assert [message.text for message in window(session, 0)] == ["first"]


def test_a_window_that_drops_can_be_undone(session: Session) -> None:
    full = session.messages
    sent = window(session, 5, drop=True)
    assert session.messages == sent[1:] == full[-5:]
    assert session.undo() == "Restored: before window of 5"
    assert session.messages == full


def test_a_selection_keeps_calls_and_results_together(session: Session) -> None:
    sent = select(session, lambda message: message.text in ("b", "answer 2"))
    assert whole(sent)
    assert [type(message) for message in sent[1:4]] == [AIMessage, ToolMessage, ToolMessage]
    assert len(sent) == 1 + 4 * 3 + 1
    assert asyncio.run(aselect(session, lambda message: False)) == [SystemMessage("Be kind.")]
    select(session, lambda message: isinstance(message, HumanMessage), drop=True)
    assert [message.text for message in session.messages] == [f"question {number}" for number in range(4)]


def test_a_summary_is_stored_survives_and_grows(tmp_path: Path) -> None:
    with SessionManager.from_url(tmp_path) as manager:
        session = manager.create_session("trip", messages=[m for n in range(4) for m in tool_turn(n)])
        asked: list[str] = []

        def answer(prompt: list[BaseMessage]) -> str:
            asked.append(prompt[0].text)
            return f"summary {len(asked)}"

        model: RunnableLambda[Any, str] = RunnableLambda(answer)
        sent = summarize(session, model, keep=4)
        assert whole(sent)
        assert "summary 1" in sent[0].text
        assert [message.text for message in sent[-1:]] == ["answer 3"]
        assert "question 0" in asked[0]
        assert len(session) == 20
    with SessionManager.from_url(tmp_path) as manager:
        again = manager.get_session("trip")
        assert again is not None
        assert summarize(again, model, keep=4) == sent
        assert len(asked) == 1
        again.extend([message for n in range(4, 6) for message in tool_turn(n)])
        later = asyncio.run(asummarize(again, model, keep=4))
        assert len(asked) == 2
        assert "summary 1" in asked[1]
        assert "question 0" not in asked[1]
        assert "question 3" in asked[1] or "answer 3" in asked[1]
        assert "summary 2" in later[0].text
        assert again.summary == "summary 2"
        again.append("user", "one more")
        assert summarize(again, model, keep=4)[-1].text == "one more"
        assert len(asked) == 2


def test_a_summary_of_messages_that_were_edited_since_is_not_used(session: Session) -> None:
    model = FakeListChatModel(responses=["the first", "the second"])
    summarize(session, model, keep=4)
    session.replace(0, "user", "something else")
    sent = summarize(session, model, keep=4)
    assert "the second" in sent[1].text
    assert all("the first" not in message.text for message in sent)


def test_a_summary_that_drops_keeps_what_was_said_in_short(session: Session) -> None:
    full = session.messages
    model = FakeListChatModel(responses=["the first", "the second"])
    sent = summarize(session, model, keep=4, drop=True)
    assert session.messages == sent[2:]
    assert len(session) < 10
    assert summarize(session, model, keep=4) == sent
    assert session.summary == "the first"
    session.undo()
    assert session.messages == full


def test_edits_while_the_model_thinks_are_a_conflict(session: Session) -> None:
    def edit(prompt: Any) -> str:
        session.remove(0)
        return "of what is gone"

    with pytest.raises(ConflictError, match="edited"):
        summarize(session, RunnableLambda(edit), keep=4)
    assert session.summary is None

    def add(prompt: Any) -> str:
        session.append("user", "meanwhile")
        return "of what still stands"

    assert summarize(session, RunnableLambda(add), keep=4)[-1].text == "meanwhile"
    assert session.summary == "of what still stands"


def test_bad_input(session: Session) -> None:
    before = session.messages, session.summary
    model = FakeListChatModel(responses=[" "])
    with pytest.raises(SessionError, match="no summary"):
        summarize(session, model, keep=4)
    for bad in (-1, "3", None, True, 1.5):
        with pytest.raises(ConfigurationError):
            window(session, bad)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError):
            summarize(session, model, keep=bad)  # type: ignore[arg-type]
    assert (session.messages, session.summary) == before
