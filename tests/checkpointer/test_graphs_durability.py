"""The three ways in which LangGraph writes: at each step, beside the next one, at the end alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command, interrupt
from support.graphs import FIRST, Work, built_agent, normal, noted, say, steps, working

from langgraph_sessionstore import Backend


@pytest.fixture
def work(kind: str, storage: Callable[[], Backend], thread: str, tmp_path: Path) -> Iterator[Work]:
    with working(storage, FIRST[kind], thread, tmp_path / "ledger") as work:
        yield work


@pytest.fixture(params=["sync", "async", "exit"])
def durability(request: pytest.FixtureRequest) -> Any:
    return request.param


class _Trouble:
    """A node that works, asks, or fails."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __call__(self, state: Any) -> Any:
        if self.how == "fails":
            raise ConnectionError("no answer")
        return {"done": [str(interrupt("well?")) if self.how == "asks" else "two"]}


def graph_of(work: Work, saver: Any, trouble: _Trouble) -> Any:
    return steps(
        work.ledger,
        saver,
        one=lambda state: {"done": ["one"]},
        two=trouble,
        three=lambda state: {"done": ["three"]},
    )


def test_turns_of_an_agent_are_kept(work: Work, durability: Any) -> None:
    held = []
    for saver in (work.saver, work.peer):
        graph = built_agent(work.ledger, saver)
        for number, text in enumerate(["double:4", "hello", "double:5 double:6"]):
            work.invoke(graph, say(text, number), work.config(), durability=durability)
        held.append(normal(work.history(graph, work.config())))
    assert held[0] == held[1]
    cold = built_agent(work.ledger, work.other())
    assert len(work.state(cold, work.config()).values["messages"]) == 11
    assert normal(work.history(cold, work.config())) == held[0]


def test_what_asks_goes_on_in_another_worker(work: Work, durability: Any) -> None:
    held = []
    for saver, other in ((work.saver, work.other()), (work.peer, work.peer)):
        trouble = _Trouble("asks")
        work.invoke(graph_of(work, saver, trouble), {"word": "", "done": []}, work.config(), durability=durability)
        graph = graph_of(work, other, trouble)
        assert [each.value for each in work.state(graph, work.config()).interrupts] == ["well?"]
        waiting = normal(work.history(graph, work.config()))
        result = work.invoke(graph, Command(resume="yes"), work.config(), durability=durability)
        assert result["done"] == ["one", "yes", "three"]
        held.append((waiting, normal(work.history(graph, work.config()))))
    assert held[0] == held[1]
    assert noted(work.ledger) == ["one", "two", "three"] * 2


def test_what_failed_goes_on_in_another_worker(work: Work, durability: Any) -> None:
    held = []
    for saver, other in ((work.saver, work.other()), (work.peer, work.peer)):
        trouble = _Trouble("fails")
        with pytest.raises(ConnectionError):
            work.invoke(graph_of(work, saver, trouble), {"word": "", "done": []}, work.config(), durability=durability)
        graph = graph_of(work, other, trouble)
        failed = normal(work.history(graph, work.config()))
        trouble.how = "works"
        assert work.invoke(graph, None, work.config(), durability=durability)["done"] == ["one", "two", "three"]
        held.append((failed, normal(work.history(graph, work.config()))))
    assert held[0] == held[1]
    assert noted(work.ledger) == ["one", "two", "three"] * 2


def test_a_long_run_keeps_every_step_in_order(work: Work, durability: Any) -> None:
    nodes: Any = {f"n{number}": _writer(number) for number in range(30)}
    held = []
    for saver in (work.saver, work.peer):
        graph = steps(work.ledger, saver, **nodes)
        work.invoke(graph, {"word": "", "done": []}, work.config(recursion_limit=50), durability=durability)
        held.append(normal(work.history(graph, work.config())))
    assert held[0] == held[1]
    cold = steps(work.ledger, work.other(), **nodes)
    assert work.state(cold, work.config()).values["done"] == [f"{number:4}" * 50 for number in range(30)]


def _writer(number: int) -> Callable[[Any], Any]:
    return lambda state: {"done": [f"{number:4}" * 50]}
