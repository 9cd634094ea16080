"""Graphs in graphs, each with a namespace of its own."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt
from support.graphs import FIRST, Log, Work, normal, noted, noting, working
from typing_extensions import TypedDict

from langgraph_sessionstore import Backend


@pytest.fixture
def work(kind: str, storage: Callable[[], Backend], thread: str, tmp_path: Path) -> Iterator[Work]:
    with working(storage, FIRST[kind], thread, tmp_path / "ledger") as work:
        yield work


class Done(TypedDict):
    """What an inner graph hands out."""

    done: Annotated[list[str], operator.add]


def inner(work: Work, checkpointer: Any, *, asks: bool, output: Any = Log) -> Any:
    """Two steps, the second of which may ask."""

    def second(state: Any) -> Any:
        return {"done": [f"second: {interrupt(state['word'])}" if asks else "second"]}

    graph: Any = StateGraph(Log, output_schema=output)
    graph.add_node("first", noting(work.ledger, "first", lambda state: {"done": ["first"]}))
    graph.add_node("second", noting(work.ledger, "second", second))
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    return graph.compile(checkpointer=checkpointer)


def outer(work: Work, saver: Any, middle: Any) -> Any:
    """A graph with another one in it, between two steps."""
    graph: Any = StateGraph(Log)
    graph.add_node("before", noting(work.ledger, "before", lambda state: {"word": f"{state['word']}!"}))
    graph.add_node("middle", middle)
    graph.add_node("after", noting(work.ledger, "after", lambda state: {"done": ["after"]}))
    graph.add_edge(START, "before")
    graph.add_edge("before", "middle")
    graph.add_edge("middle", "after")
    return graph.compile(checkpointer=saver)


def nested(work: Work, saver: Any) -> Any:
    """Three levels, the innermost asks."""
    return outer(work, saver, outer(work, None, inner(work, None, asks=True)))


def test_an_inner_graph_that_asks_goes_on_in_another_worker(work: Work) -> None:
    result = work.invoke(nested(work, work.saver), {"word": "a", "done": []}, work.config())
    assert [each.value for each in result["__interrupt__"]] == ["a!!"]
    assert noted(work.ledger) == ["before", "before", "first"]

    other = nested(work, work.other())
    result = work.invoke(other, Command(resume="yes"), work.config())
    assert noted(work.ledger) == ["before", "before", "first", "second", "after", "after"]
    assert "second: yes" in result["done"]
    namespaces = {found.config["configurable"]["checkpoint_ns"] for found in work.list(work.saver, work.config())}
    assert sorted(ns.count("|") if ns else -1 for ns in namespaces) == [-1, 0, 1]


def test_states_of_inner_graphs_are_read_by_any_worker(work: Work) -> None:
    work.invoke(nested(work, work.saver), {"word": "a", "done": []}, work.config())
    work.invoke(nested(work, work.peer), {"word": "a", "done": []}, work.config())
    found = work.state(nested(work, work.other()), work.config(), subgraphs=True)
    peer = work.state(nested(work, work.peer), work.config(), subgraphs=True)
    assert normal([found]) == normal([peer])
    deepest = found.tasks[0].state.tasks[0].state
    assert deepest.values == {"word": "a!!", "done": ["first"]}
    assert deepest.next == ("second",)
    assert deepest.tasks[0].interrupts[0].value == "a!!"
    alone = work.state(nested(work, work.other()), deepest.config)
    assert (alone.values, alone.next) == (deepest.values, deepest.next)


def test_history_of_every_level_is_that_of_langgraphs_own_checkpointer(work: Work) -> None:
    held = []
    for saver in (work.saver, work.peer):
        graph = nested(work, saver)
        work.invoke(graph, {"word": "a", "done": []}, work.config())
        middle = work.state(graph, work.config(), subgraphs=True).tasks[0].state
        deepest = middle.tasks[0].state
        work.invoke(graph, Command(resume="yes"), work.config())
        places = [work.config(), _without_id(middle.config), _without_id(deepest.config)]
        held.append(normal([state for place in places for state in work.history(graph, place)]))
    assert held[0] == held[1]


def _without_id(config: Any) -> Any:
    names = config["configurable"]
    return {"configurable": {name: names[name] for name in ("thread_id", "checkpoint_ns")}}


def test_an_inner_state_that_is_updated_while_it_waits_goes_on_as_updated(work: Work) -> None:
    held = []
    for saver in (work.saver, work.peer):
        graph = outer(work, saver, inner(work, None, asks=True))
        work.invoke(graph, {"word": "a", "done": []}, work.config())
        place = work.state(graph, work.config(), subgraphs=True).tasks[0].state.config
        work.update(graph, place, {"word": "changed"})
        after = work.state(graph, work.config(), subgraphs=True)
        result = work.invoke(graph, Command(resume="yes"), work.config())
        held.append((normal([after]), result))
    assert held[0] == held[1]
    assert held[0][1]["word"] == "changed"


def test_an_inner_graph_with_a_memory_of_its_own_keeps_it_from_run_to_run(work: Work) -> None:
    def graph(saver: Any) -> Any:
        counter: Any = StateGraph(Log)
        counter.add_node("count", lambda state: {"done": [f"count {len(state['done'])}"], "word": state["word"]})
        counter.add_edge(START, "count")
        inner_graph = counter.compile(checkpointer=True)

        def call(state: Any) -> Any:
            return {"word": str(len(inner_graph.invoke({"word": state["word"]})["done"]))}

        made: Any = StateGraph(Log)
        made.add_node("call", call)
        made.add_edge(START, "call")
        return made.compile(checkpointer=saver)

    peer = graph(work.peer)
    for number in range(4):
        result = work.invoke(graph(work.other()), {"word": "x", "done": []}, work.config())
        assert result["word"] == work.invoke(peer, {"word": "x", "done": []}, work.config())["word"] == str(number + 1)
    found = sorted({each.config["configurable"]["checkpoint_ns"] for each in work.list(work.saver, work.config())})
    assert found == ["", "call"]


def test_packets_to_one_inner_graph_have_their_own_namespaces(work: Work) -> None:
    def graph(saver: Any) -> Any:
        made: Any = StateGraph(Log)
        made.add_node("middle", inner(work, None, asks=True, output=Done))
        made.add_conditional_edges(START, lambda state: [Send("middle", {"word": w}) for w in "abc"], ["middle"])
        return made.compile(checkpointer=saver)

    result = work.invoke(graph(work.saver), {"done": []}, work.config())
    assert sorted(each.value for each in result["__interrupt__"]) == ["a", "b", "c"]
    other = graph(work.other())
    states = [task.state.values for task in work.state(other, work.config(), subgraphs=True).tasks]
    assert states == [{"word": word, "done": ["first"]} for word in "abc"]
    asked = work.state(other, work.config()).interrupts
    result = work.invoke(other, Command(resume={each.id: each.value.upper() for each in asked}), work.config())
    assert result["done"] == ["first", "second: A", "first", "second: B", "first", "second: C"]
    assert sorted(noted(work.ledger)) == ["first"] * 3 + ["second"] * 3


def test_an_inner_graph_is_run_again_from_an_old_checkpoint(work: Work) -> None:
    held = []
    for saver in (work.saver, work.peer):
        graph = outer(work, saver, inner(work, None, asks=False))
        work.invoke(graph, {"word": "a", "done": []}, work.config())
        old = next(state for state in work.history(graph, work.config()) if state.next == ("middle",))
        fork = work.update(graph, old.config, {"word": "b"})
        result = work.invoke(graph, None, fork)
        held.append((result, normal(work.history(graph, work.config()))))
    assert held[0] == held[1]
