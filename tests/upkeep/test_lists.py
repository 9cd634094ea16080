"""All sessions are checked, one after the other; and the lists that name them are put right."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
import redis
from support.lifetimes import Look
from support.servers import RedisServer
from upkeep.care import Care

from langgraph_sessionstore import keys
from langgraph_sessionstore.backends.registry import entry_of, index
from langgraph_sessionstore.ops import Delete, Forget, Get, Put, Range, Row, Touch
from langgraph_sessionstore.plans import layout
from langgraph_sessionstore.plans.items import STORE
from langgraph_sessionstore.plans.places import BORN, REGISTRY

OLD = int(time.time() * 1000) - 3_600_000


def named(letter: bytes, name: str) -> bytes:
    return letter + keys.session(name)


def line(care: Care, name: str) -> bytes:
    """The record of a session in the list."""
    found: bytes = care.do(REGISTRY, Get(named(b"n", name)))[0]
    return found


def of_index(care: Care, name: str, letter: bytes) -> bytes:
    """A row of the index."""
    entry = entry_of(keys.session(name), line(care, name))
    assert entry is not None
    (key,) = [key for key in index(entry) if key[:1] == letter]
    return key


def everything(care: Care) -> list[Row]:
    found: list[Row] = care.do(REGISTRY, Range(b"", None))[0]
    return found


def names(care: Care, by: str = "created") -> list[str]:
    return [info.id for info in care.form.everything(care.other(), by=by)]


def run(care: Care, name: str) -> None:
    """A checkpoint of a run, so that the session is found by it."""
    where: Any = {"configurable": {"thread_id": name, "checkpoint_ns": ""}, "metadata": {"run_id": f"run {name}"}}
    care.put(where, "000001", [])


def test_all_sessions_are_checked_and_the_lists_first(care: Care) -> None:
    for name in ("a", "b", "c"):
        care.log(name)
    care.thread("t")
    care.set("b", layout.index("nowhere", "1"), b"")
    care.set("c", BORN, b"\x01damaged")  # which keeps others from being listed
    progress: list[tuple[int, int]] = []
    found = care.check_all(progress=lambda done, total: progress.append((done, total)))
    assert [(each.id, len(each.problems)) for each in found] == [("a", 0), ("b", 1), ("c", 1), ("t", 0)]
    assert progress == [(number, 4) for number in range(1, 5)]
    found = care.check_all(repair=True)
    assert [(each.id, len(each.problems), len(each.repaired)) for each in found] == [
        ("a", 0, 0), ("b", 0, 1), ("c", 1, 0), ("t", 0, 0),
    ]  # fmt: skip


def test_more_sessions_than_a_page(care: Care) -> None:
    for number in range(250):
        care.form.do(care.manager, "create_session", f"{number:03}")
    assert [each.id for each in care.check_all()] == [f"{number:03}" for number in range(250)]


def test_lines_of_what_is_not_there_are_taken_off_when_they_are_old(care: Care) -> None:
    care.form.do(care.manager, "create_session", "there")
    care.do(REGISTRY, Touch(keys.session("gone"), at=OLD), Touch(keys.session("soon")))
    gone, there = care.check_all()
    assert (gone.id, there.id, there.problems) == ("gone", "there", ())
    assert [str(each) for each in gone.problems] == [
        "unreferenced: the list names session 'gone', which is not there (a repair puts it right)"
    ]
    (repaired,) = [each for each in care.check_all(repair=True) if each.repaired]
    assert repaired.id == "gone"
    assert repaired.problems == ()
    assert [each.id for each in care.check_all(repair=True)] == ["there"]
    assert line(care, "soon")
    assert care.do(REGISTRY, Get(named(b"n", "gone"))) == [None]


@pytest.mark.parametrize("letter", [b"c", b"a"])
def test_a_row_of_the_index_that_is_gone(care: Care, letter: bytes) -> None:
    for name in ("a", "b"):
        care.form.do(care.manager, "create_session", name)
    before = everything(care)
    care.do(REGISTRY, Delete(of_index(care, "a", letter)))
    by = "created" if letter == b"c" else "updated"
    assert names(care, by) == ["b"]
    wrong, *_ = care.check_all()
    assert (wrong.id, [each.kind for each in wrong.problems]) == (None, ["missing"])
    repaired, *rest = care.check_all(repair=True)
    assert (repaired.id, repaired.problems, repaired.repaired) == (None, (), ("put a row of a list back",))
    assert [each.id for each in rest] == ["a", "b"]
    assert names(care, by) == ["a", "b"]
    assert everything(care) == before
    assert care.lists() == []


def test_rows_of_the_index_that_are_too_many(care: Care) -> None:
    care.form.do(care.manager, "create_session", "a")
    before = everything(care)
    extra = [b"c%012x" % OLD + keys.session("a"), b"x%012x" % (1 << 44) + keys.session("a"), b"cxyz", b"r"]
    care.do(REGISTRY, *(Put(key, b"") for key in extra))
    assert len(care.lists()) == 4
    repaired, *_ = care.check_all(repair=True)
    assert (repaired.id, repaired.problems) == (None, ())
    assert everything(care) == before


@pytest.mark.parametrize("record", [None, b"", b"x" * 36, b"0" * 35])
def test_a_record_that_is_lost_comes_back_from_the_other_rows(care: Care, record: bytes | None) -> None:
    run(care, "a")
    care.form.do(care.manager, "create_session", "b")
    before, key = everything(care), named(b"n", "a")
    care.do(REGISTRY, Delete(key) if record is None else Put(key, record))
    assert names(care) == ["b"]
    found = care.check_all()
    assert [each.id for each in found] == [None, "a", "b"]
    assert "no page names it" in str(found[0].problems[0])
    repaired, *rest = care.check_all(repair=True)
    assert (repaired.problems, repaired.repaired) == ((), ("listed 'a' again",))
    assert [each.id for each in rest] == ["a", "b"]
    assert everything(care) == before


@pytest.mark.parametrize("record", [None, b"x" * 36])
def test_a_session_that_is_listed_again_is_so_once_and_is_as_old_as_before(care: Care, record: bytes | None) -> None:
    """Of a thread nothing but the other rows of the list tells when it was begun."""
    care.do(REGISTRY, Touch(keys.session("a"), at=OLD))
    run(care, "a")
    run(care, "ab")
    before, key = everything(care), named(b"n", "a")
    care.do(REGISTRY, Delete(key) if record is None else Put(key, record), Put(b"x%012x" % (1 << 44) + key[1:], b""))
    assert care.repaired("a") == ["listed 'a' again"]
    assert everything(care) == before
    assert names(care) == names(care, "updated") == ["a", "ab"]


def test_a_record_that_is_lost_with_its_index_is_written_anew(care: Care) -> None:
    care.form.do(care.manager, "create_session", "a")
    born = care.form.do(care.form.do(care.manager, "get_session", "a"), "info")
    care.do(REGISTRY, Delete(of_index(care, "a", b"c")), Delete(of_index(care, "a", b"a")), Put(named(b"n", "a"), b"?"))
    assert care.check_all(repair=True)[0].repaired == ("listed 'a' again",)
    (info,) = care.form.everything(care.other())
    assert info.created_at == born.created_at
    assert care.lists() == []


def test_a_session_with_an_end_is_listed_with_one_again(care: Care) -> None:
    session = care.form.do(care.manager, "create_session", "a", ttl=1000)
    end = care.form.do(session, "info").expires_at
    care.do(REGISTRY, Put(named(b"n", "a"), b"?"))
    care.check_all(repair=True)
    (info,) = care.form.everything(care.other())
    assert info.expires_at is not None
    assert abs(_seconds(info.expires_at) - _seconds(end)) < 60
    assert care.lists() == []


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


@pytest.mark.parametrize("letter", [b"r", b"t"])
def test_the_runs_by_which_sessions_are_found(care: Care, letter: bytes) -> None:
    for name in ("a", "b"):
        run(care, name)
    before = everything(care)
    (key,) = [key for key, _ in before if key[:1] == letter and keys.session("a") in key]
    care.do(REGISTRY, Delete(key))
    repaired, *_ = care.check_all(repair=True)
    assert (repaired.id, repaired.problems) == (None, ())
    assert everything(care) == before
    care.form.do(care.other().checkpointer, "delete_for_runs", ["run a"])
    assert names(care) == ["b"]


def test_what_is_left_of_a_line_that_names_nothing_goes(care: Care) -> None:
    run(care, "a")
    care.form.do(care.manager, "create_session", "b")
    record = line(care, "a")
    before = [row for row in everything(care) if keys.session("a") not in row[0]]
    care.form.do(care.form.do(care.manager, "get_session", "a"), "delete")
    name, run_name = keys.session("a"), keys.encode("run a")
    left = [b"c" + record[:12] + name, b"r" + run_name + name, b"t" + name + b"\x01" + run_name]
    care.do(REGISTRY, *(Put(key, b"") for key in left))
    assert len(care.lists()) == 1
    care.check_all(repair=True)
    assert everything(care) == before


def test_a_row_that_nobody_knows_stays(care: Care) -> None:
    care.do(REGISTRY, Put(b"zzz", b"new"))
    (checked,) = care.check_all(repair=True)
    assert (checked.id, checked.repaired) == (None, ())
    assert "a newer version" in checked.problems[0].help
    assert care.do(REGISTRY, Get(b"zzz")) == [b"new"]


def test_the_list_of_namespaces(care: Care) -> None:
    store = care.manager.store
    care.form.do(store, "put", ("users", "ann"), "diet", {"likes": "noodles"})
    name = keys.encode("store", "users", "ann")
    care.do(STORE, Put(b"n" + name, b"?"))
    assert care.form.do(care.other().store, "list_namespaces") == []
    (repaired,) = care.check_all(repair=True)
    assert (repaired.id, repaired.problems, repaired.repaired) == (None, (), ("listed 'ann' again",))
    assert care.form.do(care.other().store, "list_namespaces") == [("users", "ann")]


@pytest.mark.parametrize("kind", ["redis7"])
def test_a_place_that_is_somebody_elses(care: Care, look: Look, redis7: RedisServer) -> None:
    before = set(look())
    care.form.do(care.manager, "create_session", "a")
    (place,) = [name for name in look() if name not in before and b"registry" not in name]
    with redis.Redis.from_url(redis7.url) as client:
        client.delete(place)
        client.set(place, "mine")
        care.do(REGISTRY, Forget(keys.session("a")), Touch(keys.session("a"), at=OLD))
        (checked,) = care.check_all(repair=True)
        assert (checked.id, checked.problems, len(checked.repaired)) == ("a", (), 1)
        assert client.get(place) == b"mine"
        client.delete(place)
    assert care.check_all() == []
