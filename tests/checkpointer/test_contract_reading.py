"""Reading one checkpoint: which one it is, what comes with it, and whose it is afterwards."""

from __future__ import annotations

import copy
import datetime
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Send
from support.savers import Saver, checkpoint, config

Make = Callable[..., Saver]


def workers(saver: Saver, saver_on: Make) -> Iterator[Saver]:
    """The worker that wrote, another that has read nothing yet, and that one again."""
    cold = saver_on()
    yield from (saver, cold, cold)


# -- which checkpoint


def test_the_latest_is_the_greatest_id_not_the_last_put(saver: Saver, saver_on: Make, thread: str) -> None:
    memory = InMemorySaver()
    for number in ("5", "9", "1", "7", "10"):
        for target in (saver, memory):
            target.put(config(thread), checkpoint({"a": number}, {"a": int(number)}, id=number), {}, {"a": int(number)})
        for worker in workers(saver, saver_on):
            assert worker.load(config(thread)) == memory.get_tuple(config(thread))
    assert saver.load(config(thread)).checkpoint["id"] == "9"


def test_an_empty_checkpoint_id_is_none(saver: Saver, saver_on: Make, thread: str) -> None:
    saver.put(config(thread), checkpoint(id="2"))
    saver.put(config(thread, "", ""), checkpoint(id="1"))
    unset: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": None}}
    for worker in workers(saver, saver_on):
        for place in (config(thread, "", ""), config(thread, None, ""), unset):
            assert worker.load(place).checkpoint["id"] == "2"
            assert [found.checkpoint["id"] for found in worker.list(place)] == ["2", "1"]
        assert worker.load(config(thread, "", "1")).parent_config is None


def test_an_unknown_id_is_none_and_never_the_latest(saver: Saver, saver_on: Make, thread: str) -> None:
    saver.put(config(thread), checkpoint(id="20"))
    saver.put(config(thread, "sub"), checkpoint(id="21"))
    for worker in workers(saver, saver_on):
        for unknown in ("2", "200", "21", "1", "3", "zzz", "20\0", "\U0010ffff"):
            assert worker.get(config(thread, "", unknown)) is None
            assert worker.list(config(thread, "", unknown)) == []
        assert worker.get(config(thread, "su")) is None
        assert worker.get(config(thread, "sub", "20")) is None
        assert worker.get(config(f"{thread}-unknown")) is None
        assert worker.list(config(f"{thread}-unknown", None)) == []


def test_without_a_namespace_it_is_the_root(saver: Saver, saver_on: Make, thread: str) -> None:
    here = saver.put(config(thread, None), checkpoint(id="1"))
    saver.put(config(thread, "sub"), checkpoint(id="2"))
    assert here == config(thread, "", "1")
    saver.put_writes(config(thread, None, "1"), [("a", 1)], "task")
    for worker in workers(saver, saver_on):
        for place in (config(thread, None), config(thread, ""), config(thread, None, "1")):
            found = worker.load(place)
            assert found.config == here
            assert found.pending_writes == [("task", "a", 1)]
        assert worker.get(config(thread, None, "2")) is None


def test_namespaces_are_not_taken_for_one_another(saver: Saver, saver_on: Make, thread: str) -> None:
    task, sub = uuid.uuid4(), uuid.uuid4()
    spaces = ["", "n", "node", f"node:{task}", f"node:{task}|sub:{sub}", f"node:{sub}", "node|sub", "node:", "|", ":"]
    spaces += ["{node}", "node*", "%", "_", "/", "a\0b", "\x01", "🙂", "node\n"]
    for number, ns in enumerate(spaces):
        saver.put(config(thread, ns), checkpoint({"a": ns}, id=str(number)))
    for worker in workers(saver, saver_on):
        for number, ns in enumerate(spaces):
            found = worker.load(config(thread, ns))
            assert found.config == config(thread, ns, str(number))
            assert found.checkpoint["channel_values"] == {"a": ns}
            assert [one.config for one in worker.list(config(thread, ns))] == [found.config]


# -- what comes with it


@pytest.mark.parametrize("ns", ["", "node:1|sub:2"])
def test_configs_name_the_checkpoint_and_its_parent(saver: Saver, saver_on: Make, thread: str, ns: str) -> None:
    memory = InMemorySaver()
    first, second = checkpoint(), checkpoint()
    for target in (saver, memory):
        here = target.put(config(thread, ns), first, {}, {})
        assert here == config(thread, ns, first["id"])
        assert target.put(here, second, {}, {}) == config(thread, ns, second["id"])
    for worker in workers(saver, saver_on):
        root, child = (worker.load(config(thread, ns, one["id"])) for one in (first, second))
        assert root == memory.get_tuple(config(thread, ns, first["id"]))
        assert child == memory.get_tuple(config(thread, ns, second["id"]))
        assert root.parent_config is None
        assert child.parent_config == config(thread, ns, first["id"])
        assert worker.list(config(thread, ns)) == [child, root]


def test_a_parent_may_be_unknown(saver: Saver, saver_on: Make, thread: str) -> None:
    here = saver.put(config(thread, "", "never put"), checkpoint({"a": 1}))
    for worker in workers(saver, saver_on):
        assert worker.load(here).parent_config == config(thread, "", "never put")


@pytest.mark.parametrize("number", [0, 7, 10**30, uuid.UUID("12345678-1234-5678-1234-567812345678")])
def test_thread_ids_may_be_numbers_and_uuids(saver: Saver, saver_on: Make, number: Any) -> None:
    memory = InMemorySaver()
    saver.delete_thread(number)
    saved = checkpoint({"a": 1})
    for target in (saver, memory):
        here = target.put(config(number), saved, {}, {"a": 1})
        assert here == config(number, "", saved["id"])
        target.put_writes(here, [("a", 2)], "task")
    for worker in workers(saver, saver_on):
        assert worker.load(config(number)) == memory.get_tuple(config(number))
        assert worker.list(config(number)) == list(memory.list(config(number)))
        assert worker.load(config(str(number))).checkpoint == saved  # as Pregel names it
        assert worker.check(number) == []
    saver.delete_thread(number)
    assert saver.get(config(number)) is None


def test_a_checkpoint_keeps_all_its_keys(saver: Saver, saver_on: Make, thread: str) -> None:
    memory = InMemorySaver()
    rich = checkpoint(
        {"a": 1},
        v=1,
        ts="2020-02-02T02:02:02+00:00",
        versions_seen={"node": {"a": 1}, "__start__": {}},
        updated_channels=["a"],
        pending_sends=[Send("node", {"x": 1})],
        of_the_future={"deep": [1, {"x": None}]},
    )
    odd = checkpoint(versions_seen={"node": {"a": None}, "other": [1]}, updated_channels=[])
    lacking: Any = {name: value for name, value in checkpoint().items() if name not in ("versions_seen", "ts", "v")}
    for saved in (rich, odd, lacking):
        for target in (saver, memory):
            target.put(config(thread), saved, {}, {"a": 1} if saved is rich else {})
        for worker in workers(saver, saver_on):
            found = worker.load(config(thread, "", saved["id"]))
            assert found == memory.get_tuple(config(thread, "", saved["id"]))
            assert found.checkpoint == saved


def test_values_keep_their_types(saver: Saver, saver_on: Make, thread: str) -> None:
    now = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    values = {
        "tuple": (1, ("a", (2,))),
        "set": {1, 2},
        "frozenset": frozenset({"a"}),
        "deque": deque([1, 2, 3]),
        "keys": {1: "one", (1, 2): "pair", None: 0, False: 1, b"b": b"\0\xff", 1.5: 1},
        "send": [Send("node", {"x": (1,)}), Send("other", None)],
        "time": [now, now.date(), now.time(), datetime.timedelta(1.5)],
        "uuid": uuid.uuid4(),
        "numbers": [0, -1, 2**63, 2**70, 1e300, float("inf"), True, None],
        "text": "\0 \ud800 🙂",
        "large keys": {number: ("x" * 300, number) for number in range(9)},
        "large tuples": [("y" * 300, {"n": (number,)}) for number in range(9)],
    }
    here = saver.put(config(thread), checkpoint(values))
    for worker in workers(saver, saver_on):
        found = worker.load(here).checkpoint["channel_values"]
        assert found == values
        assert repr(found) == repr(values)


def test_large_checkpoints_come_in_full(saver: Saver, saver_on: Make, thread: str) -> None:
    messages = [HumanMessage(content=f"{number} " * 400, id=str(number)) for number in range(150)]
    here, places = config(thread, "sub"), []
    for size in (50, 100, 150):
        here = saver.put(here, checkpoint({"m": messages[:size], "big": "b" * 200_000}, {"m": size, "big": size}))
        saver.put_writes(here, [("m", messages[:20])], "task")
        places.append((here, size))
    for worker in workers(saver, saver_on):
        for place, size in places:
            found = worker.load(place)
            assert found.checkpoint["channel_values"] == {"m": messages[:size], "big": "b" * 200_000}
            assert found.pending_writes == [("task", "m", messages[:20])]
        for ns in (None, "sub"):
            assert [found.config for found in worker.list(config(thread, ns))] == [place for place, _ in places[::-1]]


# -- whose it is


def deep() -> dict[str, Any]:
    """Values with something to change at every depth."""
    return {
        "list": [{"n": number, "deep": [{"x": ["t" * 200]}]} for number in range(4)],
        "dict": {"a": {"deep": ["x" * 900]}, "b": ["y" * 900]},
        "small": {"deep": [1]},
        "messages": [
            HumanMessage(content=[{"type": "text", "text": "q" * 200}], id="1", additional_kwargs={"deep": [1]}),
            AIMessage(content="a" * 200, id="2", tool_calls=[{"name": "f", "args": {"x": [1]}, "id": "t"}]),
        ],
    }


def spoil(value: Any) -> None:
    """Change a value at every depth."""
    if isinstance(value, dict):
        for inner in value.values():
            spoil(inner)
        value["spoilt"] = True
    elif isinstance(value, list):
        for inner in value:
            spoil(inner)
        value.append("spoilt")
    elif isinstance(value, (HumanMessage, AIMessage)):
        for name in ("content", "additional_kwargs", "response_metadata", "tool_calls"):
            spoil(getattr(value, name, None))
        value.id = "spoilt"


def full(saver: Saver, thread: str) -> tuple[Any, ...]:
    """Put three checkpoints that share what they hold; the arguments of the last, and what it named."""
    metadata: Any = {"source": "loop", "step": 1, "parents": {"": "1"}, "deep": [[1]]}
    here = config(thread)
    for number in range(3):
        seen = {"node": {"list": 1}}
        saved = checkpoint(deep(), dict.fromkeys(deep(), number), versions_seen=seen, updated_channels=["list"])
        new = dict(saved["channel_versions"])
        before = here
        here = saver.put(before, saved, metadata, new)
        saver.put_writes(here, [("list", deep())], "task")
    return before, saved, metadata, new


def test_put_takes_its_arguments_as_they_are_and_leaves_them(saver: Saver, saver_on: Make, thread: str) -> None:
    arguments = full(saver, thread)
    again = copy.deepcopy(arguments)
    assert saver.put(*arguments) == config(thread, "", arguments[1]["id"])
    assert arguments == again
    for argument in arguments[1:]:
        spoil(argument)
    for worker in workers(saver, saver_on):
        found = worker.load(config(thread))
        assert found.checkpoint == again[1]
        assert found.metadata == again[2]


def test_changing_what_was_read_changes_nothing_else(saver: Saver, saver_on: Make, thread: str) -> None:
    _, saved, metadata, _ = copy.deepcopy(full(saver, thread))
    for worker in workers(saver, saver_on):
        for _ in range(2):
            found = worker.load(config(thread))
            assert found.checkpoint == saved
            assert found.metadata == metadata
            assert found.pending_writes == [("task", "list", deep())]
            spoil(found.checkpoint)
            spoil(found.metadata)
            spoil(found.config)
            spoil(found.parent_config)
            for _, _, value in found.pending_writes or []:
                spoil(value)
        for _ in range(2):
            listed = worker.list(config(thread, None))
            assert len(listed) == 3
            for found in listed:  # each is spoilt before the next is looked at
                assert found.checkpoint["channel_values"] == deep()
                assert found.checkpoint["versions_seen"] == {"node": {"list": 1}}
                assert found.metadata == metadata
                assert found.pending_writes == [("task", "list", deep())]
                spoil(found.checkpoint)
                spoil(found.metadata)
                spoil(found.pending_writes)
                for _, _, value in (found.pending_writes or [])[:1]:
                    spoil(value)


def test_going_on_from_what_was_read_and_changed_stores_the_change(saver: Saver, saver_on: Make, thread: str) -> None:
    for worker in (saver, saver_on()):
        full(saver, thread)
        found = worker.load(config(thread))
        before = copy.deepcopy(found.checkpoint["channel_values"])
        spoil(found.checkpoint["channel_values"])
        changed = copy.deepcopy(found.checkpoint["channel_values"])
        after = worker.put(found.config, checkpoint(changed, dict.fromkeys(changed, 9)))
        for reader in workers(worker, saver_on):
            assert reader.load(after).checkpoint["channel_values"] == changed
            assert reader.load(found.config).checkpoint["channel_values"] == before
