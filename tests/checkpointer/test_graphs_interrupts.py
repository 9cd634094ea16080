"""A human in the loop: what waits goes on with the answer, and what was finished is not done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from support.graphs import FIRST, Log, Work, normal, note, noted, noting, review, steps, working

from langgraph_sessionstore import Backend

FINISHED = ["left", "packet 0", "packet 1", "packet 2", "right"]


@pytest.fixture
def work(kind: str, storage: Callable[[], Backend], thread: str, tmp_path: Path) -> Iterator[Work]:
    with working(storage, FIRST[kind], thread, tmp_path / "ledger") as work:
        yield work


def test_what_waits_goes_on_in_another_worker_and_what_finished_is_not_done_again(work: Work) -> None:
    result = work.invoke(review(work.ledger, work.saver), {"word": "draft", "done": []}, work.config())
    assert [each.value for each in result["__interrupt__"]] == [{"text": "draft"}]
    assert sorted(noted(work.ledger)) == FINISHED

    other = review(work.ledger, work.other())
    waiting = work.state(other, work.config())
    assert [each.value for each in waiting.interrupts] == [{"text": "draft"}]
    assert {task.name for task in waiting.tasks if not task.result} == {"last"}

    result = work.invoke(other, Command(resume="fine"), work.config())
    assert result["word"] == "left,look: fine,packet 0,packet 1,packet 2,right"
    assert sorted(noted(work.ledger)) == sorted([*FINISHED, "last", "join"])


def test_history_around_an_interrupt_is_that_of_langgraphs_own_checkpointer(work: Work) -> None:
    held = []
    for saver in (work.saver, work.peer):
        graph = review(work.ledger, saver)
        work.invoke(graph, {"word": "draft", "done": []}, work.config())
        waiting = normal(work.history(graph, work.config()))
        work.invoke(graph, Command(resume="fine"), work.config())
        held.append((waiting, normal(work.history(graph, work.config()))))
    assert held[0] == held[1]


def test_input_that_is_sent_again_while_something_waits_starts_anew(work: Work) -> None:
    held = []
    for saver in (work.saver, work.peer):
        graph = review(work.ledger, saver)
        work.invoke(graph, {"word": "draft", "done": []}, work.config())
        work.invoke(graph, {"word": "other", "done": []}, work.config())
        result = work.invoke(graph, Command(resume="fine"), work.config())
        held.append((result, normal(work.history(graph, work.config()))))
    assert held[0] == held[1]


def two_questions(work: Work, saver: Any) -> Any:
    def ask(name: str) -> Callable[[Any], Any]:
        return noting(work.ledger, name, lambda state: {"done": [f"{name}: {interrupt(name)}"]})

    graph: Any = StateGraph(Log)
    graph.add_node("first", ask("first"))
    graph.add_node("second", ask("second"))
    graph.add_node("third", noting(work.ledger, "third", lambda state: {"done": ["third"]}))
    for name in ("first", "second", "third"):
        graph.add_edge(START, name)
    return graph.compile(checkpointer=saver)


def test_questions_side_by_side_are_answered_by_their_ids(work: Work) -> None:
    work.invoke(two_questions(work, work.saver), {"done": []}, work.config())
    other = two_questions(work, work.other())
    answers = {each.id: f"on {each.value}" for each in work.state(other, work.config()).interrupts}
    result = work.invoke(other, Command(resume=answers), work.config())
    assert sorted(result["done"]) == ["first: on first", "second: on second", "third"]
    assert sorted(noted(work.ledger)) == ["first", "second", "third"]


def test_questions_side_by_side_are_answered_one_at_a_time_by_different_workers(work: Work) -> None:
    work.invoke(two_questions(work, work.saver), {"done": []}, work.config())
    left = {each.value: each.id for each in work.state(two_questions(work, work.other()), work.config()).interrupts}
    for name in ("second", "first"):
        graph = two_questions(work, work.other())
        work.invoke(graph, Command(resume={left.pop(name): f"on {name}"}), work.config())
        tasks = work.state(two_questions(work, work.other()), work.config()).tasks
        assert {each.value for task in tasks if not task.result for each in task.interrupts} == set(left)
    final = work.state(two_questions(work, work.saver), work.config())
    assert sorted(final.values["done"]) == ["first: on first", "second: on second", "third"]
    assert sorted(noted(work.ledger)) == ["first", "second", "third"]


def test_several_questions_of_one_node_are_answered_in_their_order(work: Work) -> None:
    def ask(state: Any) -> Any:
        note(work.ledger, "begun")
        return {"done": [str(interrupt("one")), str(interrupt("two")), str(interrupt("three"))]}

    asked = [each.value for each in work.invoke(_asking(work, ask), {"done": []}, work.config())["__interrupt__"]]
    for answer in ("1", "2"):
        result = work.invoke(_asking(work, ask), Command(resume=answer), work.config())
        asked += [each.value for each in result["__interrupt__"]]
    assert asked == ["one", "two", "three"]
    result = work.invoke(_asking(work, ask), Command(resume="3"), work.config())
    assert result["done"] == ["1", "2", "3"]
    assert noted(work.ledger) == ["begun"] * 4 + ["ask"]


def _asking(work: Work, ask: Callable[[Any], Any]) -> Any:
    """The graph of a worker that remembers nothing."""
    return steps(work.ledger, work.other(), ask=ask)


def test_an_answer_may_bring_an_update_along(work: Work) -> None:
    held = []
    for saver in (work.saver, work.peer):
        graph = review(work.ledger, saver)
        work.invoke(graph, {"word": "draft", "done": []}, work.config())
        work.invoke(graph, Command(resume="fine", update={"done": ["by hand"]}), work.config())
        held.append(normal(work.history(graph, work.config())))
    assert held[0] == held[1]
    assert "by hand" in work.state(review(work.ledger, work.other()), work.config()).values["done"]


@pytest.mark.parametrize("where", ["interrupt_before", "interrupt_after"])
def test_a_graph_that_stops_at_a_node_goes_on_from_there_in_another_worker(work: Work, where: str) -> None:
    def graph(saver: Any) -> Any:
        return steps(
            work.ledger, saver, one=lambda state: {"done": ["one"]}, two=lambda state: {"done": [state["word"]]}
        )

    stop: Any = {where: ["two"] if where == "interrupt_before" else ["one"]}
    work.invoke(graph(work.saver), {"word": "draft", "done": []}, work.config(), **stop)
    assert noted(work.ledger) == ["one"]
    assert work.state(graph(work.other()), work.config()).next == ("two",)
    work.update(graph(work.other()), work.config(), {"word": "better"})
    assert work.invoke(graph(work.other()), None, work.config())["done"] == ["one", "better"]
    assert noted(work.ledger) == ["one", "two"]
    assert work.state(graph(work.saver), work.config()).values["done"] == ["one", "better"]
