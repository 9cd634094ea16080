"""A conversation: text in, answer out, both stored in one step; the next turn knows all that was said before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, RemoveMessage, SystemMessage
from langchain_core.outputs import LLMResult
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableConfig, RunnableGenerator, RunnableLambda
from support.sittings import Form
from support.speakers import Speaker, listen, untimed

from langgraph_sessionstore import (
    ConfigurationError,
    NothingToUndo,
    Session,
    SessionManager,
    SessionStoreError,
    Unstorable,
    Usage,
)


def dumped(form: Form, session: Session) -> list[str]:
    """The messages, byte by byte."""
    return [message.model_dump_json() for message in form.do(session, "messages")]


def test_text_in_and_answer_out(manager_on: Callable[..., SessionManager], form: Form) -> None:
    model = Speaker()
    session = form.do(manager_on(), "create_session", "mine", messages=["before", ("ai", "yes")])
    conversation = session.conversation(model)
    assert conversation.session is session
    answer = form.do(conversation, "run", "one")
    assert (type(answer), answer.text, bool(answer.id)) == (AIMessage, "re: one", True)
    other = form.do(manager_on(), "get_session", "mine")
    assert form.do(other.conversation(model), "run", "two").text == "re: two"
    assert model.texts(0) == ["before", "yes", "one"]
    assert model.texts(1) == ["before", "yes", "one", "re: one", "two"]
    stored = form.do(session, "messages")
    assert [message.text for message in stored] == [*model.texts(1), "re: two"]
    assert [type(message) for message in stored] == [HumanMessage, AIMessage] * 3
    assert stored[3] == answer
    assert len({message.id for message in stored[2:]}) == 4


def test_a_conversation_stands_on_a_session_that_begins_with_it(manager: SessionManager, form: Form) -> None:
    session = form.do(manager, "create_session", "an id of one's own")
    assert "an id of one's own" in repr(session.conversation(Speaker()))
    form.do(session.conversation(Speaker()), "run", "hi")
    assert form.texts(form.do(manager, "get_session", "an id of one's own")) == ["hi", "re: hi"]


@pytest.mark.parametrize(("own", "kept"), [(None, None), (None, "S"), ("C", None), ("C", "S"), ("", "S"), ("C", "C")])
def test_the_system_prompt(manager: SessionManager, form: Form, own: str | None, kept: str | None) -> None:
    model = Speaker()
    session = form.do(manager, "create_session", system=kept, title="T", metadata={"m": 1})
    conversation = session.conversation(model, system=own)
    form.do(conversation, "run", "one")
    listen(form, conversation, "two")
    sent = own if own is not None else kept
    head = [] if sent is None else [SystemMessage(sent)]
    assert [each[: len(head)] for each in model.sent] == [head] * 2
    assert model.texts(1)[len(head) :] == ["one", "re: one", "two"]
    info = form.do(session, "info")
    assert form.do(session, "system") == (own if kept is None else kept)
    assert (info.title, info.metadata, form.texts(session)[0]) == ("T", {"m": 1}, "one")
    form.do(session, "undo")
    form.do(session, "undo")
    with pytest.raises(NothingToUndo):
        form.do(session, "undo")
    assert (form.texts(session), form.do(session, "system")) == ([], kept)  # it came with the first turn


def test_a_turn_that_fails_keeps_no_system_prompt(session: Session, form: Form) -> None:
    conversation = session.conversation(Speaker(fails={1}), system="C")
    with pytest.raises(Exception, match="call 1"):
        form.do(conversation, "run", "one")
    assert (form.do(session, "system"), form.texts(session)) == (None, [])
    form.do(session.conversation(Speaker(), system="D"), "run", "one")
    model = Speaker()
    form.do(session.conversation(model), "run", "two")
    assert (form.do(session, "system"), model.texts(0)[0]) == ("D", "D")


def test_options_reach_the_model(session: Session, form: Form) -> None:
    model, given = Speaker(), {"stop": ["!"], "temperature": 0.5}
    conversation = session.conversation(model)
    form.do(conversation, "run", "one", **given)
    form.do(conversation, "invoke", "two", None, **given)
    listen(form, conversation, "three", **given)
    form.do(conversation, "batch", ["four"], **given)
    form.do(conversation.bind(**given), "invoke", "five")
    form.do(conversation, "run", "six")
    form.do(session.conversation(model.bind(temperature=1)), "run", "seven", stop=["?"])
    assert model.options == [given] * 5 + [{}, {"temperature": 1, "stop": ["?"]}]


class Witness(BaseCallbackHandler):
    """Sees the model's calls, and what they have used."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[str], dict[str, Any]]] = []
        self.used: list[Any] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        """See LangChain."""
        self.seen.append((kwargs["tags"], kwargs["metadata"]))

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        """See LangChain."""
        self.used.append(response.generations[0][0].message.usage_metadata)  # type: ignore[union-attr]


def test_the_config_reaches_the_model(session: Session, form: Form) -> None:
    witness, model = Witness(), Speaker(used=(3, 1, 2), name_="m")
    config: RunnableConfig = {
        "tags": ["t"],
        "metadata": {"of": "us"},
        "callbacks": [witness],
        "configurable": {"thread_id": "another", "who": "ann"},
    }
    seen: list[Any] = []

    def ask(messages: Any, config: RunnableConfig) -> AIMessage:
        seen.append(config["configurable"])
        return model.invoke(messages)

    form.do(session.conversation(model), "run", "one", config=config)
    listen(form, session.conversation(model), "two", config)
    form.do(session.conversation(ask), "invoke", "three", config)
    assert [used["total_tokens"] for used in witness.used] == [5, 5, 5]
    assert all("t" in tags and metadata["of"] == "us" for tags, metadata in witness.seen)
    assert seen[0]["who"] == "ann"
    assert len(form.texts(session)) == 6
    assert untimed(form, session) == {"chat": Usage(3, 9, 6, 3)}
    assert config["callbacks"] == [witness]  # of the user's own nothing was changed


WITH_ID = HumanMessage("hi", id="mine")
INPUTS: list[tuple[Any, list[tuple[str, str]]]] = [
    ("hi", [("human", "hi")]),
    ("", [("human", "")]),
    (WITH_ID, [("human", "hi")]),
    (("user", "hi"), [("human", "hi")]),
    (("system", "hi"), [("system", "hi")]),
    ({"role": "user", "content": "hi"}, [("human", "hi")]),
    ({"messages": [("user", "hi")]}, [("human", "hi")]),
    ({"messages": "hi"}, [("human", "hi")]),
    ([("system", "be kind"), "hi"], [("system", "be kind"), ("human", "hi")]),
    ([HumanMessage("a"), {"role": "user", "content": "b"}], [("human", "a"), ("human", "b")]),
    ([("user", "a"), ("ai", "b"), ("user", "c")], [("human", "a"), ("ai", "b"), ("human", "c")]),
    (HumanMessage([{"type": "text", "text": "hi"}]), [("human", "hi")]),
    (ChatPromptTemplate([("user", "hi {x}"), ("ai", "b")]).invoke({"x": 1}), [("human", "hi 1"), ("ai", "b")]),
]


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize(("given", "said"), INPUTS, ids=range(len(INPUTS)))
def test_all_that_langchain_takes_is_taken(session: Session, form: Form, given: Any, said: Any) -> None:
    model = Speaker()
    form.do(session, "append", "user", "before")
    form.do(session.conversation(model), "run", given)
    assert [(each.type, each.text) for each in model.sent[0]] == [("human", "before"), *said]
    stored = form.do(session, "messages")
    assert [(each.type, each.text) for each in stored] == [("human", "before"), *said, ("ai", f"re: {said[-1][1]}")]
    assert all(each.id for each in stored[1:])
    assert given is not WITH_ID or stored[1] == WITH_ID
    form.do(session, "undo")
    assert form.texts(session) == ["before"]


def test_what_is_given_stays_as_it_is(session: Session, form: Form) -> None:
    given = HumanMessage("hi")
    form.do(session.conversation(Speaker()), "run", given)
    form.do(session.conversation(Speaker()), "run", given)
    assert (given, form.texts(session)) == (HumanMessage("hi"), ["hi", "re: hi"] * 2)


NO_INPUTS: list[Any] = [
    None,
    3,
    [],
    (),
    {"messages": []},
    [None],
    [3],
    {"role": "user"},
    ("nobody", "hi"),
    {"role": "nobody", "content": "x"},
    b"hi",
    object(),
    [[]],
    RemoveMessage("mine"),
    HumanMessage("hi", additional_kwargs={"x": object()}),
]


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize("given", NO_INPUTS, ids=range(len(NO_INPUTS)))
def test_what_is_no_input_is_refused_before_the_model_is_asked(session: Session, form: Form, given: Any) -> None:
    model = Speaker(used=(1, 0, 1))
    conversation = session.conversation(model, system="C")
    for act in (lambda: form.do(conversation, "run", given), lambda: listen(form, conversation, given)):
        with pytest.raises((ConfigurationError, Unstorable)):
            act()
    assert (model.calls, form.texts(session), form.do(session, "system")) == (0, [], None)
    assert form.do(session, "usage") == Usage()


@pytest.mark.parametrize(
    "options",
    [{"system": 3}, {"phase": 3}, {"strategy": 3}, {"wait": -1}, {"wait": "x"}, {"model": 3}, {"model": None}],
    ids=str,
)
def test_what_makes_no_conversation_is_refused(options: dict[str, Any]) -> None:
    session = SessionManager.from_url("memory:").create_session()
    with pytest.raises(ConfigurationError):
        session.conversation(**{"model": Speaker(), **options})


def test_a_stream_is_stored_when_it_is_complete(session: Session, form: Form) -> None:
    model = Speaker(responses=["one  two\nthree", "four"], used=(5, 1, 3), name_="m")
    conversation = session.conversation(model, system="C")
    chunks = listen(form, conversation, "hi")
    assert len(chunks) > 3
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    user, answer = form.do(session, "messages")
    assert (user.text, type(answer), answer.text) == ("hi", AIMessage, "one  two\nthree")
    same = ("content", "id", "usage_metadata", "response_metadata", "tool_calls", "additional_kwargs", "name")
    assert [getattr(answer, name) for name in same] == [getattr(whole, name) for name in same]
    assert answer.usage_metadata["total_tokens"] == 8
    assert form.do(session, "system") == "C"
    listen(form, conversation, "go on")
    assert model.texts(1) == ["C", "hi", "one  two\nthree", "go on"]
    assert untimed(form, session, "by_model") == {"m": Usage(2, 10, 6, 2)}
    form.do(session, "undo")
    form.do(session, "undo")
    assert form.texts(session) == []


def in_pieces(messages: Any) -> Any:
    """Says its answer in texts."""
    yield from ("he", "llo")


async def ain_pieces(messages: Any) -> Any:
    """The async form of `in_pieces`."""
    for piece in ("he", "llo"):
        yield piece


MODELS: list[tuple[Any, list[str]]] = [
    (lambda messages: f"{len(messages)}", ["1"]),
    (lambda messages: AIMessage("hello"), ["hello"]),
    (lambda messages: [AIMessage("let me think"), AIMessage("hello")], ["let me think", "hello"]),
    (lambda messages: AIMessageChunk(content="hello"), ["hello"]),
    (RunnableGenerator(in_pieces, ain_pieces), ["hello"]),
    (Speaker(responses=["hello"]) | RunnableLambda(lambda message: message.text), ["hello"]),
    (ChatPromptTemplate([("system", "s"), MessagesPlaceholder("messages")]) | Speaker(responses=["hello"]), ["hello"]),
]


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
@pytest.mark.parametrize(("model", "said"), MODELS, ids=range(len(MODELS)))
@pytest.mark.parametrize("streamed", [False, True])
def test_anything_that_takes_messages_is_a_model(
    session: Session, form: Form, model: Any, said: list[str], streamed: bool
) -> None:
    conversation = session.conversation(model)
    if streamed:
        assert "".join(chunk.text for chunk in listen(form, conversation, "hi"))[-len(said[-1]) :] == said[-1]
    else:
        assert form.do(conversation, "run", "hi").text == said[-1]
    stored = form.do(session, "messages")
    assert [message.text for message in stored] == ["hi", *said]
    assert [type(message) for message in stored] == [HumanMessage] + [AIMessage] * len(said)
    assert all(message.id for message in stored)


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
def test_the_system_messages_of_a_prompt_are_sent_and_not_stored(session: Session, form: Form) -> None:
    model = Speaker()
    prompt = ChatPromptTemplate([("system", "you know {x}"), ("user", "what of {x}?")])
    chain = prompt | session.conversation(model, system="be kind")
    for city in ("Nara", "Kobe"):
        form.do(chain, "invoke", {"x": city})
    assert model.texts() == ["you know Kobe", "what of Nara?", "re: what of Nara?", "what of Kobe?"]
    assert form.texts(session)[::2] == ["what of Nara?", "what of Kobe?"]


@pytest.mark.parametrize("streamed", [False, True])
def test_what_was_sent_is_sent_again_byte_by_byte(
    manager_on: Callable[..., SessionManager], form: Form, streamed: bool
) -> None:
    """Only so do providers find the beginning of a prompt in their caches."""
    model = Speaker(used=(100, 40, 7), name_="m")
    parts: list[Any] = [
        {"type": "text", "text": "\u00e4 \U0001f642"},
        {"type": "image_url", "image_url": {"url": "data:,x", "a": [1.0]}},
    ]
    rich = HumanMessage(parts, additional_kwargs={"b": 1, "a": {"z": (1, 2), "y": None}})
    form.do(manager_on(), "create_session", "cached", system="be kind", messages=["before", ("ai", "yes")])
    for given in ("one", rich, [("system", "now in short"), ("user", "two")], HumanMessage("x", name="ann"), "end"):
        conversation = form.do(manager_on(), "get_session", "cached").conversation(model)
        listen(form, conversation, given) if streamed else form.do(conversation, "run", given)
    for turn in range(1, model.calls):
        before, after = model.bytes(turn - 1), model.bytes(turn)
        assert (after[: len(before)], len(after) > len(before) + 1) == (before, True)
    loads = [dumped(form, form.do(manager_on(), "get_session", "cached")) for _ in range(2)]
    assert loads[0] == loads[1]
    assert [SystemMessage("be kind").model_dump_json(), *loads[0][: len(model.bytes()) - 1]] == model.bytes()


def test_a_fork_goes_its_own_way(session: Session, form: Form) -> None:
    model = Speaker()
    conversation = session.conversation(model, system="C", phase="p")
    form.do(conversation, "run", "one")
    fork = form.do(conversation, "fork", "the other way", ttl=60)
    assert (fork.session.id, fork.session.info.expires_at is not None) == ("the other way", True)
    form.do(conversation, "run", "here")
    form.do(fork, "run", "there")
    assert model.texts(2) == ["C", "one", "re: one", "there"]
    assert form.texts(session) == ["one", "re: one", "here", "re: here"]
    assert form.texts(fork.session) == ["one", "re: one", "there", "re: there"]
    assert set(untimed(form, fork.session)) == {"p"}
    with pytest.raises(SessionStoreError):
        form.do(conversation, "fork", session.id)


def test_several_models_share_a_session(session: Session, form: Form) -> None:
    kind, facts, writer = Speaker(responses=["complaint"]), Speaker(responses=["late parcel"]), Speaker()
    form.do(session.conversation(kind, system="classify", phase="classify"), "run", "my parcel is late")
    form.do(session.conversation(facts, system="extract", phase="extract"), "run", "facts?")
    listen(form, session.conversation(writer, phase="answer"), "answer")
    assert facts.texts() == ["extract", "my parcel is late", "complaint", "facts?"]
    assert writer.texts() == ["classify", *form.texts(session)[:4], "answer"]
    assert untimed(form, session) == {phase: Usage(1) for phase in ("answer", "classify", "extract")}
