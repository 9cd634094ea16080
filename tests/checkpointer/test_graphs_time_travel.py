"""Going back: old checkpoints are run again, changed, listed; nothing that was there before is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command, StateUpdate
from support.graphs import FIRST, Work, built_agent, normal, noted, review, say, steps, working

from langgraph_sessionstore import Backend


@pytest.fixture
def work(kind: str, storage: Callable[[], Backend], thread: str, tmp_path: Path) -> Iterator[Work]:
    with working(storage, FIRST[kind], thread, tmp_path / "ledger") as work:
        yield work


def two(work: Work, saver: Any) -> Any:
    return steps(
        work.ledger,
        saver,
        one=lambda state: {"done": [f"one {state['word']}"]},
        two=lambda state: {"done": [f"two {state['word']}"]},
    )


def ids(states: list[Any]) -> list[str]:
    return [state.config["configurable"]["checkpoint_id"] for state in states]


def before(states: list[Any], node: str) -> Any:
    """The newest state before this node."""
    return next(state for state in states if state.next == (node,))


def test_an_old_checkpoint_is_run_again_and_what_followed_it_stays(work: Work) -> None:
    held = []
    for saver in (work.saver, work.peer):
        graph = two(work, saver)
        work.invoke(graph, {"word": "a", "done": []}, work.config())
        history = work.history(graph, work.config())
        work.invoke(graph, None, before(history, "two").config)
        after = work.history(graph, work.config())
        assert after[-len(history) :] == history
        held.append(normal(after))
    assert held[0] == held[1]
    assert noted(work.ledger) == ["one", "two", "two"] * 2


def test_both_branches_of_a_fork_can_be_read_and_go_on(work: Work) -> None:
    held = []
    for saver in (work.saver, work.peer):
        graph = two(work, saver)
        first = work.invoke(graph, {"word": "a", "done": []}, work.config())
        history = work.history(graph, work.config())
        head = history[0].config
        fork = work.update(graph, before(history, "two").config, {"word": "b", "done": ["by hand"]})
        second = work.invoke(graph, None, fork)
        assert first["done"] == ["one a", "two a"]
        assert second["done"] == ["one a", "by hand", "two b"]
        assert work.state(graph, head).values == first
        assert work.state(graph, work.config()).values == second
        on_head = work.invoke(graph, {"word": "c"}, head)
        assert on_head["done"] == ["one a", "two a", "one c", "two c"]
        on_fork = work.invoke(graph, {"word": "d"}, work.history(graph, work.config(), filter={"step": 3})[0].config)
        held.append((on_fork, normal(work.history(graph, work.config()))))
    assert held[0] == held[1]


def test_a_conversation_forked_by_cold_workers_keeps_every_branch(work: Work) -> None:
    graph = built_agent(work.ledger, work.saver)
    for number in range(3):
        work.invoke(graph, say(f"double:{number}", number), work.config())
    trunk = work.history(graph, work.config())
    ends = {}
    for number, old in enumerate(trunk[1::2]):
        other = built_agent(work.ledger, work.other())
        fork = work.update(other, old.config, say(f"double:1{number}", 100 + number), as_node="__start__")
        work.invoke(other, None, fork)
        ends[number] = work.state(other, work.config())
    cold = built_agent(work.ledger, work.other())
    for number, end in ends.items():
        assert work.state(cold, end.config).values == end.values
        assert str(end.values["messages"][-1].content) == f"I heard {20 + 2 * number}"
    assert work.history(cold, work.config())[-len(trunk) :] == trunk


def test_history_is_newest_first_and_obeys_limit_before_and_filter(work: Work) -> None:
    graph = two(work, work.saver)
    for word in "abc":
        work.invoke(graph, {"word": word}, work.config())
    cold = two(work, work.other())
    history = work.history(cold, work.config())
    assert ids(history) == sorted(ids(history), reverse=True)
    assert [state.metadata["step"] for state in history] == list(range(10, -2, -1))
    assert ids(work.history(cold, work.config(), limit=3)) == ids(history)[:3]
    assert ids(work.history(cold, work.config(), before=history[4].config)) == ids(history)[5:]
    alone = {"configurable": {"checkpoint_id": ids(history)[4]}}
    assert ids(work.history(cold, work.config(), before=alone, limit=2)) == ids(history)[5:7]
    inputs = [state for state in history if state.metadata["source"] == "input"]
    assert ids(work.history(cold, work.config(), filter={"source": "input"})) == ids(inputs)
    found = work.history(cold, work.config(), filter={"source": "input"}, before=inputs[0].config, limit=1)
    assert ids(found) == ids(inputs)[1:2]
    assert work.history(cold, work.config(), limit=0) == []
    assert work.history(cold, work.config(), filter={"source": "input", "step": 0}) == []


def test_an_interrupt_in_the_past_is_asked_again_and_answered_otherwise(work: Work) -> None:
    held = []
    for saver in (work.saver, work.peer):
        graph = review(work.ledger, saver)
        work.invoke(graph, {"word": "draft", "done": []}, work.config())
        asking = work.state(graph, work.config()).config
        work.invoke(graph, Command(resume="fine"), work.config())
        again = work.invoke(graph, None, asking)
        answered = work.invoke(graph, Command(resume="bad"), work.config())
        held.append((len(again.get("__interrupt__", ())), answered, normal(work.history(graph, work.config()))))
    assert held[0] == held[1]


def test_a_copied_checkpoint_has_what_the_copied_one_has(work: Work) -> None:
    held = []
    for saver in (work.saver, work.peer):
        graph = two(work, saver)
        work.invoke(graph, {"word": "x" * 500, "done": ["y" * 500] * 3}, work.config())
        old = before(work.history(graph, work.config()), "two")
        copied = work.update(graph, old.config, None, as_node="__copy__")
        assert work.state(graph, copied).values == old.values
        work.invoke(graph, None, copied)
        held.append(normal(work.history(graph, work.config())))
    assert held[0] == held[1]


def test_updates_in_bulk_are_checkpoints_one_after_the_other(work: Work) -> None:
    held = []
    for saver in (work.saver, work.peer):
        graph = two(work, saver)
        updates = [[StateUpdate({"word": word, "done": [word]}, "one")] for word in "abc"]
        work.call(graph, "bulk_update_state", work.config(), updates)
        assert work.invoke(graph, None, work.config())["done"] == ["a", "b", "c", "two c"]
        held.append(normal(work.history(graph, work.config())))
    assert held[0] == held[1]


def test_an_unknown_checkpoint_is_no_state(work: Work) -> None:
    graph = two(work, work.saver)
    work.invoke(graph, {"word": "a"}, work.config())
    nowhere = work.config(checkpoint_id="1ef00000-0000-6000-8000-000000000000")
    assert work.state(graph, nowhere).values == {}
    assert work.state(graph, nowhere).next == ()
