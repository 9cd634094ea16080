"""`sessionstore migrate`: from other checkpointers and stores and back, as often as one likes."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Command
from langgraph.types import Command as Answer
from support.kept import graph_on, said, with_log

from langgraph_sessionstore import SessionManager
from langgraph_sessionstore.migration import open_saver, open_store

pytestmark = pytest.mark.peers


def thread(name: str) -> Any:
    """The config of a thread."""
    return {"configurable": {"thread_id": name}}


@pytest.fixture
def other(tmp_path: Path) -> str:
    """A database with a thread that waits for an answer, one that does not, and an item."""
    url = f"sqlite:{tmp_path}/other.db"
    with open_saver(url, create=True) as saver:
        graph = graph_on(saver)
        graph.invoke(said("secret Tokyo"), thread("waits"))
        graph.invoke(said("ask"), thread("waits"))
        graph.invoke(said("secret Kyoto"), thread("done"))
    with open_store(url, create=True) as store:
        store.put(("users", "ann"), "diet", {"likes": "secret noodles"})
    return url


def test_threads_come_and_go_on(command: Command, manager: SessionManager, other: str, tmp_path: Path) -> None:
    done = command("migrate", "--from", other, "--verify")
    assert done == (
        0,
        "2 threads: 8 checkpoints copied, 0 were there\nboth sides are the same\n"
        "1 namespace: 1 item copied, 0 were there\nboth sides are the same\n",
        "",
    )
    assert sorted(row[0] for row in command("ls").rows) == ["done", "waits"]
    again = command("migrate", "--from", other, "--json").json
    assert (again["threads"]["copied"], again["threads"]["present"], again["items"]["present"]) == (0, 8, 1)
    graph = graph_on(manager.checkpointer)
    state = graph.invoke(Answer(resume="yes"), thread("waits"))
    assert state["messages"][-1].text == "secret answer 3 to yes"
    assert manager.store.get(("users", "ann"), "diet").value == {"likes": "secret noodles"}  # type: ignore[union-attr]
    assert command("check").code == 0

    back = f"sqlite:{tmp_path}/back.db"
    out = command("migrate", "--to", back, "--verify")
    assert (out.code, "secret" in out.out) == (0, False)
    with open_saver(back, create=True) as saver:
        graph = graph_on(saver)
        assert graph.get_state(thread("waits")).values["messages"][-1].text == "secret answer 3 to yes"
        assert len(graph.invoke(said("more"), thread("waits"))["messages"]) == 6
    with open_store(back) as store:
        assert store.get(("users", "ann"), "diet").value == {"likes": "secret noodles"}  # type: ignore[union-attr]


def test_some_of_it(command: Command, manager: SessionManager, other: str) -> None:
    assert command("migrate", "--from", other, "--thread", "done").out.startswith("1 thread: 3 checkpoints copied")
    assert [info.id for info in manager.list_sessions()] == ["done"]
    assert manager.store.list_namespaces() == []
    assert command("migrate", "--from", other, "--only", "items").out == "1 namespace: 1 item copied, 0 were there\n"
    assert [info.id for info in manager.list_sessions()] == ["done"]


def test_a_thread_that_cannot_come(command: Command, manager: SessionManager, other: str) -> None:
    with_log(manager, "waits")  # has messages of its own
    stopped = command("migrate", "--from", other)
    assert stopped.code == 1
    assert stopped.err.startswith("error: ")
    assert "'waits'" in stopped.err
    assert "secret" not in stopped.err
    went_on = command("migrate", "--from", other, "--keep-going")
    assert went_on.code == 1
    assert "failed: waits: " in went_on.out
    assert len(list(manager.checkpointer.list(thread("done")))) == 3


def test_what_is_no_source(command: Command, manager: SessionManager, tmp_path: Path) -> None:
    missing = command("migrate", "--from", f"sqlite:{tmp_path}/nowhere.db")
    assert (missing.code, "nowhere.db" in missing.err) == (2, True)
    assert not (tmp_path / "nowhere.db").exists()
    sqlite3.connect(tmp_path / "empty.db").execute("CREATE TABLE mine(a)").connection.close()
    before = (tmp_path / "empty.db").read_bytes()
    foreign = command("migrate", "--from", f"sqlite:{tmp_path}/empty.db")
    assert (foreign.code, foreign.err.startswith("error: ")) == (2, True)
    assert (tmp_path / "empty.db").read_bytes() == before
    for arguments in (
        [],
        ["--from", "sqlite:a", "--to", "sqlite:b"],
        ["--from", "mysql://a"],
        ["--from", "sqlite:a", "--thread", "t", "--only", "items"],
    ):
        wrong = command("migrate", *arguments)
        assert (wrong.code, "Traceback" in wrong.err) == (2, False)
    secret = command("migrate", "--from", "postgresql://user:s3cret@127.0.0.1:1/db")
    assert secret.code == 1
    assert "s3cret" not in secret.err
