"""What is peculiar to some: old versions, long listings, orders, delta channels, writes that nobody else has."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME, TASKS
from langgraph.graph import START, StateGraph
from langgraph.types import Send
from migration.graphs import AT_ONCE, carry_on, fill, held
from support.peers import PEERS, Peer, forms
from support.savers import checkpoint, config
from typing_extensions import TypedDict

from langgraph_sessionstore import SessionCheckpointer, migration

peers = pytest.mark.peers


class Enough(BaseException):
    """Stops a copy that has told what is to be seen."""


def in_memory() -> SessionCheckpointer:
    return SessionCheckpointer.from_url("memory:")


@peers
def test_redis_is_listed_beyond_its_ten_thousand(new_peer: Any, redis_stack: Any) -> None:
    peer: Peer = new_peer("redis")
    totals: list[int] = []

    def progress(done: int, total: int) -> None:
        totals.append(total)
        raise Enough

    with peer.saver() as saver, redis_stack.client() as client, client.pipeline(transaction=False) as pipeline:
        put = saver.put(config("0"), checkpoint({"a": 1}), {}, {"a": 1})["configurable"]
        row = client.json().get(f"checkpoint:0:__empty__:{put['checkpoint_id']}")
        for number in range(1, 10_100):
            names = {"thread_id": str(number % 50), "checkpoint_id": f"{number:08}"}
            pipeline.json().set(
                f"checkpoint:{names['thread_id']}:__empty__:{names['checkpoint_id']}",
                "$",
                {**row, **names, "checkpoint": {**row["checkpoint"], "id": names["checkpoint_id"]}},
            )
        pipeline.execute()
        with pytest.raises(Enough):
            migration.copy_threads(saver, in_memory(), progress=progress)
    assert totals == [10_100]


@peers
def test_pages_of_postgres_part_no_threads_with_the_same_ids(new_peer: Any) -> None:
    peer: Peer = new_peer("postgres")
    source = InMemorySaver()
    for thread in ("a", "b", "c"):  # as copies of each other
        at = config(thread)
        for number in range(40):
            at = source.put(at, checkpoint({"n": number}, {"n": number + 1}, id=f"{number:05}"), {}, {"n": number + 1})
    for number in range(110):  # more than a page of one id
        source.put(config(f"t{number}"), checkpoint({"n": 0}, id="00007"), {}, {"n": 1})
    with peer.saver() as postgres, forms("sync") as form:
        migration.copy_threads(source, postgres)
        target = in_memory()
        report = migration.copy_threads(postgres, target)
        assert (report.seen, report.copied) == (113, 230)
        assert held(form, target) == held(form, source)


@peers
@pytest.mark.parametrize("kind", PEERS)
def test_pending_sends_of_old_checkpoints_are_in_the_new_ones(new_peer: Any, kind: str) -> None:
    with new_peer(kind).saver() as source:
        first = source.put(config("t"), checkpoint({"a": 1}, v=3), {"step": 0}, {"a": 1})
        source.put_writes(first, [(TASKS, Send("work", {"n": 1})), ("a", 2)], "task")
        second = source.put(first, checkpoint({"a": 2}, {"a": 2}, v=3), {"step": 1}, {"a": 2})
        target = in_memory()
        report = migration.copy_threads(source, target, verify=True)
        found = target.get_tuple(second)
    assert report.differences == ()
    assert found is not None
    assert found.checkpoint["channel_values"] == {"a": 2, TASKS: [Send("work", {"n": 1})]}
    assert migration.copy_threads(target, InMemorySaver(), verify=True).differences == ()


def test_a_lost_packet_of_an_old_checkpoint_is_a_difference() -> None:
    source, target = in_memory(), in_memory()
    source.put(config("t"), checkpoint({TASKS: [Send("work", 1)]}, id="1", v=3), {"step": 0}, {TASKS: 1})
    target.put(config("t"), checkpoint({}, {TASKS: 1}, id="1", v=3), {"step": 0}, {TASKS: 1})
    (told,) = migration.copy_threads(source, target, verify=True).differences
    assert "channel values" in told


class Counting(InMemorySaver):
    """Versions are whole numbers, as they are in old databases."""

    def get_next_version(self, current: Any, channel: Any) -> Any:
        return 1 if current is None else current + 1


def test_graphs_with_numbers_for_versions_go_on() -> None:
    source, target = Counting(), in_memory()
    with forms("sync") as form:
        fill(form, source)
        report = migration.copy_threads(source, target, verify=True)
        assert report.differences == ()
        assert all(isinstance(version, int) for found in target.list(None) for version in _versions(found))
        assert carry_on(form, target) == carry_on(form, source)
        back = InMemorySaver()
        migration.copy_threads(target, back)
        again = migration.copy_threads(target, back, verify=True)
        assert (again.copied, again.differences) == (0, ())


def _versions(found: Any) -> Any:
    return found.checkpoint["channel_versions"].values()


def test_tasks_keep_their_order(new_peer: Any) -> None:
    source, target = InMemorySaver(), in_memory()
    put = source.put(config("t"), checkpoint({"a": 1}), {}, {"a": 1})
    tasks = ["c", "a", "d", "b"]
    for number, task in enumerate(tasks):
        source.put_writes(put, [("a", f"{task}1"), (INTERRUPT, "why"), ("a", f"{task}2")], task, f"~path {number}")
    migration.copy_threads(source, target)
    for saver in (source, target):
        found = saver.get_tuple(put)
        assert found is not None
        ordinary = [(task, value) for task, channel, value in found.pending_writes or () if channel == "a"]
        assert ordinary == [(task, f"{task}{number}") for task in tasks for number in (1, 2)]


def test_a_later_write_of_a_task_is_no_second_one() -> None:
    source, target = InMemorySaver(), in_memory()
    put = source.put(config("t"), checkpoint({"a": 1}), {}, {"a": 1})
    for task in ("b", "a"):
        source.put_writes(put, [(INTERRUPT, "first")], task, f"~{'ba'.index(task)}")
    migration.copy_threads(source, target)
    target.put_writes(put, [(INTERRUPT, "second")], "b", "~0")
    target.put_writes(put, [("a", 1)], "b", "~0")
    found = target.get_tuple(put)
    assert found is not None
    writes = sorted(found.pending_writes or ())
    assert writes == [("a", INTERRUPT, "first"), ("b", INTERRUPT, "second"), ("b", "a", 1)]


def test_who_has_got_further_keeps_what_it_has() -> None:
    source, target = InMemorySaver(), in_memory()
    put = source.put(config("t"), checkpoint({"a": 1}), {}, {"a": 1})
    source.put_writes(put, [(INTERRUPT, "first")], "task")
    source.put_writes(put, [(INTERRUPT, "first")], "other")
    migration.copy_threads(source, target)
    for saver, task in ((target, "task"), (source, "other")):
        saver.put_writes(put, [(RESUME, ["yes"])], task)
        saver.put_writes(put, [(INTERRUPT, "second")], task)
    report = migration.copy_threads(source, target)
    found = target.get_tuple(put)
    assert found is not None
    assert report.writes == 2
    assert sorted(found.pending_writes or (), key=str) == [
        (task, channel, value)
        for task in ("other", "task")
        for channel, value in ((INTERRUPT, "second"), (RESUME, ["yes"]))
    ]


def test_parents_come_first_and_circles_come_to_an_end() -> None:
    source, target = InMemorySaver(), in_memory()
    parent = source.put(config("t"), checkpoint({"a": 1}, id="9"), {}, {"a": 1})
    source.put(parent, checkpoint({"a": 2}, {"a": 2}, id="1"), {}, {"a": 2})
    for own, other in (("4", "5"), ("5", "4")):
        source.put(config("round", "", other), checkpoint({"a": 1}, id=own), {}, {"a": 1})
    order: list[str] = []

    class Noting(SessionCheckpointer):
        def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
            order.append(checkpoint["id"])
            return super().put(config, checkpoint, metadata, new_versions)

    report = migration.copy_threads(source, Noting(target.backend), verify=True)
    assert report.differences == ()
    assert order.index("9") < order.index("1")
    assert sorted(order) == ["1", "4", "5", "9"]


def test_a_channel_that_was_emptied_stays_empty() -> None:
    source = InMemorySaver()
    one = source.put(config("t"), checkpoint({"a": [1], "b": 2}), {}, {"a": 1, "b": 1})
    two = source.put(one, checkpoint({"b": 2}, {"a": 2, "b": 1}), {}, {"a": 2})
    source.put(two, checkpoint({"a": [1], "b": 2}, {"a": 3, "b": 1}), {}, {"a": 3})
    target = in_memory()
    assert migration.copy_threads(source, target, verify=True).differences == ()
    values = [found.checkpoint["channel_values"] for found in target.list(config("t"))]
    assert values == [{"a": [1], "b": 2}, {"b": 2}, {"a": [1], "b": 2}]


def extend(old: list[str], new: Sequence[list[str]]) -> list[str]:
    return [*old, *(item for items in new for item in items)]


@peers
@pytest.mark.parametrize("frequency", [3, 1000])
def test_delta_channels_go_along(peer: Peer, frequency: int) -> None:
    delta: Any = import_module("langgraph.channels.delta").DeltaChannel(extend, snapshot_frequency=frequency)
    state: Any = TypedDict("state", {"items": Annotated[list[str], delta], "all": Annotated[list[str], operator.add]})

    def graph_on(saver: Any) -> Any:
        builder: Any = StateGraph(state)
        for name in ("a", "b"):  # which write at once, so that their order counts
            builder.add_node(name, lambda state, name=name: {"items": [f"{name}{len(state['all'])}"], "all": [name]})
            builder.add_edge(START, name)
        return builder.compile(checkpointer=saver)

    with peer.saver() as theirs:
        source, target = in_memory(), in_memory()
        graph = graph_on(source)
        for _ in range(5):
            graph.invoke({"items": ["in"], "all": []}, config("t", None), **AT_ONCE)
        to = migration.copy_threads(source, theirs, verify=True)
        fro = migration.copy_threads(theirs, target, verify=True)
        assert fro.differences == ()
        for saver in (source, target, theirs):
            graph_on(saver).invoke({"items": ["more"], "all": []}, config("t", None), **AT_ONCE)
        ours, theirs_, back = (graph_on(each).get_state(config("t", None)).values for each in (source, theirs, target))
        if peer.name == "redis":  # has an order of its own for the writes of one step
            ours, theirs_, back = (
                {name: sorted(items) for name, items in each.items()} for each in (ours, theirs_, back)
            )
        else:
            assert to.differences == ()
        assert back == theirs_ == ours
        assert target.check("t") == []
