"""`sessionstore check --repair`: what can be put right is, and it says so; what is lost is named, and ends with 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cli.conftest import Command, in_a_process
from support.kept import graph_on, with_graph, with_log
from support.odd import ODD, Level, Loud, odd_graph

from langgraph_sessionstore import SessionManager, keys, run
from langgraph_sessionstore.ops import Delete, Put, Range, must
from langgraph_sessionstore.plans import layout
from langgraph_sessionstore.plans.places import REGISTRY


def rows(manager: SessionManager, name: str, span: Any) -> list[Any]:
    """Rows of a session."""
    (found,) = run(manager.backend, must(keys.session(name), Range(*span)))
    return list(found)


def test_a_repair_says_what_it_did_and_is_done_once(command: Command, manager: SessionManager) -> None:
    session = with_graph(manager)
    with_log(manager)
    before = [state.values for state in graph_on(manager.checkpointer).get_state_history(session.config)]
    branch = 5 << 30
    run(
        manager.backend,
        must(keys.session("graph"), Put(layout.element(branch, 0), b"stray"), Put(layout.branch(branch), b"1")),
    )
    lines = [row for row in run(manager.backend, must(REGISTRY, Range(b"", None)))[0] if row[0][:1] == b"c"]
    run(manager.backend, must(REGISTRY, Delete(lines[0][0])))
    found = command("check")
    assert found.code == 1
    assert "the lists\n" in found.out
    assert "session graph\n" in found.out
    assert "unreferenced: " in found.out
    assert "2 sessions checked: " in found.out
    mended = command("check", "--repair")
    assert mended.code == 0
    assert "repaired: " in mended.out
    assert command("check", "--repair", "--json").json == {"checked": 2, "problems": 0, "repaired": 0, "found": []}
    assert [state.values for state in graph_on(manager.checkpointer).get_state_history(session.config)] == before
    assert len(command("ls").rows) == 2


def test_what_is_lost_is_named(command: Command, manager: SessionManager) -> None:
    with_graph(manager)
    with_log(manager)
    elements = rows(manager, "graph", layout.ELEMENTS)
    run(manager.backend, must(keys.session("graph"), Delete(elements[0][0])))
    found = command("check", "--repair", "--json")
    assert found.code == 1
    (graph,) = found.json["found"]
    assert graph["id"] == "graph"
    assert {problem["kind"] for problem in graph["problems"]} == {"missing"}
    assert all(problem["help"] for problem in graph["problems"])
    assert command("check", "log").code == 0
    assert command("check", "graph").code == 1
    assert len(rows(manager, "graph", layout.ELEMENTS)) == len(elements) - 1


@pytest.mark.parametrize("url", ["file"], indirect=True)
def test_types_that_are_not_loaded_are_no_damage(manager: SessionManager, url: str) -> None:
    with_graph(manager)
    with_log(manager).append(Loud(content="HI"))
    config = {"configurable": {"thread_id": "odd", "level": Level.HIGH}}
    odd_graph(manager.checkpointer).invoke({"values": {**ODD, "array": np.zeros(3)}}, config)
    names = ("graph", "log", "odd")
    before = {name: rows(manager, name, (b"", None)) for name in names}
    branch = 5 << 30
    run(manager.backend, must(keys.session("graph"), Put(layout.branch(branch), b"1")))
    found = in_a_process("check", "--url", url)
    assert (found.returncode, found.stdout.count("unreferenced: ")) == (1, 1), found.stdout
    assert found.stdout.endswith("3 sessions checked: 1 problem\n")
    mended = in_a_process("check", "--repair", "--url", url)
    assert mended.stdout.endswith("3 sessions checked: all is well, 1 repair\n")
    assert {name: rows(manager, name, (b"", None)) for name in names} == before


@pytest.mark.parametrize("url", ["file"], indirect=True)
def test_pruning_needs_no_types(manager: SessionManager, url: str) -> None:
    config = {"configurable": {"thread_id": "odd", "level": Level.HIGH}}
    graph = odd_graph(manager.checkpointer)
    graph.invoke({"values": ODD}, config)
    done = in_a_process("prune", "odd", "--keep-latest", "--yes", "--url", url)
    assert done.stdout == "deleted: 2 checkpoints of 1 session\n", done.stderr
    (kept,) = graph.get_state_history(config)
    assert (kept.values["values"]["places"], kept.metadata["level"]) == (ODD["places"], Level.HIGH)
