"""Threads that are pruned, copied or rolled back go on as if nothing had happened."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from support.graphs import FIRST, Log, Work, built_agent, noted, review, say, steps, working

from langgraph_sessionstore import Backend


@pytest.fixture
def work(kind: str, storage: Callable[[], Backend], thread: str, tmp_path: Path) -> Iterator[Work]:
    with working(storage, FIRST[kind], thread, tmp_path / "ledger") as work:
        yield work


def said(values: Any) -> list[str]:
    return [str(message.content) for message in values["messages"]]


# -- pruned


def test_a_pruned_thread_resumes_and_does_not_run_finished_tools_again(work: Work) -> None:
    graph = built_agent(work.ledger, work.saver)
    work.invoke(graph, say("hello", 0), work.config())
    work.invoke(graph, say("double:4 ask:sure double:5", 1), work.config())
    waiting = work.state(graph, work.config())
    work.call(work.other(), "prune", [work.thread])
    assert len(work.list(work.saver, work.config())) == 1
    for saver in (work.saver, work.other()):
        found = work.state(built_agent(work.ledger, saver), work.config())
        assert (found.values, found.next, found.tasks) == (waiting.values, waiting.next, waiting.tasks)
    result = work.invoke(graph, Command(resume="yes"), work.config())
    assert said(result)[-1] == "I heard 8, yes, 10"
    assert sorted(noted(work.ledger)) == ["ask sure: yes", "double 4", "double 5"]


def test_a_pruned_thread_takes_many_more_turns(work: Work) -> None:
    graph, peer = built_agent(work.ledger, work.saver), built_agent(work.ledger, work.peer)
    for number in range(6):
        for each in (graph, peer):
            work.invoke(each, say(f"double:{number}", number), work.config())
        work.call(work.other() if number % 2 else work.saver, "prune", [work.thread])
        assert len(work.list(work.other(), work.config())) == 1
        cold = built_agent(work.ledger, work.other())
        assert work.state(cold, work.config()).values == work.state(peer, work.config()).values


def test_every_namespace_of_a_pruned_thread_resumes(work: Work) -> None:
    inner: Any = StateGraph(Log)
    inner.add_node("first", lambda state: {"done": ["first"]})
    inner.add_node("ask", lambda state: {"done": [str(interrupt("sure?"))]})
    inner.add_edge(START, "first")
    inner.add_edge("first", "ask")
    outer: Any = StateGraph(Log)
    outer.add_node("middle", inner.compile())
    outer.add_edge(START, "middle")
    work.invoke(outer.compile(checkpointer=work.saver), {"done": []}, work.config())
    work.call(work.saver, "prune", [work.thread])
    assert len(work.list(work.saver, work.config())) == 2
    result = work.invoke(outer.compile(checkpointer=work.other()), Command(resume="yes"), work.config())
    assert result["done"] == ["first", "yes"]


def test_pruning_between_two_steps_of_a_run_does_not_disturb_it(work: Work) -> None:
    pruning = work.other()

    def node(name: str) -> Callable[[Any], Any]:
        def run(state: Any) -> Any:
            pruning.prune([work.thread])
            return {"done": [name * 200]}

        return run

    graph = steps(work.ledger, work.saver, one=node("1"), two=node("2"), three=node("3"), four=node("4"))
    wanted = [str(number) * 200 for number in range(1, 5)]
    assert work.invoke(graph, {"word": "w" * 200, "done": []}, work.config())["done"] == wanted
    found = work.state(steps(work.ledger, work.other(), one=node("1")), work.config()).values
    assert found == {"word": "w" * 200, "done": wanted}


def test_a_thread_pruned_away_begins_anew(work: Work) -> None:
    graph = built_agent(work.ledger, work.saver)
    work.invoke(graph, say("hello", 0), work.config())
    work.call(work.other(), "prune", [work.thread], strategy="delete")
    assert work.history(graph, work.config()) == []
    assert said(work.invoke(graph, say("again", 1), work.config())) == ["again", "I heard again"]


# -- copied


def test_a_copied_thread_goes_on_independently(work: Work) -> None:
    graph = built_agent(work.ledger, work.saver)
    work.invoke(graph, say("double:4", 0), work.config())
    work.invoke(graph, say("double:5 ask:sure", 1), work.config())
    copied = work.config(f"copy-{work.thread}")
    work.call(work.other(), "copy_thread", work.thread, copied["configurable"]["thread_id"])
    waiting = said(work.state(graph, work.config()).values)
    here, there = work.history(graph, work.config()), work.history(graph, copied)
    assert [(state.values, state.next, state.tasks) for state in there] == [
        (state.values, state.next, state.tasks) for state in here
    ]

    assert said(work.invoke(graph, Command(resume="no"), copied))[-1] == "I heard 10, no"
    assert said(work.state(graph, work.config()).values) == waiting
    other = built_agent(work.ledger, work.other())
    assert said(work.invoke(other, Command(resume="yes"), work.config()))[-1] == "I heard 10, yes"
    assert said(work.state(other, copied).values)[-1] == "I heard 10, no"
    assert noted(work.ledger).count("double 5") == 1

    work.call(work.saver, "delete_thread", work.thread)
    assert said(work.invoke(graph, say("still there?", 2), copied))[-1] == "I heard still there?"


def test_an_old_checkpoint_of_a_copy_is_forked_like_that_of_the_original(work: Work) -> None:
    graph = built_agent(work.ledger, work.saver)
    for number in range(3):
        work.invoke(graph, say(f"double:{number}", number), work.config())
    copied = work.config(f"copy-{work.thread}")
    work.call(work.saver, "copy_thread", work.thread, copied["configurable"]["thread_id"])
    graph = built_agent(work.ledger, work.other())
    old = work.history(graph, copied)[5]
    fork = work.update(graph, old.config, say("double:9", 9), as_node="__start__")
    assert said(work.invoke(graph, None, fork))[-1] == "I heard 18"
    assert said(work.state(graph, work.config()).values)[-1] == "I heard 4"


# -- rolled back


def run_of(work: Work, place: str) -> tuple[str, Any]:
    """A run with an id of its own, said where applications and servers say it."""
    name = str(uuid.uuid4())
    config = work.config(run_id=name) if place == "configurable" else {**work.config(), "metadata": {"run_id": name}}
    return name, config


@pytest.mark.parametrize("place", ["configurable", "metadata"])
def test_the_newest_run_is_rolled_back_and_the_thread_goes_on_from_before(work: Work, place: str) -> None:
    graph = built_agent(work.ledger, work.saver)
    for number in range(2):
        work.invoke(graph, say(f"double:{number}", number), run_of(work, place)[1])
    before = work.history(graph, work.config())
    bad, config = run_of(work, place)
    work.invoke(graph, say("double:7 double:8", 2), config)
    work.call(work.other(), "delete_for_runs", [bad])
    for saver in (work.saver, work.other()):
        assert work.history(built_agent(work.ledger, saver), work.config()) == before
    result = work.invoke(graph, say("double:9", 2), run_of(work, place)[1])
    assert said(result)[-4:] == ["double:9", "", "18", "I heard 18"]
    assert len(said(result)) == 12
    assert said(work.state(built_agent(work.ledger, work.other()), work.config()).values) == said(result)


def test_a_run_is_rolled_back_in_all_its_threads_and_others_stay(work: Work) -> None:
    graph = built_agent(work.ledger, work.saver)
    name = str(uuid.uuid4())
    configs = [work.config(f"{work.thread}-{number}") for number in range(3)]
    for number, config in enumerate(configs):
        work.invoke(graph, say("hello", 0), config)
        if number:
            work.invoke(graph, say("oops", 1), {**config, "metadata": {"run_id": name}})
    work.call(work.saver, "delete_for_runs", [name, "no such run"])
    for config in configs:
        assert said(work.state(graph, config).values) == ["hello", "I heard hello"]


@pytest.mark.parametrize("place", ["configurable", "metadata"])
def test_a_run_that_answered_a_question_is_rolled_back_to_the_question(work: Work, place: str) -> None:
    graph = review(work.ledger, work.saver)
    work.invoke(graph, {"word": "draft", "done": []}, run_of(work, place)[1])
    asked = work.state(graph, work.config()).interrupts
    bad, config = run_of(work, place)
    work.invoke(graph, Command(resume="bad"), config)
    work.call(work.saver, "delete_for_runs", [bad])
    other = review(work.ledger, work.other())
    assert work.state(other, work.config()).interrupts == asked
    result = work.invoke(other, Command(resume="good"), run_of(work, place)[1])
    assert result["word"] == "left,look: good,packet 0,packet 1,packet 2,right"
