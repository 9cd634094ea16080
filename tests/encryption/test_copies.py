"""Copies of encrypted sessions: they can be read wherever they come from, and only there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from encryption.filled import INDEX, KEY, OTHER, Open, fill, graph, prices, read
from support.savers import config
from support.sittings import Form

from langgraph_sessionstore import SessionManager, Tampered, keys, run
from langgraph_sessionstore.ops import Drop, Put, Range, must

pytestmark = pytest.mark.long

Managers = Callable[..., SessionManager]


def test_forks_of_forks_live_on_without_their_origin(manager_on: Managers, form: Form) -> None:
    manager = manager_on(KEY)
    session = form.do(manager, "create_session", "a0", messages=["one"], summary="s", metadata={"k": 1})
    form.do(session, "record_usage", "p", input_tokens=5)
    for number in range(1, 5):
        session = form.do(session, "fork", f"a{number}")
        form.do(session, "append", "user", f"in a{number}")
        form.do(manager, "delete_session", f"a{number - 1}")
    for worker in (manager, manager_on(KEY)):
        session = form.do(worker, "get_session", "a4")
        assert form.texts(session) == ["one", "in a1", "in a2", "in a3", "in a4"]
        assert form.do(session, "summary") == "s"
        assert form.do(session, "usage").input_tokens == 5
    fresh = form.do(manager_on(KEY), "get_session", "a4")
    form.do(fresh, "record_usage", "p", input_tokens=2)  # a sum that came along goes on
    form.do(fresh, "replace", 0, "changed")
    form.do(fresh, "undo")
    form.do(fresh, "set_summary", "t")
    again = form.do(manager_on(KEY), "get_session", "a4")
    assert form.do(again, "usage").input_tokens == 7
    assert form.texts(again)[0] == "one"
    assert form.do(again, "summary") == "t"


def test_a_graph_goes_on_in_a_fork(manager_on: Managers, form: Form) -> None:
    manager = manager_on(KEY)
    graph(form, manager, "a", 3)
    form.do(form.do(manager, "get_session", "a"), "fork", "b")
    form.do(manager.checkpointer, "copy_thread", "b", "c")
    for worker in (manager, manager_on(KEY)):
        for thread in ("a", "b", "c"):
            graph(form, worker, thread, 2)  # whose versions began before
            found = form.do(worker.checkpointer, "get_tuple", config(thread))
            assert len(found.checkpoint["channel_values"]["messages"]) == 2
            assert form.do(worker.checkpointer, "check", thread) == []


def test_a_copy_takes_nothing_from_other_sessions(manager_on: Managers, form: Form, open_storage: Open) -> None:
    manager, plain = manager_on(KEY), open_storage()
    for name in ("a", "x"):
        form.do(manager, "create_session", name, messages=[f"of {name}"], summary=name)
    form.do(form.do(manager, "get_session", "a"), "fork", "b")
    stored = {name: run(plain, must(keys.session(name), Range(b"", None)))[0] for name in "abx"}
    origins = run(plain, must(keys.session("b"), Range(*keys.ORIGINS)))[0]
    assert len(origins) == 1
    # the row that makes b a copy of a makes nothing else one
    run(plain, must(keys.session("x"), Drop(), *[Put(*row) for row in [*origins, *stored["a"]]]))
    with pytest.raises(Tampered):
        form.do(manager_on(KEY), "get_session", "x")
    run(plain, must(keys.session("b"), Drop(), *[Put(*row) for row in [*origins, *stored["x"]]]))
    with pytest.raises(Tampered):
        form.do(manager_on(KEY), "get_session", "b")
    run(plain, must(keys.session("b"), Drop(), *[Put(*row) for row in stored["b"] if row not in origins]))
    alone = form.do(manager_on(KEY), "get_session", "b")
    with pytest.raises(Tampered):
        form.texts(alone)


def test_an_exported_session_is_plain_and_arrives_under_any_key(
    manager_on: Managers, form: Form, tmp_path: Path, open_storage: Open
) -> None:
    options: Any = {"index": INDEX, "prices": prices()}
    manager = manager_on(KEY, **options)
    session = fill(form, manager)
    before = read(form, manager)
    form.do(session, "export", tmp_path / "talk.jsonl")
    data = form.do(session, "to_dict")
    for encryption in (OTHER, KEY, None):
        with SessionManager.from_url("memory:", encryption=encryption) as other:
            for arrived in (other.import_(tmp_path / "talk.jsonl"), other.from_dict(data, session_id="two")):
                assert [message.text for message in arrived.messages] == before["messages"]
                assert arrived.summary == before["summary"]
                assert arrived.usage.input_tokens == before["usage"].input_tokens
                arrived.append("user", "more")
                arrived.fork().append("user", "still more")
    form.do(manager, "delete_session", "talk")
    arrived = form.do(manager, "import_", tmp_path / "talk.jsonl")
    assert form.texts(arrived) == before["messages"]
    assert read(form, manager_on(KEY, **options))["details"] == before["details"]
