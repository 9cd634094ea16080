"""Taking away the checkpoints of runs, and all but the newest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from support.savers import Saver, checkpoint, config

from langgraph_sessionstore import ConfigurationError, keys, run
from langgraph_sessionstore.ops import Range, must

Make = Callable[..., Saver]


def workers(saver: Saver, saver_on: Make) -> Iterator[Saver]:
    """The worker that wrote, another that has read nothing yet, and that one again."""
    cold = saver_on()
    yield from (saver, cold, cold)


def rows(saver: Saver, thread: str) -> list[Any]:
    """All that is stored of a thread."""
    (stored,) = run(saver.checkpointer.backend, must(keys.session(thread), Range(b"", None)))
    return list(stored)


def chain(saver: Saver, thread: str, runs: list[Any], ns: str = "", here: Any = None) -> list[Any]:
    """A chain of checkpoints, each with writes, of these runs; where they are."""
    places = []
    here = here or config(thread, ns)
    for number, run_id in enumerate(runs):
        messages = [HumanMessage(content=f"{ns} {n} " * 30, id=str(n)) for n in range(number + 1)]
        metadata = {"source": "loop", "step": number, **({"run_id": run_id} if run_id else {})}
        saved = checkpoint({"m": messages, "big": f"{ns}{number}" * 300}, {"m": number, "big": number})
        here = saver.put(here, saved, metadata)
        saver.put_writes(here, [("m", number), (INTERRUPT, f"{ns} {number}")], "task", "path")
        places.append(here)
    return places


def everything(saver: Saver, thread: str) -> dict[str, Any]:
    """All checkpoints of a thread by their ids."""
    return {one.checkpoint["id"]: one for one in saver.list(config(thread, None))}


def id_of(place: Any) -> str:
    """The id of a checkpoint."""
    return str(place["configurable"]["checkpoint_id"])


# -- runs


def test_checkpoints_of_runs_go_in_all_threads_and_namespaces(saver: Saver, saver_on: Make, thread: str) -> None:
    a, b, c = (f"{thread}-run-{name}" for name in "abc")
    other = f"{thread}x"
    gone: list[Any] = []
    kept: list[Any] = []
    chains: list[tuple[str, str, list[Any]]] = [
        (thread, "", [a, a, b]),
        (thread, "node:1", [b, a]),
        (other, "", [b, b]),
        (other, "node:1|sub:2", [a, None]),
        (f"{thread}y", "", [b, c, None]),
    ]
    for name, ns, runs in chains:
        for place, run_id in zip(chain(saver, name, runs, ns), runs, strict=True):
            (gone if run_id in (a, c) else kept).append(place)
    before = {id_of(place): saver.load(place) for place in kept}
    reader = saver_on()
    for place in gone:
        reader.load(place)
    saver_on().delete_for_runs([a, c, f"{thread}-run-unknown"])
    for worker in (*workers(saver, saver_on), reader):
        assert [worker.get(place) for place in gone] == [None] * len(gone)
        left: dict[str, Any] = {}
        for name in (thread, other, f"{thread}y"):
            left |= everything(worker, name)
            assert worker.check(name) == []
        assert left == before
    assert saver.load(kept[0]).parent_config == gone[1]
    saver.delete_for_runs([])
    saver.delete_for_runs([b])
    for name in (thread, f"{thread}y"):
        assert [one.metadata.get("run_id") for one in saver.list(config(name, None))] == [None] * (name != thread)
    assert rows(saver, thread) == []


def test_a_run_is_not_one_whose_id_it_begins(saver: Saver, thread: str) -> None:
    runs = [f"{thread}{end}" for end in ("", "a", "\x01", ":", "🙂")]
    places = chain(saver, thread, runs)
    saver.delete_for_runs(runs[:1])
    assert list(everything(saver, thread)) == [id_of(place) for place in places[:0:-1]]


def test_a_run_is_what_the_metadata_says_whether_given_or_from_the_config(
    saver: Saver, saver_on: Make, thread: str
) -> None:
    given, configured, tagged = (f"{thread}-{name}" for name in ("given", "configured", "tagged"))
    saver.put(config(thread), checkpoint(id="1"), {"run_id": given})
    place: Any = {"configurable": {**config(thread)["configurable"], "run_id": configured}}
    saver.put(place, checkpoint(id="2"), {"source": "loop"})
    place = {**config(thread), "metadata": {"run_id": tagged}}
    saver.put(place, checkpoint(id="3"), {"source": "loop"})
    saver.put(config(thread), checkpoint(id="4"), {"source": "loop"})
    left = ["4", "3", "2", "1"]
    for run_id, number in ((tagged, "3"), (given, "1"), (configured, "2")):
        saver_on().delete_for_runs([run_id])
        left.remove(number)
        assert list(everything(saver, thread)) == left


def test_a_run_is_found_again_after_others_and_after_it_was_deleted(saver: Saver, saver_on: Make, thread: str) -> None:
    a, b = f"{thread}-a", f"{thread}-b"
    for turn in range(3):
        for run_id in (a, b):
            saver.put(config(thread), checkpoint(), {"source": "loop", "step": turn, "run_id": run_id})
    for _ in range(2):
        saver.delete_for_runs([a])
        assert {one.metadata.get("run_id") for one in saver.list(config(thread))} == {b}
        saver.put(config(thread), checkpoint(), {"source": "loop", "run_id": a})
    saver_on().delete_for_runs([a])
    assert {one.metadata.get("run_id") for one in saver.list(config(thread))} == {b}


def test_runs_are_found_in_copies(saver: Saver, saver_on: Make, thread: str) -> None:
    a, b = f"{thread}-a", f"{thread}-b"
    chain(saver, thread, [a, b])
    chain(saver, thread, [b, a], "sub")
    saver.copy_thread(thread, f"{thread}-copy")
    saver.delete_thread(thread)
    saver_on().delete_for_runs([a])
    for worker in workers(saver, saver_on):
        left = everything(worker, f"{thread}-copy").values()
        assert [one.metadata["run_id"] for one in left] == [b, b]
        assert worker.check(f"{thread}-copy") == []


# -- all but the newest


def test_the_newest_of_each_namespace_stays_with_its_writes(saver: Saver, saver_on: Make, thread: str) -> None:
    places = {ns: chain(saver, thread, [None] * 4, ns) for ns in ("", "node:1", "node:1|sub:2")}
    other = chain(saver, f"{thread}x", [None] * 3)
    for ns, (_, *_, last) in places.items():
        saver.put_writes(last, [(RESUME, ns), ("m", "second")], "another")
        saver.put(config(thread, ns), checkpoint({"m": []}, {"m": 9}, id="0000"))  # put last, and not the newest
    newest = {id_of(place): saver.load(place) for *_, place in places.values()}
    reader = saver_on()
    reader.list(config(thread, None))
    saver.prune([thread, f"{thread}-unknown"])
    for worker in (*workers(saver, saver_on), reader):
        assert everything(worker, thread) == newest
        for ns, (*before, last) in places.items():
            assert worker.load(config(thread, ns)).config == last
            assert len(worker.load(last).pending_writes or []) == 4
            assert [worker.get(place) for place in before] == [None] * 3
        assert len(worker.list(config(f"{thread}x"))) == len(other)
        assert worker.check(thread) == []
    for *before, _ in places.values():
        for place in before:
            saver.put(config(thread, place["configurable"]["checkpoint_ns"], id_of(place)), checkpoint(id=id_of(place)))
            assert saver.load(place).pending_writes == []
            saver.prune([thread])
    assert everything(saver, thread) == newest


def test_pruning_twice_changes_nothing_more(saver: Saver, thread: str) -> None:
    chain(saver, thread, [None] * 3)
    saver.prune([thread], strategy="keep_latest")
    before = rows(saver, thread)
    saver.prune([thread], strategy="keep_latest")
    assert saver.collect(thread) == 0
    assert {key: value for key, value in rows(saver, thread) if key != keys.encode("v")} == {
        key: value for key, value in before if key != keys.encode("v")
    }


def test_a_put_may_name_a_parent_that_was_pruned(saver: Saver, saver_on: Make, thread: str) -> None:
    for number, worker in enumerate((saver, saver_on())):
        places = chain(worker, thread, [None] * 3)
        base = worker.load(places[0])
        worker.prune([thread])
        values = {**base.checkpoint["channel_values"], "n": number}
        new = {"n": number}
        versions = {**base.checkpoint["channel_versions"], **new}
        here = worker.put(places[0], checkpoint(values, versions), None, new)
        for reader in workers(worker, saver_on):
            found = reader.load(here)
            assert found.parent_config == places[0]
            assert found.checkpoint["channel_values"] == values
            assert reader.get(places[0]) is None
        worker.prune([thread])
        assert worker.load(here).checkpoint["channel_values"] == values
        assert worker.check(thread) == []


def test_a_pruned_thread_goes_on_from_what_is_kept(saver: Saver, saver_on: Make, thread: str) -> None:
    *_, last = chain(saver, thread, [None] * 4)
    values = saver.load(last).checkpoint["channel_values"]
    cold = saver_on()
    cold.prune([thread])
    for number, worker in enumerate((saver, cold, saver_on())):
        values = {**values, "m": [*values["m"], HumanMessage(content=f"after {number} " * 30, id=f"after-{number}")]}
        last = worker.put(last, checkpoint(values, {"m": 10 + number, "big": 3}), None, {"m": 10 + number})
        for reader in workers(worker, saver_on):
            assert reader.load(config(thread)).checkpoint["channel_values"] == values
        assert worker.check(thread) == []


def test_the_strategy_delete_leaves_nothing(saver: Saver, thread: str) -> None:
    for name in (thread, f"{thread}x", f"{thread}y"):
        chain(saver, name, [None] * 2)
    saver.prune([thread, f"{thread}x"], strategy="delete")
    assert rows(saver, thread) == rows(saver, f"{thread}x") == []
    assert len(saver.list(config(f"{thread}y"))) == 2


def test_an_unknown_strategy_is_refused_and_nothing_is_done(saver: Saver, thread: str) -> None:
    chain(saver, thread, [None] * 2)
    for threads in ([thread], []):
        with pytest.raises(ConfigurationError, match="keep_latest"):
            saver.prune(threads, strategy="keep_last")
    assert len(saver.list(config(thread))) == 2
