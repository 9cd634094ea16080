"""What a turn has used is counted once: whatever became of its storing, and whoever else was watching."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from pydantic import BaseModel
from support.sittings import Form
from support.speakers import Speaker, Worker, untimed

from langgraph_sessionstore import Backend, InvalidAnswer, OutcomeUnknown, Session, SessionManager, Usage
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.conversation import turn
from langgraph_sessionstore.ops import Call
from langgraph_sessionstore.strategies import Summary
from langgraph_sessionstore.testing import Fault

MEMORY = pytest.mark.parametrize("kind", ["memory"], indirect=True)
CUTS = (Fault.CUT_BEFORE, Fault.CUT_AFTER)
USED = UsageMetadata(input_tokens=3, output_tokens=2, total_tokens=5)


def calls(form: Form, session: Session) -> int:
    """How many are counted."""
    return int(form.do(session, "metrics").total_calls)


@pytest.mark.parametrize("kind", ["memory", "redis7"], indirect=True)
@pytest.mark.parametrize("fault", CUTS)
def test_all_calls_count_of_a_turn_whose_end_was_unknown(manager: SessionManager, form: Form, fault: Fault) -> None:
    session = form.do(manager, "create_session")
    worker, model = Worker(form, manager, session.id), Speaker()
    conversation = worker.session.conversation(model)
    worker.fails({3: fault, 4: fault})
    with pytest.raises(OutcomeUnknown):
        form.do(conversation, "run", "hi")
    worker.fails({2: fault})
    with pytest.raises(OutcomeUnknown):
        form.do(conversation, "run", "hi")
    form.do(conversation, "run", "hi")
    assert calls(form, session) == model.calls


@MEMORY
def test_a_turn_inside_of_another_counts_once(session: Session, form: Form) -> None:
    model = Speaker(used=(3, 0, 2))
    inner = session.conversation(model, phase="inner")

    def ask(messages: Any) -> AIMessage:
        return inner.run(f"of {messages[-1].text}")

    async def aask(messages: Any) -> AIMessage:
        return await inner.arun(f"of {messages[-1].text}")

    form.do(session.conversation(ask if form.loop is None else aask, phase="outer"), "run", "hi")
    assert untimed(form, session) == {"inner": Usage(1, 3, 2)}


@MEMORY
def test_one_session_is_not_another_with_its_id(session: Session, form: Form) -> None:
    there = SessionManager.from_url("memory:").create_session(session.id)
    model = Speaker()
    callbacks = [there.usage_handler("there")]
    form.do(session.conversation(model), "run", "hi", config={"callbacks": callbacks})
    assert (calls(form, session), calls(Form(None), there)) == (1, 1)


@pytest.mark.parametrize("kind", ["memory", "redis7"], indirect=True)
def test_who_comes_second_with_a_turn_has_spent_as_well(manager: SessionManager, form: Form) -> None:
    session = form.do(manager, "create_session")
    given = HumanMessage("hi", id="mine")
    for at in (None, 1, 2, 3, 4, 5, 6):
        worker, quick, slow = Worker(form, manager, session.id), Speaker(), Speaker()
        other = session.conversation(quick)

        def meanwhile(other: Any = other) -> None:
            other.run(given)

        async def ameanwhile(other: Any = other) -> None:
            await other.arun(given)

        if form.loop is None:
            slow.meanwhile = meanwhile
        else:
            slow.ameanwhile = ameanwhile
        worker.fails({} if at is None else {at: Fault.CUT_AFTER})
        answer, _ = worker.again(lambda w=worker, s=slow: form.do(w.session.conversation(s), "run", given))  # type: ignore[misc]
        assert answer.text == "re: hi"
        assert form.texts(session) == ["hi", "re: hi"]
        assert calls(form, session) == quick.calls + slow.calls, at
        form.do(session, "delete")
        session = form.do(manager, "create_session")


@MEMORY
def test_a_summary_does_not_hide_what_a_function_has_used(session: Session, form: Form) -> None:
    form.do(session, "extend", [("user", f"{number}") for number in range(8)])
    strategy = Summary(Speaker(responses=["in short"]), keep=2)
    answer = AIMessage("yes", usage_metadata=USED)
    form.do(session.conversation(lambda messages: answer, strategy=strategy), "run", "hi")
    assert {phase: usage.calls for phase, usage in untimed(form, session).items()} == {"chat": 1, "summary": 1}


class Choice(BaseModel):
    """Data of which everything may be missing."""

    a: int | None = None


@MEMORY
def test_words_are_no_data(session: Session, form: Form) -> None:
    with pytest.raises(InvalidAnswer):
        form.do(session.conversation(Speaker(responses=["Use {} or ask again."])), "json", "hi", Choice)
    said = 'Not\n```{"a": 1}```\nbut\n```json\n{"a": 2}\n```'
    assert form.do(session.conversation(Speaker(responses=[said])), "json", "hi", Choice).a == 2


class Hung(Backend):
    """A storage that, once told to, takes calls and never answers."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.hangs = asyncio.Event()

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        return self.inner.execute(calls, ordered=ordered)

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        if self.hangs.is_set():
            await asyncio.Event().wait()
        return await self.inner.aexecute(calls, ordered=ordered)

    def close(self) -> None:
        """See `Backend.close`."""

    async def aclose(self) -> None:
        """See `Backend.close`."""


@MEMORY
@pytest.mark.parametrize("form", ["async"], indirect=True)
def test_who_is_cancelled_does_not_wait_for_ever(
    manager: SessionManager, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "_PATIENCE", 0.2)
    session = form.do(manager, "create_session")
    hung = Hung(manager.backend)
    worker: Session = form.do(SessionManager(hung), "get_session", session.id)
    model = Speaker()

    async def hang() -> None:
        hung.hangs.set()

    model.ameanwhile = hang
    conversation = worker.conversation(model)
    begun = time.monotonic()
    assert form.loop is not None
    with pytest.raises((asyncio.TimeoutError, TimeoutError)):
        form.loop.run_until_complete(asyncio.wait_for(conversation.arun("hi"), 0.1))
    assert time.monotonic() - begun < 5
    hung.hangs.clear()
    model.ameanwhile = None
    assert form.do(conversation, "run", "hi").text == "re: hi"
    assert form.texts(session) == ["hi", "re: hi"]
    assert calls(form, session) == 2


def test_a_model_keeps_its_own_callbacks_and_its_state(manager_on: Callable[..., SessionManager], form: Form) -> None:
    from langchain_core.tools import tool

    @tool
    def look(of: str) -> str:
        """Look."""
        return of

    session = form.do(manager_on(), "create_session")
    heard = session.usage_handler("its own")
    heard.place = None  # somebody else's
    model = Called(callbacks=[heard])
    assert form.do(session.conversation(model, tools=[look]), "run", "hi").text == "re: x"
    assert model.calls == 2
    assert {phase: usage.calls for phase, usage in untimed(form, session).items()} == {"chat": 2, "its own": 2}


class Called(Speaker):
    """A model that calls a tool first."""

    def _answer(self, messages: Any) -> AIMessage:
        if self.calls == 1:
            return AIMessage("", tool_calls=[{"name": "look", "args": {"of": "x"}, "id": "1"}])
        return super()._answer(messages)

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """See LangChain."""
        return self
