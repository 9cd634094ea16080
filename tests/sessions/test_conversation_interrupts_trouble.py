"""Graphs that wait for an answer, and something comes between: a lost answer of the storage, an edit, another turn.

Rule: what has been given is never taken for answered, and never refused for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langgraph.types import Command, interrupt
from support.talker import Stage, State, graph, say

from langgraph_sessionstore import (
    Backend,
    ConflictError,
    Conversation,
    Interrupted,
    OutcomeUnknown,
    SessionError,
    SessionManager,
)
from langgraph_sessionstore.session import line
from langgraph_sessionstore.testing import Fault, FaultyBackend

pytestmark = [
    pytest.mark.parametrize("kind", ["memory"], indirect=True),
    pytest.mark.usefixtures("interrupts"),
]
CUTS = pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])


@pytest.fixture
def faulty(storage: Callable[[], Backend], monkeypatch: pytest.MonkeyPatch) -> FaultyBackend:
    monkeypatch.setattr(line, "_TTL", 0.1)
    return FaultyBackend(storage(), {})


def ask(state: State) -> Any:
    """A node that waits for a word when it hears a question."""
    text = state["messages"][-1].text
    return say(f"{text} {interrupt('which?')}" if text.endswith("?") else text)


def cut(stage: Stage, faulty: FaultyBackend, fault: Fault, first: Any, given: Any) -> Iterator[Conversation]:
    """Conversations in which a turn was given, and one call of it was cut: each call once."""
    manager, number = SessionManager(faulty), 0
    while faulty.calls >= number:
        number += 1
        session = stage.form.do(manager, "create_session")
        stage.others.append(session)
        talk = session.conversation(graph(ask))
        for before in first:
            with pytest.raises(Interrupted):
                stage.run(talk, before)
        faulty.calls, faulty.faults = 0, {number: fault}
        unknown = False
        try:
            stage.run(talk, given)
        except OutcomeUnknown:
            unknown = True
        except Interrupted:
            pass
        faulty.faults = {}
        if unknown:
            yield talk
            faulty.calls = number
    assert number > 3


@CUTS
def test_a_question_that_may_be_lost_is_asked_again(stage: Stage, faulty: FaultyBackend, fault: Fault) -> None:
    for talk in cut(stage, faulty, fault, [], "a?"):
        with pytest.raises(Interrupted) as error:
            stage.run(talk, "a?")
        assert [each.value for each in error.value.interrupts] == ["which?"]
        assert stage.run(talk, Command(resume="this")) == "a? this"
        assert stage.form.texts(talk.session) == ["a?", "a? this"]


@CUTS
def test_an_answer_that_may_be_lost_is_given_again(stage: Stage, faulty: FaultyBackend, fault: Fault) -> None:
    for talk in cut(stage, faulty, fault, ["a?"], Command(resume="this")):
        assert stage.run(talk, Command(resume="this")) == "a? this"
        assert stage.form.texts(talk.session) == ["a?", "a? this"]


@pytest.mark.parametrize("undone", [("rewind", 1), ("clear",)])
def test_a_question_that_was_taken_back_can_be_asked_again(stage: Stage, undone: Any) -> None:
    talk = stage.session.conversation(graph(ask))
    stage.run(talk, "first")
    with pytest.raises(Interrupted):
        stage.run(talk, "a?")
    stage.do(*undone)
    before = stage.texts()
    with pytest.raises(Interrupted):
        stage.run(talk, "a?")
    assert stage.texts() == [*before, "a?"]
    assert stage.run(talk, Command(resume="this")) == "a? this"


def test_a_question_that_was_dropped_can_be_asked_again(stage: Stage) -> None:
    talk = stage.session.conversation(graph(ask))
    with pytest.raises(Interrupted):
        stage.run(talk, "a?")
    assert stage.run(talk, "never mind") == "never mind"
    with pytest.raises(Interrupted):
        stage.run(talk, "a?")
    assert stage.texts() == ["a?", "never mind", "never mind", "a?"]


def test_a_message_while_it_waits(stage: Stage) -> None:
    talk = stage.session.conversation(graph(ask))
    with pytest.raises(Interrupted):
        stage.run(talk, "a?")
    stage.do("append", "user", "and b?")
    assert stage.run(talk, Command(resume="this")) in ("a? this", "and b? this")
    assert stage.texts()[:2] == ["a?", "and b?"]
    assert len(stage.do("messages")) == 3


def test_an_answer_while_the_session_changes(stage: Stage) -> None:
    edits = [("append", "user", "x")]

    def edit(state: State) -> Any:
        answer = interrupt("which?")
        for name, *args in edits:
            getattr(stage.session, name)(*args)
        edits.clear()
        return say(answer)

    talk = stage.session.conversation(graph(edit), wait=0)
    with pytest.raises(Interrupted):
        stage.run(talk, "a?")
    with pytest.raises(ConflictError):
        stage.run(talk, Command(resume="this"))
    assert stage.texts() == ["a?", "x"]
    assert stage.run(talk, Command(resume="that")) == "that"
    assert stage.texts() == ["a?", "x", "that"]


def test_a_fork_waits_as_well(stage: Stage) -> None:
    talk = stage.session.conversation(graph(ask))
    with pytest.raises(Interrupted):
        stage.run(talk, "a?")
    fork = stage.form.do(talk, "fork")
    assert stage.run(fork, Command(resume="there")) == "a? there"
    assert stage.run(talk, Command(resume="here")) == "a? here"
    assert stage.texts() == ["a?", "a? here"]
    stage.others.append(fork.session)


def test_an_answer_that_nobody_waits_for(stage: Stage) -> None:
    talk = stage.session.conversation(graph(ask), wait=0)
    for text in ("first", "second"):
        before = stage.everything()
        for _ in range(2):
            with pytest.raises(SessionError, match="waits for nothing"):
                stage.run(talk, Command(resume="this"))
        assert stage.everything() == before
        assert stage.run(talk, text) == text
    with pytest.raises(Interrupted):
        stage.run(talk, "a?")
    assert stage.run(talk, Command(resume="this")) == "a? this"
    before = stage.everything()
    with pytest.raises(SessionError, match="waits for nothing"):
        stage.run(talk, Command(resume="that"))
    assert stage.everything() == before
    assert stage.run(talk, "third") == "third"


def test_what_was_dropped_is_a_new_turn_when_it_is_said_again(stage: Stage) -> None:
    def book(state: State) -> Any:
        text = state["messages"][-1].text
        return say(f"booked {interrupt('when?')}" if text == "book it" else "well then")

    talk = stage.session.conversation(graph(book))
    with pytest.raises(Interrupted):
        stage.run(talk, "book it")
    assert stage.run(talk, "never mind") == "well then"
    with pytest.raises(Interrupted):
        stage.run(talk, "book it")
    assert stage.texts() == ["book it", "never mind", "well then", "book it"]
    assert stage.run(talk, Command(resume="now")) == "booked now"
    with pytest.raises(Interrupted):
        stage.run(talk, "book it")
    assert stage.texts()[3:] == ["book it", "booked now", "book it"]
    stage.line()


def test_what_another_worker_has_answered_is_a_new_turn_here(
    stage: Stage, manager_on: Callable[..., SessionManager]
) -> None:
    talk = stage.session.conversation(graph(ask))
    other = stage.form.do(manager_on(), "get_session", stage.session.id).conversation(graph(ask))
    with pytest.raises(Interrupted):
        stage.run(talk, "a?")
    assert stage.run(other, Command(resume="there")) == "a? there"
    with pytest.raises(Interrupted):
        stage.run(talk, "a?")
    assert stage.texts() == ["a?", "a? there", "a?"]
    assert stage.run(other, Command(resume="again")) == "a? again"
    assert stage.texts() == ["a?", "a? there", "a?", "a? again"]
    stage.line()
