"""Channels of which only the changes are stored: whatever is done to a thread, they are rebuilt as they were."""

from __future__ import annotations

import asyncio
import operator
import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Overwrite, interrupt
from support.graphs import FIRST, Work, normal, working
from support.savers import Saver, checkpoint, config
from typing_extensions import TypedDict

from langgraph_sessionstore import Backend
from langgraph_sessionstore.plans import history as plan

delta = pytest.importorskip("langgraph.channels.delta", reason="this langgraph has no DeltaChannel")
_DeltaSnapshot: Any = pytest.importorskip("langgraph.checkpoint.serde.types")._DeltaSnapshot


def extend(old: list[str], new: Sequence[list[str]]) -> list[str]:
    """All lists one after the other."""
    return [*old, *(item for items in new for item in items)]


class Often(TypedDict, total=False):
    """Stored in full at every third change."""

    items: Annotated[list[str], delta.DeltaChannel(extend, snapshot_frequency=3)]
    rare: Annotated[list[str], delta.DeltaChannel(extend, snapshot_frequency=1000)]
    word: str


class Never(TypedDict, total=False):
    """Hardly ever stored in full."""

    items: Annotated[list[str], delta.DeltaChannel(extend, snapshot_frequency=1000)]
    rare: Annotated[list[str], delta.DeltaChannel(extend, snapshot_frequency=1000)]
    word: str


class Plain(TypedDict, total=False):
    """The same channels, stored in full always."""

    items: Annotated[list[str], operator.add]
    rare: Annotated[list[str], operator.add]
    word: str


@pytest.fixture
def work(kind: str, storage: Callable[[], Backend], thread: str, tmp_path: Path) -> Iterator[Work]:
    with working(storage, FIRST[kind], thread, tmp_path / "ledger") as work:
        yield work


@pytest.fixture(params=[Often, Never])
def schema(request: pytest.FixtureRequest) -> Any:
    return request.param


def graph_of(saver: Any, schema: Any, trouble: Callable[[Any], str] = lambda state: "two") -> Any:
    """Two branches, then a step that may be trouble."""

    def branch(name: str) -> Callable[[Any], Any]:
        return lambda state: {"items": [f"{name} {state['word']} " + "x" * 20]}

    def two(state: Any) -> Any:
        done = trouble(state)
        rare = [f"rare {state['word']}"] if state["word"].endswith("0") else []
        return {"items": [f"{done} {state['word']}"], **({"rare": rare} if rare else {})}

    graph: Any = StateGraph(schema)
    graph.add_node("left", branch("left"))
    graph.add_node("right", branch("right"))
    graph.add_node("two", two)
    graph.add_edge(START, "left")
    graph.add_edge(START, "right")
    graph.add_edge(["left", "right"], "two")
    return graph.compile(checkpointer=saver)


def turn(number: int) -> Any:
    """The input of a turn, with a change of its own."""
    return {"items": [f"input {number}"], "word": f"w{number}"}


def grown(work: Work, schema: Any, count: int, **options: Any) -> None:
    """Some turns, here and with LangGraph's own checkpointer."""
    for saver in (work.saver, work.peer):
        for number in range(count):
            work.invoke(graph_of(saver, schema), turn(number), work.config(), **options)


def assert_same(work: Work, schema: Any, there: Any = None) -> None:
    """Every worker reads what LangGraph's own checkpointer would give."""
    wanted = work.state(graph_of(work.peer, schema), work.config()).values
    for saver in (work.saver, work.other()):
        assert work.state(graph_of(saver, schema), there or work.config()).values == wanted


def assert_same_history(work: Work, schema: Any) -> None:
    wanted = normal(work.history(graph_of(work.peer, schema), work.config()))
    assert normal(work.history(graph_of(work.other(), schema), work.config())) == wanted


# -- graphs


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_long_runs_are_rebuilt_at_every_step(work: Work, schema: Any, durability: Any) -> None:
    grown(work, schema, 7, durability=durability)
    assert_same(work, schema)
    assert_same_history(work, schema)
    assert len(work.state(graph_of(work.other(), schema), work.config()).values["items"]) == 28


def test_workers_that_take_turns_go_on_from_each_other(work: Work, schema: Any) -> None:
    savers = [work.saver, work.other(), work.other()]
    for number in range(9):
        work.invoke(graph_of(work.peer, schema), turn(number), work.config())
        work.invoke(graph_of(savers[number % 3], schema), turn(number), work.config())
    assert_same(work, schema)
    assert_same_history(work, schema)


@pytest.mark.parametrize("durability", ["async", "exit"])
@pytest.mark.parametrize("how", ["asks", "fails"])
def test_what_was_interrupted_goes_on_with_all_changes(work: Work, schema: Any, durability: Any, how: str) -> None:
    for saver, other in ((work.saver, work.other()), (work.peer, work.peer)):
        troubled = [True]

        def trouble(state: Any, troubled: list[bool] = troubled) -> str:
            if how == "asks":
                return str(interrupt("well?"))
            if troubled:
                raise ConnectionError("no answer")
            return "two"

        graph, after = graph_of(saver, schema, trouble), graph_of(other, schema, trouble)
        for number in range(3):
            try:
                work.invoke(graph, turn(number), work.config(), durability=durability)
            except ConnectionError:
                assert how == "fails"
            waiting = work.state(after, work.config())
            assert waiting.next == ("two",)
            assert f"right w{number} " + "x" * 20 in waiting.values["items"]
            troubled.clear()
            work.invoke(after, Command(resume="yes") if how == "asks" else None, work.config(), durability=durability)
            troubled.append(True)
    assert_same(work, schema)
    assert_same_history(work, schema)


def test_updates_by_hand_are_part_of_it(work: Work, schema: Any) -> None:
    for saver in (work.saver, work.peer):
        graph = graph_of(saver, schema)
        for number in range(3):
            work.invoke(graph, turn(number), work.config())
            work.update(graph, work.config(), {"items": ["by hand"]}, as_node="two")
        work.update(graph, work.config(), {"items": Overwrite(["anew"])}, as_node="two")
        work.invoke(graph, turn(5), work.config())
    assert_same(work, schema)
    assert_same_history(work, schema)


@pytest.mark.parametrize("durability", ["sync", "exit"])
def test_forks_from_old_checkpoints_have_what_was_before_and_their_own(
    work: Work, schema: Any, durability: Any
) -> None:
    for saver in (work.saver, work.peer):
        for number in range(3):
            work.invoke(graph_of(saver, schema), turn(number), work.config())
        trunk = work.history(graph_of(saver, schema), work.config())
        for number, old in enumerate(trunk[1::5], 10):
            graph = graph_of(saver if saver is work.peer else work.other(), schema)
            fork = work.update(graph, old.config, {"items": [f"fork {number}"]}, as_node="two")
            work.invoke(graph, turn(number), fork, durability=durability)
            work.invoke(graph, turn(number + 1), old.config, durability=durability)
            work.invoke(graph, turn(number + 2), work.config(), durability=durability)
        assert [state.values for state in work.history(graph_of(saver, schema), work.config())][-len(trunk) :] == [
            state.values for state in trunk
        ]
    assert_same(work, schema)
    assert_same_history(work, schema)


# -- upkeep


@pytest.mark.parametrize("durability", ["sync", "exit"])
def test_a_pruned_thread_is_rebuilt_and_goes_on(work: Work, schema: Any, durability: Any) -> None:
    for number in range(6):
        for saver in (work.saver, work.peer):
            work.invoke(graph_of(saver, schema), turn(number), work.config(), durability=durability)
        work.call(work.saver if number % 2 else work.other(), "prune", [work.thread])
        assert_same(work, schema)


def test_pruning_takes_away_what_is_not_needed_to_rebuild(work: Work) -> None:
    grown(work, Often, 9)
    graph = graph_of(work.saver, Often)
    work.update(graph, work.config(), {"rare": Overwrite(["in full"])}, as_node="two")
    work.update(graph_of(work.peer, Often), work.config(), {"rare": Overwrite(["in full"])}, as_node="two")
    before = len(work.list(work.saver, work.config()))
    work.call(work.saver, "prune", [work.thread])
    assert len(work.list(work.saver, work.config())) < before / 3
    assert_same(work, Often)


def test_a_thread_that_waits_is_pruned_and_answered(work: Work, schema: Any) -> None:
    def ask(state: Any) -> str:
        return str(interrupt("well?"))

    for saver in (work.saver, work.peer):
        for number in range(3):
            work.invoke(graph_of(saver, schema), turn(number), work.config())
        work.invoke(graph_of(saver, schema, ask), turn(3), work.config())
    work.call(work.other(), "prune", [work.thread])
    for saver in (work.other(), work.peer):
        work.invoke(graph_of(saver, schema, ask), Command(resume="yes"), work.config())
    assert_same(work, schema)


def test_a_pruned_fork_is_rebuilt_along_its_own_chain(work: Work, schema: Any) -> None:
    for saver in (work.saver, work.peer):
        graph = graph_of(saver, schema)
        for number in range(4):
            work.invoke(graph, turn(number), work.config())
        old = work.history(graph, work.config())[7]
        fork = work.update(graph, old.config, {"items": ["fork"]}, as_node="two")
        work.invoke(graph, turn(10), fork)
    work.call(work.other(), "prune", [work.thread])
    assert_same(work, schema)


def test_a_copy_is_rebuilt_and_goes_on_by_itself(work: Work, schema: Any) -> None:
    grown(work, schema, 5)
    copied = work.config(f"copy-{work.thread}")
    work.call(work.saver, "copy_thread", work.thread, copied["configurable"]["thread_id"])
    assert_same(work, schema, copied)
    work.invoke(graph_of(work.other(), schema), turn(7), copied)
    assert_same(work, schema)
    work.call(work.saver, "delete_thread", work.thread)
    for saver in (work.saver, work.peer):
        work.invoke(graph_of(saver, schema), turn(8), copied if saver is work.saver else work.config())
    items = work.state(graph_of(work.other(), schema), copied).values["items"]
    assert items[20:] == [
        *("input 7", "left w7 " + "x" * 20, "right w7 " + "x" * 20, "two w7"),
        *("input 8", "left w8 " + "x" * 20, "right w8 " + "x" * 20, "two w8"),
    ]


def test_a_run_is_rolled_back_and_what_follows_has_no_trace_of_it(work: Work, schema: Any) -> None:
    grown(work, schema, 3)
    bad = str(uuid.uuid4())
    work.invoke(graph_of(work.saver, schema), turn(99), {**work.config(), "metadata": {"run_id": bad}})
    work.call(work.other(), "delete_for_runs", [bad])
    assert_same(work, schema)
    for saver in (work.saver, work.peer):
        work.invoke(graph_of(saver, schema), turn(3), work.config())
    assert_same(work, schema)


def test_older_runs_are_deleted_and_what_they_gave_stays(work: Work, schema: Any) -> None:
    runs = [str(uuid.uuid4()) for _ in range(5)]
    for number, run in enumerate(runs):
        for saver in (work.saver, work.peer):
            work.invoke(graph_of(saver, schema), turn(number), {**work.config(), "metadata": {"run_id": run}})
    work.call(work.saver, "delete_for_runs", runs[:4])
    assert_same(work, schema)
    for saver in (work.other(), work.peer):
        work.invoke(graph_of(saver, schema), turn(7), work.config())
    assert_same(work, schema)


def test_an_inner_graph_with_such_channels_is_pruned_and_goes_on(work: Work, schema: Any) -> None:
    def outer(saver: Any) -> Any:
        inner = graph_of(True, schema)

        def call(state: Any) -> Any:
            return {"word": str(len(inner.invoke(turn(int(state["word"])))["items"]))}

        made: Any = StateGraph(Plain)
        made.add_node("call", call)
        made.add_edge(START, "call")
        return made.compile(checkpointer=saver)

    for number in range(6):
        result = work.invoke(outer(work.other()), {"word": str(number)}, work.config())
        assert result["word"] == str((number + 1) * 4)
        work.call(work.saver, "prune", [work.thread])


@pytest.mark.parametrize(("old", "new"), [(Plain, Often), (Often, Plain), (Never, Plain)])
def test_a_thread_whose_channel_changed_its_kind_is_pruned_and_goes_on(work: Work, old: Any, new: Any) -> None:
    grown(work, old, 3)
    for saver in (work.saver, work.peer):
        work.update(graph_of(saver, new), work.config(), {"word": "other"}, as_node="two")
    assert_same(work, new)
    work.call(work.saver, "prune", [work.thread])
    assert_same(work, new)
    for saver in (work.saver, work.peer):
        work.invoke(graph_of(saver, new), turn(3), work.config())
    work.call(work.saver, "prune", [work.thread])
    assert_same(work, new)


# -- the history itself


def tree(work: Work, size: int) -> list[Any]:
    """Checkpoints with forks, writes and stored values at random, here and with LangGraph's own checkpointer."""
    rng = random.Random(size)
    made: list[Any] = []
    versions: list[dict[str, str]] = []
    for number in range(size):
        parent = max(0, number - rng.choice([1, 1, 1, 2, 5])) if number else None
        mine = dict(versions[parent]) if parent is not None else {}
        values: dict[str, Any] = {}
        for channel, chance in (("a", 0.2), ("b", 0.05)):
            mine[channel] = f"{number + 1:032}.{0:016}"
            if rng.random() < chance:
                text = f"{channel} until {number} " * rng.choice([1, 50])
                values[channel] = _DeltaSnapshot([text]) if rng.random() < 0.8 else [text]
        stored = checkpoint(values, mine)
        into = config(work.thread, "", made[parent]["configurable"]["checkpoint_id"] if parent is not None else None)
        writes = [
            ([(rng.choice("abc"), [f"{number}.{task}.{n}"]) for n in range(rng.randrange(4))], str(uuid.UUID(int=task)))
            for task in rng.sample(range(100), rng.randrange(4))
        ]
        for saver in (work.saver, work.peer):
            place = work.call(saver, "put", into, stored, {"source": "loop", "step": number, "parents": {}}, mine)
            for listed, task in writes:
                if listed:
                    work.call(saver, "put_writes", place, listed, task, f"~{task[-1]}")
        made.append(place)
        versions.append(mine)
    work.config()
    return made


def default(work: Work, saver: Any, place: Any, channels: Sequence[str]) -> Any:
    """What LangGraph's own slow way finds."""
    if work.turns_async():
        return work.wait(BaseCheckpointSaver.aget_delta_channel_history(saver, config=place, channels=channels))
    return BaseCheckpointSaver.get_delta_channel_history(saver, config=place, channels=channels)


def found(work: Work, saver: Any, place: Any, channels: Sequence[str] = ("a", "b", "d")) -> Any:
    return work.call(saver, "get_delta_channel_history", config=place, channels=channels)


@pytest.mark.parametrize(("page", "writes"), [(100, 1000), (2, 1000), (3, 5), (1, 1)])
def test_history_is_what_the_slow_way_finds_with_pages_of_any_size(
    work: Work, monkeypatch: pytest.MonkeyPatch, page: int, writes: int
) -> None:
    monkeypatch.setattr(plan, "PAGE", page)
    monkeypatch.setattr(plan, "WRITES", writes)
    places = tree(work, 30)
    for place in places[::5]:
        result = found(work, work.other(), place)
        assert result == found(work, work.peer, place)
        assert list(result) == ["a", "b", "d"]
        assert result == default(work, work.saver, place, ("a", "b", "d"))
    newest = found(work, work.saver, work.config())
    assert newest == found(work, work.saver, places[-1])


def test_a_chain_of_several_pages_is_followed_to_its_end(work: Work) -> None:
    count = 260  # more than two pages
    place: Any = config(work.thread)
    for number in range(count):
        stored = checkpoint({}, {"a": f"{number + 1:032}.{0:016}"})
        place = work.saver.put(place, stored, {"source": "loop", "step": number, "parents": {}}, {})
        work.saver.put_writes(place, [("a", number), ("a", -number)], f"task {number}")
    work.config()
    result = found(work, work.other(), place, ["a"])["a"]
    assert [value for _, _, value in result["writes"]] == [
        each for number in range(count - 1) for each in (number, -number)
    ]
    assert "seed" not in result


def test_the_targets_own_writes_are_left_out_and_those_at_the_seed_are_not(work: Work) -> None:
    put = Saver(work.saver, None)
    work.config()
    root = put.put(config(work.thread), checkpoint({"a": _DeltaSnapshot(["seed"])}))
    put.put_writes(root, [("a", ["at the seed"])], "t1")
    middle = put.put(root, checkpoint({}, {"a": 2}))
    put.put_writes(middle, [("a", ["in the middle"]), ("b", ["other"])], "t2")
    target = put.put(middle, checkpoint({}, {"a": 3}))
    put.put_writes(target, [("a", ["not yet"])], "t3")
    result = found(work, work.other(), target, ["a"])
    assert result == {
        "a": {
            "writes": [("t1", "a", ["at the seed"]), ("t2", "a", ["in the middle"])],
            "seed": _DeltaSnapshot(["seed"]),
        }
    }
    assert type(result["a"]["seed"]) is _DeltaSnapshot
    assert found(work, work.other(), root, ["a"]) == {"a": {"writes": []}}


def test_no_channels_no_thread_and_no_checkpoint_have_an_empty_history(work: Work) -> None:
    tree(work, 3)
    assert found(work, work.saver, work.config(), []) == {}
    assert found(work, work.saver, config("nobody")) == {name: {"writes": []} for name in ("a", "b", "d")}
    assert found(work, work.saver, work.config(checkpoint_id="0")) == {name: {"writes": []} for name in ("a", "b", "d")}


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_circle_in_the_chain_ends_it(work: Work, length: int) -> None:
    put = Saver(work.saver, None)
    work.config()
    stored = [checkpoint({}, {"a": number}) for number in range(length)]
    for number, each in enumerate(stored):
        place = put.put(config(work.thread, "", stored[number - 1]["id"]), each)
        put.put_writes(place, [("a", [str(number)])], "t")

    async def in_time() -> Any:
        return await asyncio.wait_for(
            work.saver.aget_delta_channel_history(config=work.config(), channels=["a"]), timeout=20
        )

    result = work.wait(in_time())
    assert len(result["a"]["writes"]) == length
    assert found(work, work.other(), work.config(), ["a"]) == result
    work.call(work.saver, "prune", [work.thread])


def test_an_ancestor_that_is_not_there_ends_the_chain(work: Work) -> None:
    put = Saver(work.saver, None)
    work.config()
    first = put.put(config(work.thread, "", "00000000-0000-6000-8000-000000000000"), checkpoint({}, {"a": 1}))
    put.put_writes(first, [("a", ["first"])], "t")
    second = put.put(first, checkpoint({}, {"a": 2}))
    assert found(work, work.other(), second, ["a"]) == {"a": {"writes": [("t", "a", ["first"])]}}


def test_the_history_of_a_graph_is_what_the_slow_way_finds_at_every_step(work: Work, schema: Any) -> None:
    grown(work, schema, 6)
    cold = work.other()
    for state in work.history(graph_of(work.saver, schema), work.config())[::3]:
        wanted = default(work, work.saver, state.config, ["items", "rare"])
        assert found(work, cold, state.config, ["items", "rare"]) == wanted
