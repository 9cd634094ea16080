"""Streams of a conversation: one that is given up leaves nothing, one that is repeated gives what is stored."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModelError
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from support.sittings import Form
from support.speakers import Speaker, Worker, listen, untimed

from langgraph_sessionstore import NothingToUndo, Session, SessionManager, Usage
from langgraph_sessionstore.testing import Fault


def said(pieces: list[Any]) -> str:
    """What was heard."""
    return "".join(piece.text for piece in pieces)


ENDS = ("close", "dropped", "error", "cancelled")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("heard", [0, 1, 3])
def test_a_stream_that_is_given_up_leaves_nothing(session: Session, form: Form, end: str, heard: int) -> None:
    model = Speaker(responses=["one two three four five"], error_on_chunk_number=heard if end == "error" else None)
    conversation = session.conversation(model, system="C")
    pieces: list[Any] = []
    if form.loop is None:
        stream: Any = conversation.stream("hi")
        if end == "error":
            with pytest.raises(FakeListChatModelError):
                pieces.extend(stream)
        else:
            pieces = [next(stream) for _ in range(heard)]
            stream.close() if end == "close" else None
        del stream
    else:

        async def take() -> None:
            stream: Any = conversation.astream("hi")
            while end == "error" or len(pieces) < heard:
                pieces.append(await anext(stream))
            if end == "cancelled":
                thinking.set()
                async for piece in stream:
                    pieces.append(piece)
                    await asyncio.Event().wait()  # where it is cancelled
            elif end == "close":
                await stream.aclose()

        async def take_and_cancel() -> None:
            task = asyncio.create_task(take())
            await thinking.wait()
            for _ in range(5):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        thinking = asyncio.Event()
        if end == "error":
            with pytest.raises(FakeListChatModelError):
                form.loop.run_until_complete(take())
        else:
            form.loop.run_until_complete(take_and_cancel() if end == "cancelled" else take())
    gc.collect()
    for _ in range(20):  # what is dropped is closed when the loop runs
        form.pause(0)
    if end != "cancelled":
        assert [piece.text for piece in pieces] == ["one ", "two ", "three "][:heard]
    assert (form.texts(session), form.do(session, "system")) == ([], None)
    with pytest.raises(NothingToUndo):
        form.do(session, "undo")
    assert form.do(session.conversation(Speaker()), "run", "hi").text == "re: hi"


@pytest.mark.parametrize("kind", ["memory", "file"], indirect=True)
@pytest.mark.parametrize("given", ["hi", HumanMessage("hi", id="mine")], ids=["text", "id"])
@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_a_stream_whose_end_is_not_known_is_repeated_and_there_once(
    manager: SessionManager, form: Form, given: Any, fault: Fault
) -> None:
    for at in range(1, 6):
        session = form.do(manager, "create_session")
        worker, model = Worker(form, manager, session.id), Speaker(used=(3, 1, 2))
        conversation = worker.session.conversation(model)
        worker.fails({at: fault})
        answer, _ = worker.again(lambda c=conversation: said(listen(form, c, given)))  # type: ignore[misc]
        assert form.texts(session) == ["hi", "re: hi"]
        assert model.calls == 1
        assert answer == "re: hi", at
        assert untimed(form, session) == {"chat": Usage(1, 3, 2, 1)}


def test_a_message_that_was_answered_is_answered_in_a_stream(session: Session, form: Form) -> None:
    given, model = HumanMessage("hi", id="mine"), Speaker(responses=["yes", "no"])
    conversation = session.conversation(model)
    form.do(conversation, "run", given)
    assert said(listen(form, conversation, given)) == "yes"
    assert (model.calls, form.texts(session)) == (1, ["hi", "yes"])


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("form", ["async"], indirect=True)
def test_a_stream_that_was_heard_to_its_end_leaves_no_task(session: Session, form: Form) -> None:
    assert form.loop is not None
    assert said(listen(form, session.conversation(Speaker()), "hi")) == "re: hi"
    assert asyncio.all_tasks(form.loop) == set()


@pytest.mark.parametrize("heard", [1, 3])
@pytest.mark.parametrize("behind", [False, True])
def test_a_chain_that_is_given_up_leaves_all_or_nothing(session: Session, form: Form, heard: int, behind: bool) -> None:
    """LangChain reads on to the end of what a step stands on, for its traces: what is behind hears the whole answer."""
    conversation = session.conversation(Speaker(responses=["one two three four five"]))
    chain: Any = ChatPromptTemplate([("user", "{x}")]) | conversation
    chain = chain | StrOutputParser() if behind else chain

    async def take() -> None:
        stream = chain.astream({"x": "hi"})
        for _ in range(heard):
            await anext(stream)
        await stream.aclose()

    if form.loop is None:
        stream = chain.stream({"x": "hi"})
        for _ in range(heard):
            next(stream)
        stream.close()
    else:
        form.loop.run_until_complete(take())
        for _ in range(20):
            form.pause(0)
    whole = ["hi", "one two three four five"]
    assert form.texts(session) in ([], whole) if behind else form.texts(session) == []
    before = form.texts(session)
    listen(form, chain, {"x": "hi"})
    assert form.texts(session) == [*before, *whole]
