"""The fault campaign in its short form: each scenario once. And what judges it, so that it misses nothing.

Rule: the long form is `python -m tox -e faults`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from faults import servers
from faults.campaign import SCENARIOS, table
from faults.ledger import Ledger, judge, text_of
from faults.writers import SHARED, Plan
from support.binaries import find_binary
from support.servers import RedisServer

from langgraph_sessionstore import SessionManager

pytestmark = pytest.mark.long

UNNOTICED = {"file-killed-normal", "file-killed-full", "redis-killed", "cluster-move"}
"""Trouble that nobody who goes on has to notice."""


@pytest.fixture(scope="module")
def started() -> Iterator[Callable[[Any], Any]]:
    """Starts what a scenario needs once, and empties it for the next."""
    known: dict[Any, Any] = {}
    with ExitStack() as stack:

        def start(make: Any) -> Any:
            if make not in known:
                known[make] = stack.enter_context(make())
            elif known[make] is not None:  # masters only, or one server
                for node in getattr(known[make], "nodes", [known[make]]):
                    node.ask("FLUSHALL")
            return known[make]

        yield start


ELSEWHERE = {"file-disk-full", "cluster-killed"}
"""For the long form: the first has to mount a disk, the second is like that on one server."""
SHORT = [
    pytest.param(name, marks=pytest.mark.long if name.startswith("file") or "killed" in name else ())
    for name in SCENARIOS
    if name not in ELSEWHERE
]


@pytest.mark.parametrize("name", SHORT)
def test_what_is_promised_is_kept(name: str, started: Callable[[Any], Any], tmp_path: Path) -> None:
    scenario = SCENARIOS[name]
    figures = scenario.run(Plan(tmp_path, random.Random()), started(scenario.servers))
    assert not figures.broken
    assert figures.acknowledged > 20
    assert name in UNNOTICED or figures.unknown + figures.refused


# -- what judges


def test_a_server_that_forgets_is_found_out(tmp_path: Path) -> None:
    with RedisServer(find_binary("7")) as server:
        assert servers.restarts(Plan(tmp_path, random.Random()), server).lost


REFUSED, UNKNOWN, KILLED = "refused:BackendUnavailable", "unknown:OutcomeUnknown", ""
CASES: dict[str, tuple[list[tuple[str, str, str]], list[str], list[int]]] = {
    # the notes; the writes that are there, by half with a star; how many are lost, twice, ghosts, wrong
    "all is well": ([("append", "w0.1", "done"), ("append", "w0.2", REFUSED)], ["w0.1"], [0, 0, 0, 0]),
    "nobody knows": (
        [("append", "w0.1", UNKNOWN), ("append", "w0.2", KILLED)],
        ["w0.2"],
        [0, 0, 0, 0],
    ),
    "lost": ([("append", "w0.1", "done"), ("append", "w0.2", "done")], ["w0.2"], [1, 0, 0, 0]),
    "twice": ([("append", "w0.1", UNKNOWN)], ["w0.1", "w0.1"], [0, 1, 0, 0]),
    "ghost": ([("append", "w0.1", REFUSED)], ["w0.1"], [0, 0, 1, 0]),
    "never begun": ([("append", "w0.1", "done")], ["w0.1", "w0.2"], [0, 0, 1, 0]),
    "by half": ([("append", "w0.1", UNKNOWN)], ["w0.1*"], [0, 0, 0, 1]),
    "order": ([("append", f"w{n}.{m}", "done") for n, m in ("01", "02", "11")], ["w0.2", "w1.1", "w0.1"], [0, 0, 0, 1]),
    "undone": ([("append", "w0.1", "done"), ("undo", "w0.1", "done")], [], [0, 0, 0, 0]),
    "undone, and there": ([("append", "w0.1", "done"), ("undo", "w0.1", "done")], ["w0.1"], [1, 0, 0, 0]),
    "not undone": ([("append", "w0.1", "done"), ("undo", "w0.1", REFUSED)], [], [1, 0, 0, 0]),
    "redone": ([("append", "w0.1", "done"), ("undo", "w0.1", "done"), ("redo", "w0.1", "done")], [], [1, 0, 0, 0]),
    "odd refusal": ([("append", "w0.1", "refused:SessionNotFound")], [], [0, 0, 0, 1]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_judge_sees(case: str, tmp_path: Path) -> None:
    noted, there, wanted = CASES[case]
    ledgers = {mark[:2]: Ledger(tmp_path, mark[:2]) for _, mark, _ in noted}
    for act, mark, result in noted:
        ledgers[mark[:2]].note(SHARED, act, mark, "begun")
        if result != KILLED:
            ledgers[mark[:2]].note(SHARED, act, mark, result)
    for ledger in ledgers.values():
        ledger.close()
    with SessionManager.from_url("memory:") as manager:
        texts = [text_of(mark.strip("*"), 1, 1 + mark.endswith("*")) for mark in there]
        manager.create_session(SHARED, messages=texts)
        found = judge(tmp_path, manager, 0)
        assert [len(each) for each in (found.lost, found.twice, found.ghosts, found.wrong)] == wanted
        assert bool(found.broken) == any(wanted)
        assert judge(tmp_path, manager, 0, may_lose=True).broken == [each for each in found.broken if case not in MAY]


MAY = {"lost", "undone, and there", "not undone", "redone", "odd refusal"}
"""What a failover may do."""


def test_the_table_names_what_was_not_run(tmp_path: Path) -> None:
    with SessionManager.from_url("memory:") as manager:
        lines = table([("one", judge(tmp_path, manager, 0)), ("other", "no right to")]).splitlines()
    assert lines[1].split()[:8] == ["one", *"0000000"]
    assert lines[2].split(maxsplit=1) == ["other", "not run: no right to"]
