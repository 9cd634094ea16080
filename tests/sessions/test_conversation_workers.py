"""Many workers talk on one session at once: each turn stays in one piece, and one that two begin is there once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage
from pydantic import BaseModel
from support.nursery import NURSERY
from support.sittings import Form
from support.speakers import Speaker, at_once, listen, talk, untimed

from langgraph_sessionstore import Session, SessionManager, Usage

WORKERS, TURNS = 8, 4


class Reply(BaseModel):
    """An answer as data."""

    said: str


def pairs(messages: list[BaseMessage]) -> list[tuple[str, str]]:
    """User's and model's messages, two by two."""
    return [(given.text, said.text) for given, said in zip(messages[::2], messages[1::2], strict=True)]


class Gate:
    """Opens when so many have come."""

    def __init__(self, form: Form, size: int) -> None:
        self._barrier = threading.Barrier(size, timeout=30) if form.loop is None else None
        self._left = size
        self._open = asyncio.Event()

    def wait(self) -> None:
        """Come, in a thread."""
        if self._barrier is not None:
            self._barrier.wait()

    async def await_(self) -> None:
        """Come, in a task."""
        self._left -= 1
        if self._left == 0:
            self._open.set()
        await asyncio.wait_for(self._open.wait(), 30)


def meeting(form: Form, size: int, **options: Any) -> list[Speaker]:
    """Models that answer when all of them were asked."""
    gate = Gate(form, size)
    return [Speaker(meanwhile=gate.wait, ameanwhile=gate.await_, **options) for _ in range(size)]


@pytest.mark.parametrize("managers", [1, WORKERS])
@pytest.mark.parametrize("system", [None, "C"])
def test_turns_at_once_are_not_interleaved(
    manager_on: Callable[..., SessionManager], form: Form, managers: int, system: str | None
) -> None:
    made = [manager_on() for _ in range(managers)]
    session = form.do(made[0], "create_session", "busy")
    models = meeting(form, WORKERS, used=(3, 1, 2))
    handles = [form.do(made[number % managers], "get_session", "busy") for number in range(WORKERS)]
    talks = [handle.conversation(model, system=system) for handle, model in zip(handles, models, strict=True)]
    for turn in range(TURNS):
        given = [f"{number} {turn}" for number in range(WORKERS)]
        acts: list[Any] = [(talk, "run", (text,)) for talk, text in zip(talks, given, strict=True)]
        if turn == 1:  # of half of them others may give the same, so that they look before they store
            acts[::2] = [(talk, "run", (HumanMessage(text, id=text),)) for talk, _, (text,) in acts[::2]]
        said = at_once(form, acts)
        assert not [each for each in said if isinstance(each, BaseException)]
        if turn == 0:
            for model in models:
                model.meanwhile = model.ameanwhile = None
    found = pairs(form.do(session, "messages"))
    assert len(found) == len(set(found)) == WORKERS * TURNS
    assert all(given in said for given, said in found)
    assert form.do(session, "system") == system
    assert untimed(form, session) == {"chat": Usage(WORKERS * TURNS, *(each * WORKERS * TURNS for each in (3, 2, 1)))}
    for left in range(WORKERS * TURNS - 1, WORKERS * TURNS - 4, -1):
        form.do(session, "undo")
        assert pairs(form.do(session, "messages")) == found[:left]


def test_one_conversation_is_shared_by_threads_and_tasks(session: Session, form: Form) -> None:
    conversation = session.conversation(meeting(form, 1)[0])
    acts = [(conversation, "run", ("the same",)) for _ in range(WORKERS)]
    conversation.model.meanwhile = conversation.model.ameanwhile = None  # type: ignore[attr-defined]
    answers = at_once(form, acts)
    assert len({answer.id for answer in answers}) == WORKERS
    assert pairs(form.do(session, "messages")) == [("the same", "re: the same")] * WORKERS
    assert len({message.id for message in form.do(session, "messages")}) == 2 * WORKERS


@pytest.mark.parametrize("way", ["run", "json"])
@pytest.mark.parametrize("system", [None, "C"])
def test_two_workers_with_the_same_message_store_one_turn(
    manager_on: Callable[..., SessionManager], form: Form, way: str, system: str | None
) -> None:
    form.do(manager_on(), "create_session", "twice", messages=["before"])
    gate = Gate(form, 2)
    texts = ['{"said":"left"}', '{"said":"right"}']
    models = [Speaker(responses=[text], used=(3, 1, 2), meanwhile=gate.wait, ameanwhile=gate.await_) for text in texts]
    talks = [form.do(manager_on(), "get_session", "twice").conversation(model, system=system) for model in models]
    given = HumanMessage("hi", id="mine")
    args = (given,) if way == "run" else (given, Reply)
    answers = at_once(form, [(talk, way, args) for talk in talks])
    assert [model.calls for model in models] == [1, 1]
    assert answers[0] == answers[1]
    session = form.do(manager_on(), "get_session", "twice")
    stored = form.do(session, "messages")
    assert [message.text for message in stored[:-1]] == ["before", "hi"]
    assert stored[-1].text in texts
    assert (answers[0].text if way == "run" else answers[0].model_dump_json()) == stored[-1].text
    assert way == "json" or answers[0] == stored[-1]
    assert untimed(form, session) == {"chat": Usage(2, 6, 4, 2)}  # both were asked, and both were paid
    form.do(session, "undo")
    assert form.texts(session) == ["before"]


def test_a_turn_stands_on_what_was_there_when_it_began(manager_on: Callable[..., SessionManager], form: Form) -> None:
    session = form.do(manager_on(), "create_session", "s")
    other = form.do(manager_on(), "get_session", "s")
    slow, quick = Speaker(), Speaker()

    def meanwhile() -> None:
        slow.meanwhile = None
        Form(None).do(other.conversation(quick), "run", "quick") if form.loop is None else None

    async def ameanwhile() -> None:
        slow.ameanwhile = None
        await other.conversation(quick).arun("quick")

    slow.meanwhile, slow.ameanwhile = meanwhile, ameanwhile
    form.do(session.conversation(slow), "run", "slow")
    assert (slow.texts(), quick.texts()) == (["slow"], ["quick"])
    assert pairs(form.do(session, "messages")) == [("quick", "re: quick"), ("slow", "re: slow")]
    listen(form, session.conversation(slow), "then")
    assert slow.texts() == ["quick", "re: quick", "slow", "re: slow", "then"]


def test_processes_send_what_others_have_sent_byte_by_byte(tmp_path: Any) -> None:
    url = f"file:{tmp_path}/s"
    with SessionManager.from_url(url) as manager:
        session = manager.create_session()
        sent: list[list[str]] = []
        for _ in range(2):
            ours, theirs = NURSERY.Pipe()
            process = NURSERY.Process(target=talk, args=(url, session.id, 2, theirs), daemon=True)
            process.start()
            assert ours.poll(60)
            sent += ours.recv()
            process.join(30)
            ours.close()
            theirs.close()
        model = Speaker()
        session.conversation(model).run("end")
        sent.append(model.bytes())
    assert [len(each) for each in sent] == [2, 4, 6, 8, 10]
    for before, after in pairwise(sent):
        assert after[: len(before)] == before
