"""A thread that one process begins and another goes on with: nothing is lost, nothing is done twice."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command
from support.graphs import (
    FIRST,
    FORMS,
    Order,
    Point,
    Work,
    add_facts,
    built_agent,
    child,
    fan,
    normal,
    noted,
    review,
    say,
    working,
)

from langgraph_sessionstore import Backend

OTHERS = ["left", "packet 0", "packet 1", "packet 2", "right"]


@pytest.fixture(params=["file", "redis7", "cluster"])
def kind(request: pytest.FixtureRequest) -> str:
    """What processes can share."""
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file:{tmp_path}/sessions" if kind == "file" else str(request.getfixturevalue(kind).url)


@pytest.fixture
def work(kind: str, storage: Callable[[], Backend], thread: str, tmp_path: Path) -> Iterator[Work]:
    with working(storage, FIRST[kind], thread, tmp_path / "ledger") as work:
        yield work


def test_what_asks_here_is_answered_in_another_process(work: Work, url: str) -> None:
    graph = review(work.ledger, work.saver)
    work.invoke(graph, {"word": "draft", "done": ["start"]}, work.config())
    result = child("resume-review", FORMS[0], url, work.thread, work.ledger)
    assert result["word"] == "left,look: fine,packet 0,packet 1,packet 2,right,start"
    assert sorted(noted(work.ledger)) == sorted([*OTHERS, "last", "join"])
    after = work.state(graph, work.config())
    assert (after.values, after.next) == (result, ())


def test_what_asks_in_another_process_is_answered_here(work: Work, url: str) -> None:
    assert child("start-review", FORMS[1], url, work.thread, work.ledger) == [{"text": "draft"}]
    graph = review(work.ledger, work.saver)
    assert [each.value for each in work.state(graph, work.config()).interrupts] == [{"text": "draft"}]
    result = work.invoke(graph, Command(resume="fine"), work.config())
    assert result["word"] == "left,look: fine,packet 0,packet 1,packet 2,right,start"
    assert sorted(noted(work.ledger)) == sorted([*OTHERS, "last", "join"])


def test_processes_that_take_turns_in_a_conversation_hold_all_of_it(work: Work, url: str) -> None:
    graph, peer = built_agent(work.ledger, work.saver), built_agent(work.ledger, work.peer)
    for number in range(4):
        size = 4 * number  # as many messages as the turns before have made
        work.invoke(peer, say(f"double:{size}", size), work.config())
        if number % 2:
            assert child("turn", FORMS[number // 2], url, work.thread, work.ledger) == size + 4
        else:
            assert len(work.invoke(graph, say(f"double:{size}", size), work.config())["messages"]) == size + 4
    assert normal(work.history(graph, work.config())) == normal(work.history(peer, work.config()))


@pytest.mark.parametrize("pruned", [False, True])
def test_a_tool_that_asks_is_answered_in_another_process_and_finished_ones_are_not_called_again(
    work: Work, url: str, pruned: bool
) -> None:
    graph = built_agent(work.ledger, work.saver)
    work.invoke(graph, say("double:4 ask:sure double:5", 0), work.config(), durability="exit")
    if pruned:
        work.call(work.saver, "prune", [work.thread])
    assert child("answer-tool", FORMS[1], url, work.thread, work.ledger)[-1] == "I heard 8, yes, 10"
    assert sorted(noted(work.ledger)) == ["ask sure: yes", "double 4", "double 5"]


def test_when_a_process_dies_in_one_branch_the_others_are_not_run_again(work: Work, url: str, kind: str) -> None:
    child("die", FIRST[kind], url, work.thread, work.ledger, status=3)
    assert sorted(noted(work.ledger)) == OTHERS
    graph = fan(work.ledger, work.saver, last=lambda state: {"done": ["last"]})
    result = work.invoke(graph, None, work.config())
    assert result["word"] == "last,left,packet 0,packet 1,packet 2,right"
    assert sorted(noted(work.ledger)) == sorted([*OTHERS, "last", "join"])


def test_types_of_the_application_go_from_process_to_process(work: Work, url: str) -> None:
    graph: Any = add_facts(work.saver)
    order = Order(id=uuid.UUID(int=7))
    work.invoke(graph, {"order": order, "points": [Point(0, 0)], "steps": 1}, work.config())
    assert child("add-facts", FORMS[1], url, work.thread, work.ledger) == [2, 3, 4]
    found = work.state(graph, work.config()).values
    assert [item.name for item in found["order"].items] == ["item 0", "item 1"]
    assert found["points"] == [Point(0, 0), Point(1, 0), Point(2, 0)]
