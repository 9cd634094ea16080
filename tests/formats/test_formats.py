"""What any released version has stored can be read, and goes on; what a newer one stores is refused by name.

Rule: the files in the folders of versions are never made anew.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from formats.make import KEY, seen
from langgraph.types import Command
from support.kept import graph_on, said

from langgraph_sessionstore import SessionManager, UnsupportedFormat, keys, open_backend, run
from langgraph_sessionstore.ops import Batch, Call, Calls, Get, Put, Range, must
from langgraph_sessionstore.plans import layout
from langgraph_sessionstore.plans.places import DETAILS

VERSIONS = sorted(path for path in Path(__file__).parent.iterdir() if (path / "plain.json").is_file())


def test_there_is_something_of_the_first_version() -> None:
    assert VERSIONS[0].name == "0.1.0"


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
@pytest.mark.parametrize(("name", "encryption"), [("plain", None), ("encrypted", KEY)])
def test_a_storage_is_read_and_goes_on(version: Path, name: str, encryption: str | None, tmp_path: Path) -> None:
    shutil.copytree(version / name, tmp_path / "copy")
    expected = json.loads((version / f"{name}.json").read_text("utf-8"))
    with SessionManager.from_url(tmp_path / "copy", encryption=encryption) as manager:
        assert json.loads(json.dumps(seen(manager))) == expected
        _goes_on(manager)
        assert [manager.checkpointer.check(each) for each in ("graph", "log")] == [[], []]


def _goes_on(manager: SessionManager) -> None:
    log, graph = manager.get_session("log"), manager.get_session("graph")
    assert log is not None
    assert graph is not None
    assert log.redo() == "Restored: after replace at 0"
    log.append("user", "more")
    assert [message.text for message in log.messages][::3] == ["secret first", "more"]
    built = graph_on(manager.checkpointer)
    assert built.invoke(Command(resume="yes"), graph.config)["messages"][-1].text == "secret answer 5 to yes"
    assert len(built.invoke(said("again"), graph.config)["messages"]) == 8
    assert graph.rewind(turns=1)
    assert manager.store.get(("users", "ann"), "diet").value == {"likes": "noodles"}  # type: ignore[union-attr]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
def test_exported_sessions_are_imported_and_go_on(version: Path) -> None:
    expected = json.loads((version / "plain.json").read_text("utf-8"))
    with SessionManager.from_url("memory:") as manager:
        for name in ("log", "graph"):
            manager.import_(version / f"{name}.jsonl")
        manager.store.put(("users", "ann"), "diet", {"likes": "noodles"})
        found = seen(manager)
        assert {name: json.loads(json.dumps(found[name])) for name in ("log", "graph")} == (
            {name: expected[name] for name in ("log", "graph")}
        )
        _goes_on(manager)


def _row(manager: SessionManager, name: str, key: bytes, change: Callable[[bytes], bytes]) -> None:
    partition = keys.session(name)
    (row,) = run(manager.backend, must(partition, Get(key)))

    def put() -> Any:
        yield Calls([Call(partition, Batch(Put(key, change(row))))])

    run(manager.backend, put())


def _details(manager: SessionManager) -> Any:
    _row(manager, "log", DETAILS, lambda row: b"\x02" + row[1:])
    return manager.get_session("log")


def _record(manager: SessionManager) -> Any:
    (rows,) = run(manager.backend, must(keys.session("graph"), Range(*layout.RECORDS)))
    _row(manager, "graph", rows[-1][0], lambda row: row.replace(b"\x01\x99\x01", b"\x02\x99\x01", 1))
    return manager.checkpointer.get_tuple({"configurable": {"thread_id": "graph"}})


@pytest.mark.parametrize("make_newer", [_details, _record])
def test_rows_of_a_newer_version_are_refused(make_newer: Callable[[SessionManager], Any], tmp_path: Path) -> None:
    shutil.copytree(VERSIONS[-1] / "plain", tmp_path / "copy")
    with (
        SessionManager.from_url(tmp_path / "copy") as manager,
        pytest.raises(UnsupportedFormat, match="upgrade langgraph-sessionstore"),
    ):
        make_newer(manager)


def test_a_file_of_a_newer_version_is_refused_and_left(tmp_path: Path) -> None:
    shutil.copytree(VERSIONS[-1] / "plain", tmp_path / "copy")
    file = tmp_path / "copy" / "sessions.sqlite3"
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 2")
    before = file.read_bytes()
    with pytest.raises(UnsupportedFormat, match="upgrade langgraph-sessionstore"):
        open_backend(tmp_path / "copy")
    assert file.read_bytes() == before


def test_an_export_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    lines = (VERSIONS[-1] / "log.jsonl").read_text("utf-8").splitlines(keepends=True)
    newer = tmp_path / "newer.jsonl"
    newer.write_text(lines[0].replace('"version": 1', '"version": 2') + "".join(lines[1:]), "utf-8")
    with SessionManager.from_url("memory:") as manager, pytest.raises(UnsupportedFormat, match="upgrade"):
        manager.import_(newer)
