"""Commands that bring sessions elsewhere: all of a session or nothing, and nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import Command
from support.kept import graph_on, said, with_graph, with_log

from langgraph_sessionstore import Keyring, SessionManager


@pytest.fixture
def there(tmp_path: Path) -> Iterator[SessionManager]:
    """Another storage."""
    with SessionManager.from_url(tmp_path / "there") as manager:
        yield manager


def test_export_and_import(command: Command, manager: SessionManager, there: SessionManager, tmp_path: Path) -> None:
    session = with_log(manager)
    file = tmp_path / "session.jsonl"
    assert command("export", "log", str(file)).code == 0
    again = command("export", "log", str(file))
    assert (again.code, "exists already" in again.err) == (2, True)
    assert command("export", "log", str(file), "--force", "--json").json["file"] == str(file)
    assert command("import", str(file), "--as", "copy").out == "copy\n"
    assert manager.get_session("copy").messages == session.messages  # type: ignore[union-attr]
    assert command("import", str(file), "--url", str(tmp_path / "there"), "--json").json == {"id": "log"}
    assert there.get_session("log").summary == "secret summary"  # type: ignore[union-attr]
    taken = command("import", str(file))
    assert (taken.code, "exists already" in taken.err) == (1, True)
    file.write_text(file.read_text("utf-8")[:-40], "utf-8")
    damaged = command("import", str(file), "--as", "damaged")
    assert (damaged.code, manager.get_session("damaged")) == (1, None)
    missing = command("import", str(tmp_path / "nowhere"))
    assert (missing.code, "cannot be read" in missing.err) == (2, True)
    assert command("export", "log", str(tmp_path / "no" / "folder")).code == 2


def test_copy_brings_sessions_and_items_once(
    command: Command, manager: SessionManager, there: SessionManager, tmp_path: Path
) -> None:
    session, graph = with_log(manager), with_graph(manager)
    manager.store.put(("users", "ann"), "diet", {"likes": "noodles"})
    manager.store.put(("users",), "all", {"count": 1})
    target = str(tmp_path / "there")
    done = command("copy", target, "--verify")
    assert done == (
        0, "sessions: 2 copied, 0 were there\nnamespaces: 2 copied, 0 were there\nboth sides are the same\n", "",
    )  # fmt: skip
    copied = there.get_session("log")
    assert copied is not None
    assert copied.to_dict()["rows"] == session.to_dict()["rows"]
    assert there.store.get(("users", "ann"), "diet").value == {"likes": "noodles"}  # type: ignore[union-attr]
    assert sorted(there.store.list_namespaces()) == [("users",), ("users", "ann")]
    assert (
        graph_on(there.checkpointer)
        .invoke(said("Nara"), graph.config)["messages"][-1]
        .text.startswith("secret answer 5")
    )

    manager.create_session("later")
    again = command("copy", target, "--json").json
    assert again == {"sessions": 1, "sessions_there": 2, "namespaces": 0, "namespaces_there": 2, "differences": []}
    different = command("copy", target, "--verify")
    assert different.code == 1
    assert "session 'graph' is not the same on both sides" in different.out


def test_copy_of_some(command: Command, manager: SessionManager, there: SessionManager, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        manager.create_session(name)
    manager.store.put(("users",), "k", {})
    assert command("copy", str(tmp_path / "there"), "-s", "a", "-s", "c").out == "sessions: 2 copied, 0 were there\n"
    assert sorted(info.id for info in there.list_sessions()) == ["a", "c"]
    assert there.store.list_namespaces() == []
    wrong = command("copy", str(tmp_path / "there"), "-s", "bb")
    assert (wrong.code, "did you mean 'b'" in wrong.err) == (1, True)
    assert command("copy", "mysql://x").code == 2


def test_copy_seals_and_unseals(
    command: Command, manager: SessionManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_log(manager)
    monkeypatch.setenv("SESSIONSTORE_ENCRYPTION_KEYS", Keyring.new_key())
    sealed, opened = str(tmp_path / "sealed"), str(tmp_path / "opened")
    assert command("ls").code == 1  # what is plain is not taken
    assert command("copy", sealed, "--from-plain", "--verify").code == 0
    assert [row[0] for row in command("ls", "--url", sealed).rows] == ["log"]
    assert command("copy", opened, "--url", sealed, "--to-plain", "--verify").code == 0
    monkeypatch.delenv("SESSIONSTORE_ENCRYPTION_KEYS")
    assert command("ls", "--url", sealed).code == 1
    with SessionManager.from_url(opened) as manager:
        assert manager.get_session("log").summary == "secret summary"  # type: ignore[union-attr]


def test_a_copy_that_is_killed_or_interrupted_goes_on(
    command: Command, manager: SessionManager, tmp_path: Path, url: str
) -> None:
    for number in range(60):
        manager.create_session(f"s{number}", messages=["Hello"])
    target = str(tmp_path / "there")
    halted = 0
    for sent in (signal.SIGKILL, signal.SIGINT):
        with subprocess.Popen(
            [sys.executable, "-c", _SLOW, "copy", target, "--url", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            for _ in range(12 + halted):
                process.stdout.readline()
            os.kill(process.pid, sent)
            _, err = process.communicate(timeout=60)
        assert process.returncode == (130 if sent == signal.SIGINT else -signal.SIGKILL)
        assert b"Traceback" not in err
        with SessionManager.from_url(target) as there:
            assert 0 < there.count_sessions() < 60
            halted = there.count_sessions()
    done = command("copy", target, "--verify", "--json").json
    assert done["sessions_there"] == halted
    assert done["sessions"] == 60 - halted
    assert done["differences"] == []


_SLOW = """
import sys, time
from langgraph_sessionstore import copying
from langgraph_sessionstore.cli import app
bring = copying.Copy._carry
def told(self, thing):
    done = yield from bring(self, thing)
    print(thing.name, flush=True)
    time.sleep(0.02)
    return done
copying.Copy._carry = told
sys.exit(app.perform(sys.argv[1:]))
"""


def test_export_replaces_files_only(command: Command, manager: SessionManager, tmp_path: Path) -> None:
    with_log(manager)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        done = command("export", "log", str(tmp_path / name), "--force")
        assert (done.code, "is no file" in done.err) == (2, True)
    target, link = tmp_path / "target.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(target)
    dangling = command("export", "log", str(link))
    assert (dangling.code, "exists already" in dangling.err) == (2, True)
    assert command("export", "log", str(link), "--force").code == 0
    assert link.is_symlink()
    assert target.read_text("utf-8").startswith("{")


def test_items_come_along_when_they_are_asked_for(
    command: Command, manager: SessionManager, there: SessionManager, tmp_path: Path
) -> None:
    manager.create_session("a")
    manager.store.put(("users",), "k", {})
    assert command("copy", str(tmp_path / "there"), "--no-store").out == "sessions: 1 copied, 0 were there\n"
    assert there.store.list_namespaces() == []
    assert "namespaces: 1 copied" in command("copy", str(tmp_path / "there"), "-s", "a", "--store").out
    assert there.store.list_namespaces() == [("users",)]
