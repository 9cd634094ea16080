"""What is taken away, what stays, and what is not left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from checkpointer.test_sharing import TEXT, put, rows, same, says, values, whole
from support.savers import Saver, checkpoint, config

from langgraph_sessionstore import keys, run
from langgraph_sessionstore.ops import Get, Put, Range, Tally, must
from langgraph_sessionstore.plans import layout, pruning
from langgraph_sessionstore.plans.places import REGISTRY

Make = Callable[..., Saver]
ALL = (b"", b"\xff")


def size(saver: Saver, thread: str) -> int:
    """How many bytes the thread takes."""
    (found,) = run(saver.checkpointer.backend, must(keys.session(thread), Range(b"", None)))
    return sum(len(key) + len(value) for key, value in found)


def pending(saver: Saver, where: Any) -> list[Any]:
    return saver.load(where).pending_writes or []


def by_run(saver: Saver, where: Any, number: int, run_id: str, value: dict[str, Any]) -> Any:
    """Put checkpoint `number` as a part of a run."""
    metadata = {"source": "loop", "step": number, "parents": {}, "run_id": run_id}
    return saver.put(where, checkpoint(value, dict.fromkeys(value, number), id=f"{number:06}"), metadata)


def listed(saver: Saver, thread: str) -> bool:
    """Whether the list of threads has it; of those that others have left in the storage nothing is read."""
    return bool(run(saver.checkpointer.backend, must(REGISTRY, Tally(keys.session(thread))))[0])


# -- prune


def test_prune_keeps_the_newest_of_each_namespace_with_its_writes(saver: Saver, thread: str) -> None:
    kept = {}
    for ns, first in (("", 10), ("a", 20), ("a|b", 1)):
        where = config(thread, ns)
        for number in range(first, first + 5):
            where = put(saver, where, number, {"messages": says(*range(number)), "ns": ns})
            saver.put_writes(where, [("messages", f"{ns} {number}"), ("__interrupt__", TEXT)], "task")
        kept[ns] = saver.load(where)
    before = size(saver, thread)
    saver.prune([thread])
    assert {each.config["configurable"]["checkpoint_ns"]: each for each in saver.list(config(thread, None))} == kept
    for ns, each in kept.items():
        assert saver.load(config(thread, ns)) == each
    assert rows(saver, thread, layout.WRITES) == 6
    assert rows(saver, thread) == 14 + 24 + 5
    assert size(saver, thread) < before
    assert whole(saver, thread)
    after = size(saver, thread)
    saver.prune([thread])
    assert size(saver, thread) == after


def test_prune_takes_the_elements_of_dropped_checkpoints_away(saver: Saver, thread: str) -> None:
    where = config(thread)
    for number in range(1, 11):
        where = put(saver, where, number, {"messages": says(number, number + 100), "text": f"{number} {TEXT}"})
    assert rows(saver, thread) == 30
    before = size(saver, thread)
    saver.prune([thread])
    assert (rows(saver, thread), rows(saver, thread, layout.RECORDS)) == (3, 1)
    assert size(saver, thread) < before / 5
    assert same(values(saver, where), {"messages": says(10, 110), "text": f"10 {TEXT}"})


@pytest.mark.parametrize("older", [0, 1, 3], ids=lambda count: f"{count} older checkpoints")
def test_prune_takes_old_writes_without_a_checkpoint_and_leaves_those_that_came_early(
    saver: Saver, thread: str, older: int
) -> None:
    where = config(thread)
    for number in (10, 20, 30, 40)[3 - older :]:
        where = put(saver, where, number, {"n": number})
    for number in (5, 15, 39):
        saver.put_writes(config(thread, "", f"{number:06}"), [("n", number)], "old")
    saver.put_writes(config(thread, "", "000050"), [("n", 50)], "early")
    saver.put_writes(config(thread, "a", "000005"), [("n", 5)], "early in another namespace")
    saver.prune([thread])
    assert rows(saver, thread, keys.below("w", "")) == 1
    assert rows(saver, thread, keys.below("w", "a")) == 1
    early = put(saver, where, 50, {"n": 50})
    assert pending(saver, early) == [("early", "n", 50)]
    inner = put(saver, config(thread, "a"), 5, {"n": 5})
    assert pending(saver, inner) == [("early in another namespace", "n", 5)]


def test_prune_leaves_other_threads_alone_and_knows_none_that_are_not_there(saver: Saver, thread: str) -> None:
    for name in (thread, f"{thread}1"):
        put(saver, put(saver, config(name), 1, {"messages": says(1)}), 2, {"messages": says(1, 2)})
    saver.prune([thread, f"{thread} none"])
    assert [len(saver.list(config(name, None))) for name in (thread, f"{thread}1")] == [1, 2]
    assert rows(saver, f"{thread} none", ALL) == 0
    saver.prune([thread], strategy="delete")
    assert rows(saver, thread, ALL) == 0


# -- delete_for_runs


def test_runs_are_deleted_from_all_their_threads(saver_on: Make, thread: str) -> None:
    saver, other = saver_on(), saver_on()
    threads = [f"{thread} {n}" for n in range(3)]
    for name in threads:
        where = by_run(saver, config(name), 1, f"{thread} keep", {"messages": says(1), "text": TEXT})
        saver.put_writes(where, [("n", 1)], "task")
        other.load(where)
        where = by_run(other, where, 2, f"{thread} go", {"messages": says(1, 2), "text": TEXT})
        other.put_writes(where, [("n", 2)], "task")
        by_run(saver, config(name, "inner"), 3, f"{thread} go too", {"messages": says(3)})
        saver.load(where)
        by_run(saver, where, 4, f"{thread} keep", {"messages": says(1, 2, 4), "text": TEXT * 2})
    saver.delete_for_runs([f"{thread} go", f"{thread} go too", f"{thread} none"])
    for name in threads:
        found = other.list(config(name, None))
        assert [each.checkpoint["id"] for each in found] == ["000004", "000001"]
        assert same(found[0].checkpoint["channel_values"], {"messages": says(1, 2, 4), "text": TEXT * 2})
        assert found[1].pending_writes == [("task", "n", 1)]
        assert rows(saver, name, layout.WRITES) == 1
        assert rows(saver, name) == 5
        assert whole(saver, name)


def test_a_thread_whose_runs_are_all_deleted_is_gone_and_may_begin_again(saver: Saver, thread: str) -> None:
    """Begun again by the same worker, in the same run, it is found again by the same means."""
    for _ in range(2):
        where = by_run(saver, config(thread), 1, f"run of {thread}", {"messages": says(1)})
        by_run(saver, where, 2, f"run of {thread}", {"messages": says(1, 2)})
        assert listed(saver, thread)
        saver.delete_for_runs([f"run of {thread}"])
        assert saver.get(config(thread)) is None
        assert rows(saver, thread, ALL) == 0
        assert not listed(saver, thread)


def test_a_run_is_found_where_another_worker_deleted_the_thread_meanwhile(saver_on: Make, thread: str) -> None:
    first, second = saver_on(), saver_on()
    where = by_run(first, config(thread), 1, f"run of {thread}", {"messages": says(1)})
    second.delete_thread(thread)
    by_run(first, where, 2, f"run of {thread}", {"messages": says(1, 2)})
    second.delete_for_runs([f"run of {thread}"])
    assert second.get(config(thread)) is None


def test_a_run_that_goes_on_after_it_was_deleted_may_be_deleted_again(saver_on: Make, thread: str) -> None:
    """Here the worker that goes on is not the one that deleted."""
    first, second = saver_on(), saver_on()
    by_run(first, config(thread), 1, "another run", {"messages": says(0)})
    where = by_run(first, config(thread), 2, f"run of {thread}", {"messages": says(1)})
    second.delete_for_runs([f"run of {thread}"])
    by_run(first, where, 3, f"run of {thread}", {"messages": says(1, 2)})
    second.delete_for_runs([f"run of {thread}"])
    assert [each.checkpoint["id"] for each in second.list(config(thread))] == ["000001"]


# -- collect


def test_collect_counts_what_it_takes_and_then_finds_nothing(saver: Saver, thread: str) -> None:
    assert saver.collect(thread) == 0
    where = put(saver, config(thread), 1, {"messages": says(0, 1, 2)})
    put(saver, where, 2, {"messages": says(0, 1, 2, 3)})
    assert saver.collect(thread) == 0
    put(saver, where, 2, {"messages": says(7, 8)})  # in the place of the one before
    assert [problem.kind for problem in saver.check(thread)] == ["unreferenced"]
    assert saver.collect(thread) == 1
    backend, partition = saver.checkpointer.backend, keys.session(thread)
    for number in range(5):
        run(backend, must(partition, Put(layout.element(77, number), b"dead")))
    run(backend, must(partition, Put(layout.branch(77), b"5")))
    assert {str(problem) for problem in saver.check(thread)} == {
        "unreferenced: branch 77", *(f"unreferenced: element (77, {number})" for number in range(5)),
    }  # fmt: skip
    assert saver.collect(thread) == 5
    assert saver.collect(thread) == 0
    assert whole(saver, thread)
    assert same(values(saver, config(thread))["messages"], says(7, 8))
    assert same(values(saver, where)["messages"], says(0, 1, 2))


def test_elements_that_nobody_refers_to_are_collected_also_without_a_branch(saver: Saver, thread: str) -> None:
    """`check` says of what is unreferenced that `collect` takes it away."""
    put(saver, config(thread), 1, {"messages": says(0, 1, 2)})
    run(saver.checkpointer.backend, must(keys.session(thread), Put(layout.element(77, 3), b"dead")))
    assert [str(problem) for problem in saver.check(thread)] == ["unreferenced: element (77, 3)"]
    saver.collect(thread)
    assert whole(saver, thread)


@pytest.mark.parametrize("way", ["prune", "runs"])
def test_what_is_deleted_while_it_is_pruned_does_not_come_back(saver: Saver, thread: str, way: str) -> None:
    """Nor is something put into a thread that began anew meanwhile."""
    place = config(thread)
    for step in range(3):
        place = saver.put(place, checkpoint({"a": step}), {"source": "loop", "step": step, "run_id": f"{thread} run"})
    checkpointer = saver.checkpointer
    backend = checkpointer.backend
    tools = checkpointer.tools()
    gone = {f"{thread} run"}
    plan = pruning.keep_latest(tools, thread) if way == "prune" else pruning.delete_runs(tools, gone)
    request = next(plan)
    deleted = False
    try:
        while True:
            outcomes = backend.execute(request.calls, ordered=request.ordered)
            if not deleted and any(isinstance(op, Range) for each in request.calls for op in each.batch.ops):
                saver.delete_thread(thread)
                deleted = True
            request = plan.send([outcome for outcome in outcomes if not isinstance(outcome, Exception)])
    except StopIteration:
        pass
    assert deleted
    assert run(backend, must(keys.session(thread), Range(b"", None), Get(keys.INCARNATION))) == [[], None]
    assert saver.list(config(thread)) == []
