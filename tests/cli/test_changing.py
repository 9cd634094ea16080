"""Commands that change: each does what it says, asks before it takes away, and leaves all as it is when refused."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

import pytest
from cli.conftest import Command
from support.kept import graph_on, said, with_graph, with_log

from langgraph_sessionstore import SessionManager, keys, run
from langgraph_sessionstore.ops import Put, Range, must
from langgraph_sessionstore.plans import layout


def test_rm_deletes_what_is_named(command: Command, manager: SessionManager) -> None:
    for name in ("a", "b", "c"):
        manager.create_session(name)
    assert command("rm", "a", "b", "--yes") == (0, "deleted: 2\n", "")
    assert [info.id for info in manager.list_sessions()] == ["c"]
    assert command("rm", "c", "--dry-run").rows[0][0] == "c"
    assert manager.count_sessions() == 1
    assert command("rm", "c", "-y", "--json").json == {"deleted": 1}


def test_rm_takes_all_or_none_of_those_that_are_named(command: Command, manager: SessionManager) -> None:
    manager.create_session("a")
    done = command("rm", "a", "nobody", "--yes")
    assert (done.code, done.out) == (1, "")
    assert manager.get_session("a") is not None


def test_rm_by_age_and_metadata(command: Command, manager: SessionManager) -> None:
    for name in ("old-1", "old-2"):
        manager.create_session(name, metadata={"user": "ann"})
    until = datetime.now(timezone.utc)
    while datetime.now(timezone.utc) - until < timedelta(milliseconds=5):
        time.sleep(0.001)
    manager.create_session("new", metadata={"user": "ann"})
    manager.create_session("other", metadata={"user": "bob"})
    date = (until + timedelta(milliseconds=2)).isoformat()
    assert [row[0] for row in command("rm", "--older-than", date, "--dry-run").rows] == ["old-1", "old-2"]
    assert command("rm", "--older-than", "1d", "--yes").out == "deleted: 0\n"
    would = command("rm", "--older-than", date, "--filter", "user=bob", "--dry-run", "--json").json
    assert would == {"would_delete": []}
    assert manager.count_sessions() == 4
    assert command("rm", "--older-than", date, "--yes").out == "deleted: 2\n"
    assert command("rm", "-f", "user=bob", "--yes").out == "deleted: 1\n"
    assert [info.id for info in manager.list_sessions()] == ["new"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rm", "--yes"], "name sessions"),
        (["rm", "a", "--older-than", "1d"], "name sessions"),
        (["rm", "--older-than", "soon"], "no age"),
        (["rm", "--older-than", "0001-01-01", "--dry-run"], ""),
        (["rm", "--older-than", "99999999999w", "--dry-run"], ""),
        (["rm", "--filter", "x", "--yes"], "no condition"),
        (["rm", "a"], "nobody can be asked"),
        (["prune", "--keep-latest"], "name sessions"),
        (["prune", "a"], "--keep-latest or --older-than"),
        (["prune", "a", "--keep-latest", "--older-than", "1d"], "--keep-latest or --older-than"),
        (["rewind", "a"], "--turns 1, or --to"),
        (["rewind", "a", "--turns", "0"], ""),
        (["ls", "--limit", "0"], ""),
        (["ls", "--sort", "size"], ""),
        (["nonsense"], "No such command"),
        (["show"], "Missing argument"),
    ],
)
def test_what_is_asked_in_a_wrong_way_ends_with_2(
    command: Command, manager: SessionManager, arguments: list[str], words: str
) -> None:
    manager.create_session("a")
    done = command(*arguments)
    if {"99999999999w", "0001-01-01"} & {*arguments}:  # longer ago than there is time
        assert (done.code, done.out) in [(0, ""), (2, "")]
    else:
        assert (done.code, done.out) == (2, "")
    assert words in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert manager.count_sessions() == 1


@pytest.mark.parametrize(("says", "left"), [("y", 0), ("n", 1), ("", 1)])
def test_rm_asks_whoever_sits_there(url: str, manager: SessionManager, says: str, left: int) -> None:
    manager.create_session("a", title="A trip")
    terminal, other = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "langgraph_sessionstore", "rm", "a", "--url", url],
        stdin=other, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        os.close(other)
        os.write(terminal, f"{says}\n".encode())
        out, err = process.communicate(timeout=60)
    os.close(terminal)
    assert "Delete 'a' (A trip), with everything that belongs to it?" in err
    assert manager.count_sessions() == left
    assert (process.returncode, out) == ((0, "deleted: 1\n") if not left else (1, ""))


def test_fork_undo_redo_rewind(command: Command, manager: SessionManager) -> None:
    session = with_log(manager)
    assert command("fork", "log", "other").out == "other\n"
    made = command("fork", "log", "--json").json
    assert made["parent"] == "log"
    assert len(manager.get_session(made["id"]).messages) == 3  # type: ignore[union-attr]
    taken = command("fork", "log", "other")
    assert (taken.code, "exists already" in taken.err) == (1, True)
    assert command("undo", "log").out == "Restored: before append of 1 message\n"
    assert len(session) == 2
    assert command("redo", "log", "--json").json == {"restored": "after append of 1 message"}
    assert len(session) == 3
    assert command("rewind", "log", "-t", "1").out == "Restored: before the last turn\n"
    assert len(session) == 2
    assert command("redo", "log").err.startswith("error: ")


def test_rewind_to_a_checkpoint(command: Command, manager: SessionManager) -> None:
    session = with_graph(manager)
    first = min(
        each["checkpoint_id"]
        for each in command("show", "graph", "--json").json["checkpoints"]
        if each["metadata"]["step"] == 1
    )
    done = command("rewind", "graph", "--to", first)
    assert (done.code, done.out) == (0, f"Restored: checkpoint {first}\n")
    assert [message.text for message in session.messages] == ["secret Tokyo", "secret answer 1 to secret Tokyo"]
    assert command("undo", "graph").code == 0
    assert session.messages[2].text == "secret Osaka"


def test_prune_keeps_what_graphs_need(command: Command, manager: SessionManager) -> None:
    session = with_graph(manager)
    graph = graph_on(manager.checkpointer)
    graph.invoke(said("ask"), session.config)
    with_log(manager)
    assert command("prune", "graph", "--older-than", "1d", "--yes").out == "deleted: 0 checkpoints of 0 sessions\n"
    before = len(list(manager.checkpointer.list(session.config)))
    done = command("prune", "--all", "--keep-latest", "--yes", "--json").json
    assert done == {"deleted": before - 1, "sessions": 1, "failed": {}}
    state = graph.get_state(session.config)
    assert [each.value for each in state.interrupts] == ["Secret question?"]
    assert command("check").code == 0


def test_prune_goes_on_behind_a_session_that_is_damaged(command: Command, manager: SessionManager) -> None:
    for name in ("g1", "g2", "g3"):
        with_graph(manager, name)
    (rows,) = run(manager.backend, must(keys.session("g2"), Range(*layout.RECORDS)))
    run(manager.backend, must(keys.session("g2"), Put(rows[0][0], b"\x01damaged")))
    done = command("prune", "--all", "--keep-latest", "--yes", "--json")
    assert done.code == 1
    assert (done.json["deleted"], done.json["sessions"], list(done.json["failed"])) == (16, 2, ["g2"])
    assert "failed: g2: " in command("prune", "--all", "--keep-latest", "--yes").out


def test_check_repairs_nothing_when_one_of_them_is_not_there(command: Command, manager: SessionManager) -> None:
    with_graph(manager, "a")
    branch = 5 << 30
    stray = Put(layout.element(branch, 0), b"stray"), Put(layout.branch(branch), b"1")
    run(manager.backend, must(keys.session("a"), *stray))
    assert command("check", "a", "nobody", "--repair").code == 1
    assert manager.check_session("a").problems
    assert command("check", "a", "--repair").code == 0
    assert not manager.check_session("a").problems
