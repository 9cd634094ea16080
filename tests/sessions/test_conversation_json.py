"""Answers as data: what comes back is an object, what is stored is its JSON, and what is no such answer is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import BaseModel, Field
from support.savers import BACKENDS
from support.sittings import Form
from support.speakers import Caller, Speaker, listen, untimed

from langgraph_sessionstore import ConfigurationError, InvalidAnswer, Session, Usage


class Weather(BaseModel):
    """What the weather is like."""

    city: str
    degrees: float = Field(alias="temp")
    notes: list[str] = []


class Odd(BaseModel):
    """Data that has no JSON."""

    model_config = {"arbitrary_types_allowed": True}
    city: str
    what: Any = Field(default_factory=object)


SAID = '{"city":"K\u00f6ln","temp":21.5,"notes":["\U0001f642"]}'
ONCE = {"chat": Usage(1, 3, 2, 1)}


class Native(Speaker):
    """A model with a way of its own to give data."""

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """See LangChain."""
        return self | RunnableLambda(lambda message: schema.model_validate_json(message.text))


class AsDict(Speaker):
    """A model that gives data as a dict."""

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """See LangChain."""
        return self | RunnableLambda(lambda message: json.loads(message.text))


KINDS: dict[str, Any] = {
    "plain": lambda **options: Speaker(**options),
    "tools": lambda **options: Caller(**options),
    "fenced": lambda responses, **options: Speaker(
        responses=[f"```json\n{text}\n```" for text in responses], **options
    ),
    "native": lambda **options: Native(**options),
    "dict": lambda **options: AsDict(**options),
    "runnable": lambda **options: Speaker(**options) | RunnableLambda(lambda message: message),
    "retried": lambda **options: Speaker(**options).with_retry(),
}


@pytest.mark.parametrize(
    ("kind", "how"),
    [*((kind, how) for kind in BACKENDS for how in ("plain", "tools")), *(("memory", how) for how in [*KINDS][2:])],
    indirect=["kind"],
)
def test_data_comes_back_and_its_json_is_stored(session: Session, form: Form, how: str) -> None:
    model = KINDS[how](responses=[SAID], used=(3, 1, 2), name_="m")
    conversation = session.conversation(model, system="C")
    value = form.do(conversation, "json", "the weather?", Weather)
    assert (type(value), value.model_dump_json(by_alias=True)) == (Weather, SAID)
    user, answer = form.do(session, "messages")
    assert (user.text, user.type, type(answer), answer.text) == ("the weather?", "human", AIMessage, SAID)
    assert (answer.tool_calls, answer.additional_kwargs, bool(answer.id)) == ([], {}, True)
    if how not in ("runnable",):
        assert answer.usage_metadata["total_tokens"] == 5
        assert answer.response_metadata["model_name"] == "m"
    assert untimed(form, session) == ONCE
    assert untimed(form, session, "by_model") == {"m": ONCE["chat"]}
    assert form.do(session, "system") == "C"
    form.do(session, "undo")
    assert (form.texts(session), form.do(session, "system")) == ([], None)


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("how", [Speaker, Caller])
def test_what_a_model_has_to_be_told_is_not_kept(session: Session, form: Form, how: type[Speaker]) -> None:
    model = how(responses=[SAID, "so it is"])
    conversation = session.conversation(model)
    form.do(session, "append", "user", "before")
    form.do(conversation, "json", [("system", "be exact"), "the weather?"], Weather, temperature=0.5, stop=["!"])
    sent = model.texts(0)
    assert sent[:3] == ["before", "be exact", "the weather?"]
    assert (model.options[0]["temperature"], model.options[0]["stop"]) == (0.5, ["!"])
    if how is Speaker:
        assert len(sent) == 4
        assert '"temp"' in sent[3]
    else:
        assert (len(sent), model.options[0]["tools"]) == (3, [Weather])
    listen(form, conversation, "really?")
    assert model.texts(1) == ["before", "be exact", "the weather?", SAID, "really?"]
    assert model.options[1] == {}
    assert model.bytes(1)[:3] == model.bytes(0)[:3]


WRONG = ["I do not know", '{"city":"x"}', "", "[]", '{"city":"x","temp":"hot"}']


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("how", ["plain", "tools", "runnable"])
@pytest.mark.parametrize("said", WRONG)
def test_what_is_no_such_answer_is_refused(session: Session, form: Form, how: str, said: str) -> None:
    form.do(session, "append", "user", "before")
    model = KINDS[how](responses=[said], used=(3, 1, 2))
    with pytest.raises(InvalidAnswer) as caught:
        form.do(session.conversation(model, system="C"), "json", "the weather?", Weather)
    answer = caught.value.answer
    assert isinstance(answer, (AIMessage, str))
    if isinstance(answer, AIMessage) and answer.tool_calls:
        assert answer.tool_calls[0]["args"] == json.loads(said)
    else:
        assert (answer.text if isinstance(answer, AIMessage) else answer) == said
    assert (form.texts(session), form.do(session, "system")) == (["before"], None)
    assert untimed(form, session) == ONCE  # what was spent is spent
    good = session.conversation(Speaker(responses=[SAID]))
    assert form.do(good, "json", "the weather?", Weather).city == "K\u00f6ln"
    assert form.texts(session) == ["before", "the weather?", SAID]


def test_an_invalid_answer_leaves_every_backend_as_it_was(session: Session, form: Form) -> None:
    form.do(session, "append", "user", "before")
    with pytest.raises(InvalidAnswer):
        form.do(session.conversation(Speaker(responses=["x"], used=(3, 1, 2))), "json", "hi", Weather)
    assert (form.texts(session), untimed(form, session)) == (["before"], ONCE)
    assert form.do(session, "undo") == "Restored: before append of 1 message"


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("schema", [None, dict, "Weather", int, Odd(city="x"), {"type": "object"}], ids=range(6))
def test_what_is_no_schema_is_refused(session: Session, form: Form, schema: Any) -> None:
    model = Speaker()
    with pytest.raises(ConfigurationError):
        form.do(session.conversation(model), "json", "hi", schema)
    assert (model.calls, form.texts(session)) == (0, [])


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
def test_data_that_cannot_be_written_is_kept_as_it_was_said(session: Session, form: Form) -> None:
    said = '{"city":  "x"}'
    given = HumanMessage("hi", id="mine")
    conversation = session.conversation(Speaker(responses=[said]))
    value = form.do(conversation, "json", given, Odd)
    assert form.texts(session) == ["hi", said]
    assert form.do(conversation, "json", given, Odd).city == value.city


def test_a_message_that_was_answered_gives_its_data_again(session: Session, form: Form) -> None:
    given, model = HumanMessage("hi", id="mine"), Caller(responses=[SAID])
    first = form.do(session.conversation(model), "json", given, Weather)
    other = Speaker()
    assert form.do(session.conversation(other), "json", given, Weather) == first
    assert form.do(session.conversation(other), "run", given).text == SAID
    assert other.calls == 0
    assert form.texts(session) == ["hi", SAID]
    with pytest.raises(InvalidAnswer):
        form.do(session.conversation(other), "json", given, Unlike)
    assert form.texts(session) == ["hi", SAID]


class Unlike(BaseModel):
    """Something else."""

    other: int


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
def test_langchains_own_fake_with_a_call_of_a_tool_it_was_not_given(session: Session, form: Form) -> None:
    call = {"name": "look", "args": {}, "id": "1", "type": "tool_call"}
    model = FakeMessagesListChatModel(responses=[AIMessage("", tool_calls=[call])])
    with pytest.raises(InvalidAnswer):
        form.do(session.conversation(model), "json", "hi", Weather)
    assert form.texts(session) == []
