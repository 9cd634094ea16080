"""What a repair puts right in a session. Nothing is guessed, nothing that a user has stored goes, once is enough."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from support.savers import config
from upkeep.care import FIRST, INNER, SECOND, TEXT, THIRD, Care, says

from langgraph_sessionstore import keys
from langgraph_sessionstore.ops import Forget, Links, Put, split_links, with_links
from langgraph_sessionstore.plans import layout
from langgraph_sessionstore.plans.places import GRAPH, LOG, REGISTRY, UNDO, message


@pytest.fixture
def there(care: Care) -> dict[str, Any]:
    """The checkpoints of a thread "t"."""
    return care.thread("t")


def all_can_be_read(care: Care, there: dict[str, Any]) -> None:
    wanted = {FIRST: ["0"], SECOND: ["0", "1"], THIRD: ["7", "8"], INNER: ["9"]}
    assert {id_: care.texts(where) for id_, where in there.items()} == wanted


def test_sound_sessions_have_no_problems_and_a_repair_does_nothing(care: Care, there: dict[str, Any]) -> None:
    care.log("l")
    before = care.rows("t"), care.rows("l")
    for repair in (False, True):
        for name in ("t", "l"):
            checked = care.check(name, repair=repair)
            assert (checked.id, checked.problems, checked.repaired) == (name, (), ())
    assert (care.rows("t"), care.rows("l")) == before


def test_elements_that_nothing_refers_to(care: Care, there: dict[str, Any]) -> None:
    (branch, _), *_ = care.elements("t")
    size = int(care.get("t", layout.branch(branch)))
    care.do(keys.session("t"), *(Put(layout.element(branch, size + n), b"dead") for n in range(3)))
    care.set("t", layout.element(branch, 1 << 20), b"dead, and beyond what was counted")
    care.do(keys.session("t"), *(Put(layout.element(77, n), b"dead") for n in range(2)))
    care.set("t", layout.branch(77), b"2")
    care.set("t", keys.encode("e", "no number", 1), b"dead")
    care.set("t", keys.encode("e", branch, "no number"), b"dead")
    before = care.rows("t", layout.RECORDS)
    care.repaired("t")
    assert care.rows("t", layout.RECORDS) == before
    assert not [row for row in care.rows("t") if row[1].startswith(b"dead")]
    all_can_be_read(care, there)


@pytest.mark.parametrize("size", [None, b"0", b"", b"x"])
def test_a_branch_that_counts_too_little_overwrites_nothing_afterwards(
    care: Care, there: dict[str, Any], size: bytes | None
) -> None:
    (branch, _), *_ = care.elements("t")
    key = layout.branch(branch)
    care.delete("t", key) if size is None else care.set("t", key, size)
    assert care.repaired("t") == [f"closed branch {branch}, whose elements nobody can count any more"]
    where = care.put(there[SECOND], "000005", says(0, 1, 5))
    all_can_be_read(care, there)
    assert care.texts(where) == ["0", "1", "5"]
    assert care.check("t").problems == ()


def of_a_run(where: Any) -> Any:
    """So that what is put there is of the run "bad", and can be deleted with it."""
    return {**where, "metadata": {"run_id": "bad"}}


@pytest.mark.parametrize("size", [None, b"1", b"x"])
def test_a_slot_is_not_used_again_whoever_remembers_it(care: Care, size: bytes | None) -> None:
    """Its element was collected, so no row tells of it; a worker that has read it still knows it."""
    first = care.put(config("t"), FIRST, says(0, 1))
    second = care.put(of_a_run(first), SECOND, says(0, 1, 2))
    warm = care.other()
    assert care.texts(second, warm) == ["0", "1", "2"]
    care.form.do(care.manager.checkpointer, "delete_for_runs", ["bad"])
    (branch,) = {branch for branch, _ in care.elements("t")}
    key = layout.branch(branch)
    care.delete("t", key) if size is None else care.set("t", key, size)
    care.repaired("t")
    third = care.put(first, THIRD, says(0, 1, 77))
    for worker in (warm, care.other()):
        assert care.texts(third, worker) == ["0", "1", "77"]
    assert care.problems("t") == []
    care.form.do(care.manager.checkpointer, "prune", ["t"], strategy="keep_latest")
    assert care.problems("t") == []


def test_a_branch_that_was_longer_than_what_is_left_of_it(care: Care) -> None:
    """Only the checkpoint that goes on from its end tells that it has had a third element."""
    first = care.put(of_a_run(config("t")), FIRST, says(0, 1, 2))
    second = care.put({"configurable": first["configurable"]}, SECOND, says(0, 1))
    care.form.do(care.manager.checkpointer, "delete_for_runs", ["bad"])
    ((branch, _), *_) = care.elements("t")
    care.set("t", layout.branch(branch), b"2")
    assert care.problems("t") == [
        f"damaged: branch {branch} has had 3 elements or more, says b'2' (a repair puts it right)"
    ]
    care.repaired("t")
    assert care.texts(second) == ["0", "1"]


def test_a_branch_without_elements_that_does_not_know_its_size(care: Care) -> None:
    """It keeps all others from being collected."""
    first = care.put(of_a_run(config("t")), FIRST, TEXT)
    care.put({"configurable": first["configurable"]}, SECOND, "short")
    care.form.do(care.manager.checkpointer, "delete_for_runs", ["bad"])
    assert (care.elements("t"), care.problems("t")) == ([], [])
    ((key, _),) = care.rows("t", layout.BRANCHES)
    care.set("t", key, b"x")
    care.repaired("t")
    assert care.form.do(care.manager.checkpointer, "collect", "t") == 0


def test_index_rows(care: Care, there: dict[str, Any]) -> None:
    care.delete("t", layout.index("inner:1", INNER))
    care.set("t", layout.index("nowhere", "000009"), b"")
    care.set("t", keys.encode("i", 7), b"")
    assert len(care.repaired("t")) == 2
    assert [key for key, _ in care.rows("t", layout.INDEX)] == [layout.index("inner:1", INNER)]


def test_links_that_lead_elsewhere(care: Care, there: dict[str, Any]) -> None:
    key = layout.record("", SECOND)
    links, packed = split_links(care.get("t", key))
    care.set("t", key, with_links(Links(links.below, ()), packed))
    assert care.repaired("t") == [f"put the links of checkpoint {SECOND!r} right"]
    all_can_be_read(care, there)


def test_a_thread_that_takes_no_checkpoint(care: Care, there: dict[str, Any]) -> None:
    care.set("t", layout.VERSION, b"many")
    assert care.repaired("t") == ["counted the changes of the thread anew"]
    care.put(there[SECOND], "000005", says(0, 1, 5))
    all_can_be_read(care, there)


@pytest.mark.parametrize("size", [None, b"2", b"x"])
def test_a_log_that_counts_too_little_overwrites_nothing_afterwards(care: Care, size: bytes | None) -> None:
    session = care.log("l")
    texts = care.form.texts(session)
    before = dict(care.rows("l"))
    care.delete("l", LOG) if size is None else care.set("l", LOG, size)
    assert care.repaired("l") == ["counted the messages anew"]
    assert dict(care.rows("l")) == before
    care.form.do(session, "append", "user", "last")
    assert care.form.texts(session) == [*texts, "last"]


@pytest.mark.parametrize("size", [None, b"1", b"x"])
def test_operations_that_are_counted_too_low_are_not_overwritten(care: Care, size: bytes | None) -> None:
    session = care.log("l")
    before = dict(care.rows("l"))
    care.delete("l", UNDO) if size is None else care.set("l", UNDO, size)
    assert care.repaired("l") == ["counted the operations anew"]
    assert dict(care.rows("l")) == before
    care.form.do(session, "append", "user", "last")
    assert [care.form.do(session, "undo") for _ in range(3)] == [
        "Restored: before append of 1 message",
        "Restored: before remove at 1",
        "Restored: before append of 1 message",
    ]
    assert care.form.texts(session) == ["0", "1", "2", "3"]


def test_bytes_of_chance_are_not_taken_for_sealed_ones(care: Care, there: dict[str, Any]) -> None:
    """A state of items is named by chance, digests and vectors hold any bytes, and a channel may have any name."""
    care.log("l")
    for key in (keys.encode("x", 7), *(keys.encode("x", kind, "notes", 0, "a") for kind in (4, 5))):
        care.set("l", key, b"\xc2" + bytes(79))
    care.set("t", GRAPH, "£".encode())
    assert (care.problems("l"), care.problems("t")) == ([], [])


def test_an_empty_log_without_a_counter_is_sound(care: Care) -> None:
    care.form.do(care.manager, "create_session", "empty")
    assert care.problems("empty") == []


def test_what_is_left_of_items_goes_and_items_stay(care: Care) -> None:
    session = care.log("l")
    rows = [keys.decode(key) for key, _ in care.rows("l", keys.below("x"))]
    assert ("x", 0, "notes", 0, "a") in rows
    for kind in (1, 3, 4, 5):
        care.set("l", keys.encode("x", kind, "notes", 0, "gone"), b"\x01\x92\x01\x01" if kind == 3 else b"\x01\x01")
    care.delete("l", keys.encode("x", 1, "notes", 0, "a"))
    assert len(care.problems("l")) == 5
    care.repaired("l")
    assert [keys.decode(key) for key, _ in care.rows("l", keys.below("x"))] == rows
    items = care.form.do(session.store, "search", ("notes",))
    assert [(item.key, item.value) for item in items] == [("a", {"text": "x"}), ("b", {"text": "y"})]


def test_a_repair_leaves_what_is_lost_and_mends_the_rest(care: Care, there: dict[str, Any]) -> None:
    """One damaged checkpoint keeps nothing else from being repaired, but for what nobody can know then."""
    care.delete("t", layout.index("inner:1", INNER))
    care.set("t", layout.record("", SECOND), b"\x01damaged")
    rows = dict(care.rows("t"))
    done = care.check("t", repair=True)
    assert [problem.kind for problem in done.problems] == ["damaged"]
    assert len(done.repaired) == 1
    assert dict(care.rows("t")) == {**rows, layout.index("inner:1", INNER): b""}


def test_a_session_that_no_list_names_is_listed_again(care: Care) -> None:
    session = care.form.do(care.manager, "create_session", "s", ttl=1000)
    born = care.form.do(session, "info")
    care.do(REGISTRY, Forget(keys.session("s")))
    assert [checked.id for checked in care.check_all()] == []
    assert care.problems("s") == ["missing: session 's' is in no list (a repair puts it right)"]
    assert care.repaired("s") == ["listed 's' again"]
    (info,) = care.form.everything(care.other())
    assert (info.id, info.created_at) == ("s", born.created_at)
    assert abs(_seconds(info.expires_at) - _seconds(born.expires_at)) < 60


def test_a_thread_without_a_name(care: Care) -> None:
    care.put(config(""), FIRST, says(0))
    care.set("", layout.index("nowhere", "000009"), b"")
    assert care.repaired("") == ["deleted an index row that leads nowhere"]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def test_messages_that_only_undo_needs_are_no_problem(care: Care) -> None:
    session = care.log("l")
    care.form.do(session, "clear")
    assert care.get("l", message(2)) is not None
    assert care.problems("l") == []
