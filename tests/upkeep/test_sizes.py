"""What sessions and a storage take, compared with what lies in the storage by itself."""

from __future__ import annotations

from typing import Any

import pytest
from support.encryption import ENCRYPTED
from support.lifetimes import Look
from support.raw import Rows
from support.savers import checkpoint, config
from upkeep.care import Care, says

from langgraph_sessionstore import Amount, ConfigurationError, CorruptData, SessionNotFound, SessionSize, keys
from langgraph_sessionstore.ops import Touch
from langgraph_sessionstore.plans import layout, moving
from langgraph_sessionstore.plans.places import REGISTRY
from langgraph_sessionstore.sizes import KINDS

LARGE = "x" * 100_000
plain = pytest.mark.skipif(ENCRYPTED, reason="what lies in the storage by itself is larger when it is encrypted")


def size(care: Care, name: str) -> SessionSize:
    """What a session takes, as another worker sees it."""
    found: SessionSize = care.form.do(care.form.do(care.other(), "get_session", name), "size")
    return found


def raw(found: Rows, name: str) -> Amount:
    """What lies in the partition of a session, but for what is remembered of operations."""
    (rows,) = [rows for place, rows in found.items() if b"session" in place and name.encode() in place]
    rows = [row for row in rows if not row.startswith(keys.OPERATIONS)]
    return Amount(len(rows), sum(len(row) - 1 for row in rows))


@plain
def test_every_row_is_counted_once(care: Care, look: Look) -> None:
    care.log("log")
    care.thread("thread")
    for name in ("log", "thread"):
        found = size(care, name)
        assert found.id == name
        assert tuple(found.kinds) == KINDS
        assert Amount(found.rows, found.bytes) == raw(look(), name)
    log, thread = size(care, "log"), size(care, "thread")
    assert {kind for kind in KINDS if log.kinds[kind].rows} == {
        "messages", "summary", "details", "usage", "undo", "items", "system",
    }  # fmt: skip
    assert {kind for kind in KINDS if thread.kinds[kind].rows} == {"checkpoints", "values", "writes", "system"}
    assert (log.checkpoints, thread.checkpoints) == (0, 4)
    assert log.kinds["system"].rows == 1


@pytest.mark.parametrize(
    ("counted", "act"),
    [
        ("messages", lambda care, session: care.form.do(session, "append", "user", LARGE)),
        ("summary", lambda care, session: care.form.do(session, "set_summary", LARGE)),
        ("details", lambda care, session: care.form.do(session, "update", title=LARGE)),
        ("items", lambda care, session: care.form.do(session.store, "put", ("n",), "k", {"v": LARGE})),
        ("values", lambda care, session: care.put(session.config, "1", [*says(1), LARGE])),
        ("writes", lambda care, session: care.form.do(
            care.manager.checkpointer, "put_writes", config(session.id, "", "1"), [("messages", LARGE)], "task"
        )),
        ("undo", lambda care, session: care.form.do(session, "update", title="now in undo")),
    ],
)  # fmt: skip
def test_it_counts_where_it_belongs(care: Care, counted: str, act: Any) -> None:
    session = care.form.do(care.manager, "create_session", "s", title="y" * 100_000 if counted == "undo" else None)
    before = size(care, "s")
    act(care, session)
    after = size(care, "s")
    grown = {each for each in KINDS if after.kinds[each].bytes - before.kinds[each].bytes >= 100_000}
    assert grown == {counted}


def test_what_sharing_saves(care: Care) -> None:
    here: Any = config("t")
    for number in range(20):
        here = care.put(here, f"{number:06}", says(*range(number + 1)))
    found = size(care, "t")
    elements = [(len(key), len(value)) for key, value in care.rows("t", layout.ELEMENTS)]
    assert len(elements) == 20
    full = sum(sum(value for _, value in elements[: number + 1]) for number in range(20))
    assert found.saved == full - sum(map(sum, elements))
    assert found.kinds["values"] == Amount(20, sum(map(sum, elements)))
    again = care.put(here, "000020", says(*range(20)))  # another version of the same content
    assert size(care, "t").saved == found.saved + sum(value for _, value in elements)
    made = care.form.do(care.manager.checkpointer, "get_tuple", again).checkpoint
    care.form.do(care.manager.checkpointer, "put", again, {**made, "id": "000021"}, {}, {})  # the same version again
    assert size(care, "t").saved == found.saved + sum(value for _, value in elements)


def test_what_is_stored_in_full_saves_nothing(care: Care) -> None:
    here: Any = config("t")
    saver = care._manager_on(share=False).checkpointer
    for number in range(3):
        made = checkpoint({"messages": says(*range(number + 1))}, {"messages": number}, id=f"{number:06}")
        here = care.form.do(saver, "put", here, made, {}, made["channel_versions"])
    assert size(care, "t").saved == 0
    care.put(config("u"), "1", says(1))
    assert size(care, "u").saved < 0  # one version: the keys of its elements


def test_a_large_session_is_read_in_pieces(care: Care, monkeypatch: pytest.MonkeyPatch) -> None:
    """No trip brings much more than a megabyte, but for a row that is larger."""
    session = care.form.do(care.manager, "create_session", "s", messages=["x" * 200_000] * 40)
    seen: list[int] = []
    piece = moving.Reader.piece

    def counted(self: moving.Reader) -> Any:
        rows = yield from piece(self)
        seen.append(sum(len(value) for _, value in rows))
        return rows

    monkeypatch.setattr(moving.Reader, "piece", counted)
    found = care.form.do(session, "size")
    assert found.kinds["messages"].bytes > 8_000_000
    assert max(seen) < 2_000_000
    assert sum(seen) > 8_000_000


def test_a_session_that_is_gone_or_damaged(care: Care) -> None:
    session = care.log("s")
    care.thread("t")
    care.set("t", layout.record("", "000002"), b"\x01damaged")
    with pytest.raises(CorruptData, match="'000002' of thread 't'"):
        size(care, "t")
    care.form.do(care.other(), "delete_session", "s")
    care.form.do(care.other(), "create_session", "s")
    with pytest.raises(SessionNotFound):
        care.form.do(session, "size")


def test_a_whole_storage(care: Care) -> None:
    for name in ("a", "b", "c", "gone", "odd\0/🙂"):
        care.log(name)
    care.thread("t")
    care.form.do(care.form.do(care.manager, "get_session", "c"), "fork", "d")
    care.form.do(care.manager, "delete_session", "gone")
    care.do(REGISTRY, Touch(keys.session("never")))
    store = care.manager.store
    care.form.do(store, "put", ("users", "ann"), "a", {"v": LARGE})
    care.form.do(store, "put", ("users", "ann"), "b", {"v": 1})
    care.form.do(store, "put", ("users", "bob"), "a", {"v": 1})
    care.form.do(care.manager.cache, "set", {(("cached",), "k"): (LARGE, None)})
    progress: list[tuple[int, int]] = []
    stats = care.form.do(care.other(), "stats", largest=3, progress=lambda *at: progress.append(at))
    sizes = [size(care, name) for name in ("a", "b", "c", "d", "odd\0/🙂", "t")]
    assert (stats.sessions, stats.checkpoints, stats.saved) == (6, 4, sum(each.saved for each in sizes))
    assert stats.kinds == {
        kind: Amount(*map(sum, zip(*(each.kinds[kind] for each in sizes), strict=True))) for kind in KINDS
    }
    assert (stats.rows, stats.bytes) == (sum(each.rows for each in sizes), sum(each.bytes for each in sizes))
    ranked = sorted(((each.bytes, each.id) for each in sizes), reverse=True)
    assert stats.largest == tuple((name, taken) for taken, name in ranked[:3])
    assert (stats.namespaces, stats.items) == (2, 3)
    assert 100_000 < stats.store_bytes < 102_000
    assert 100_000 < stats.cache_bytes < 102_000
    assert (stats.unreadable, stats.unreadable_namespaces) == ((), ())
    assert progress[-1] == (7, 7)
    assert care.form.do(care.manager, "stats", largest=0).largest == ()


def test_what_cannot_be_read_is_named_and_stops_nothing(care: Care) -> None:
    for number in range(20):
        care.form.do(care.manager, "create_session", f"{number:02}")
    care.thread("05")
    care.thread("13")
    for name in ("05", "13"):
        care.set(name, layout.record("", "000002"), b"\x01damaged")
    stats = care.form.do(care.other(), "stats")
    assert stats.unreadable == ("05", "13")
    assert (stats.sessions, stats.checkpoints) == (18, 0)


@pytest.mark.parametrize("largest", [-1, 1.5, True, "3", 10_001])
def test_how_many_of_the_largest(care: Care, largest: Any) -> None:
    with pytest.raises(ConfigurationError, match="largest"):
        care.form.do(care.manager, "stats", largest=largest)


def test_an_empty_storage(care: Care) -> None:
    stats = care.form.do(care.manager, "stats")
    assert (stats.sessions, stats.rows, stats.bytes, stats.largest, stats.namespaces) == (0, 0, 0, (), 0)
    assert care.check_all(repair=True) == []
