"""LangChain's chat history on sessions: all of its contract, and no warning of LangChain's plans.

Rule: LangChain's own classes drive it; the only warnings that are let through are those that they give by themselves.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from support.sittings import Form

import langgraph_sessionstore
from langgraph_sessionstore import ConfigurationError, SessionDeleted, SessionManager
from langgraph_sessionstore.adapters.chat_history import SessionChatHistory

PACKAGE = Path(langgraph_sessionstore.__file__).parent


def load(form: Form, history: SessionChatHistory) -> list[BaseMessage]:
    """All messages."""
    found: list[BaseMessage] = history.messages if form.loop is None else form.do(history, "get_messages")
    return found


def ids(form: Form, manager: SessionManager) -> list[str]:
    """The sessions that are listed."""
    return [info.id for info in form.everything(manager)]


CALLS: list[BaseMessage] = [
    SystemMessage("Be kind.", id="1"),
    HumanMessage([{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "x:"}}]),
    AIMessage(
        "",
        id="3",
        name="guide",
        tool_calls=[{"name": "look", "args": {"of": [1, {"k": None}]}, "id": "call", "type": "tool_call"}],
        usage_metadata={"input_tokens": 3, "output_tokens": 1, "total_tokens": 4},
        response_metadata={"model_name": "m"},
    ),
    ToolMessage("two", tool_call_id="call", artifact={"raw": b"\0", "numbers": (1, 2)}, status="error"),
    AIMessage("A\0\u0308 🙂", additional_kwargs={"k": [1]}),
]


# -- the contract


def test_a_history_begins_with_its_first_message(manager_on: Callable[..., SessionManager], form: Form) -> None:
    manager = manager_on()
    history = manager.history("ann")
    assert isinstance(history, BaseChatMessageHistory)
    assert (load(form, history), ids(form, manager)) == ([], [])
    form.do(history, "clear")
    assert ids(form, manager) == []
    form.do(history, "add_messages", [HumanMessage("a"), AIMessage("b")])
    assert ids(form, manager) == ["ann"]
    other = manager_on()
    assert load(form, other.history("ann")) == [HumanMessage("a"), AIMessage("b")]
    assert form.texts(form.do(other, "get_session", "ann")) == ["a", "b"]
    assert form.do(other.memory(), "load", "ann") == load(form, history)
    form.do(other.memory(), "append", "ann", "user", "c")
    assert str(history) == "Human: a\nAI: b\nHuman: c"


def test_messages_are_added_and_taken_away(manager: SessionManager, form: Form) -> None:
    history, other = manager.history("ann"), manager.history("ann.")
    history.add_user_message("a")
    history.add_user_message(HumanMessage("b", id="b"))
    history.add_ai_message("c")
    history.add_ai_message(AIMessage("d", id="d"))
    history.add_message(SystemMessage("e"))
    expected = [
        HumanMessage("a"),
        HumanMessage("b", id="b"),
        AIMessage("c"),
        AIMessage("d", id="d"),
        SystemMessage("e"),
    ]
    assert load(form, history) == expected
    form.do(history, "add_messages", [])
    form.do(other, "add_messages", (HumanMessage("another"),))
    assert load(form, history) == expected
    history.messages = load(form, history)[:2]
    assert load(form, history) == expected[:2]
    form.do(history, "clear")
    assert (load(form, history), len(load(form, other))) == ([], 1)
    form.do(history.session, "undo")
    assert load(form, history) == expected[:2]
    assert ids(form, manager) == ["ann", "ann."]


def test_what_is_added_comes_back_equal(manager_on: Callable[..., SessionManager], form: Form) -> None:
    form.do(manager_on().history("ann"), "add_messages", CALLS)
    found = load(form, manager_on().history("ann"))
    assert found == CALLS
    assert [type(message) for message in found] == [type(message) for message in CALLS]
    answer, result = found[2], found[3]
    assert isinstance(answer, AIMessage)
    assert isinstance(result, ToolMessage)
    assert (answer.tool_calls, answer.usage_metadata) == (CALLS[2].tool_calls, CALLS[2].usage_metadata)  # type: ignore[attr-defined]
    assert (result.artifact, result.status) == ({"raw": b"\0", "numbers": (1, 2)}, "error")
    result.artifact.clear()
    found.clear()
    assert load(form, manager_on().history("ann")) == CALLS


def test_messages_added_together_are_one_operation(manager: SessionManager, form: Form) -> None:
    history = manager.history("ann")
    form.do(history, "add_messages", [HumanMessage("a"), AIMessage("b")])
    form.do(history, "add_messages", [HumanMessage("c"), AIMessage("d")])
    assert form.do(history.session, "undo") == "Restored: before append of 2 messages"
    assert [message.text for message in load(form, history)] == ["a", "b"]


def test_a_history_of_a_deleted_session_is_refused(manager: SessionManager, form: Form) -> None:
    history = manager.history("ann")
    form.do(history, "add_messages", [HumanMessage("a")])
    form.do(manager, "delete_session", "ann")
    for late in (history, manager.history("ann")):
        with pytest.raises(SessionDeleted, match="ann"):
            load(form, late)
        with pytest.raises(SessionDeleted, match="ann"):
            form.do(late, "clear")
        with pytest.raises(SessionDeleted, match="ann"):
            form.do(late, "add_messages", [HumanMessage("b")])
        with pytest.raises(SessionDeleted, match="ann"):
            late.add_user_message("b")
    assert ids(form, manager) == []
    form.do(manager, "create_session", "ann")
    form.do(history, "add_messages", [HumanMessage("anew")])
    assert load(form, manager.history("ann")) == [HumanMessage("anew")]


@pytest.mark.parametrize("session_id", ["", None, 3])
def test_a_history_has_an_id(manager: SessionManager, session_id: Any) -> None:
    with pytest.raises(ConfigurationError, match="id"):
        manager.history(session_id)


def test_bad_messages_are_refused_as_a_whole(manager: SessionManager, form: Form) -> None:
    history = manager.history("ann")
    bad = ToolMessage("x", tool_call_id="1", artifact=open)
    for messages in ([HumanMessage("a"), bad], [HumanMessage("a"), 3], "text"):
        with pytest.raises((ConfigurationError, TypeError)):
            form.do(history, "add_messages", messages)
    assert (load(form, history), ids(form, manager)) == ([], [])


# -- in LangChain


def ask(form: Form, chain: Any, text: Any, session_id: str) -> Any:
    """One turn of a conversation."""
    return form.do(chain, "invoke", text, {"configurable": {"session_id": session_id}})


@pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory")
def test_chains_remember_each_session_for_itself(manager_on: Callable[..., SessionManager], form: Form) -> None:
    seen: list[list[str]] = []

    def answer(messages: list[BaseMessage]) -> AIMessage:
        seen.append([message.text for message in messages])
        return AIMessage(f"{len(messages)} heard")

    def chain() -> RunnableWithMessageHistory:
        return RunnableWithMessageHistory(RunnableLambda(answer), manager_on().history)

    assert ask(form, chain(), [HumanMessage("a")], "ann").text == "1 heard"
    assert ask(form, chain(), [HumanMessage("x")], "bob").text == "1 heard"
    assert ask(form, chain(), [HumanMessage("b")], "ann").text == "3 heard"
    assert seen == [["a"], ["x"], ["a", "1 heard", "b"]]
    manager = manager_on()
    texts = [[message.text for message in load(form, manager.history(each))] for each in ("ann", "bob")]
    assert texts == [["a", "1 heard", "b", "3 heard"], ["x", "1 heard"]]
    assert ids(form, manager) == ["ann", "bob"]
    form.do(manager, "delete_session", "ann")
    with pytest.raises(SessionDeleted):
        ask(form, chain(), [HumanMessage("c")], "ann")


@pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory")
def test_chains_with_prompts_are_streamed_and_remembered(manager: SessionManager, form: Form) -> None:
    prompt = ChatPromptTemplate([("system", "Be kind."), MessagesPlaceholder("earlier"), ("user", "{question}")])
    model = GenericFakeChatModel(messages=iter([AIMessage("To Kyoto."), AIMessage("Yes, really.")]))
    chain = RunnableWithMessageHistory(
        prompt | model, manager.history, input_messages_key="question", history_messages_key="earlier"
    )
    assert ask(form, chain, {"question": "Where?"}, "ann").text == "To Kyoto."
    config: RunnableConfig = {"configurable": {"session_id": "ann"}}
    pieces: list[Any] = []

    async def stream() -> None:
        pieces.extend([piece async for piece in chain.astream({"question": "Really?"}, config)])

    if form.loop is None:
        pieces.extend(chain.stream({"question": "Really?"}, config))
    else:
        form.loop.run_until_complete(stream())
    assert "".join(piece.text for piece in pieces) == "Yes, really."
    assert form.texts(form.do(manager, "get_session", "ann")) == ["Where?", "To Kyoto.", "Really?", "Yes, really."]


# -- warnings


def python(code: str) -> str:
    """Run this in a process of its own, where each warning is an error; what it prints."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_a_history_warns_of_nothing() -> None:
    code = """
from langgraph_sessionstore import SessionManager
with SessionManager.from_url("memory:") as manager:
    history = manager.history("ann")
    history.add_user_message("Hello")
    history.add_ai_message("Hello you")
    print(len(history.messages), history.session.show_messages().count("Hello"))
"""
    assert python(code) == "2 2"


def test_only_one_module_knows_of_the_class() -> None:
    name = "langchain_core.chat_history"
    assert python(f"import sys, langgraph_sessionstore; print({name!r} in sys.modules)") == "False"
    knowing = [
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if name in path.read_text("utf-8")
    ]
    assert knowing == ["adapters/chat_history.py"]


@pytest.fixture
def eager_switches() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_switches")
def test_warnings_of_others_are_left_alone_by_many_threads() -> None:
    manager = SessionManager.from_url("memory:")
    manager.history("ann")
    with warnings.catch_warnings(), ThreadPoolExecutor(8) as pool:
        before = list(warnings.filters)
        for _ in range(5):
            list(pool.map(lambda _: [manager.history("ann") for _ in range(100)], range(200)))
            assert list(warnings.filters) == before
