"""What a repair cannot put right is named, with what is lost and what helps; and what is said to help does."""

from __future__ import annotations

import dataclasses
import re
import sys
import types
from typing import Any

import pytest
from support.savers import config
from upkeep.care import FIRST, INNER, SECOND, THIRD, Care, says

from langgraph_sessionstore import CorruptData, Problem, Session, SessionNotFound, keys
from langgraph_sessionstore.plans import layout
from langgraph_sessionstore.plans.places import (
    BORN,
    DETAILS,
    GRAPH,
    HEAD,
    LAST_USAGE,
    LIFE,
    LOG,
    ORDER,
    SUMMARY,
    message,
)
from langgraph_sessionstore.plans.places import undo as undo_row


@pytest.fixture
def there(care: Care) -> dict[str, Any]:
    """The checkpoints of a thread "t"."""
    return care.thread("t")


def only_problem(care: Care, name: str) -> Problem:
    """The one thing that is wrong with a session, which a repair does not change, nor anything else."""
    rows = care.rows(name)
    (problem,) = care.check(name).problems
    checked = care.check(name, repair=True)
    assert (checked.problems, checked.repaired) == ((problem,), ())
    assert care.rows(name) == rows
    return problem


def element_of(care: Care, name: str, text: str) -> bytes:
    """The key of the element that holds this."""
    (key,) = [key for key, value in care.rows(name, layout.ELEMENTS) if text.encode() in value]
    return key


def test_an_old_element_that_is_gone_is_lost_with_the_checkpoints_that_have_it(
    care: Care, there: dict[str, Any]
) -> None:
    care.delete("t", element_of(care, "t", "0 so long"))
    problem = only_problem(care, "t")
    assert problem.kind == "missing"
    assert problem.what.endswith(f"without it checkpoints {FIRST!r}, {SECOND!r} cannot be read")
    assert problem.help == "prune() takes away what cannot be read"
    care.form.do(care.other().checkpointer, "prune", ["t"])
    assert care.problems("t") == []
    assert (care.texts(there[THIRD]), care.texts(there[INNER])) == (["7", "8"], ["9"])


def test_when_the_newest_state_is_lost_an_older_one_goes_on(care: Care, there: dict[str, Any]) -> None:
    key = element_of(care, "t", "8 so long")
    care.set("t", key, b"\x01damaged")
    problem = only_problem(care, "t")
    assert problem.kind == "damaged"
    assert f"checkpoint {THIRD!r} cannot be read" in problem.what
    assert problem.help.startswith("go on from another checkpoint by its id, then prune()")
    where = care.put(there[SECOND], "000005", says(0, 1, 5))
    care.form.do(care.other().checkpointer, "prune", ["t"])
    assert care.problems("t") == []
    assert care.texts(where) == ["0", "1", "5"]


def test_many_checkpoints_that_are_lost_are_counted(care: Care, there: dict[str, Any]) -> None:
    base = there[SECOND]
    for number in range(10, 16):
        base = care.put(base, f"0000{number}", says(0, 1, *range(100, 10 * number + 1, 10)))
    care.delete("t", element_of(care, "t", "1 so long"))
    assert only_problem(care, "t").what.endswith("checkpoints '000002', '000010', '000011', 4 more cannot be read")


def test_a_record_that_is_lost(care: Care, there: dict[str, Any]) -> None:
    care.set("t", layout.record("", SECOND), b"\x01damaged")
    problem = only_problem(care, "t")
    assert problem.what.startswith(f"checkpoint {SECOND!r} of thread 't' is damaged")
    assert problem.help.startswith("the others can be read by their ids; only delete_thread()")
    assert (care.texts(there[FIRST]), care.texts(there[THIRD])) == (["0"], ["7", "8"])
    with pytest.raises(CorruptData):
        care.form.do(care.other().checkpointer, "prune", ["t"])
    care.form.do(care.other().checkpointer, "delete_thread", "t")
    with pytest.raises(SessionNotFound):
        care.check("t")


def test_a_write_that_is_lost(care: Care, there: dict[str, Any]) -> None:
    care.set("t", layout.write("", SECOND, "task", 0), b"\x01damaged")
    problem = only_problem(care, "t")
    assert f"checkpoint {SECOND!r} cannot be read" in problem.what
    care.form.do(care.other().checkpointer, "prune", ["t"])
    assert care.problems("t") == []


def test_messages_that_are_lost(care: Care) -> None:
    session = care.log("l")
    texts = care.form.texts(session)
    care.delete("l", message(2))
    problem = only_problem(care, "l")
    assert problem.kind == "missing"
    assert problem.what == "message 2 in the log of session 'l'; without it the messages cannot be read"
    assert problem.help == f"remove({_index(problem)}) takes it from the messages"
    care.set("l", message(3), b"\x01damaged")
    missing, damaged = sorted(care.check("l").problems, reverse=True)
    assert damaged.what.startswith("message 3 ")
    with pytest.raises(CorruptData):
        care.form.texts(session)
    for place in sorted((_index(missing), _index(damaged)), reverse=True):
        care.form.do(session, "remove", place)
        del texts[place]
    assert care.form.texts(session) == texts
    care.form.do(session, "set_messages", ["again"])
    assert care.form.texts(session) == ["again"]


def _index(problem: Problem) -> int:
    found = re.match(r"remove\((\d+)\)", problem.help)
    assert found
    return int(found[1])


def test_a_log_that_counts_too_much_is_not_believed(care: Care) -> None:
    care.log("l")
    care.set("l", LOG, b"99999")
    problem = only_problem(care, "l")
    assert problem.kind == "damaged"
    assert "more than it has" in problem.what


def test_an_operation_that_is_lost(care: Care) -> None:
    session = care.log("l")
    care.set("l", undo_row(1), b"\x01damaged")
    problem = only_problem(care, "l")
    assert problem.what.startswith("an operation to undo in session 'l'")
    assert problem.help.startswith("clear(purge=True)")
    care.form.do(session, "clear", purge=True)
    assert care.problems("l") == []


@pytest.mark.parametrize(
    ("key", "what"),
    [
        (BORN, "the beginning of session 'l'"),
        (DETAILS, "the details of session 'l'"),
        (LIFE, "the lifetime of session 'l'"),
        (SUMMARY, "the summary of session 'l'"),
        (ORDER, "the order of messages in session 'l'"),
        (LAST_USAGE, "the last usage of session 'l'"),
        (keys.encode("n", "chat", "model", "calls"), "the usage at"),
        (HEAD, "the newest state of session 'l'"),
        (keys.encode("x", 0, "notes", 0, "a"), "item 'a' of namespace"),
        (keys.encode("x", 3, "notes", 0, "b"), "item 'b' of session 'l'"),
        (keys.encode("z"), "no row of a session"),
        (keys.encode("m", "x"), "session 'l' holds"),
        (keys.encode("x", 9), "session 'l' holds"),
    ],
)
def test_each_row_of_a_session_is_looked_at(care: Care, key: bytes, what: str) -> None:
    session: Session = care.log("l")
    care.set("l", key, b"\x01damaged")
    problem = only_problem(care, "l")
    assert problem.kind == "damaged"
    assert what in problem.what
    assert care.form.do(session, "delete") is True


def test_the_name_of_a_channel_that_is_lost(care: Care, there: dict[str, Any]) -> None:
    care.set("t", GRAPH, b"\xff")
    assert only_problem(care, "t").what == "the name of the messages' channel in session 't' is damaged"


def test_what_this_process_does_not_know_is_not_said_to_be_lost(care: Care) -> None:
    module: Any = types.ModuleType("known_elsewhere")
    made: Any = dataclasses.make_dataclass("Known", ["text"])
    made.__module__ = "known_elsewhere"
    module.Known = made
    sys.modules["known_elsewhere"] = module
    try:
        care.put(config("t"), FIRST, [made("x " * 500)])
    finally:
        del sys.modules["known_elsewhere"]
    problem = only_problem(care, "t")
    assert "known_elsewhere" in problem.what
    assert problem.help == "a process that has what it needs can read it"


def test_a_session_that_is_not_there(care: Care) -> None:
    with pytest.raises(SessionNotFound, match="'nobody'"):
        care.check("nobody")
    session = care.log("l")
    care.form.do(session, "delete")
    with pytest.raises(SessionNotFound, match="'l'"):
        care.check("l", repair=True)
    assert care.check_all() == []
