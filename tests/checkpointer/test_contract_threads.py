"""Whole threads: deleting them and copying them, and how they are told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.serde.types import INTERRUPT
from langgraph.types import Send
from support.savers import Saver, checkpoint, config

from langgraph_sessionstore import ConflictError, keys, run
from langgraph_sessionstore.ops import Get, Page, Put, Range, must

Make = Callable[..., Saver]
ODD = [
    *(
        "{x}",
        "{}",
        "a:b",
        "*",
        "?",
        "[a]",
        "%",
        "_",
        "\0",
        "\0\0",
        "\x01",
        "/",
        "../up",
        "🙂",
        "\n",
        " ",
        "é",
        "e\u0301",
    ),
    *("a", "ab", "A", "a\0", "\ud800", "'; drop table", "x" * 300),
]


def workers(saver: Saver, saver_on: Make) -> Iterator[Saver]:
    """The worker that wrote, another that has read nothing yet, and that one again."""
    cold = saver_on()
    yield from (saver, cold, cold)


def rows(saver: Saver, thread: str) -> list[Any]:
    """All that is stored of a thread."""
    partition = keys.session(thread)
    stored, incarnation = run(saver.checkpointer.backend, must(partition, Range(b"", None), Get(keys.INCARNATION)))
    return [*stored, *filter(None, [incarnation])]


def is_listed(saver: Saver, thread: str) -> bool:
    """Whether the thread is among all threads."""
    name = keys.session(thread)
    (page,) = run(saver.checkpointer.backend, must(keys.registry("session"), Page("name", prefix=name)))
    return name in [entry.name for entry in page.rows]


def fill(saver: Saver, thread: Any, metadata: Any = None) -> list[Any]:
    """A chain of three checkpoints with writes in each of three namespaces; where they are."""
    places = []
    for ns in ("", "node:1", "node:1|sub:2"):
        here = config(thread, ns)
        messages: list[Any] = []
        for number in range(3):
            messages.append(HumanMessage(content=f"{thread} {number} " * 20, id=str(number)))
            values = {"m": list(messages), "n": number, "big": f"{ns}{number}" * 200, "kept": f"{thread}" * 30}
            new = {"m": number, "n": number, "big": number, **({"kept": 0} if not number else {})}
            here = saver.put(here, checkpoint(values, {**new, "kept": 0}), metadata, new)
            saver.put_writes(here, [("n", number), (INTERRUPT, ns)], "task", "path")
            saver.put_writes(here, [("n", [thread])], "other")
            places.append(here)
    return places


def held(saver: Saver, thread: Any) -> list[Any]:
    """All checkpoints of a thread, without its name."""
    found = saver.list(config(thread, None))
    for one in found:
        for place in (one.config, one.parent_config or {"configurable": {"thread_id": thread}}):
            assert place["configurable"].pop("thread_id") == thread
    return found


# -- deleting


def test_a_deleted_thread_leaves_nothing(saver: Saver, saver_on: Make, thread: str) -> None:
    places = fill(saver, thread, {"run_id": f"{thread}-run"})
    saver.put_writes(config(thread, "elsewhere", "never put"), [("a", 1)], "task")
    cold = saver_on()
    cold.load(config(thread))
    assert is_listed(saver, thread)
    assert rows(saver, thread)
    for deleter in (saver, cold):
        deleter.delete_thread(thread)
        for worker in (saver, cold, saver_on()):
            assert rows(worker, thread) == []
            assert not is_listed(worker, thread)
            assert worker.list(config(thread, None)) == []
            assert [worker.get(place) for place in places] == [None] * len(places)
            assert worker.check(thread) == []
        fill(saver, thread, {"run_id": f"{thread}-run"})
        assert is_listed(saver, thread)


def test_deleting_a_thread_that_is_not_there_does_nothing(saver: Saver, thread: str) -> None:
    saver.delete_thread(thread)
    assert rows(saver, thread) == []
    assert not is_listed(saver, thread)


def test_threads_are_told_apart_whatever_they_are_called(saver: Saver, saver_on: Make, thread: str) -> None:
    threads = [thread, *(thread + odd for odd in ODD), *(odd + thread for odd in ODD)]
    for name in threads:
        here = saver.put(config(name), checkpoint({"a": name}, id="1"))
        saver.put(config(name, "sub"), checkpoint({"a": name}, id="1"))
        saver.put_writes(here, [("a", name)], "task")
    cold = saver_on()
    for name in threads:
        found = cold.load(config(name))
        assert found.config == config(name, "", "1")
        assert found.checkpoint["channel_values"] == {"a": name}
        assert found.pending_writes == [("task", "a", name)]
        assert len(cold.list(config(name, None))) == 2
    while threads:
        name = threads.pop(0)
        saver.delete_thread(name)
        assert rows(saver, name) == []
        assert cold.list(config(name, None)) == []
        assert not is_listed(cold, name)
        for other in threads[:3] + threads[-3:]:
            assert cold.load(config(other)).pending_writes == [("task", "a", other)]
            assert is_listed(cold, other)


def test_a_thread_is_not_one_whose_name_it_begins(saver: Saver, saver_on: Make, thread: str) -> None:
    names = [thread + end for end in ("", "b", "bc", "\0", ":", "|")]
    wanted = {}
    for name in names:
        fill(saver, name)
        wanted[name] = saver.list(config(name, None)), rows(saver, name)
    for gone in (names[0], names[1]):
        saver.delete_thread(gone)
        del wanted[gone]
        for worker in workers(saver, saver_on):
            for name, (found, stored) in wanted.items():
                assert worker.list(config(name, None)) == found
                assert rows(worker, name) == stored
                assert is_listed(worker, name)


def test_what_is_not_of_checkpoints_stays_in_the_session(saver: Saver, thread: str) -> None:
    fill(saver, thread)
    mine = keys.encode("mine", 1)
    run(saver.checkpointer.backend, must(keys.session(thread), Put(mine, b"kept")))
    saver.delete_thread(thread)
    assert rows(saver, thread)[:-1] == [(mine, b"kept")]
    assert is_listed(saver, thread)
    assert saver.list(config(thread, None)) == []


@pytest.mark.parametrize("way", ["thread", "run", "prune"])
def test_a_thread_that_begins_again_is_listed_again(saver: Saver, thread: str, way: str) -> None:
    place = config(thread)
    saver.put(place, checkpoint(), {"source": "loop", "run_id": f"{thread}-run"})
    if way == "thread":
        saver.delete_thread(thread)
    elif way == "run":
        saver.delete_for_runs([f"{thread}-run"])
    else:
        saver.prune([thread], strategy="delete")
    assert not is_listed(saver, thread)
    saver.put(place, checkpoint(), {"source": "loop", "run_id": f"{thread}-run"})
    assert is_listed(saver, thread)
    saver.delete_for_runs([f"{thread}-run"])
    assert rows(saver, thread) == []


def test_a_thread_that_another_worker_deleted_is_listed_again_with_the_next_turn(
    saver: Saver, saver_on: Make, thread: str
) -> None:
    fill(saver, thread)
    saver_on().delete_thread(thread)
    assert not is_listed(saver, thread)
    saver.put(config(thread), checkpoint(), {"source": "input", "step": -1})
    assert is_listed(saver, thread)


# -- copying


def test_a_copy_holds_the_whole_chain_with_all_writes(saver: Saver, saver_on: Make, thread: str) -> None:
    target = f"{thread}-copy"
    fill(saver, thread)
    wanted = held(saver, thread)
    assert len(wanted) == 9
    assert all(one.pending_writes for one in wanted)
    before = rows(saver, thread)
    saver.copy_thread(thread, target)
    for worker in workers(saver, saver_on):
        assert held(worker, target) == wanted
        assert held(worker, thread) == wanted
        latest = worker.load(config(target))
        assert latest.config["configurable"]["thread_id"] == target
        assert latest.parent_config is not None
        assert worker.load(latest.parent_config).checkpoint["channel_values"]["n"] == 1
    assert rows(saver, thread) == before
    assert is_listed(saver, target)
    assert saver.check(target) == []


def test_a_copy_and_its_source_go_separate_ways(saver: Saver, saver_on: Make, thread: str) -> None:
    target = f"{thread}-copy"
    fill(saver, thread)
    saver.copy_thread(thread, target)
    cold = saver_on()
    added = {}
    for worker, name in ((saver, thread), (cold, target), (saver, target), (cold, thread)):
        found = worker.load(config(name))
        messages = [*found.checkpoint["channel_values"]["m"], HumanMessage(content=f"for {name} " * 30, id="new")]
        new = {"m": 100 + len(messages)}
        versions = {**found.checkpoint["channel_versions"], **new}
        values = {**found.checkpoint["channel_values"], "m": messages}
        here = worker.put(found.config, checkpoint(values, versions), None, new)
        worker.put_writes(here, [("a", name)], "task")
        added[name] = here, values
    for worker in workers(saver, saver_on):
        for name, (here, values) in added.items():
            assert worker.load(config(name)).config == here
            assert worker.load(here).checkpoint["channel_values"] == values
            assert worker.load(here).pending_writes == [("task", "a", name)]
    wanted = held(saver, target)
    saver.delete_thread(thread)
    for worker in workers(saver, saver_on):
        assert held(worker, target) == wanted
        assert worker.get(config(thread)) is None
    assert saver.check(target) == []


@pytest.mark.parametrize("filled", [True, False], ids=["thread", "nothing"])
def test_a_copy_never_goes_onto_a_thread_that_is_there(saver: Saver, saver_on: Make, thread: str, filled: bool) -> None:
    target = f"{thread}-copy"
    if filled:
        fill(saver, thread)
    fill(saver, target)
    wanted = held(saver, target), rows(saver, target)
    with pytest.raises(ConflictError, match=target):
        saver.copy_thread(thread, target)
    for worker in workers(saver, saver_on):
        assert (held(worker, target), rows(worker, target)) == wanted
        assert is_listed(worker, target)
        assert is_listed(worker, thread) == filled


def test_of_nothing_nothing_is_copied(saver: Saver, thread: str) -> None:
    saver.copy_thread(thread, f"{thread}-copy")
    for name in (thread, f"{thread}-copy"):
        assert rows(saver, name) == []
        assert not is_listed(saver, name)


def test_a_copy_may_be_made_where_a_thread_was_deleted(saver: Saver, saver_on: Make, thread: str) -> None:
    target = f"{thread}-copy"
    cold = saver_on()
    fill(saver, thread)
    fill(cold, target)
    cold.load(config(target))
    saver.delete_thread(target)
    saver.copy_thread(thread, target)
    for worker in (saver, cold, saver_on()):
        assert held(worker, target) == held(worker, thread)


def test_threads_may_be_copied_and_deleted_by_their_numbers(saver: Saver, thread: str) -> None:
    source, target = (int(part, 16) for part in thread.split("-")[2:4])
    source, target = source + 10**20, target + 2 * 10**20
    fill(saver, source)
    saver.copy_thread(source, target)  # type: ignore[arg-type]
    assert held(saver, target) == held(saver, source)
    saver.prune([source, target], strategy="delete")  # type: ignore[list-item]
    for number in (source, target):
        assert rows(saver, str(number)) == []
    assert saver.get(config(str(source))) is None


def test_packets_keep_their_types_in_a_copy(saver: Saver, saver_on: Make, thread: str) -> None:
    here = saver.put(config(thread), checkpoint({"s": [Send("n", (1, 2))]}))
    saver.put_writes(here, [("s", Send("n", {1: (2,)}))], "task")
    saver.copy_thread(thread, f"{thread}-copy")
    for worker in workers(saver, saver_on):
        found = worker.load(config(f"{thread}-copy"))
        assert found.checkpoint["channel_values"] == {"s": [Send("n", (1, 2))]}
        assert found.pending_writes == [("task", "s", Send("n", {1: (2,)}))]
