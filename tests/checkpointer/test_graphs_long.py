"""Threads of a thousand messages: grown, edited, trimmed, emptied, and read by workers that remember nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, RemoveMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from support.graphs import FIRST, Talk, Work, working

from langgraph_sessionstore import Backend

SIZE = 1000
TEXT = "a message of some length, as people write them, number {}"


@pytest.fixture
def work(kind: str, storage: Callable[[], Backend], thread: str, tmp_path: Path) -> Iterator[Work]:
    with working(storage, FIRST[kind], thread, tmp_path / "ledger") as work:
        yield work


def graph_of(saver: Any) -> Any:
    """A graph that adds what it is given."""
    graph: Any = StateGraph(Talk)
    graph.add_node("add", lambda state: {})
    graph.add_edge(START, "add")
    return graph.compile(checkpointer=saver)


def message(number: int, text: str = TEXT) -> HumanMessage:
    return HumanMessage(text.format(number), id=f"m{number}", additional_kwargs={"number": number})


def add(work: Work, saver: Any, *messages: Any) -> list[str]:
    """Add messages; the texts that are there then."""
    return texts(work.invoke(graph_of(saver), {"messages": list(messages)}, work.config()))


def texts(values: Any) -> list[str]:
    return [str(each.content) for each in values["messages"]]


def read(work: Work, config: Any = None) -> list[str]:
    """The texts as a worker finds them that remembers nothing."""
    return texts(work.state(graph_of(work.other()), config or work.config()).values)


def grown(work: Work) -> list[str]:
    """A thread of a thousand messages, in a few large steps and many small ones."""
    for first in range(0, SIZE - 10, 110):
        add(work, work.saver, *map(message, range(first, first + 110)))
    for number in range(SIZE - 10, SIZE):
        add(work, work.saver, message(number))
    return [TEXT.format(number) for number in range(SIZE)]


def test_a_thousand_messages_are_edited_trimmed_and_emptied_and_every_moment_stays_readable(work: Work) -> None:
    moments = [(work.state, grown(work))]
    wanted = moments[0][1]
    kept: list[tuple[Any, list[str]]] = []

    def then(*messages: Any, saver: Any = None) -> None:
        assert add(work, saver or work.saver, *messages) == wanted
        kept.append((work.state(graph_of(work.saver), work.config()).config, list(wanted)))

    assert read(work) == wanted
    wanted = [*wanted[:500], "edited", *wanted[501:]]
    then(message(500, "edited"))
    wanted = wanted[400:]
    then(*[RemoveMessage(id=f"m{number}") for number in range(400)])
    wanted = [*wanted[:300], *wanted[310:], "added by another worker"]
    removed = [RemoveMessage(id=f"m{number}") for number in range(700, 710)]
    then(*removed, message(5000, "added by another worker"), saver=work.other())
    wanted = ["all that is left"]
    then(RemoveMessage(id=REMOVE_ALL_MESSAGES), message(6000, "all that is left"))
    wanted = ["all that is left", TEXT.format(7000)]
    then(message(7000))
    for config, there in kept:
        assert read(work, config) == there
    assert read(work) == wanted


def test_a_long_thread_goes_on_under_a_cold_worker_and_then_under_the_one_that_had_it(work: Work) -> None:
    wanted = grown(work)
    for number, saver in enumerate([work.other(), work.saver, work.other(), work.saver], SIZE):
        wanted.append(TEXT.format(number))
        assert add(work, saver, message(number)) == wanted
    assert read(work) == wanted


def test_messages_that_a_caller_changes_in_his_hands_stay_as_they_were_stored(work: Work) -> None:
    add(work, work.saver, *map(message, range(50)))
    for saver in (work.saver, work.other()):
        found = work.state(graph_of(saver), work.config()).values["messages"]
        found[3].content = "scribbled"
        found[4].additional_kwargs["number"] = "scribbled"
        del found[10:]
        again = work.state(graph_of(saver), work.config()).values["messages"]
        assert [(each.content, each.additional_kwargs) for each in again] == [
            (TEXT.format(number), {"number": number}) for number in range(50)
        ]


def test_a_worker_that_may_remember_next_to_nothing_works_as_well(work: Work) -> None:
    small = work.other(cache_bytes=2000)
    wanted = []
    for number in range(0, 60, 3):
        wanted += [TEXT.format(each) for each in range(number, number + 3)]
        assert add(work, small, *map(message, range(number, number + 3))) == wanted
    assert read(work) == wanted


def test_a_window_that_slides_over_the_messages_stays_right(work: Work) -> None:
    wanted: list[str] = []
    for number in range(40):
        saver = work.other() if number % 7 == 3 else work.saver
        wanted = [*wanted, TEXT.format(number)][-8:]
        gone = [RemoveMessage(id=f"m{number - 8}")] if number >= 8 else []
        assert add(work, saver, message(number), *gone) == wanted
    for state in work.history(graph_of(work.other()), work.config(), limit=20):
        there = texts(state.values)
        assert there == sorted(there, key=lambda text: int(text.split()[-1]))
        assert len(there) <= 8
    assert read(work) == wanted
