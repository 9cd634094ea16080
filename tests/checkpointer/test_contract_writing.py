"""Pending writes: in which order they come back, which of them stay, and to what they belong."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import pytest
from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, SCHEDULED
from langgraph.types import Interrupt
from support.savers import Saver, checkpoint, config

from langgraph_sessionstore.adapters.checkpointer import SessionCheckpointer

Make = Callable[..., Saver]


def workers(saver: Saver, saver_on: Make) -> Iterator[Saver]:
    """The worker that wrote, another that has read nothing yet, and that one again."""
    cold = saver_on()
    yield from (saver, cold, cold)


def test_writes_come_in_the_order_of_path_then_task_then_index(saver: Saver, saver_on: Make, thread: str) -> None:
    here = saver.put(config(thread), checkpoint())
    wanted = []
    for task, path in [
        ("task-9", "~__pregel_pull, a"),
        ("task-1", "~__pregel_pull, b"),
        ("task-5", ""),
        ("task-3", "~__pregel_pull, a"),
        ("Task-4", "~__pregel_pull, a"),
        ("täsk", "~__pregel_push, 0000000002"),
        ("task-2", "~__pregel_push, 0000000010"),
    ]:
        writes = [(f"c{number}", [task, number]) for number in range(12)] + [(INTERRUPT, task), (RESUME, task)]
        saver.put_writes(here, writes, task, path)
        for number, (channel, value) in enumerate(writes):
            wanted.append((path, task, WRITES_IDX_MAP.get(channel, number), (task, channel, value)))
    in_order = [write for *_, write in sorted(wanted, key=lambda each: each[:3])]
    for worker in workers(saver, saver_on):
        assert worker.load(here).pending_writes == in_order
        assert worker.list(here)[0].pending_writes == in_order


def test_what_a_task_wrote_first_stays(saver: Saver, saver_on: Make, thread: str) -> None:
    here = saver.put(config(thread), checkpoint())
    saver.put_writes(here, [("a", 1), ("b", 2)], "task", "first")
    saver.put_writes(here, [("a", 10), ("b", 20)], "task", "second")
    saver_on().put_writes(here, [("x", 100), ("y", 200)], "task", "third")
    saver.put_writes(here, [("a", 3)], "other", "first")
    for worker in workers(saver, saver_on):
        assert worker.load(here).pending_writes == [("other", "a", 3), ("task", "a", 1), ("task", "b", 2)]


def test_of_a_longer_repeat_only_what_is_new_is_added(saver: Saver, saver_on: Make, thread: str) -> None:
    memory = InMemorySaver()
    here = config(thread, "", "1")
    for target in (saver, memory):
        target.put(config(thread), checkpoint(id="1"), {}, {})
        target.put_writes(here, [("a", 1)], "task")
        target.put_writes(here, [("b", 10), ("c", 20), ("a", 30)], "task", "another path")
    wanted = memory.get_tuple(here)
    assert wanted is not None
    for worker in workers(saver, saver_on):
        assert worker.load(here).pending_writes == wanted.pending_writes
        assert wanted.pending_writes == [("task", "a", 1), ("task", "c", 20), ("task", "a", 30)]


def test_special_channels_keep_what_was_written_last(saver: Saver, saver_on: Make, thread: str) -> None:
    assert set(WRITES_IDX_MAP) == {ERROR, SCHEDULED, INTERRUPT, RESUME}
    memory = InMemorySaver()
    here = config(thread, "", "1")
    for target in (saver, memory):
        target.put(config(thread), checkpoint(id="1"), {}, {})
        for turn in (1, 2):
            target.put_writes(here, [(channel, turn) for channel in WRITES_IDX_MAP], "task", str(turn))
            target.put_writes(here, [("plain", turn), (RESUME, [turn]), (RESUME, [turn, turn])], "other")
    wanted = memory.get_tuple(here)
    assert wanted is not None
    for worker in workers(saver, saver_on):
        found = worker.load(here).pending_writes or []
        assert sorted(found, key=str) == sorted(wanted.pending_writes or [], key=str)
        assert {channel: value for task, channel, value in found if task == "task"} == dict.fromkeys(WRITES_IDX_MAP, 2)
        assert [(channel, value) for task, channel, value in found if task == "other"] == [
            (RESUME, [2, 2]),
            ("plain", 1),
        ]


def test_a_special_write_leaves_ordinary_ones_alone(saver: Saver, saver_on: Make, thread: str) -> None:
    here = saver.put(config(thread), checkpoint())
    saver.put_writes(here, [(INTERRUPT, "stop"), ("a", 1)], "task")
    saver.put_writes(here, [(ERROR, "no"), (RESUME, "go")], "task")
    for worker in workers(saver, saver_on):
        assert worker.load(here).pending_writes == [
            ("task", RESUME, "go"),
            ("task", INTERRUPT, "stop"),
            ("task", ERROR, "no"),
            ("task", "a", 1),
        ]


def test_writes_may_come_before_their_checkpoint(saver: Saver, saver_on: Make, thread: str) -> None:
    new = checkpoint({"a": 1})
    here = config(thread, "", new["id"])
    saver.put_writes(here, [("a", 2)], "task")
    for worker in workers(saver, saver_on):
        assert worker.get(here) is None
        assert worker.get(config(thread)) is None
        assert worker.list(config(thread)) == []
    saver.put(config(thread), new)
    for worker in workers(saver, saver_on):
        assert worker.load(here).pending_writes == [("task", "a", 2)]
        assert worker.load(config(thread)).pending_writes == [("task", "a", 2)]


def test_writes_stay_when_the_next_checkpoint_is_stored_and_when_theirs_is_put_again(
    saver: Saver, saver_on: Make, thread: str
) -> None:
    first = checkpoint({"a": 1})
    here = saver.put(config(thread), first)
    saver.put_writes(here, [("a", 2), (INTERRUPT, "stop")], "task")
    after = saver.put(here, checkpoint({"a": 2}))
    saver_on().put(config(thread), first)
    for worker in workers(saver, saver_on):
        assert worker.load(here).pending_writes == [("task", INTERRUPT, "stop"), ("task", "a", 2)]
        assert worker.load(after).pending_writes == []


def test_writes_belong_to_a_checkpoint_a_namespace_and_a_thread(saver: Saver, saver_on: Make, thread: str) -> None:
    spaces = ["", "node", "node:1", "node:1|sub:2", "no", "1"]
    places = [(name, ns, number) for name in (thread, thread + "1") for ns in spaces for number in ("1", "2", "12")]
    for name, ns, number in places:
        saver.put(config(name, ns), checkpoint(id=number))
    for name, ns, number in places:
        saver.put_writes(config(name, ns, number), [("a", (name, ns, number))], "task")
    for worker in workers(saver, saver_on):
        for name, ns, number in places:
            found = worker.load(config(name, ns, number))
            assert found.pending_writes == [("task", "a", (name, ns, number))]
        for name in (thread, thread + "1"):
            for found in worker.list(config(name, None)):
                where = found.config["configurable"]
                assert found.pending_writes == [("task", "a", (name, where["checkpoint_ns"], where["checkpoint_id"]))]


def test_task_ids_are_not_taken_for_one_another(saver: Saver, saver_on: Make, thread: str) -> None:
    here = saver.put(config(thread), checkpoint())
    tasks = ["a", "ab", "a:b", "a|b", "a\0", "a\x01", "", "{a}", "a/1", "ä", "🙂"]
    for task in tasks:
        saver.put_writes(here, [("c", task)], task)
    for worker in workers(saver, saver_on):
        assert worker.load(here).pending_writes == [(task, "c", task) for task in sorted(tasks)]


def test_an_error_is_a_write_like_any_other(saver: Saver, saver_on: Make, thread: str) -> None:
    here = saver.put(config(thread), checkpoint())
    saver.put_writes(here, [(ERROR, "ValueError('no')")], "failed")
    saver.put_writes(here, [("a", 1)], "fine")
    for worker in workers(saver, saver_on):
        assert worker.load(here).pending_writes == [("failed", ERROR, "ValueError('no')"), ("fine", "a", 1)]


def test_without_writes_there_is_an_empty_list(saver: Saver, saver_on: Make, thread: str) -> None:
    here = saver.put(config(thread), checkpoint())
    saver.put_writes(here, [], "task")
    for worker in workers(saver, saver_on):
        assert worker.load(here).pending_writes == []
        assert worker.list(here)[0].pending_writes == []
    assert saver.check(thread) == []


def test_written_values_keep_their_types_and_are_taken_at_once(saver: Saver, saver_on: Make, thread: str) -> None:
    here = saver.put(config(thread), checkpoint())
    changing = {"list": [1]}
    values = [None, (1, (2,)), {1: "a", (1, 2): "b"}, {1, 2}, b"\0\xff", [Interrupt(value="stop", id="i")], changing]
    writes = [(f"c{number}", value) for number, value in enumerate(values)]
    saver.put_writes(here, writes, "task")
    assert len(writes) == len(values)
    assert changing == {"list": [1]}
    changing["list"].append(2)
    values[-1] = {"list": [1]}
    for worker in workers(saver, saver_on):
        found = worker.load(here).pending_writes or []
        assert [value for _, _, value in found] == values
        assert [type(value) for _, _, value in found] == [type(value) for value in values]
        found[-1][2]["list"].append(3)


def test_large_writes_and_many_of_them_come_back(saver: Saver, saver_on: Make, thread: str) -> None:
    here = saver.put(config(thread), checkpoint())
    saver.put_writes(here, [("a", "x" * 100_000), ("b", "y")], "large")
    for number in range(5):
        saver.put_writes(here, [("c", (number, n)) for n in range(60)], f"task-{number}")
    wanted = [("large", "a", "x" * 100_000), ("large", "b", "y")]
    wanted += [(f"task-{number}", "c", (number, n)) for number in range(5) for n in range(60)]  # type: ignore[misc]
    for worker in workers(saver, saver_on):
        assert worker.load(here).pending_writes == wanted
        assert worker.list(config(thread))[0].pending_writes == wanted


@pytest.mark.parametrize("name", ["put_writes", "aput_writes"])
def test_langgraph_sees_that_writes_may_have_a_task_path(name: str) -> None:
    parameters = inspect.signature(getattr(SessionCheckpointer, name)).parameters
    assert list(parameters) == ["self", "config", "writes", "task_id", "task_path"]
    assert parameters["task_path"].default == ""
