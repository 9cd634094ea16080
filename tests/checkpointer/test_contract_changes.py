"""What is put again, taken away or made anew by somebody else is seen at once; and checkpoints of old versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.serde.types import TASKS
from langgraph.types import Send
from support.savers import Saver, checkpoint, config

Make = Callable[..., Saver]


def workers(saver: Saver, saver_on: Make) -> Iterator[Saver]:
    """The worker that wrote, another that has read nothing yet, and that one again."""
    cold = saver_on()
    yield from (saver, cold, cold)


def test_a_checkpoint_that_is_put_again_is_replaced(saver: Saver, saver_on: Make, thread: str) -> None:
    other = saver_on()
    for ns in ("", "sub"):
        parent = saver.put(config(thread, ns), checkpoint({"a": "0" * 300}, {"a": 0}))
        saved = checkpoint({"a": "1" * 300, "b": 1}, {"a": 1, "b": 1})
        here = saver.put(config(thread, ns), saved, {"source": "loop", "step": 1})
        assert other.load(here).checkpoint == saved
        again = checkpoint({"a": "2" * 300, "c": 2}, {"a": 2, "c": 2}, id=saved["id"], ts="later")
        assert saver_on().put(parent, again, {"source": "fork", "step": 2}) == here
        for worker in (*workers(saver, saver_on), other):
            found = worker.load(here)
            assert found.checkpoint == again
            assert found.metadata == {"source": "fork", "step": 2}
            assert found.parent_config == parent
            assert [one.checkpoint["id"] for one in worker.list(config(thread, ns))].count(saved["id"]) == 1
        after = saver.put(here, checkpoint({"c": 3}, {"a": 2, "c": 3}), {}, {"c": 3})
        assert other.load(after).checkpoint["channel_values"] == {"a": "2" * 300, "c": 3}


def test_a_checkpoint_of_another_worker_is_the_latest_at_once(saver: Saver, saver_on: Make, thread: str) -> None:
    hands = [saver, saver_on(), saver_on()]
    here = config(thread)
    messages: list[Any] = []
    for number in range(9):
        messages.append(HumanMessage(content=f"{number} " * 60, id=str(number)))
        here = hands[number % 3].put(here, checkpoint({"m": list(messages)}, {"m": number}))
        for worker in hands:
            found = worker.load(config(thread))
            assert found.config == here
            assert found.checkpoint["channel_values"] == {"m": messages}
            assert len(worker.list(config(thread))) == number + 1
    assert saver.check(thread) == []


@pytest.mark.parametrize("size", [1, 300])
def test_a_thread_that_was_deleted_and_begun_again_is_the_new_one(
    saver: Saver, saver_on: Make, thread: str, size: int
) -> None:
    other, third = saver_on(), saver_on()
    versions = {"a": 1, "m": 1}

    def values(word: str) -> dict[str, Any]:
        return {"a": word * size, "m": [HumanMessage(content=word * size, id=str(n)) for n in range(3)]}

    here = saver.put(config(thread), checkpoint(values("old"), versions, id="1"))
    saver.put_writes(here, [("a", "old")], "task")
    for worker in (other, third):
        assert worker.load(here).checkpoint["channel_values"] == values("old")
    other.delete_thread(thread)
    for worker in (saver, other, third):
        assert worker.get(here) is None
        assert worker.get(config(thread)) is None
    third.put(config(thread), checkpoint(values("new"), versions, id="1"))
    for worker in (saver, other, third, saver_on()):
        found = worker.load(here)
        assert found.checkpoint["channel_values"] == values("new")
        assert found.pending_writes == []
        assert [one.checkpoint["channel_values"] for one in worker.list(config(thread))] == [values("new")]


@pytest.mark.parametrize("size", [1, 300])
def test_a_worker_goes_on_from_a_checkpoint_that_was_deleted_meanwhile(
    saver: Saver, saver_on: Make, thread: str, size: int
) -> None:
    messages = [HumanMessage(content="x" * size, id=str(number)) for number in range(3)]
    here = saver.put(config(thread), checkpoint({"a": "a" * size, "m": messages}))
    saver_on().delete_thread(thread)
    values = {"a": "a" * size, "m": [*messages, HumanMessage(content="y" * size, id="y")]}
    after = saver.put(here, checkpoint(values, {"a": 1, "m": 2}), None, {"m": 2})
    for worker in workers(saver, saver_on):
        found = worker.load(after)
        assert found.checkpoint["channel_values"] == values
        assert found.parent_config == here
        assert worker.get(here) is None
    assert saver.check(thread) == []


# -- checkpoints before version 4 keep packets as writes of their parent


def packets(saver: Saver, thread: str, ns: str, v: Any) -> tuple[Any, Any]:
    """A checkpoint of an old version whose parent has packets among its writes."""
    versions = {"a": f"{2:032}.{5:016}", "b": f"{10:032}.{1:016}"}
    parent = saver.put(config(thread, ns), checkpoint({"a": 1, "b": 2}, versions, v=v, pending_sends=[]))
    saver.put_writes(parent, [("a", 1), (TASKS, Send("n", 3)), (TASKS, Send("n", 4))], "task-b", "path-2")
    saver.put_writes(parent, [(TASKS, Send("n", 5))], "task-a", "path-2")
    saver.put_writes(parent, [(TASKS, Send("n", 1)), ("b", 2), (TASKS, Send("n", 2))], "task-z", "path-1")
    child = saver.put(parent, checkpoint({"a": 1, "b": 2}, versions, v=v, pending_sends=[]))
    return parent, child


SENDS = [Send("n", 1), Send("n", 2), Send("n", 5), Send("n", 3), Send("n", 4)]


@pytest.mark.parametrize("ns", ["", "node:1|sub:2"])
@pytest.mark.parametrize("v", [1, 3])
def test_packets_of_old_checkpoints_become_a_channel(
    saver: Saver, saver_on: Make, thread: str, v: int, ns: str
) -> None:
    parent, child = packets(saver, thread, ns, v)
    for worker in workers(saver, saver_on):
        listed = {one.config["configurable"]["checkpoint_id"]: one for one in worker.list(config(thread, None))}
        for found in (
            worker.load(child),
            worker.load(config(thread, ns)),
            listed[child["configurable"]["checkpoint_id"]],
        ):
            assert found.checkpoint["channel_values"] == {"a": 1, "b": 2, TASKS: SENDS}
            assert found.checkpoint["channel_versions"][TASKS] == f"{10:032}.{1:016}"
            assert found.checkpoint["v"] == v
            assert found.pending_writes == []
        for found in (worker.load(parent), listed[parent["configurable"]["checkpoint_id"]]):
            assert found.checkpoint["channel_values"] == {"a": 1, "b": 2}
            assert TASKS not in found.checkpoint["channel_versions"]
    assert saver.check(thread) == []


def test_packets_of_new_checkpoints_stay_writes(saver: Saver, saver_on: Make, thread: str) -> None:
    _, child = packets(saver, thread, "", 4)
    for worker in workers(saver, saver_on):
        assert worker.load(child).checkpoint["channel_values"] == {"a": 1, "b": 2}
        assert TASKS not in worker.load(child).checkpoint["channel_versions"]


def test_packets_count_when_they_come_after_the_child_and_without_versions(
    saver: Saver, saver_on: Make, thread: str
) -> None:
    parent = saver.put(config(thread), checkpoint(v=1))
    child = saver.put(parent, checkpoint(v=1))
    assert saver.load(child).checkpoint["channel_values"] == {}
    assert saver.load(child).checkpoint["channel_versions"] == {}
    saver.put_writes(parent, [(TASKS, Send("n", 1))], "task")
    for worker in workers(saver, saver_on):
        found = worker.load(child).checkpoint
        assert found["channel_values"] == {TASKS: [Send("n", 1)]}
        assert list(found["channel_versions"]) == [TASKS]
        assert worker.checkpointer.get_next_version(found["channel_versions"][TASKS], None) > f"{1:032}."


@pytest.mark.parametrize("number", [3, 3.0])
def test_packets_take_the_greatest_number_as_their_version(
    saver: Saver, saver_on: Make, thread: str, number: Any
) -> None:
    parent = saver.put(config(thread), checkpoint(v=3))
    saver.put_writes(parent, [(TASKS, Send("n", 1))], "task")
    child = saver.put(parent, checkpoint({"a": 1, "b": 1, "c": 1}, {"a": number, "b": 20, "c": number - 1}, v=3))
    for worker in workers(saver, saver_on):
        assert worker.load(child).checkpoint["channel_versions"][TASKS] == 20


def test_packets_survive_a_copy_and_a_prune(saver: Saver, saver_on: Make, thread: str) -> None:
    parent, child = packets(saver, thread, "", 3)
    saver.copy_thread(thread, f"{thread}-copy")
    copied = saver.load(config(f"{thread}-copy"))
    assert copied.checkpoint["channel_values"] == {"a": 1, "b": 2, TASKS: SENDS}
    saver.prune([f"{thread}-copy"])
    for worker in workers(saver, saver_on):
        found = worker.list(config(f"{thread}-copy"))
        assert [one.checkpoint["id"] for one in found] == [child["configurable"]["checkpoint_id"]]
        assert found[0].checkpoint["channel_values"] == {"a": 1, "b": 2, TASKS: SENDS}
        assert worker.load(child).checkpoint["channel_values"] == {"a": 1, "b": 2, TASKS: SENDS}
        assert len(worker.load(parent).pending_writes or []) == 7
