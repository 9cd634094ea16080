"""A conversation is a Runnable as others are: in chains, batches, streams of events, with callbacks and bindings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import FakeListChatModelError
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig
from support.sittings import Form
from support.speakers import Speaker, listen

from langgraph_sessionstore import ConfigurationError, Session, SessionManager
from langgraph_sessionstore.conversation import Conversation


class Runs(BaseCallbackHandler):
    """Sees what begins and ends, by name."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.names: dict[UUID, str] = {}
        self.parents: dict[str, str | None] = {}

    def _begin(self, kwargs: Any) -> None:
        name, parent = kwargs["name"] or "the model", kwargs["parent_run_id"]
        self.names[kwargs["run_id"]] = name
        self.parents[name] = self.names.get(parent)
        self.seen.append(f"{name} begins")

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        """See LangChain."""
        self._begin(kwargs)

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        """See LangChain."""
        self._begin(kwargs)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """See LangChain."""
        self.seen.append(f"{self.names[run_id]} ends: {getattr(outputs, 'text', outputs)}")

    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """See LangChain."""
        self.seen.append(f"{self.names[run_id]} ends")

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """See LangChain."""
        self.seen.append(f"{self.names[run_id]} fails: {type(error).__name__}")

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """See LangChain."""
        self.seen.append(f"{self.names[run_id]} fails")


def test_in_a_chain(session: Session, form: Form) -> None:
    model = Speaker()
    prompt = ChatPromptTemplate([("user", "Say {what}")])
    chain: Any = prompt | session.conversation(model, system="C") | StrOutputParser()
    assert form.do(chain, "invoke", {"what": "one"}) == "re: Say one"
    assert "".join(listen(form, chain, {"what": "two"})) == "re: Say two"
    assert len(listen(form, chain, {"what": "three"})) > 2
    assert form.do(chain, "batch", [{"what": "four"}]) == ["re: Say four"]
    assert model.texts() == ["C", *form.texts(session)[:-1]]
    assert form.texts(session) == [
        text for what in ("one", "two", "three", "four") for text in (f"Say {what}", f"re: Say {what}")
    ]


def test_it_has_schemas_and_a_graph(session: Session) -> None:
    conversation = session.conversation(Speaker())
    assert isinstance(conversation, Runnable)
    assert isinstance(conversation, Conversation)
    assert conversation.get_input_schema().__name__ == "ConversationInput"
    assert conversation.get_input_jsonschema()["title"] == "ConversationInput"
    assert conversation.get_output_schema() is AIMessage
    assert conversation.get_output_jsonschema()["properties"]["type"]["const"] == "ai"
    chain = ChatPromptTemplate([("user", "{x}")]) | conversation | StrOutputParser()
    assert chain.get_input_jsonschema()["required"] == ["x"]
    assert chain.get_output_jsonschema()["type"] == "string"
    assert "Conversation" in {node.name for node in chain.get_graph().nodes.values()}


def test_a_batch_is_a_turn_after_the_other(session: Session, form: Form) -> None:
    model, given = Speaker(fails={2}), ["one", "two", "three"]
    conversation = session.conversation(model)
    answers = form.do(conversation, "batch", given, {"max_concurrency": 8}, return_exceptions=True)
    assert [getattr(answer, "text", type(answer)) for answer in answers] == [
        "re: one",
        FakeListChatModelError,
        "re: three",
    ]
    assert model.texts() == ["one", "re: one", "three"]
    form.do(session, "undo")
    assert form.texts(session) == ["one", "re: one"]
    with pytest.raises(FakeListChatModelError):
        form.do(session.conversation(Speaker(fails={2})), "batch", given)
    assert form.texts(session) == ["one", "re: one", "one", "re: one"]
    assert form.do(conversation, "batch", []) == []
    runs = [Runs(), Runs()]
    form.do(conversation, "batch", ["x", "y"], [{"callbacks": [each], "run_name": "n"} for each in runs])
    assert [each.seen[-1] for each in runs] == ["n ends: re: x", "n ends: re: y"]
    errors = form.do(conversation, "batch", [3, "z"], return_exceptions=True)
    assert (type(errors[0]), errors[1].text) == (ConfigurationError, "re: z")


def test_events_of_the_model_come_through(session: Session, form: Form) -> None:
    if form.loop is None:
        return
    chain = session.conversation(Speaker(responses=["one two three"])) | StrOutputParser()

    async def events() -> list[Any]:
        return [event async for event in chain.astream_events("hi", version="v2")]

    found = form.loop.run_until_complete(events())
    said = [event["data"]["chunk"].text for event in found if event["event"] == "on_chat_model_stream"]
    assert "".join(said) == "one two three"
    assert len(said) >= 3
    (talk,) = {event["run_id"] for event in found if event["name"] == "Conversation"}
    (model,) = [event for event in found if event["event"] == "on_chat_model_start"]
    assert model["parent_ids"][-1] == talk
    ends = [event for event in found if event["event"] == "on_chain_end" and event["run_id"] == talk]
    assert ends[0]["data"]["output"].text == "one two three"
    assert form.texts(session) == ["hi", "one two three"]


@pytest.mark.parametrize("streamed", [False, True])
def test_callbacks_are_told(session: Session, form: Form, streamed: bool) -> None:
    def take(conversation: Any, runs: Runs, given: Any = "hi") -> None:
        config: RunnableConfig = {"callbacks": [runs], "run_name": "my turn"}
        listen(form, conversation, given, config) if streamed else form.do(conversation, "invoke", given, config)

    runs = Runs()
    take(session.conversation(Speaker()), runs)
    told = ["my turn begins", "the model begins", "the model ends", "my turn ends: re: hi"]
    assert (runs.seen, runs.parents) == (told, {"my turn": None, "the model": "my turn"})
    for given, fails in (("hi", {1}), (3, set())):
        runs = Runs()
        with pytest.raises((FakeListChatModelError, ConfigurationError)) as caught:
            take(session.conversation(Speaker(fails=fails)), runs, given)
        assert runs.seen[0] == "my turn begins"
        assert runs.seen[-1] == f"my turn fails: {type(caught.value).__name__}"
    assert form.texts(session) == ["hi", "re: hi"]


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
def test_run_and_json_tell_callbacks_too(session: Session, form: Form) -> None:
    from pydantic import create_model

    runs = Runs()
    conversation = session.conversation(Speaker(responses=['{"x":1}']))
    config: RunnableConfig = {"callbacks": [runs], "run_name": "n"}
    form.do(conversation, "run", "hi", config=config)
    assert runs.seen == ["n begins", "the model begins", "the model ends", 'n ends: {"x":1}']
    form.do(conversation, "json", "hi", create_model("X", x=(int, ...)), config=config)
    assert runs.seen[4:] == ["n begins", "the model begins", "the model ends", "n ends: x=1"]


def test_with_config_and_fallbacks(session: Session, form: Form) -> None:
    runs, model = Runs(), Speaker(fails={1})
    conversation = session.conversation(model)
    safe = conversation.with_config(run_name="first").with_fallbacks([session.conversation(Speaker(responses=["so"]))])
    assert form.do(safe, "invoke", "hi", {"callbacks": [runs]}).text == "so"
    assert "first fails: FakeListChatModelError" in runs.seen
    assert form.texts(session) == ["hi", "so"]
    assert form.do(safe, "invoke", "and").text == "re: and"
    assert model.texts() == ["hi", "so", "and"]
    named = conversation.with_config(tags=["t"], run_name="named", callbacks=[runs])
    form.do(named, "invoke", "more")
    assert runs.parents["named"] is None
    listen(form, named, "and more")
    assert runs.seen.count("named ends: re: and more") == 1
    assert len(form.texts(session)) == 8


def test_a_conversation_in_a_conversation(manager_on: Callable[..., SessionManager], form: Form) -> None:
    """What talks on one session may be the model of another."""
    manager = manager_on()
    inner, outer = form.do(manager, "create_session", "inner"), form.do(manager, "create_session", "outer")
    conversation = outer.conversation(inner.conversation(Speaker()) | (lambda message: AIMessage(message.text + "!")))
    assert form.do(conversation, "run", "hi").text == "re: hi!"
    assert (form.texts(inner), form.texts(outer)) == (["hi", "re: hi"], ["hi", "re: hi!"])
