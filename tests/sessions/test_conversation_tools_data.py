"""Agents on sessions that answer with data, and that are sent a choice of what was said before.

Rule: the state keeps all, as plain messages and plain data; the turn at hand is sent as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool
from pydantic import BaseModel
from support.talker import TOOLS, Stage, Talker, kinds, texts

from langgraph_sessionstore import (
    InvalidAnswer,
    SessionManager,
    Unstorable,
)
from langgraph_sessionstore.strategies import Summary, Window

MEMORY = pytest.mark.parametrize("kind", ["memory"], indirect=True)
TURN = ["double:3", "double", "6", "I heard 6"]


class Number(BaseModel):
    """A number with a name."""

    name: str
    value: int


# -- data


@MEMORY
def test_data(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    model = Talker()
    agent = stage.session.conversation(model, tools=TOOLS)
    text = 'data {"name": "six", "value": 6}'
    value = stage.form.do(agent, "json", text, Number)
    assert value == Number(name="six", value=6)
    assert stage.values()["structured_response"] == {"name": "six", "value": 6}  # no class of the user's
    assert kinds(stage.do("messages")) == "hat"
    strict = stage.form.do(manager_on(strict=True), "get_session", stage.session.id)
    assert stage.run(strict.conversation(model, tools=TOOLS), "double:3") == "I heard 6"
    before = stage.kept()
    for given in ('data {"name": "six", "value": "none"}', "in words"):
        with pytest.raises(InvalidAnswer) as error:
            stage.form.do(agent, "json", given, Number)
        assert error.value.answer
        assert stage.kept() == before
    named = HumanMessage(text, id="mine")
    assert [stage.form.do(agent, "json", named, Number).value for _ in range(2)] == [6, 6]
    assert len(stage.do("messages")) == 3 + 4 + 3


@MEMORY
def test_data_with_words_beside_it_given_twice(stage: Stage) -> None:
    agent = stage.session.conversation(Talker(), tools=TOOLS)
    given = HumanMessage('data aloud {"name": "six", "value": 6}', id="mine")
    assert stage.form.do(agent, "json", given, Number).value == 6
    assert stage.form.do(agent, "json", given, Number).value == 6
    assert kinds(stage.do("messages")) == "hat"


# -- strategies


@MEMORY
@pytest.mark.parametrize(
    ("strategy", "sent"),
    [
        (Window(2), ["a", "I heard a"]),
        (Window(0), []),
        (lambda messages: [SystemMessage("short"), messages[-1]], ["short", "I heard a"]),
    ],
)
def test_what_is_chosen_is_of_the_past_only(stage: Stage, strategy: Any, sent: list[str]) -> None:
    model = Talker()
    stage.run(stage.session.conversation(model, tools=TOOLS), "double:1")
    stage.run(stage.session.conversation(model, tools=TOOLS), "a")
    agent = stage.session.conversation(model, tools=TOOLS, strategy=strategy, system="S")
    stage.run(agent, "double:3 double:4")
    now = ["double:3 double:4", "double+double", "6", "8"]
    assert [texts(each) for each in model.sent[-2:]] == [["S", *sent, now[0]], ["S", *sent, *now]]
    assert len(stage.do("messages")) == 4 + 2 + 5
    assert stage.values()["messages"] == stage.do("messages")


@MEMORY
def test_a_summary_of_the_past(stage: Stage) -> None:
    model, writer = Talker(), Talker()
    stage.do("extend", ["a", ("assistant", "b"), "c", ("assistant", "d")])
    agent = stage.session.conversation(model, tools=TOOLS, strategy=Summary(writer, keep=2, after=2))
    stage.run(agent, "double:3")
    assert kinds(model.sent[0]) == "shah"
    assert texts(model.sent[1])[1:] == ["c", "d", *TURN[:-1]]
    assert "a" in str(stage.do("summary"))
    assert stage.calls() == {"summary": 1, "chat": 2}
    assert stage.texts() == ["a", "b", "c", "d", *TURN]


@MEMORY
def test_a_tool_that_gives_what_cannot_be_stored(stage: Stage) -> None:
    @tool(response_format="content_and_artifact")
    def lock(of: str) -> Any:
        """Give a lock."""
        return of, threading.Lock()

    agent = stage.session.conversation(Talker(), tools=[lock], wait=0)
    with pytest.raises(Unstorable):
        stage.run(agent, "lock:x")
    assert (stage.texts(), stage.checkpoints(), stage.calls()) == ([], [], {"chat": 2})
    assert stage.run(agent, "a") == "I heard a"
