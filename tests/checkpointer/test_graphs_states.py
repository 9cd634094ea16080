"""States of every form, with the application's own types in them; and the functional API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from support.graphs import (
    FIRST,
    Colour,
    Facts,
    FactsData,
    FactsModel,
    Order,
    Pair,
    Point,
    Work,
    add_facts,
    normal,
    note,
    noted,
    working,
)
from typing_extensions import TypedDict

from langgraph_sessionstore import Backend

ORDER = Order(id=UUID(int=7), placed=datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc))


@pytest.fixture
def work(kind: str, storage: Callable[[], Backend], thread: str, tmp_path: Path) -> Iterator[Work]:
    with working(storage, FIRST[kind], thread, tmp_path / "ledger") as work:
        yield work


@pytest.mark.parametrize("schema", [Facts, FactsModel, FactsData])
def test_types_of_the_application_come_back_as_they_were(work: Work, schema: Any) -> None:
    for saver in (work.saver, work.other(), work.other()):
        given: Any = {"steps": 1} if saver is not work.saver else {"order": ORDER, "points": [Point(0, 0)], "steps": 1}
        work.invoke(add_facts(saver, schema), given, work.config())
    found = work.state(add_facts(work.other(), schema), work.config()).values
    order = found["order"]
    assert isinstance(order, Order)
    assert [item.name for item in order.items] == ["item 0", "item 1", "item 2"]
    assert order.items[2].at == Point(2, 2, Colour.BLUE, Point(0, 0))
    assert order.by_day[3] == order.items[2]
    assert (order.id, order.placed) == (ORDER.id, ORDER.placed)
    assert found["points"] == [Point(number, 0) for number in range(4)]
    assert found["steps"] == 6


def test_history_of_such_values_shows_each_moment(work: Work) -> None:
    work.invoke(add_facts(work.saver), {"order": ORDER, "points": [], "steps": 0}, work.config())
    work.invoke(add_facts(work.saver), {"steps": 0}, work.config())
    for saver in (work.saver, work.other()):
        history = work.history(add_facts(saver), work.config())
        # before a run, after it, and with the input of the next one
        assert [len(state.values["order"].items) for state in history if "order" in state.values] == [2, 1, 1, 1, 0]


def test_values_keep_their_python_types(work: Work) -> None:
    graph: Any = StateGraph(Facts)
    graph.add_node("nothing", lambda state: {})
    graph.add_edge(START, "nothing")
    given: Any = {
        "pair": Pair(1, "a" * 200),
        "colours": {Colour.RED, Colour.BLUE},
        "numbers": {1: (1, 2), 2: (), -3: (4,) * 100},
        "raw": bytes(range(256)) * 10,
        "points": [Point(1, 2)],
        "steps": 2,
    }
    work.invoke(graph.compile(checkpointer=work.saver), given, work.config())
    found = work.state(graph.compile(checkpointer=work.other()), work.config()).values
    assert found == given
    assert [type(found[name]) for name in ("pair", "colours", "raw")] == [Pair, set, bytes]
    assert all(isinstance(each, tuple) for each in found["numbers"].values())


# -- a map of files


def merge(old: dict[str, str], new: dict[str, str | None]) -> dict[str, str]:
    """Files that are new or changed; None takes one away."""
    merged: dict[str, str | None] = {**old, **new}
    return {name: text for name, text in merged.items() if text is not None}


class Files(TypedDict):
    """As agents that write code keep them."""

    files: Annotated[dict[str, str], merge]


def test_a_map_of_large_files_is_edited_one_file_at_a_time(work: Work) -> None:
    graph: Any = StateGraph(Files)
    graph.add_node("nothing", lambda state: {})
    graph.add_edge(START, "nothing")
    wanted = {f"file {number}.py": f"# {number}\n" * 800 for number in range(12)}
    moments: list[tuple[Any, Any]] = []
    work.invoke(graph.compile(checkpointer=work.saver), {"files": wanted}, work.config())
    for number in range(10):
        saver = work.other() if number % 4 == 3 else work.saver
        change: Any = {f"file {number}.py": f"# edited {number}\n" * 900 if number % 5 else None}
        change |= {f"new {number}.py": "small"} if number % 3 == 0 else {}
        wanted = merge(wanted, change)
        graph_here = graph.compile(checkpointer=saver)
        assert work.invoke(graph_here, {"files": change}, work.config())["files"] == wanted
        moments.append((work.state(graph_here, work.config()).config, wanted))
    cold = graph.compile(checkpointer=work.other())
    for config, files in moments:
        found = work.state(cold, config).values["files"]
        assert found == files
        assert list(found) == list(files)


# -- the functional API


def story(work: Work, saver: Any) -> Any:
    """Tasks side by side, a question, and what the run before returned."""

    @task
    def draft(number: int) -> str:
        note(work.ledger, f"draft {number}")
        return f"draft {number}"

    @entrypoint(checkpointer=saver)
    def run(topic: str, *, previous: Any = None) -> Any:
        drafts = [draft(number) for number in range(3)]
        texts = [each.result() for each in drafts]
        chosen = interrupt({"drafts": texts, "topic": topic})
        before = previous or []
        return entrypoint.final(value=f"{topic}: {chosen}, after {len(before)}", save=[*before, chosen])

    return run


def test_an_entrypoint_waits_goes_on_and_knows_what_it_saved_before(work: Work) -> None:
    held = []
    for make in (work.other, lambda: work.peer):
        told = []
        for number in range(3):
            asked = work.invoke(story(work, make()), f"topic {number}", work.config())["__interrupt__"]
            assert asked[0].value == {"drafts": ["draft 0", "draft 1", "draft 2"], "topic": f"topic {number}"}
            told.append(work.invoke(story(work, make()), Command(resume=f"choice {number}"), work.config()))
        assert told == [f"topic {number}: choice {number}, after {number}" for number in range(3)]
        held.append(normal(work.history(story(work, make()), work.config())))
    assert held[0] == held[1]
    assert len(noted(work.ledger)) == 2 * 9


def test_a_failed_entrypoint_does_not_run_its_finished_tasks_again(work: Work) -> None:
    fails = [True]

    @task
    def first() -> str:
        note(work.ledger, "first")
        return "first"

    @task
    def second(text: str) -> str:
        if fails:
            raise ConnectionError("no answer")
        note(work.ledger, "second")
        return f"{text} second"

    def run(saver: Any) -> Any:
        @entrypoint(checkpointer=saver)
        def both(text: str) -> str:
            return second(first().result()).result()

        return both

    with pytest.raises(ConnectionError):
        work.invoke(run(work.saver), "go", work.config())
    fails.clear()
    assert work.invoke(run(work.other()), None, work.config()) == "first second"
    assert noted(work.ledger) == ["first", "second"]
