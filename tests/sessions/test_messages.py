"""The messages API: what each method does, and what it does with what it cannot do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from support.sittings import Form

from langgraph_sessionstore import ConfigurationError, MessageIndexError, Session, SessionManager, Unstorable

TALK = ["a", "b", "c", "d", "e"]


@pytest.fixture
def talk(session: Session, form: Form) -> Session:
    """A session with five messages, of the user and the model in turns."""
    form.do(session, "extend", [("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(TALK)])
    return session


def test_messages_are_appended_in_all_forms(session: Session, form: Form) -> None:
    form.do(session, "append", "user", "one")
    form.do(session, "append", AIMessage("two", id="2", tool_calls=[{"name": "f", "args": {"x": 1}, "id": "c"}]))
    form.do(session, "append", ToolMessage("three", tool_call_id="c"))
    form.do(session, "append", ("system", "four"))
    form.do(session, "append", {"role": "assistant", "content": "five"})
    form.do(session, "append", "six")
    form.do(session, "extend", [])
    assert form.do(session, "messages") == [
        HumanMessage("one"),
        AIMessage("two", id="2", tool_calls=[{"name": "f", "args": {"x": 1}, "id": "c"}]),
        ToolMessage("three", tool_call_id="c"),
        SystemMessage("four"),
        AIMessage("five"),
        HumanMessage("six"),
    ]
    assert form.do(session, "len") == 6
    assert form.do(session, "at", -1) == HumanMessage("six")
    assert form.do(session, "at", 0) == HumanMessage("one")


def test_edits(talk: Session, form: Form) -> None:
    form.do(talk, "insert", 0, "user", "first")
    form.do(talk, "insert", 6, "user", "last")
    form.do(talk, "insert", -1, "user", "before the last")
    assert form.texts(talk) == ["first", *TALK, "before the last", "last"]
    form.do(talk, "replace", -1, AIMessage("changed"))
    form.do(talk, "remove", 0)
    form.do(talk, "remove", -2)
    assert form.texts(talk) == [*TALK, "changed"]
    form.do(talk, "append", "user", "f")
    form.do(talk, "truncate", 1, 2)
    assert form.texts(talk) == ["a", "changed", "f"]
    form.do(talk, "truncate", 2, 1)
    assert form.texts(talk) == ["a", "changed", "f"]
    form.do(talk, "set_messages", ["f", ("assistant", "g"), "a"])
    assert form.texts(talk) == ["f", "g", "a"]
    form.do(talk, "truncate", 0, 0)
    assert form.texts(talk) == []
    form.do(talk, "append", "user", "again")
    form.do(talk, "clear")
    assert form.do(talk, "len") == 0


def test_pruning_takes_exchanges(session: Session, form: Form) -> None:
    calls = [{"name": "f", "args": {}, "id": "1"}]
    form.do(session, "extend", [
        SystemMessage("s"), HumanMessage("a"), AIMessage("", tool_calls=calls), ToolMessage("t", tool_call_id="1"),
        AIMessage("b"), HumanMessage("c"), AIMessage("d"),
    ])  # fmt: skip
    form.do(session, "prune", 0)
    assert form.do(session, "len") == 7
    form.do(session, "prune", 1)
    assert form.texts(session) == ["s", "a", "", "t", "b"]
    form.do(session, "prune", 9)
    assert form.texts(session) == ["s"]
    form.do(session, "prune", 1)
    assert form.texts(session) == ["s"]


def test_what_is_handed_out_is_a_copy(talk: Session, form: Form) -> None:
    form.do(talk, "messages")[0].content = "changed"
    form.do(talk, "messages").clear()
    form.do(talk, "at", 1).additional_kwargs["x"] = 1
    assert form.texts(talk) == TALK
    assert form.do(talk, "at", 1) == AIMessage("b")
    given = HumanMessage("mine")
    form.do(talk, "append", given)
    given.content = "changed"
    assert form.do(talk, "at", -1).text == "mine"


@pytest.mark.parametrize("name", ["at", "insert", "replace", "remove"])
@pytest.mark.parametrize("index", [5, 6, -6, 1 << 70])
def test_an_index_that_is_none(talk: Session, form: Form, name: str, index: int) -> None:
    given = ("user", "x") if name in ("insert", "replace") else ()
    if name == "insert" and index == 5:
        index = 7
    with pytest.raises(IndexError, match=rf"{index}.* 5 messages") as caught:
        form.do(talk, name, index, *given)
    assert isinstance(caught.value, MessageIndexError)
    assert form.texts(talk) == TALK


BAD: list[tuple[str, tuple[Any, ...], type[Exception]]] = [
    ("append", (3,), Unstorable),
    ("append", (None,), Unstorable),
    ("append", (object(),), Unstorable),
    ("append", ("stranger", "hello"), Unstorable),
    ("append", ("user", 3), ConfigurationError),
    ("append", (HumanMessage("x"), "text"), ConfigurationError),
    ("append", (RemoveMessage("x"),), Unstorable),
    ("append", (HumanMessage("x", additional_kwargs={"a": open}),), Unstorable),
    ("extend", ([HumanMessage("x"), 3],), Unstorable),
    ("extend", ("text",), ConfigurationError),
    ("extend", (HumanMessage("x"),), ConfigurationError),
    ("extend", (7,), ConfigurationError),
    ("set_messages", ([HumanMessage("x"), {"no": "message"}],), Unstorable),
    ("set_messages", (None,), ConfigurationError),
    ("insert", ("0", "user", "x"), ConfigurationError),
    ("insert", (True, "user", "x"), ConfigurationError),
    ("replace", (0, 3), Unstorable),
    ("remove", (None,), ConfigurationError),
    ("prune", (-1,), ConfigurationError),
    ("prune", ("1",), ConfigurationError),
    ("truncate", (1, -1), ConfigurationError),
    ("truncate", (None, 1), ConfigurationError),
    ("set_summary", (3,), ConfigurationError),
    ("rewind", (0,), ConfigurationError),
    ("rewind", (), ConfigurationError),
    ("set_ttl", (-1,), ConfigurationError),
    ("set_ttl", ("1",), ConfigurationError),
]


@pytest.mark.parametrize(("name", "args", "error"), BAD, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(BAD)])
@pytest.mark.parametrize("kind", ["memory"], indirect=True)
def test_bad_input_says_what_to_do_and_changes_nothing(
    talk: Session, form: Form, name: str, args: tuple[Any, ...], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        form.do(talk, name, *args)
    assert str(caught.value)
    assert form.texts(talk) == TALK
    form.do(talk, "undo")
    assert form.texts(talk) == []


def test_summary_and_details(manager: SessionManager, session: Session, form: Form) -> None:
    assert form.do(session, "summary") is None
    form.do(session, "set_summary", "short")
    form.do(session, "update", title="T", metadata={"a": (1, 2), "n": None}, system="Be kind.")
    form.do(session, "update", title="U")
    info = form.do(session, "info")
    assert (info.title, info.metadata, info.system) == ("U", {"a": (1, 2), "n": None}, "Be kind.")
    assert (session.title, session.system, session.metadata) == ("U", "Be kind.", {"a": (1, 2), "n": None})
    assert form.do(session, "summary") == "short"
    session.summary = None
    assert session.summary is None
    session.title, session.system, session.metadata = "V", None, {"b": 1}
    assert [form.do(session, name) for name in ("title", "system", "metadata")] == ["V", None, {"b": 1}]
    session.metadata["b"] = 2  # of a copy
    assert json.loads(json.dumps(form.do(session, "metadata"))) == {"b": 1}
    with pytest.raises(TypeError, match="colour"):
        form.do(session, "update", colour="red")
    with pytest.raises(ConfigurationError):
        form.do(session, "update", metadata={3: 4})


def test_long_logs(session: Session, form: Form) -> None:
    texts = [f"number {n}" for n in range(2000)]
    form.do(session, "extend", texts)
    form.do(session, "insert", 1000, "user", "here")
    form.do(session, "truncate", 10, 1500)
    expected = [*texts[:1000], "here", *texts[1000:]]
    assert form.texts(session) == expected[:10] + expected[-1500:]


def test_purging_erases_what_could_be_undone(talk: Session, form: Form, manager: SessionManager) -> None:
    from langgraph_sessionstore import NothingToUndo, keys, run
    from langgraph_sessionstore.ops import Range, must

    form.do(talk, "replace", 0, "user", "secret")
    form.do(talk, "clear", purge=True)
    (rows,) = run(manager.backend, must(keys.session(talk.id), Range(b"", None)))
    assert not any(b"secret" in value for _, value in rows)
    with pytest.raises(NothingToUndo):
        form.do(talk, "undo")
    form.do(talk, "append", "user", "new")
    assert form.texts(talk) == ["new"]


def test_tables(talk: Session, form: Form) -> None:
    assert form.do(talk, "show_messages", 2) == "3  ai         d\n4  human      e"
    assert form.do(talk, "show_messages").count("\n") == 4
    assert form.do(talk, "status") == "Messages: 5 (log) | Summary: no | Checkpoints: 0 | Calls: 0 | Cost: $0.0000"


def test_equal_messages_are_stored_once(talk: Session, form: Form, manager: SessionManager) -> None:
    from langgraph_sessionstore import keys, run
    from langgraph_sessionstore.ops import Count, must
    from langgraph_sessionstore.plans.places import MESSAGES

    messages: list[BaseMessage] = form.do(talk, "messages")
    form.do(talk, "set_messages", [*reversed(messages), HumanMessage("new")])
    assert form.texts(talk) == [*reversed(TALK), "new"]
    (rows,) = run(manager.backend, must(keys.session(talk.id), Count(*MESSAGES)))
    assert rows == 6
