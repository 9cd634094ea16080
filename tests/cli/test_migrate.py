"""`sessionstore migrate`: from other checkpointers and stores and back, as often as one likes."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cli.conftest import Command
from langgraph.types import Command as Answer
from support.kept import graph_on, said, with_log
from support.savers import checkpoint

from langgraph_sessionstore import SessionManager
from langgraph_sessionstore.migration import open_saver, open_store

pytestmark = pytest.mark.peers


def thread(name: str) -> Any:
    """The config of a thread."""
    return {"configurable": {"thread_id": name}}


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command adds to it, as it ends with its process."""
    monkeypatch.setattr(sys, "path", [*sys.path])


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


def test_a_source_of_one_kind_alone(command: Command, manager: SessionManager, tmp_path: Path) -> None:
    threads, items = f"sqlite:{tmp_path}/threads.db", f"sqlite:{tmp_path}/items.db"
    with open_saver(threads, create=True) as saver:
        graph_on(saver).invoke(said("secret Tokyo"), thread("t"))
    with open_store(items, create=True) as store:
        store.put(("users",), "k", {"n": 1})
    done = command("migrate", "--from", threads)
    assert (done.code, done.out) == (0, "1 thread: 3 checkpoints copied, 0 were there\n")
    assert done.err.startswith("no items were copied: ")
    assert "holds nothing of SqliteStore" in done.err
    done = command("migrate", "--from", items, "--json")
    assert (done.code, list(done.json), done.json["items"]["copied"]) == (0, ["items"], 1)
    assert done.err.startswith("no threads were copied: ")
    for arguments in (["--from", threads, "--only", "items"], ["--from", items, "--thread", "t"]):
        wrong = command("migrate", *arguments)
        assert (wrong.code, wrong.out, "holds nothing of" in wrong.err) == (2, "", True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("DELETE FROM store_migrations WHERE v = (SELECT max(v) FROM store_migrations)", "written by an older"),
        ("DROP TABLE store_migrations", "there is no store_migrations"),
        ("DROP TABLE writes", "there is no writes"),
        ("", "python -m pip install"),
    ],
)
def test_what_cannot_be_read_is_not_taken_for_absent(
    command: Command, other: str, damage: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(other.partition(":")[2], isolation_level=None)) as connection:
        connection.execute(damage)
    if not damage:
        monkeypatch.setitem(sys.modules, "langgraph.store.sqlite", None)
    done = command("migrate", "--from", other)
    assert (done.code, message in done.err) == (2, True)


SHOP = "from dataclasses import dataclass\n@dataclass\nclass Order:\n    number: int\n"


def test_types_of_an_application_come_along(
    command: Command, manager: SessionManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, back = f"sqlite:{tmp_path}/there.db", str(tmp_path / "back")
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "broken.py").write_text("raise SystemExit(0)\n")
    shop = ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", shop)
    exec(SHOP, vars(shop))
    for name, value in (("own", shop.Order(7)), ("plain", "x")):
        manager.checkpointer.put(thread(name), checkpoint({"a": [value]}), {"step": 0}, {"a": 1})
    del sys.modules["shop"]
    monkeypatch.chdir(tmp_path)

    stopped = command("migrate", "--to", there)
    assert (stopped.code, stopped.out) == (1, "")
    assert stopped.err.startswith("error: thread 'own' could not be copied: ")
    assert "shop.Order is not loaded" in stopped.err
    assert "--import MODULE" in stopped.err
    went_on = command("migrate", "--to", there, "--keep-going")
    assert went_on.code == 1
    assert "failed: own: " in went_on.out
    assert "--import MODULE" in went_on.out
    with open_saver(there) as saver:
        assert [found.config["configurable"]["thread_id"] for found in saver.list(None)] == ["plain"]
    for wrong in ("missing", "broken", "", ".shop"):
        refused = command("migrate", "--to", there, "--import", wrong)
        assert (refused.code, refused.out, "cannot be imported" in refused.err) == (2, "", True)
    done = command("migrate", "--to", there, "--import", "shop", "--verify")
    assert (done.code, "1 checkpoint copied, 1 were there" in done.out) == (0, True)
    for copied, present in ((2, 0), (0, 2)):
        del sys.modules["shop"]  # which is found again, where the command was given
        again = command("migrate", "--url", back, "--from", there, "--json")
        assert (again.json["threads"]["copied"], again.json["threads"]["present"]) == (copied, present)
    with SessionManager.from_url(back) as other:
        found = other.checkpointer.get_tuple(thread("own"))
    assert found is not None
    assert found.checkpoint["channel_values"]["a"][0].number == 7
