"""Pruning by age: what is younger stays with all that it needs, and so does what does not say how old it is."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

import pytest
from langgraph.graph import START, StateGraph
from support.savers import config
from typing_extensions import TypedDict
from upkeep.care import TEXT, Care, says

from langgraph_sessionstore import ConfigurationError, SessionNotFound, keys
from langgraph_sessionstore.plans import layout

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)


def chain(care: Care, name: str, ages: Sequence[float], ns: str = "") -> list[Any]:
    """Checkpoints made so many days ago, each with a message more and with a write; where they are."""
    there: list[Any] = []
    here: Any = config(name, ns)
    for number, age in enumerate(ages):
        ts = (NOW - age * DAY).isoformat()
        here = care.put(here, f"{number:06}", says(*range(number + 1)), ts=ts)
        care.form.do(care.manager.checkpointer, "put_writes", here, [("messages", f"{number} {TEXT}")], "task")
        there.append(here)
    return there


def left(care: Care, name: str, ns: str = "") -> list[str]:
    """The checkpoints that are there, each with its messages and its write."""
    found = []
    manager = care.other()
    for key, _ in care.rows(name, layout.RECORDS):
        found_ns, id_ = layout.record_name(key)
        if found_ns == ns:
            made = care.form.do(manager.checkpointer, "get_tuple", config(name, ns, id_))
            assert len(made.checkpoint["channel_values"]["messages"]) == int(id_) + 1
            assert [value for _, _, value in made.pending_writes] == [f"{int(id_)} {TEXT}"]
            found.append(id_.lstrip("0") or "0")
    assert care.problems(name) == []
    return found


@pytest.mark.parametrize(
    "older_than",
    [
        2.5 * 86_400,
        timedelta(days=2.5),
        NOW - 2.5 * DAY,
        (NOW - 2.5 * DAY).astimezone(timezone(timedelta(hours=5))),
        (NOW - 2.5 * DAY).astimezone().replace(tzinfo=None),
    ],
)
def test_what_is_younger_stays_as_it_was(care: Care, older_than: Any) -> None:
    chain(care, "t", [5, 4, 3, 2, 1])
    chain(care, "t", [5, 1], "inner:1")
    chain(care, "t", [9, 8], "inner:2")
    care.form.do(care.manager.checkpointer, "prune", ["t"], older_than=older_than)
    assert left(care, "t") == ["3", "4"]
    assert left(care, "t", "inner:1") == ["1"]
    assert left(care, "t", "inner:2") == ["1"]  # the newest stays, however old it is


def test_a_session_says_how_many_went(care: Care) -> None:
    chain(care, "t", [5, 4, 3, 2, 1])
    session = care.form.do(care.manager, "get_session", "t")
    counts = [care.form.do(session, "prune_checkpoints", older_than=days * DAY) for days in (9, 3.5, 3.5, 1.5)]
    assert counts == [0, 2, 0, 2]
    assert left(care, "t") == ["4"]
    chain(care, "t", [3, 2, 1])
    assert care.form.do(session, "prune_checkpoints") == 3
    assert care.form.do(session, "prune_checkpoints") == 0
    assert left(care, "t") == ["4"]


def test_without_an_age_only_the_newest_stays(care: Care) -> None:
    chain(care, "t", [5, 4, -1])
    care.form.do(care.manager.checkpointer, "prune", ["t"], older_than=0)
    assert left(care, "t") == ["2"]
    care.form.do(care.manager, "create_session", "empty")
    assert care.form.do(care.form.do(care.manager, "get_session", "empty"), "prune_checkpoints", older_than=1) == 0


def test_what_does_not_say_how_old_it_is_stays(care: Care) -> None:
    here: Any = config("t")
    for number, ts in enumerate([None, 7, "", "yesterday", "2020-01-01T00:00:00", "2020-01-01T00:00:00Z", "x"]):
        here = care.put(here, f"{number:06}", says(number), ts=ts)
    session = care.form.do(care.manager, "get_session", "t")
    assert care.form.do(session, "prune_checkpoints", older_than=DAY) == 2
    assert [layout.record_name(key)[1][-1] for key, _ in care.rows("t", layout.RECORDS)] == ["0", "1", "2", "3", "6"]
    assert care.problems("t") == []


def test_a_write_that_came_before_its_checkpoint_stays(care: Care) -> None:
    (*_, last) = chain(care, "t", [5, 4, 1, 0.5])
    saver = care.manager.checkpointer
    for id_ in ("0000015", "0000025", "0000035"):  # between them, and behind
        care.form.do(saver, "put_writes", config("t", "", id_), [("messages", "early")], "task")
    care.form.do(saver, "prune", ["t"], older_than=2 * DAY)
    found = [keys.decode(key)[2] for key, _ in care.rows("t", layout.WRITES)]
    assert found == ["000002", "0000025", "000003", "0000035"]
    care.put(last, "0000035", says(9))
    made = care.form.do(care.other().checkpointer, "get_tuple", config("t", "", "0000035"))
    assert [value for _, _, value in made.pending_writes] == ["early"]


@pytest.mark.parametrize("older_than", ["a day", -1, float("nan"), True, [], timedelta(-1), object()])
def test_an_age_that_is_none(care: Care, older_than: Any) -> None:
    chain(care, "t", [5, 4])
    session = care.form.do(care.manager, "get_session", "t")
    for subject, call, args in (
        (care.manager.checkpointer, "prune", (["t"],)),
        (session, "prune_checkpoints", ()),
        (care.manager, "delete_sessions", ()),
    ):
        with pytest.raises(ConfigurationError, match="older_than"):
            care.form.do(subject, call, *args, older_than=older_than)


def test_deleting_everything_has_no_age(care: Care) -> None:
    chain(care, "t", [5, 4])
    with pytest.raises(ConfigurationError, match="keeps nothing"):
        care.form.do(care.manager.checkpointer, "prune", ["t"], strategy="delete", older_than=DAY)
    assert left(care, "t") == ["0", "1"]


def test_a_session_that_has_gone_is_not_pruned(care: Care) -> None:
    chain(care, "t", [5, 4])
    session = care.form.do(care.manager, "get_session", "t")
    care.form.do(care.other(), "delete_session", "t")
    care.form.do(care.other(), "create_session", "t")
    chain(care, "t", [5, 4])
    with pytest.raises(SessionNotFound):
        care.form.do(session, "prune_checkpoints", older_than=1)
    assert left(care, "t") == ["0", "1"]


def test_channels_of_which_only_changes_are_stored_are_rebuilt(care: Care) -> None:
    delta = pytest.importorskip("langgraph.channels.delta", reason="this langgraph has no DeltaChannel")

    def extend(old: list[str], new: Sequence[list[str]]) -> list[str]:
        return [*old, *(item for items in new for item in items)]

    state: Any = TypedDict("state", {"items": Annotated[list[str], delta.DeltaChannel(extend, snapshot_frequency=4)]})

    def graph(manager: Any) -> Any:
        builder = StateGraph(state).add_node("node", lambda state: {"items": [f"n{len(state['items'])}"]})
        return builder.add_edge(START, "node").compile(checkpointer=manager.checkpointer)

    thread: Any = config(f"t-{uuid.uuid4()}")
    del thread["configurable"]["checkpoint_ns"]
    made = graph(care.manager)

    def do(name: str, *args: Any) -> Any:
        return care.form.do(made, name, *args)

    for turn in range(9):
        do("invoke", {"items": [f"u{turn}"]}, thread)

    def history(manager: Any) -> list[Any]:
        def seen(found: Any) -> Any:
            return found.config["configurable"]["checkpoint_id"], found.values, found.created_at

        read = graph(manager)
        if care.form.loop is None:
            return [seen(each) for each in read.get_state_history(thread)]

        async def gather() -> list[Any]:
            return [seen(each) async for each in read.aget_state_history(thread)]

        return care.form.loop.run_until_complete(gather())

    before = history(care.other())
    middle = datetime.fromisoformat(before[len(before) // 2][2])
    name = thread["configurable"]["thread_id"]
    session = care.form.do(care.manager, "get_session", name)
    gone = care.form.do(session, "prune_checkpoints", older_than=middle)
    after = history(care.other())
    assert 0 < gone == len(before) - len(after)
    young = [each for each in before if datetime.fromisoformat(each[2]) > middle]
    assert after[: len(young)] == young  # behind them is what they are rebuilt from
    assert [each for each in after if each not in before] == []
    do("invoke", {"items": ["more"]}, thread)
    assert history(care.other())[0][1]["items"] == [*before[0][1]["items"], "more", "n19"]


def test_pruning_between_the_turns_of_a_writer(care: Care, manager_on: Callable[..., Any]) -> None:
    """Whoever goes on from what was pruned away writes what is needed in full."""
    there = chain(care, "t", [5, 4, 3, 2, 1])
    other = manager_on()
    care.form.do(other.checkpointer, "prune", ["t"], older_than=2.5 * DAY)
    where = care.put(there[1], "000009", says(0, 1, 9))
    assert care.texts(where) == ["0", "1", "9"]
    where = care.put(there[4], "000010", says(*range(5), 10))
    assert care.texts(where) == ["0", "1", "2", "3", "4", "10"]
    assert care.problems("t") == []
