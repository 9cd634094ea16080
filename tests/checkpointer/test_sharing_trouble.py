"""Nothing that was shared is lost: when others take its base away, replace the thread, or the connection breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from checkpointer.test_sharing import TEXT, put, rows, same, says, values, whole
from support.savers import Saver, checkpoint, config
from support.thread_model import form_of

from langgraph_sessionstore import Backend, BackendUnavailable, ConflictError, OutcomeUnknown
from langgraph_sessionstore.adapters.checkpointer import SessionCheckpointer
from langgraph_sessionstore.plans import writing
from langgraph_sessionstore.testing import Fault, FaultyBackend

Make = Callable[..., Saver]


def lost(saver: Saver, thread: str) -> list[str]:
    return [str(problem) for problem in saver.check(thread) if problem.kind != "unreferenced"]


# -- others take away what a worker remembers


@pytest.mark.parametrize("read", [False, True], ids=["put it", "read it"])
@pytest.mark.parametrize("new", ["messages", "n", "text"])
def test_a_base_that_another_worker_prunes_is_not_relied_on(saver_on: Make, thread: str, new: str, read: bool) -> None:
    first, second = saver_on(), saver_on()
    kept = {"messages": says(0, 1), "text": TEXT, "files": {"a": TEXT * 3, "b": TEXT * 4}, "n": 1}
    base = put(second if read else first, config(thread), 1, kept)
    if read:
        first.load(base)
    put(second, config(thread), 2, {"n": 2})
    second.prune([thread])
    assert rows(second, thread) == 0
    changed = {**kept, new: {"messages": says(0, 1, 2), "n": 3, "text": TEXT * 2}[new]}
    where = put(first, base, 3, changed, new, **{channel: 1 for channel in kept if channel != new})
    for saver in (first, second, saver_on()):
        assert same(values(saver, where), changed)
    assert whole(first, thread)


def test_what_a_cold_put_kept_is_guarded_in_the_next_put(saver_on: Make, thread: str) -> None:
    """A worker that has never read a value keeps it twice; in between another takes it away."""
    first, second = saver_on(), saver_on()
    base = put(second, config(thread), 1, {"text": TEXT, "n": 1})
    middle = put(first, base, 2, {"text": TEXT, "n": 2}, "n", text=1)
    put(second, config(thread), 3, {"n": 3})
    second.prune([thread])
    where = put(first, middle, 4, {"text": TEXT, "n": 4}, "n", text=1)
    assert lost(second, thread) == []
    assert same(values(second, where), {"text": TEXT, "n": 4})


def test_a_record_that_holds_a_kept_value_may_go(saver_on: Make, thread: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value is neither new nor the parent's: it is found in a third checkpoint, some pages away."""
    monkeypatch.setattr(writing, "SCAN", 2)
    first, second = saver_on(), saver_on()
    put(second, config(thread), 1, {"text": TEXT})
    for number in range(2, 7):
        other = put(second, config(thread), number, {"n": number})
    where = put(first, other, 7, {"text": "not this", "n": 7}, "n", text=1)
    assert same(values(second, where), {"text": TEXT, "n": 7})
    second.prune([thread])
    assert same(values(second, where), {"text": TEXT, "n": 7})
    assert rows(second, thread) == 1
    assert whole(second, thread)


def test_a_thread_that_is_deleted_and_begun_again_shares_nothing_with_before(saver_on: Make, thread: str) -> None:
    first, second = saver_on(), saver_on()
    base = put(first, config(thread), 1, {"messages": says(0, 1)})
    second.load(base)
    first.delete_thread(thread)
    assert second.get(base) is None
    put(first, config(thread), 1, {"messages": says(5, 6)})
    where = put(second, base, 2, {"messages": says(0, 1, 2)})
    for saver in (first, second, saver_on()):
        assert same(values(saver, base)["messages"], says(5, 6))
        assert same(values(saver, where)["messages"], says(0, 1, 2))
    assert whole(first, thread)


def test_a_thread_replaced_by_a_copy_is_read_as_the_copy(saver_on: Make, thread: str) -> None:
    """Both have the same checkpoints at first, and use the same slots for different elements afterwards."""
    first, second = saver_on(), saver_on()
    base = put(first, config(thread), 1, {"messages": says(0, 1)})
    first.copy_thread(thread, f"{thread} b")
    second.load(base)
    put(second, base, 2, {"messages": says(0, 1, 2)})
    put(
        first, put(first, config(f"{thread} b", "", "000001"), 2, {"messages": says(0, 1, 3)}), 3, {"messages": says(9)}
    )
    first.delete_thread(thread)
    first.copy_thread(f"{thread} b", thread)
    assert same(values(second, config(thread, "", "000002"))["messages"], says(0, 1, 3))
    where = put(second, config(thread, "", "000002"), 4, {"messages": says(0, 1, 2, 4)})
    for saver in (first, second, saver_on()):
        assert same(values(saver, where)["messages"], says(0, 1, 2, 4))
        assert same(values(saver, config(thread, "", "000003"))["messages"], says(9))
    assert whole(first, thread)


def test_a_put_onto_a_replaced_thread_does_not_build_on_what_it_was(saver_on: Make, thread: str) -> None:
    first, second = saver_on(), saver_on()
    base = put(first, config(thread), 1, {"messages": says(0)})
    first.copy_thread(thread, f"{thread} b")
    mine = put(second, base, 2, {"messages": says(0, 1)})
    put(first, config(f"{thread} b", "", "000001"), 3, {"messages": says(0, 7)})
    first.delete_thread(thread)
    first.copy_thread(f"{thread} b", thread)
    where = put(second, mine, 4, {"messages": says(0, 1, 2)})
    assert same(values(second, where)["messages"], says(0, 1, 2))
    assert same(values(saver_on(), config(thread, "", "000003"))["messages"], says(0, 7))
    assert whole(first, thread)


def test_a_copy_goes_on_by_itself(saver_on: Make, thread: str) -> None:
    saver = saver_on()
    base = put(saver, config(thread), 1, {"messages": says(0, 1)})
    saver.put_writes(base, [("messages", TEXT)], "task")
    saver.copy_thread(thread, f"{thread} b")
    there = put(saver, config(f"{thread} b", "", "000001"), 2, {"messages": says(0, 1, 2)})
    saver.delete_thread(thread)
    assert same(values(saver_on(), there)["messages"], says(0, 1, 2))
    assert saver.load(config(f"{thread} b", "", "000001")).pending_writes == [("task", "messages", TEXT)]
    with pytest.raises(ConflictError, match="exists already"):
        saver.copy_thread(thread, f"{thread} b")


# -- the connection breaks


Everything = list[Any]


def everything(saver: Saver, *threads: str) -> Everything:
    return [[form_of(found) for found in saver.list(config(thread, None))] for thread in threads]


def prepared(saver: Saver, thread: str) -> Any:
    """A thread with a past in two namespaces."""
    metadata = {"source": "loop", "step": 0, "parents": {}, "run_id": f"run of {thread}"}
    inner = checkpoint({"messages": says(5)}, id="000001")
    saver.put(config(thread, "inner"), inner, metadata)
    saver.put(config(thread, "inner"), checkpoint({"messages": says(5, 6)}, id="000003"))
    where = saver.put(config(thread), checkpoint({"messages": says(0, 1), "text": TEXT}, id="000002"), metadata)
    saver.put_writes(where, [("messages", TEXT)], "old task")
    return put(saver, where, 4, {"messages": says(0, 1, 2), "text": TEXT})


STEPS: dict[str, Callable[[Saver, str, Any], Any]] = {
    "put": lambda saver, thread, where: put(saver, where, 5, {"messages": says(0, 1, 2, 3), "text": TEXT, "n": 5}),
    "put on nothing": lambda saver, thread, where: put(saver, config(thread), 5, {"messages": says(0), "text": TEXT}),
    "put a namespace": lambda saver, thread, where: put(saver, config(thread, "new"), 5, {"messages": says(1)}),
    "put_writes": lambda saver, thread, where: saver.put_writes(where, [("a", TEXT), ("__error__", "b")], "task"),
    "prune": lambda saver, thread, where: saver.prune([thread]),
    "delete_for_runs": lambda saver, thread, where: saver.delete_for_runs([f"run of {thread}"]),
    "delete_thread": lambda saver, thread, where: saver.delete_thread(thread),
    "copy_thread": lambda saver, thread, where: saver.copy_thread(thread, f"{thread} copy"),
}


@pytest.mark.long
@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
@pytest.mark.parametrize("fault", [Fault.FAIL, Fault.CUT_BEFORE, Fault.CUT_AFTER], ids=lambda fault: fault.name)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", ["memory", "file", "redis7"])
def test_a_step_that_is_cut_has_happened_or_not_and_may_be_tried_again(
    storage: Callable[[], Backend], thread: str, step: str, fault: Fault, cold: bool
) -> None:
    backend = storage()
    reader = Saver(SessionCheckpointer(backend), None)
    for number in range(1, 20):
        name = f"{thread} {number}"
        faulty = FaultyBackend(backend, {})
        saver = Saver(SessionCheckpointer(faulty), None)
        where = prepared(saver, name)
        before = everything(reader, name, f"{name} copy")
        twin = f"{name} twin"
        STEPS[step](reader, twin, prepared(reader, twin))
        after = everything(reader, twin, f"{twin} copy")
        if cold:
            saver = Saver(SessionCheckpointer(faulty), None)
        faulty.faults = {faulty.calls + number: fault}
        try:
            STEPS[step](saver, name, where)
            cut = faulty.calls >= min(faulty.faults)
        except (OutcomeUnknown, BackendUnavailable):
            cut = True
        assert everything(reader, name, f"{name} copy") in (before, renamed(after, twin, name))
        assert lost(reader, name) == []
        assert lost(reader, f"{name} copy") == []
        faulty.faults = {}
        try:
            STEPS[step](saver, name, where)
        except ConflictError:
            assert step == "copy_thread"  # it is there already
        assert everything(saver, name, f"{name} copy") == renamed(after, twin, name)
        saver.collect(name)
        assert whole(reader, name)
        if not cut:
            break
    assert number > 1


def renamed(found: Any, old: str, new: str) -> Any:
    """The same, as the thread of another name has it: run ids hold the name."""
    if isinstance(found, str):
        return found.replace(old, new)
    if isinstance(found, (list, tuple)):
        return type(found)(renamed(part, old, new) for part in found)
    if isinstance(found, dict):
        return {key: renamed(part, old, new) for key, part in found.items()}
    return found
