"""Channel values and their versions, and the metadata beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.base import get_checkpoint_metadata
from langgraph.checkpoint.memory import InMemorySaver
from support.savers import Saver, checkpoint, config

from langgraph_sessionstore.adapters.checkpointer import SessionCheckpointer
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.plans import writing

Make = Callable[..., Saver]
MESSAGES: list[AnyMessage] = [
    HumanMessage(content="a question " * 20, id="1"),
    AIMessage(content=[{"type": "text", "text": "an answer " * 20}], id="2", response_metadata={"tokens": [1, 2]}),
]
VALUES: dict[str, Any] = {
    "inline": 7,
    "whole": "w" * 500,
    "list": [{"number": number, "text": "t" * 300} for number in range(4)],
    "dict": dict.fromkeys(range(5), "d" * 400),
    "messages": MESSAGES,
    "none": None,
    "nothing": [],
}


def workers(saver: Saver, saver_on: Make) -> Iterator[Saver]:
    """The worker that wrote, another that has read nothing yet, and that one again."""
    cold = saver_on()
    yield from (saver, cold, cold)


# -- a channel keeps its value by its version


@pytest.mark.parametrize("parent", [True, False], ids=["child", "stray"])
def test_a_channel_that_is_not_new_keeps_the_value_of_its_version(
    saver: Saver, saver_on: Make, thread: str, parent: bool
) -> None:
    memory = InMemorySaver()
    first = checkpoint(VALUES)
    kept = {number: checkpoint({}, first["channel_versions"]) for number in range(3)}
    for target in (saver, memory):
        target.put(config(thread), first, {}, first["channel_versions"])
    for number, worker in enumerate((saver, saver_on(), saver_on(cache_bytes=0))):
        at = config(thread, "", first["id"] if parent else None)
        worker.put(at, kept[number], {}, {})
        memory.put(at, kept[number], {}, {})
        for reader in workers(worker, saver_on):
            here = config(thread, "", kept[number]["id"])
            assert reader.load(here) == memory.get_tuple(here)
            assert reader.load(here).checkpoint["channel_values"] == VALUES


def test_a_kept_value_is_found_however_old_it_is(
    saver: Saver, saver_on: Make, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "SCAN", 2)
    saver.put(config(thread), checkpoint(VALUES, id="1"))
    for number in range(2, 8):
        saver.put(config(thread), checkpoint({"other": number}, {"other": number}, id=str(number)))
    versions = {**dict.fromkeys(VALUES, 1), "other": 4}
    saver_on().put(config(thread), checkpoint({}, versions, id="9"), {}, {})
    for worker in workers(saver, saver_on):
        assert worker.load(config(thread)).checkpoint["channel_values"] == {**VALUES, "other": 4}
    assert saver.check(thread) == []


def test_an_older_version_of_a_channel_is_the_older_value(saver: Saver, saver_on: Make, thread: str) -> None:
    first = saver.put(config(thread), checkpoint({"a": "old" * 100, "b": 1}, {"a": 1, "b": 1}))
    second = saver.put(first, checkpoint({"a": "new" * 100, "b": 2}, {"a": 2, "b": 2}))
    for worker in (saver, saver_on()):
        back = worker.put(second, checkpoint({"b": 3}, {"a": 1, "b": 3}), {}, {"b": 3})
        for reader in workers(worker, saver_on):
            assert reader.load(back).checkpoint["channel_values"] == {"a": "old" * 100, "b": 3}


def test_a_new_version_without_a_value_empties_the_channel(saver: Saver, saver_on: Make, thread: str) -> None:
    memory = InMemorySaver()
    every: dict[str, Any] = dict.fromkeys(VALUES, 1)
    emptied = {**every, "messages": 2, "inline": 2, "whole": 2}
    new: dict[str, Any] = {"messages": 2, "inline": 2, "whole": 2}
    rest = {name: value for name, value in VALUES.items() if name not in new}
    for target in (saver, memory):
        target.put(config(thread), checkpoint(VALUES, every, id="1"), {}, every)
        target.put(config(thread, "", "1"), checkpoint(rest, emptied, id="2"), {}, new)
    for target in (saver_on(), memory):
        target.put(config(thread, "", "2"), checkpoint({}, emptied, id="3"), {}, {})
        target.put(config(thread), checkpoint({}, emptied, id="4"), {}, {})
        target.put(
            config(thread, "", "2"), checkpoint({"inline": 8}, {**emptied, "inline": 3}, id="5"), {}, {"inline": 3}
        )
    for worker in workers(saver, saver_on):
        for number in "12345":
            here = config(thread, "", number)
            assert worker.load(here) == memory.get_tuple(here)
        assert worker.load(config(thread, "", "3")).checkpoint["channel_values"] == rest
        assert worker.load(config(thread, "", "1")).checkpoint["channel_values"] == VALUES


def test_a_value_without_a_version_is_not_part_of_the_checkpoint(saver: Saver, saver_on: Make, thread: str) -> None:
    memory = InMemorySaver()
    for target in (saver, memory):
        target.put(config(thread), checkpoint({"a": 1, "b": 2}, {"a": 1}, id="1"), {}, {"a": 1})
    for worker in workers(saver, saver_on):
        assert worker.load(config(thread)) == memory.get_tuple(config(thread))


def test_namespaces_have_values_of_their_own_at_the_same_version(saver: Saver, saver_on: Make, thread: str) -> None:
    spaces = ["", "node:1", "node:1|sub:2", "node:2"]
    for ns in spaces:
        saver.put(config(thread, ns), checkpoint({"a": ns, "b": [ns * 50] * 9}, id="1"))
    cold = saver_on()
    for ns in spaces:
        cold.put(config(thread, ns), checkpoint({}, {"a": 1, "b": 1}, id="2"), {}, {})
    for worker in workers(saver, saver_on):
        for ns in spaces:
            for number in "12":
                found = worker.load(config(thread, ns, number))
                assert found.checkpoint["channel_values"] == {"a": ns, "b": [ns * 50] * 9}


def test_forks_with_the_same_counter_keep_their_own_values(saver: Saver, saver_on: Make, thread: str) -> None:
    version = saver.checkpointer.get_next_version
    base = version(None, None)
    root = saver.put(config(thread), checkpoint({"m": MESSAGES}, {"m": base}))
    forks = {}
    for number, worker in enumerate((saver, saver, saver_on(), saver_on())):
        mine = version(base, None)
        content = [*MESSAGES, HumanMessage(content=f"fork {number} " * 20, id="3")]
        at = worker.put(root, checkpoint({"m": content, "n": number}, {"m": mine, "n": mine}))
        forks[number] = at, mine, content
    assert len({mine for _, mine, _ in forks.values()}) == len(forks)
    for number, (at, mine, content) in forks.items():
        child = saver_on().put(at, checkpoint({}, {"m": mine, "n": mine}), {}, {})
        for worker in workers(saver, saver_on):
            for here in (at, child):
                assert worker.load(here).checkpoint["channel_values"] == {"m": content, "n": number}
    assert saver.load(root).checkpoint["channel_values"] == {"m": MESSAGES}
    assert saver.check(thread) == []


def test_forks_with_the_very_same_version_keep_their_own_values(saver: Saver, saver_on: Make, thread: str) -> None:
    root = saver.put(config(thread), checkpoint({"a": "root" * 50}, {"a": 1}))
    forks = [saver.put(root, checkpoint({"a": name * 50}, {"a": 2})) for name in ("left", "right")]
    for at, name in zip(forks, ("left", "right"), strict=True):
        children = [worker.put(at, checkpoint({}, {"a": 2}), {}, {}) for worker in (saver, saver_on())]
        for worker in workers(saver, saver_on):
            for here in (at, *children):
                assert worker.load(here).checkpoint["channel_values"] == {"a": name * 50}


def test_values_change_from_step_to_step_as_they_like(saver: Saver, saver_on: Make, thread: str) -> None:
    extra = HumanMessage(content="more " * 40, id="3")
    steps: list[Any] = [
        MESSAGES,
        [*MESSAGES, extra],
        [*MESSAGES, extra, extra],
        [extra, *MESSAGES],
        [MESSAGES[0].model_copy(update={"content": "edited " * 30}), MESSAGES[1]],
        MESSAGES[:1],
        [],
        MESSAGES,
        [*MESSAGES, "a word"],
        tuple(MESSAGES),
        {"a": "x" * 900, "b": "y" * 900},
        {"b": "y" * 900, "a": "x" * 900},
        {"b": "y" * 900, "c": "z" * 900},
        {},
        "x" * 900,
        None,
    ]
    here = config(thread)
    places = []
    hands = [saver, saver_on()]
    for number, value in enumerate(steps):
        here = hands[number // 2 % 2].put(here, checkpoint({"a": value}, {"a": number}))
        places.append(here)
    for worker in workers(saver, saver_on):
        for place, value in zip(places, steps, strict=True):
            found = worker.load(place).checkpoint["channel_values"]["a"]
            assert found == value
            assert type(found) is type(value)
            assert list(found or ()) == list(value or ())
        listed = [found.checkpoint["channel_values"]["a"] for found in worker.list(config(thread))]
        assert listed == steps[::-1]
    assert saver.check(thread) == []


# -- versions


FOREIGN = [None, 0, 1, 41, 2.0, 7.5, "1", "00000000000000000000000000000002.0.4444218515250481", f"{12:032}.{3:016}"]


@pytest.mark.parametrize("current", FOREIGN)
def test_versions_of_every_checkpointer_are_continued(current: Any) -> None:
    saver = SessionCheckpointer(MemoryBackend())
    following = {saver.get_next_version(current, None) for _ in range(20)}
    assert len(following) == 20
    for version in following:
        number = int(float(str(current or 0).split(".")[0]))
        assert int(version.split(".")[0]) == number + 1
        assert len(version) == len(next(iter(following)))
        if current is not None and current != "1":  # text without zeros in front does not compare by its number
            assert version > current
        assert saver.get_next_version(version, None) > version


def test_versions_grow_and_compare_as_text() -> None:
    saver = SessionCheckpointer(MemoryBackend())
    memory = InMemorySaver()
    version = saver.get_next_version(None, None)
    for _ in range(300):
        following = saver.get_next_version(version, None)
        assert following > version
        assert memory.get_next_version(following, None) > following
        assert saver.get_next_version(memory.get_next_version(version, None), None) > following
        version = following


def test_versions_of_every_checkpointer_come_back_as_they_are(saver: Saver, saver_on: Make, thread: str) -> None:
    kinds = [*FOREIGN[1:], -1, 2**62, "", "1.", "abc", "0" * 49, f"{1:033}.{2:015}", f"{10**20:032}.{5:016}"]
    versions = {f"c{number}": version for number, version in enumerate(kinds)}
    here = saver.put(
        config(thread),
        checkpoint(dict.fromkeys(versions, "x"), versions, versions_seen={"node": versions, "__input__": {}}),
    )
    for worker in workers(saver, saver_on):
        found = worker.load(here).checkpoint
        assert found["channel_versions"] == versions
        assert found["versions_seen"] == {"node": versions, "__input__": {}}
        for back, value in zip(found["channel_versions"].values(), kinds, strict=True):
            assert isinstance(back, type(value))


# -- metadata


def test_metadata_takes_from_the_config_what_langgraph_says(saver: Saver, saver_on: Make, thread: str) -> None:
    memory = InMemorySaver()
    place: Any = {
        "configurable": {
            **config(thread)["configurable"],
            "checkpoint_map": {"": "1"},
            "run_id": "run-1",
            "user": "an\0a",
            "score": 0.5,
            "flag": True,
            "object": {"not": "taken"},
            "source": "not this",
            "__pregel_private": "no",
            "langgraph_node": "no",
        },
        "metadata": {"tenant": "t\0", "user": "of the metadata", "langgraph_step": 3, "list": [1], "thread_id": "x"},
    }
    given: Any = {"source": "update", "step": -1, "parents": {}, "text": "\0a\0", "deep": {"text": "\0"}}
    saved = checkpoint()
    for target in (saver, memory):
        target.put(place, saved, given, {})
    wanted = get_checkpoint_metadata(place, given)
    assert wanted["source"] == "update"
    for worker in workers(saver, saver_on):
        found = worker.load(config(thread))
        assert found.metadata == wanted
        assert found == memory.get_tuple(config(thread))
        assert found.metadata.get("deep") == {"text": "\0"}
        assert [one.metadata for one in worker.list(config(thread))] == [wanted]


def test_metadata_keeps_keys_that_nobody_knows_and_their_types(saver: Saver, saver_on: Make, thread: str) -> None:
    metadata = {
        "source": "loop",
        "step": 3,
        "parents": {"": "1"},
        "counters_since_delta_snapshot": {"m": (3, 2)},
        "mine": {1: (2, 3), "set": {1, 2}},
        "writes": {"node": [1]},
    }
    saver.put(config(thread), checkpoint(), metadata)
    for worker in workers(saver, saver_on):
        found: Any = worker.load(config(thread)).metadata
        assert found == metadata
        assert type(found["counters_since_delta_snapshot"]["m"]) is tuple
