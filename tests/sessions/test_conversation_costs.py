"""What a turn costs on the wire, what is recorded of its use, and models that are given by their name."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from pydantic import BaseModel
from support.proxy import Proxy
from support.sittings import Form
from support.speakers import Speaker, listen, untimed
from support.talker import Talker, double

from langgraph_sessionstore import ConfigurationError, MissingExtra, Session, SessionManager, Usage

PREFIX = f"talks-{uuid.uuid4()}"


class Reply(BaseModel):
    """An answer as data."""

    said: str


@pytest.fixture
def counted(proxy: Proxy, form: Form) -> Iterator[SessionManager]:
    manager = SessionManager.from_url(f"redis://{proxy.host}:{proxy.port}/0", prefix=f"{PREFIX}-{uuid.uuid4()}")
    form.do(manager, "create_session", "warm")
    yield manager
    form.do(manager, "close")


@pytest.mark.parametrize("ttl", [None, 3600])
def test_a_turn_is_two_round_trips(proxy: Proxy, counted: SessionManager, form: Form, ttl: int | None) -> None:
    session = form.do(counted, "create_session", messages=["a"] * 50, ttl=ttl)
    other = form.do(counted, "get_session", session.id)
    model = Speaker(responses=['{"said":"x"}'], used=(3, 1, 2), name_="m")
    talk, own = session.conversation(model), other.conversation(model, system="C", phase="p")
    turns: list[tuple[str, int, Any]] = [
        ("run", 2, lambda: form.do(talk, "run", "hi")),
        ("stream", 2, lambda: listen(form, talk, "hi")),
        ("json", 2, lambda: form.do(talk, "json", "hi", Reply)),
        ("batch", 4, lambda: form.do(talk, "batch", ["hi", "ho"])),
        ("the first with a system prompt", 3, lambda: form.do(own, "run", "hi")),
        ("those after it", 2, lambda: form.do(own, "run", "hi")),
        ("a message with an id", 3, lambda: form.do(talk, "run", HumanMessage("hi", id="mine"))),
        ("the same again", 1, lambda: form.do(talk, "run", HumanMessage("hi", id="mine"))),
        ("the last", 2, lambda: form.do(talk, "run", "hi")),
    ]
    for name, wanted, take in turns:
        proxy.reset()
        take()
        assert proxy.round_trips == wanted, name
    assert form.do(session, "usage").calls == 9
    assert len(form.texts(session)) == 50 + 2 * 9


def test_a_turn_of_an_agent_is_four_round_trips(proxy: Proxy, counted: SessionManager, form: Form) -> None:
    """One to wait in line, one to read, one to store whatever the agent did, one to let the next one in."""
    session = form.do(counted, "create_session", messages=["a"] * 5)
    agent = session.conversation(Talker(), tools=[double], phase="p")
    plain = session.conversation(Speaker(used=(3, 1, 2)))
    turns: list[tuple[str, int, Any]] = [
        ("the first, which moves a log", 5, lambda: form.do(agent, "run", "double:3")),
        ("a call of a tool", 4, lambda: form.do(agent, "run", "double:4")),
        ("no call", 4, lambda: form.do(agent, "run", "hi")),
        ("a model in the session of a graph", 3, lambda: form.do(plain, "run", "hi")),
        ("the last", 4, lambda: listen(form, agent, "hi")),
    ]
    found = []
    for name, wanted, take in turns:
        proxy.reset()
        take()
        found.append((name, wanted, proxy.round_trips))
    assert [trips for _, _, trips in found] == [wanted for _, wanted, _ in found], found
    with session.lease(30) as turn:  # who has a lease need not wait in line
        agent = turn.conversation(Talker(), tools=[double])
        proxy.reset()
        Form(None).do(agent, "run", "hi") if form.loop is None else None
        assert proxy.round_trips == (2 if form.loop is None else 0)


def test_a_turn_sends_only_what_is_new(proxy: Proxy, counted: SessionManager, form: Form) -> None:
    up = []
    for size in (10, 1000):
        session = form.do(counted, "create_session", messages=["x" * 400] * size)
        conversation = session.conversation(Speaker(responses=["y" * 400]))
        form.do(conversation, "run", "x" * 400)
        proxy.reset()
        form.do(conversation, "run", "x" * 400)
        up.append(proxy.bytes_up)
    assert up[1] < up[0] + 300
    assert up[1] < 5000


def test_usage_is_recorded_by_phase_and_model(session: Session, form: Form) -> None:
    small, big = (
        Speaker(used=(10, 4, 1), name_="small"),
        Speaker(responses=['{"said":"x"}'], used=(3, 1, 2), name_="big"),
    )
    form.do(session.conversation(small), "run", "a")
    listen(form, session.conversation(small, phase="stream"), "b")
    form.do(session.conversation(big, phase="data"), "json", "c", Reply)
    listen(form, session.conversation(big), "d")
    assert untimed(form, session) == {
        "chat": Usage(2, 13, 3, 5), "data": Usage(1, 3, 2, 1), "stream": Usage(1, 10, 1, 4)
    }  # fmt: skip
    assert untimed(form, session, "by_model") == {"big": Usage(2, 6, 4, 2), "small": Usage(2, 20, 2, 8)}
    assert form.do(session, "last_usage")._replace(seconds=0) == Usage(1, 3, 2, 1)


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
def test_usage_of_what_is_no_chat_model(session: Session, form: Form) -> None:
    used: Any = UsageMetadata(input_tokens=7, output_tokens=2, total_tokens=9, input_token_details={"cache_read": 3})
    said = AIMessage("x", usage_metadata=used, response_metadata={"model_name": "far away"})
    bare = AIMessage("x", usage_metadata=UsageMetadata(input_tokens=1, output_tokens=1, total_tokens=2))
    form.do(session.conversation(lambda messages: said), "run", "a")
    listen(form, session.conversation(lambda messages: said, phase="p"), "b")
    form.do(session.conversation(lambda messages: bare, phase="bare"), "run", "c")
    form.do(session.conversation(lambda messages: "no usage", phase="none"), "run", "d")
    assert untimed(form, session) == {"chat": Usage(1, 7, 2, 3), "p": Usage(1, 7, 2, 3), "bare": Usage(1, 1, 1)}
    assert untimed(form, session, "by_model") == {"": Usage(1, 1, 1), "far away": Usage(2, 14, 4, 6)}


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
def test_all_models_of_one_turn_are_counted(session: Session, form: Form) -> None:
    first, second = Speaker(used=(1, 0, 1), name_="first"), Speaker(used=(2, 0, 2), name_="second")
    form.do(session.conversation(first | (lambda message: [message]) | second), "run", "a")
    listen(form, session.conversation(first | (lambda message: [message]) | second), "b")
    assert untimed(form, session, "by_model") == {"first": Usage(2, 2, 2), "second": Usage(2, 4, 4)}


@pytest.mark.parametrize("kind", ["memory"], indirect=True)
def test_langchains_own_fakes_say_nothing_of_their_use(session: Session, form: Form) -> None:
    form.do(session.conversation(FakeListChatModel(responses=["x"])), "run", "a")
    chunks = listen(form, session.conversation(GenericFakeChatModel(messages=iter(["one two"]))), "b")
    assert "".join(chunk.text for chunk in chunks) == "one two"
    assert untimed(form, session) == {"chat": Usage(2)}
    assert form.texts(session) == ["a", "x", "b", "one two"]


@pytest.mark.parametrize("name", ["nosuch:model", "nosuch", "", ":"])
def test_a_name_that_no_model_has(name: str) -> None:
    session = SessionManager.from_url("memory:").create_session()
    with pytest.raises(ConfigurationError):
        session.conversation(name)


def test_a_provider_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    session = SessionManager.from_url("memory:").create_session()
    monkeypatch.setitem(sys.modules, "langchain_openai", None)
    with pytest.raises(MissingExtra, match="langchain-openai"):
        session.conversation("openai:gpt-5")


@pytest.mark.parametrize("missing", ["langchain", "langchain.chat_models"])
def test_without_langchain(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    session = SessionManager.from_url("memory:").create_session()
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=r"langgraph-sessionstore\[langchain\]"):
        session.conversation("openai:gpt-5")
    assert session.conversation(Speaker()).run("hi").text == "re: hi"  # with a model of one's own it is not needed


def test_a_name_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    session = SessionManager.from_url("memory:").create_session()
    chat_models = pytest.importorskip("langchain.chat_models")
    monkeypatch.setattr(chat_models, "init_chat_model", lambda name: Speaker(responses=[f"I am {name}"]))
    assert session.conversation("openai:gpt-5").run("hi").text == "I am openai:gpt-5"
