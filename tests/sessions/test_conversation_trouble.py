"""A turn that fails leaves nothing, and one whose end is not known is there once: never half, never twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModelError
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel
from support.sittings import Form
from support.speakers import Speaker, Worker, listen, untimed

from langgraph_sessionstore import (
    Backend,
    BackendUnavailable,
    LeaseHeld,
    OutcomeUnknown,
    Session,
    SessionDeleted,
    SessionManager,
    SessionNotFound,
    SessionStoreError,
    Usage,
)
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import Call
from langgraph_sessionstore.testing import Fault

ONCE = {"chat": Usage(1, 3, 2, 1)}


class Reply(BaseModel):
    """An answer as data."""

    said: str


def speaker(**options: Any) -> Speaker:
    """A model that says what it uses."""
    return Speaker(used=(3, 1, 2), **options)


Way = Callable[[Form, Any, Any], Any]
WAYS: dict[str, Way] = {
    "run": lambda form, conversation, given: form.do(conversation, "run", given).text,
    "stream": lambda form, conversation, given: "".join(piece.text for piece in listen(form, conversation, given)),
    "json": lambda form, conversation, given: form.do(conversation, "json", given, Reply).model_dump_json(),
}
SAID = {"run": "re: hi", "stream": "re: hi", "json": '{"said":"yes"}'}
MESSAGES: list[Any] = ["hi", HumanMessage("hi", id="mine")]
CUTS = (Fault.CUT_BEFORE, Fault.CUT_AFTER)


def once(form: Form, session: Session, way: str, before: Sequence[str] = ()) -> None:
    """The turn is there once: its messages, what it has used, and one operation that undo takes back."""
    assert form.texts(session) == [*before, "hi", SAID[way]]
    assert untimed(form, session) == ONCE
    form.do(session, "undo")
    assert form.texts(session) == [*before]


@pytest.mark.parametrize("kind", ["memory", "redis7"], indirect=True)
@pytest.mark.parametrize("given", MESSAGES, ids=["text", "id"])
@pytest.mark.parametrize("system", [None, "C"])
@pytest.mark.parametrize("way", ["run", "json"])
def test_a_turn_whose_end_is_not_known_is_repeated_and_there_once(
    manager: SessionManager, form: Form, given: Any, system: str | None, way: str
) -> None:
    responses = [SAID["json"]] if way == "json" else []
    unknown = 0
    for fault in CUTS:
        for at in range(1, 8):
            session = form.do(manager, "create_session", messages=["before"])
            worker = Worker(form, manager, session.id)
            model = speaker(responses=responses)
            conversation = worker.session.conversation(model, system=system)
            worker.fails({at: fault})
            answer, tries = worker.again(lambda c=conversation: WAYS[way](form, c, given))  # type: ignore[misc]
            assert answer == SAID[way], (fault, at)
            assert model.calls == 1, (fault, at)  # and not again, where it had answered
            unknown += tries - 1
            assert form.do(session, "system") == system
            once(form, session, way, ["before"])
            assert form.do(session, "system") is None
    assert unknown == 2  # the load was met, by both faults; of the store it is found out in the same turn


@pytest.mark.parametrize("kind", ["memory", "redis7"], indirect=True)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", CUTS)
@pytest.mark.parametrize("then", CUTS)
def test_the_end_of_a_turn_may_stay_unknown_for_a_while(
    manager: SessionManager, form: Form, way: str, first: Fault, then: Fault
) -> None:
    session = form.do(manager, "create_session")
    worker = Worker(form, manager, session.id)
    model = speaker(responses=[SAID["json"]] if way == "json" else [])
    conversation = worker.session.conversation(model)
    worker.fails({3: first, 4: then})  # a load is one call, a store is two, the list and the session; then it is asked
    with pytest.raises(OutcomeUnknown):
        WAYS[way](form, conversation, "hi")
    for at in (1, 2):  # asked once more, and the load
        worker.fails({at: then})
        with pytest.raises(OutcomeUnknown):
            WAYS[way](form, conversation, "hi")
    assert WAYS[way](form, conversation, "hi") == SAID[way]
    assert model.calls == (1 if first is Fault.CUT_AFTER else 2)
    assert [message.text for message in form.do(session, "messages")] == ["hi", SAID[way]]


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
def test_what_is_said_after_another_turn_is_a_new_turn(manager: SessionManager, form: Form) -> None:
    session = form.do(manager, "create_session")
    worker, model = Worker(form, manager, session.id), Speaker()
    conversation = worker.session.conversation(model)
    for cut in CUTS:
        worker.fails({3: cut, 4: cut})
        with pytest.raises(OutcomeUnknown):
            form.do(conversation, "run", "yes")
        form.do(conversation, "run", "what now?")
        form.do(conversation, "run", "yes")
        assert form.texts(session)[-4:] == ["what now?", "re: what now?", "yes", "re: yes"]
        worker.fails({3: cut, 4: cut})
        with pytest.raises(OutcomeUnknown):
            form.do(conversation, "run", "undone")
        if form.texts(session)[-1] == "re: undone":
            form.do(session, "undo")
        assert form.do(conversation, "run", "undone").text == "re: undone"
        assert form.texts(session)[-2:] == ["undone", "re: undone"]


@pytest.mark.parametrize("kind", ["memory", "redis7"], indirect=True)
@pytest.mark.parametrize("method", ["invoke", "batch"])
def test_with_retry_never_stores_twice(manager: SessionManager, form: Form, method: str) -> None:
    faults = (Fault.FAIL, *CUTS)
    for at, fault in [(at, fault) for at in range(6) for fault in faults]:  # the call 0 is none
        session = form.do(manager, "create_session")
        worker = Worker(form, manager, session.id)
        model = speaker(fails={1})
        retried = worker.session.conversation(model).with_retry(stop_after_attempt=4, wait_exponential_jitter=False)
        worker.fails({at: fault})
        answer = form.do(retried, method, ["hi"] if method == "batch" else "hi")
        assert (answer[0] if method == "batch" else answer).text == "re: hi"
        assert form.texts(session) == ["hi", "re: hi"], (at, fault)
        # only a storage that was not there, so that nothing was stored, has the model asked once more
        assert model.calls <= (3 if fault is Fault.FAIL else 2)


@pytest.mark.parametrize("way", WAYS)
def test_a_store_that_fails_leaves_nothing_but_what_was_spent(manager: SessionManager, form: Form, way: str) -> None:
    session = form.do(manager, "create_session", messages=["before"])
    worker, model = Worker(form, manager, session.id), speaker(responses=[SAID["json"]])
    conversation = worker.session.conversation(model, system="C")
    worker.fails(dict.fromkeys(range(2, 6), Fault.FAIL))
    with pytest.raises(BackendUnavailable):
        WAYS[way](form, conversation, "hi")
    worker.fails({})
    assert (model.calls, form.texts(session), form.do(session, "system")) == (1, ["before"], None)
    assert WAYS[way](form, conversation, "hi") == SAID["json"]
    assert form.texts(session) == ["before", "hi", SAID["json"]]


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("lost", [False, True])
def test_what_was_spent_is_recorded_when_the_store_fails(
    manager: SessionManager, form: Form, way: str, lost: bool, caplog: pytest.LogCaptureFixture
) -> None:
    session = form.do(manager, "create_session")
    worker = Worker(form, manager, session.id)
    conversation = worker.session.conversation(speaker(responses=[SAID["json"]]))
    worker.fails(dict.fromkeys(range(2, 9 if lost else 4), Fault.FAIL))  # behind the load, both calls of the store
    with pytest.raises(BackendUnavailable):
        WAYS[way](form, conversation, "hi")
    assert (form.texts(session), untimed(form, session)) == ([], {} if lost else ONCE)
    assert ("was not recorded" in caplog.text) == lost


def test_what_was_spent_on_a_turn_that_failed_is_recorded(session: Session, form: Form) -> None:
    def forget() -> None:
        raise FakeListChatModelError("afterwards")

    model = speaker(responses=["no data"])
    for phase, act in (("json", "json"), ("json", "json"), ("run", "run")):
        answered = model if act == "json" else (model | (lambda message: forget()))
        with pytest.raises((SessionStoreError, FakeListChatModelError)):
            form.do(session.conversation(answered, phase=phase), act, "hi", *([Reply] if act == "json" else []))
    assert untimed(form, session) == {"json": Usage(2, 6, 4, 2), "run": Usage(1, 3, 2, 1)}
    assert form.texts(session) == []


@pytest.mark.parametrize("fails", [{1}, {1, 2}])
def test_a_model_that_fails_leaves_nothing(session: Session, form: Form, fails: set[int]) -> None:
    form.do(session, "append", "user", "before")
    model = speaker(fails=fails)
    conversation = session.conversation(model)
    for _ in fails:
        with pytest.raises(FakeListChatModelError):
            form.do(conversation, "run", "hi")
    assert (form.texts(session), form.do(session, "usage")) == (["before"], Usage())
    form.do(conversation, "run", "hi")
    assert model.texts() == ["before", "hi"]
    once(form, session, "run", ["before"])


class Silent(Backend):
    """Does what it is told, and then does not answer while `waits` says so."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.waits = asyncio.Event()
        self.silent = False

    def close(self) -> None:
        """See `Backend.close`."""

    async def aclose(self) -> None:
        """See `Backend.close`."""

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        return self.inner.execute(calls, ordered=ordered)

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        answers = await self.inner.aexecute(calls, ordered=ordered)
        if self.silent:
            self.silent = False
            self.waits.set()
            await asyncio.Event().wait()
        return answers


@pytest.mark.parametrize("kind", ["memory", "file"], indirect=True)
@pytest.mark.parametrize("form", ["async"], indirect=True)
def test_a_turn_that_is_cancelled_while_it_is_stored_is_there_once(manager: SessionManager, form: Form) -> None:
    session = form.do(manager, "create_session")
    silent, model = Silent(manager.backend), speaker()
    conversation = form.do(SessionManager(silent), "get_session", session.id).conversation(model)

    async def now() -> None:
        silent.silent = True

    async def cancelled() -> None:
        task = asyncio.create_task(conversation.arun("hi"))
        await silent.waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    model.ameanwhile = now
    assert form.loop is not None
    form.loop.run_until_complete(cancelled())
    assert form.texts(session) == ["hi", "re: hi"]
    assert untimed(form, session) == ONCE
    model.ameanwhile = None
    assert form.do(conversation, "run", "hi").text == "re: hi"
    assert model.calls == 1
    once(form, session, "run")


def test_a_message_that_was_answered_has_its_answer(manager_on: Callable[..., SessionManager], form: Form) -> None:
    session = form.do(manager_on(), "create_session", "s")
    given = [HumanMessage("hi", id="mine"), HumanMessage("and?", id="mine too")]
    first = form.do(session.conversation(Speaker(responses=["yes"])), "run", given)
    form.do(session.conversation(Speaker()), "run", "later")
    model = Speaker()
    conversation = form.do(manager_on(), "get_session", "s").conversation(model, system="not kept")
    assert form.do(conversation, "run", given) == first
    assert form.do(conversation, "invoke", [HumanMessage("other words", id="mine too")]) == first
    assert model.calls == 0
    assert form.texts(session) == ["hi", "and?", "yes", "later", "re: later"]
    assert form.do(session, "usage").calls == 2
    form.do(conversation, "run", [HumanMessage("hi", id="mine"), HumanMessage("new")])
    assert model.calls == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("anew", [False, True])
def test_a_session_that_is_deleted_meanwhile_does_not_come_back(
    manager_on: Callable[..., SessionManager], form: Form, way: str, anew: bool
) -> None:
    manager = manager_on()
    session = form.do(manager, "create_session", "s", messages=["old"])
    model = speaker(responses=[SAID["json"]])
    conversation = session.conversation(model, system="C")
    model.meanwhile = lambda: (manager.delete_session("s"), anew and manager.create_session("s"))
    with pytest.raises(SessionNotFound if anew else SessionDeleted):
        WAYS[way](form, conversation, "hi")
    model.meanwhile = None
    there = form.do(manager_on(), "get_session", "s")
    assert (there is not None) == anew
    if anew:
        assert (form.texts(there), form.do(there, "system"), form.do(there, "usage")) == ([], None, Usage())
    with pytest.raises(SessionNotFound if anew else SessionDeleted):
        WAYS[way](form, conversation, "hi")
    assert model.calls == 1  # who knows that there is no session asks no model


@pytest.mark.parametrize("way", WAYS)
def test_whoever_has_no_turn_stores_nothing(manager_on: Callable[..., SessionManager], form: Form, way: str) -> None:
    session = form.do(manager_on(), "create_session", "s")
    other = form.do(manager_on(), "get_session", "s")
    model = speaker(responses=[SAID["json"]])
    lease = session.lease()
    turn = form.enter(lease)
    with pytest.raises(LeaseHeld):
        WAYS[way](form, other.conversation(model, phase="refused"), "hi")
    assert form.texts(session) == []
    assert WAYS[way](form, turn.conversation(model, phase="mine"), "hi") == SAID["json"]
    form.leave(lease)
    assert form.texts(session) == ["hi", SAID["json"]]
    assert form.do(session, "metrics").by_phase["mine"].calls == 1
    assert WAYS[way](form, other.conversation(model), "hi") == SAID["json"]
    assert form.texts(session) == ["hi", SAID["json"]] * 2


ANSWERS: list[Any] = [None, 3, [], {"content": "x"}, HumanMessage("I am no model"), [AIMessage("x"), "y", 3]]


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
def test_what_is_no_answer_is_not_stored(session: Session, form: Form, answer: Any) -> None:
    from langgraph_sessionstore import InvalidAnswer

    conversation = session.conversation(lambda messages: answer, system="C")
    with pytest.raises(InvalidAnswer) as caught:
        form.do(conversation, "run", "hi")
    assert caught.value.answer == answer
    with pytest.raises(InvalidAnswer):
        listen(form, conversation, "hi")
    assert (form.texts(session), form.do(session, "system")) == ([], None)
