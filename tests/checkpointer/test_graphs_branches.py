"""Branches side by side, one of which fails: the others keep what they did, and are not run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.graphs import FIRST, Work, fan, finished, normal, noted, working
from support.waiting import wait_until

from langgraph_sessionstore import Backend

OTHERS = ["left", "packet 0", "packet 1", "packet 2", "right"]


@pytest.fixture
def work(kind: str, storage: Callable[[], Backend], thread: str, tmp_path: Path) -> Iterator[Work]:
    with working(storage, FIRST[kind], thread, tmp_path / "ledger") as work:
        yield work


class _Last:
    """A branch that fails until it is told otherwise. LangGraph cancels what runs beside it: that is finished first."""

    def __init__(self, work: Work) -> None:
        self.work, self.fails = work, True
        self.saver: Any = work.saver

    def __call__(self, state: Any) -> Any:
        if self.fails:
            wait_until(self._others_are_done, "the others are done")
            raise ConnectionError("no answer")
        return {"done": ["last"]}

    def _others_are_done(self) -> bool:
        return finished(self.saver, self.work.config()) == len(OTHERS)


def graph_of(work: Work, saver: Any, last: _Last) -> Any:
    return fan(work.ledger, saver, last=last)


def fail(work: Work, saver: Any, last: _Last, value: Any) -> None:
    """Run until the branch fails."""
    last.saver = saver
    with pytest.raises(ConnectionError, match="no answer"):
        work.invoke(graph_of(work, saver, last), value, work.config())


def test_what_others_did_is_kept_and_another_worker_runs_only_what_failed(work: Work) -> None:
    last = _Last(work)
    fail(work, work.saver, last, {"word": "", "done": []})
    assert sorted(noted(work.ledger)) == OTHERS
    assert work.state(graph_of(work, work.other(), last), work.config()).next
    last.fails = False
    result = work.invoke(graph_of(work, work.other(), last), None, work.config())
    assert result["word"] == "last,left,packet 0,packet 1,packet 2,right"
    assert sorted(noted(work.ledger)) == sorted([*OTHERS, "last", "join"])


def test_a_branch_that_fails_again_and_again_lets_the_others_be(work: Work) -> None:
    last = _Last(work)
    fail(work, work.saver, last, {"word": "", "done": []})
    for _ in range(3):
        fail(work, work.other(), last, None)
    task = next(task for task in work.state(graph_of(work, work.saver, last), work.config()).tasks if task.error)
    assert "no answer" in str(task.error)
    last.fails = False
    work.invoke(graph_of(work, work.saver, last), None, work.config())
    assert sorted(noted(work.ledger)) == sorted([*OTHERS, "last", "join"])


def test_history_around_a_failure_is_that_of_langgraphs_own_checkpointer(work: Work) -> None:
    held = []
    for saver in (work.saver, work.peer):
        last = _Last(work)
        fail(work, saver, last, {"word": "", "done": []})
        last.fails = False
        work.invoke(graph_of(work, saver, last), None, work.config())
        held.append(normal(work.history(graph_of(work, saver, last), work.config())))
    assert held[0] == held[1]


def test_the_order_of_what_branches_wrote_does_not_depend_on_who_reads(work: Work) -> None:
    last = _Last(work)
    last.fails = False
    result = work.invoke(fan(work.ledger, work.saver, last=last, width=30), {"word": "", "done": []}, work.config())
    peer = work.invoke(fan(work.ledger, work.peer, last=last, width=30), {"word": "", "done": []}, work.config())
    assert result == peer
    assert work.state(fan(work.ledger, work.other(), last=last, width=30), work.config()).values == result


def test_a_thread_that_failed_takes_new_input(work: Work) -> None:
    held = []
    for saver in (work.saver, work.peer):
        last = _Last(work)
        fail(work, saver, last, {"word": "", "done": []})
        last.fails = False
        result = work.invoke(graph_of(work, saver, last), {"word": "new", "done": ["again"]}, work.config())
        held.append((sorted(result["done"]), result["word"]))
    assert held[0] == held[1]
    assert work.state(graph_of(work, work.other(), _Last(work)), work.config()).values["word"] == held[0][1]
