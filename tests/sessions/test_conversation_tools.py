"""Agents on sessions: what their tools say is part of the session, of what is sent next, and of nothing when it fails.

Rule: the graph's state is the truth, and the session shows it: both are compared after each step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from support.talker import NO_CONTEXT, TOOLS, Stage, Talker, kinds, results, texts

from langgraph_sessionstore import (
    ConfigurationError,
    ConflictError,
    NothingToUndo,
    SessionManager,
)

MEMORY = pytest.mark.parametrize("kind", ["memory"], indirect=True)
TURN = ["double:3", "double", "6", "I heard 6"]


# -- turns


def test_a_turn_with_tools_is_in_the_session_and_in_the_state(stage: Stage) -> None:
    model = Talker()
    talk = stage.session.conversation(model, tools=TOOLS)
    assert stage.run(talk, "double:3") == "I heard 6"
    messages = stage.do("messages")
    assert (texts(messages), kinds(messages)) == (TURN, "hata")
    assert stage.values()["messages"] == messages
    assert messages[2].tool_call_id == messages[1].tool_calls[0]["id"]
    assert all(message.id for message in messages)
    assert (stage.calls(), stage.do("usage").input_tokens) == ({"chat": 2}, 1 + 3)
    assert stage.run(talk, "and now") == "I heard and now"
    assert texts(model.sent[-1]) == [*TURN, "and now"]
    assert stage.texts() == [*TURN, "and now", "I heard and now"]
    stage.line()


def test_another_worker_is_sent_the_results(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    stage.run(stage.session.conversation(Talker(), tools=TOOLS), "double:3")
    other = stage.form.do(manager_on(), "get_session", stage.session.id)
    model = Talker()
    assert stage.run(other.conversation(model, tools=TOOLS), "double:4 double:5") == "I heard 10"
    assert results(model.sent[0]) == ["6"]
    assert results(model.sent[1]) == ["6", "8", "10"]
    assert stage.texts() == [*TURN, "double:4 double:5", "double+double", "8", "10", "I heard 10"]
    stage.line()


@MEMORY
def test_phase_and_options(stage: Stage) -> None:
    model = Talker()
    talk = stage.session.conversation(model, tools=TOOLS, phase="plan")
    stage.run(talk, "double:3", temperature=0.5, stop=["x"])
    assert model.options == [{"temperature": 0.5}] * 2
    stage.run(talk, "no more")
    assert model.options[-1] == {}
    assert stage.calls() == {"plan": 3}


@MEMORY
def test_system_prompts(stage: Stage) -> None:
    model = Talker()
    stage.run(stage.session.conversation(model, tools=TOOLS, system="Be brief"), "double:3")
    assert [sent[0] for sent in model.sent] == [SystemMessage("Be brief")] * 2
    assert (stage.do("system"), stage.texts()) == ("Be brief", TURN)
    stage.run(stage.session.conversation(model, tools=TOOLS), "kept")
    assert model.sent[-1][0] == SystemMessage("Be brief")
    stage.run(stage.session.conversation(model, tools=TOOLS, system="Other"), "own")
    assert model.sent[-1][0] == SystemMessage("Other")
    assert stage.do("system") == "Be brief"
    assert kinds(stage.do("messages")) == "hata" + "ha" * 2


@MEMORY
@pytest.mark.parametrize("system", [None, "Be brief"])
def test_tools_may_write_to_the_session(stage: Stage, system: str | None) -> None:
    session = stage.session

    @tool
    def note(of: str, runtime: ToolRuntime) -> str:
        """Note it in all places."""
        session.title = of
        session.metadata = {"of": of}
        session.store.put(("notes",), "of", {"of": of})
        assert runtime.store is not None
        runtime.store.put(("all",), "of", {"of": of})
        return "noted"

    talk = session.conversation(Talker(), tools=[note], system=system)
    assert stage.run(talk, "note:x") == "I heard noted"
    assert (session.title, session.metadata, session.system) == ("x", {"of": "x"}, system)
    assert session.store.get(("notes",), "of").value == {"of": "x"}  # type: ignore[union-attr]
    assert stage.manager.store.get(("all",), "of").value == {"of": "x"}  # type: ignore[union-attr]
    assert kinds(stage.do("messages")) == "hata"


@MEMORY
@pytest.mark.skipif(NO_CONTEXT, reason="a conversation in a tool needs the context")
@pytest.mark.parametrize("passed", [False, True])
def test_a_conversation_in_a_tool_is_counted_once(stage: Stage, passed: bool) -> None:
    inner, outer = Talker(), Talker()
    plain = stage.session.conversation(inner, phase="inner")

    @tool
    async def aconsult(of: str, config: RunnableConfig) -> str:
        """Ask another model."""
        return str((await plain.arun(of, config=config if passed else None)).text)

    @tool
    def consult(of: str, config: RunnableConfig) -> str:
        """Ask another model."""
        return str(plain.run(of, config=config if passed else None).text)

    given = consult if stage.form.loop is None else aconsult
    talk = stage.session.conversation(outer, tools=[given], wait=0)
    for number in (1, 2):
        with pytest.raises(ConflictError, match="nothing was stored"):  # the tool has changed the session
            stage.run(talk, f"{given.name}:x")
        assert (len(inner.sent), len(outer.sent)) == (number, 2 * number)
        assert stage.calls() == {"inner": number, "chat": 2 * number}
        assert stage.texts() == ["x", "I heard x"] * number
    assert stage.run(talk, "a") == "I heard a"
    assert stage.calls() == {"inner": 2, "chat": 5}


@MEMORY
def test_a_turn_given_twice_by_its_id_is_taken_once(stage: Stage) -> None:
    model, given = Talker(), HumanMessage("double:3", id="mine")
    talk = stage.session.conversation(model, tools=TOOLS)
    assert [stage.run(talk, given) for _ in range(2)] == ["I heard 6"] * 2
    assert (stage.texts(), len(model.sent), stage.calls()) == (TURN, 2, {"chat": 2})


@MEMORY
def test_tools_need_a_chat_model(stage: Stage) -> None:
    with pytest.raises(ConfigurationError, match="need a chat model"):
        stage.session.conversation(lambda messages: "x", tools=TOOLS)


@MEMORY
def test_a_channel_of_another_name(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    session = stage.form.do(manager_on(channel="talk"), "create_session")
    with pytest.raises(ConfigurationError, match=r"'messages'.*'talk'"):
        session.conversation(Talker(), tools=TOOLS)
    assert stage.run(session.conversation(Talker()), "a") == "I heard a"  # without tools it is no agent


# -- pieces


@pytest.mark.parametrize("streams", [True, False])
def test_an_answer_in_pieces(stage: Stage, streams: bool) -> None:
    talk = stage.session.conversation(Talker(disable_streaming=not streams), tools=TOOLS)
    chunks = stage.stream(talk, "double:3")
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert "".join(chunk.text for chunk in chunks) == "I heard 6"
    if streams and stage.context:
        assert [chunk.text for chunk in chunks if chunk.text] == ["I ", "heard ", "6"]
    assert (stage.texts(), stage.values()["messages"]) == (TURN, stage.do("messages"))
    assert stage.calls() == {"chat": 2}


def test_pieces_that_nobody_takes_leave_nothing(stage: Stage) -> None:
    model = Talker()
    talk = stage.session.conversation(model, tools=TOOLS, wait=0)
    stage.run(talk, "first")
    total = len(stage.stream(talk, "double:3"))
    stage.do("rewind", 1)
    before = stage.kept()
    for most in range(1, total + 1):
        assert len(stage.stream(talk, "double:3", most)) == most
        assert (most, stage.kept()) == (most, before)
    assert stage.calls()["chat"] > 3
    assert stage.run(talk, "double:3") == "I heard 6"  # at once: wait=0
    assert stage.texts() == ["first", "I heard first", *TURN]


# -- failures


def test_calls_that_fail_leave_only_what_was_used(stage: Stage) -> None:
    model = Talker()
    talk = stage.session.conversation(model, tools=TOOLS, wait=0)
    stage.run(talk, "first")
    before = stage.kept()
    for failing, used in ((2, 0), (4, 1)):  # the first call, and the second one, of a turn
        model.faults[failing] = TimeoutError(f"call {failing}")
        with pytest.raises(TimeoutError, match=f"call {failing}"):
            stage.run(talk, "double:3")
        assert stage.kept() == before
        assert stage.calls() == {"chat": 1 + used}
    with pytest.raises(RuntimeError, match="broken at 1"):
        stage.run(talk, "broken:1")
    assert stage.kept() == before
    assert stage.calls() == {"chat": 3}
    assert stage.run(talk, "double:3") == "I heard 6"
    assert stage.texts() == ["first", "I heard first", *TURN]
    stage.line()


def test_a_retry_stores_once(stage: Stage) -> None:
    model = Talker(faults={2: TimeoutError("once")})
    retrying = stage.session.conversation(model, tools=TOOLS).with_retry(
        stop_after_attempt=2, retry_if_exception_type=(TimeoutError,), wait_exponential_jitter=False
    )
    assert stage.form.do(retrying, "invoke", "double:3").text == "I heard 6"
    assert (stage.texts(), len(model.sent), stage.calls()) == (TURN, 4, {"chat": 3})
    stage.line()


# -- sessions that had a log


def test_a_log_moves_to_the_state(stage: Stage) -> None:
    plain, model = stage.session.conversation(Talker()), Talker()
    stage.do("extend", ["before", ("assistant", "yes")])
    stage.run(plain, "a")
    was = stage.do("messages")
    agent = stage.session.conversation(model, tools=TOOLS)
    assert stage.run(agent, "double:3") == "I heard 6"
    messages = stage.do("messages")
    assert (texts(messages), kinds(messages)) == (["before", "yes", "a", "I heard a", *TURN], "hahahata")
    assert texts(model.sent[0]) == ["before", "yes", "a", "I heard a", "double:3"]
    assert len({message.id for message in messages}) == 8
    assert None not in {message.id for message in messages}
    assert [each.id for each in messages[2:4]] == [each.id for each in was[2:]]
    assert stage.values()["messages"] == messages
    with pytest.raises((NothingToUndo, ConflictError)) as error:
        stage.do("undo")
    assert str(error.value)
    assert stage.do("messages") == messages
    stage.run(plain, "b")
    assert stage.run(agent, "double:4") == "I heard 8"
    assert texts(model.sent[-1])[8:] == ["b", "I heard b", "double:4", "double", "8"]
    assert stage.values()["messages"] == stage.do("messages")
    assert len(stage.do("messages")) == 14
    stage.line()


def test_what_becomes_of_a_session_afterwards(
    stage: Stage, tmp_path: Any, manager_on: Callable[..., SessionManager]
) -> None:
    model, manager = Talker(), stage.manager
    stage.do("extend", ["before", ("assistant", "yes")])
    agent = stage.session.conversation(model, tools=TOOLS)
    stage.run(agent, "double:3")
    stage.run(agent, "b")
    stage.do("rewind", turns=1)
    assert stage.texts() == ["before", "yes", *TURN]
    assert stage.do("undo") == "Restored: before rewind of 1 turn"
    assert stage.texts() == ["before", "yes", *TURN, "b", "I heard b"]
    other = stage.form.do(agent, "fork")
    assert stage.run(other, "c") == "I heard c"
    assert texts(model.sent[-1]) == ["before", "yes", *TURN, "b", "I heard b", "c"]
    assert len(stage.do("messages")) == 8
    stage.do("export", tmp_path / "session")
    again = stage.form.do(manager, "import_", tmp_path / "session", session_id="again")
    stage.others += [other.session, again]
    assert stage.run(again.conversation(model, tools=TOOLS), "d") == "I heard d"
    assert texts(model.sent[-1]) == ["before", "yes", *TURN, "b", "I heard b", "d"]
    stage.do("prune", 1)
    assert stage.texts() == ["before", "yes", *TURN]
    assert stage.run(agent, "e") == "I heard e"
    assert texts(model.sent[-1]) == ["before", "yes", *TURN, "e"]
