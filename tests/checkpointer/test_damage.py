"""Damaged rows: `check` names each of them, reading says where, and everything else can still be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from checkpointer.test_sharing import TEXT, put, same, says, values, whole
from support.savers import Saver, checkpoint, config

from langgraph_sessionstore import Backend, CorruptData, keys, run
from langgraph_sessionstore.adapters.checkpointer import SessionCheckpointer
from langgraph_sessionstore.ops import Delete, Op, Put, Range, must
from langgraph_sessionstore.plans import layout

Make = Callable[..., Saver]
FIRST, SECOND = "000001", "000002"


class Damaged:
    """A thread of three checkpoints, in which the second is damaged: the others share nothing with it."""

    def __init__(self, make: Make, thread: str) -> None:
        self.make, self.thread = make, thread
        saver = make()
        put(saver, config(thread), 1, {"messages": says(0)})
        where = put(make(), config(thread), 2, {"messages": says(1, 2), "text": TEXT, "n": 1}, x=1)
        saver.put_writes(where, [("messages", TEXT)], "task")
        put(saver, config(thread, "inner"), 3, {"messages": says(3)})
        self.where = where
        assert whole(saver, thread)

    def do(self, *ops: Op) -> Any:
        saver = self.make()
        return run(saver.checkpointer.backend, must(keys.session(self.thread), *ops))

    def row(self, span: keys.Span, number: int = 0) -> tuple[bytes, bytes]:
        found: tuple[bytes, bytes] = self.do(Range(*span))[0][number]
        return found

    def elements(self) -> list[tuple[bytes, bytes]]:
        """Those of the second checkpoint's messages."""
        return [row for row in self.do(Range(*layout.ELEMENTS))[0] if b"m1" in row[1] or b"m2" in row[1]]

    def problems(self) -> list[str]:
        return [str(problem) for problem in self.make().check(self.thread)]

    def others_can_be_read(self) -> None:
        saver = self.make()
        assert same(values(saver, config(self.thread, "", FIRST))["messages"], says(0))
        assert same(values(saver, config(self.thread, "inner"))["messages"], says(3))
        assert len(saver.list(config(self.thread, "inner"))) == 1

    def cannot_be_read(self, *places: str) -> None:
        for reading in (lambda: self.make().get(self.where), lambda: self.make().list(config(self.thread))):
            with pytest.raises(CorruptData) as caught:
                reading()
            for place in (self.thread, *places):
                assert place in str(caught.value)


@pytest.fixture
def damaged(saver_on: Make, thread: str) -> Iterator[Damaged]:
    yield Damaged(saver_on, thread)
    saver_on().delete_thread(thread)  # nobody else shall meet it when listing all threads


def test_a_missing_element(damaged: Damaged) -> None:
    key, _ = damaged.elements()[1]
    _, branch, slot = keys.decode(key)
    damaged.do(Delete(key))
    (problem,) = damaged.problems()
    assert problem.startswith(f"missing: element {slot} of branch {branch} in thread {damaged.thread!r}; without it ")
    assert f"checkpoint {SECOND!r} cannot be read" in problem
    damaged.cannot_be_read(f"element {slot}", f"branch {branch}")
    damaged.others_can_be_read()


@pytest.mark.parametrize(
    "harm", [lambda raw: b"\x00" + raw[1:], lambda raw: raw[:-1], lambda raw: b"", lambda raw: raw[:9]]
)
def test_a_damaged_element(damaged: Damaged, harm: Callable[[bytes], bytes]) -> None:
    key, value = damaged.elements()[0]
    _, branch, slot = keys.decode(key)
    damaged.do(Put(key, harm(value)))
    (problem,) = damaged.problems()
    assert re.match(rf"damaged: element {slot} of branch {branch} in thread '{damaged.thread}'", problem)
    damaged.cannot_be_read(f"element {slot}", f"branch {branch}")
    damaged.others_can_be_read()


@pytest.mark.parametrize(
    "harm", [lambda raw: b"\x00" + raw[1:], lambda raw: raw[:-1], lambda raw: raw[:40], lambda raw: b""]
)
def test_a_damaged_record(damaged: Damaged, harm: Callable[[bytes], bytes]) -> None:
    key, value = layout.record("", SECOND), dict(damaged.do(Range(*layout.RECORDS))[0])[layout.record("", SECOND)]
    damaged.do(Put(key, harm(value)))
    (problem,) = damaged.problems()
    assert problem.startswith(f"damaged: checkpoint {SECOND!r} of thread {damaged.thread!r}")
    damaged.cannot_be_read(SECOND)
    damaged.others_can_be_read()


@pytest.mark.parametrize("harm", [lambda raw: b"\x00" + raw[1:], lambda raw: raw[:-1], lambda raw: b""])
def test_a_damaged_write(damaged: Damaged, harm: Callable[[bytes], bytes]) -> None:
    key, value = damaged.row(layout.WRITES)
    damaged.do(Put(key, harm(value)))
    (problem,) = damaged.problems()
    assert problem.startswith("damaged: the write at ")
    assert "task" in problem
    assert damaged.thread in problem
    damaged.cannot_be_read("write")
    damaged.others_can_be_read()


def test_a_missing_branch_is_named_and_costs_nothing(damaged: Damaged, saver_on: Make) -> None:
    key, _ = damaged.elements()[0]
    branch = keys.decode(key)[1]
    damaged.do(Delete(layout.branch(int(branch))))
    (problem,) = damaged.problems()
    assert f"branch {branch} " in problem
    saver = saver_on()
    assert same(values(saver, damaged.where)["messages"], says(1, 2))
    where = put(saver, damaged.where, 4, {"messages": says(1, 2, 4)})
    assert same(values(saver_on(), where)["messages"], says(1, 2, 4))


@pytest.mark.parametrize("size", [b"1", b"", b"x", b"-1"])
def test_a_branch_that_does_not_know_its_size(damaged: Damaged, size: bytes) -> None:
    branch = int(keys.decode(damaged.elements()[0][0])[1])
    damaged.do(Put(layout.branch(branch), size))
    (problem,) = damaged.problems()
    assert problem.startswith(f"damaged: branch {branch} ")
    damaged.others_can_be_read()


def test_a_missing_index_row(damaged: Damaged) -> None:
    damaged.do(Delete(layout.index("inner", "000003")))
    (problem,) = damaged.problems()
    assert problem.startswith("missing: index row")
    assert "inner" in problem
    damaged.others_can_be_read()


def test_an_index_row_too_many(damaged: Damaged, saver_on: Make) -> None:
    damaged.do(Put(layout.index("nowhere", "000009"), b""))
    (problem,) = damaged.problems()
    assert problem.startswith("unreferenced: index row")
    assert "nowhere" in problem
    assert [each.checkpoint["id"] for each in saver_on().list(config(damaged.thread, None))] == [
        "000003",
        SECOND,
        FIRST,
    ]


def test_an_element_too_many(damaged: Damaged) -> None:
    branch = int(keys.decode(damaged.elements()[0][0])[1])
    damaged.do(Put(layout.element(branch, 9), b"dead"), Put(layout.branch(branch), b"10"))
    assert damaged.problems() == [f"unreferenced: element ({branch}, 9)"]


@pytest.mark.parametrize("kind", ["memory"])
@pytest.mark.parametrize("span", ["RECORDS", "ELEMENTS", "WRITES", "BRANCHES"])
def test_any_byte_of_a_row_that_changes_is_found_or_does_no_harm(
    storage: Callable[[], Backend], thread: str, span: str
) -> None:
    """When `check` finds nothing wrong, all can be read; and nothing but the library's errors comes of damage."""
    backend = storage()
    saver = Saver(SessionCheckpointer(backend, cache_bytes=0), None)
    made = checkpoint({"messages": says(0, 1), "text": TEXT, "n": 1}, versions_seen={"node": {"n": 1}}, id=FIRST)
    where = saver.put(config(thread), made)
    saver.put_writes(where, [("messages", TEXT)], "task")
    partition = keys.session(thread)
    unread: list[tuple[int, int, str]] = []
    for key, value in run(backend, must(partition, Range(*getattr(layout, span))))[0]:
        for at in range(len(value)):
            for flip in (0x01, 0x80, 0xFF):
                run(backend, must(partition, Put(key, value[:at] + bytes([value[at] ^ flip]) + value[at + 1 :])))
                problems = saver.check(thread)
                try:
                    saver.load(where)
                    saver.list(config(thread, None))
                except Exception as exc:
                    if not isinstance(exc, CorruptData) or not problems or thread not in str(exc):
                        unread.append((at, flip, repr(exc)))
        run(backend, must(partition, Put(key, value)))
    assert unread == []
    assert saver.check(thread) == []
