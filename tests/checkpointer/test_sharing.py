"""Structural sharing, rule by rule: what is stored once, what a change costs, and what nobody may lose by it."""

from __future__ import annotations

import collections
import copy
import threading
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic import BaseModel, PrivateAttr
from support.savers import Saver, checkpoint, config
from support.thread_model import plain, wreck

from langgraph_sessionstore import Backend, Unstorable, keys, run
from langgraph_sessionstore.ops import Count, must
from langgraph_sessionstore.plans import channels, layout

TEXT = "words enough to be stored as an element of their own " * 5
Make = Callable[..., Saver]


def rows(saver: Saver, thread: str, span: keys.Span = layout.ELEMENTS) -> int:
    """How many rows of a kind the thread has."""
    backend: Backend = saver.checkpointer.backend
    return int(run(backend, must(keys.session(thread), Count(*span)))[0])


def says(*numbers: int) -> list[BaseMessage]:
    return [HumanMessage(f"{number} {TEXT}", id=f"m{number}") for number in numbers]


def put(saver: Saver, parent: Any, number: int, values: dict[str, Any], *new: str, **versions: Any) -> Any:
    """Put checkpoint `number` on the parent; the channels in `new` (or all) have this number as their version."""
    stated = dict.fromkeys(values, number) | versions
    return saver.put(parent, checkpoint(values, stated, id=f"{number:06}"), None, {c: stated[c] for c in new or values})


def values(saver: Saver, where: Any) -> dict[str, Any]:
    return saver.load(where).checkpoint["channel_values"]


def same(found: Any, wanted: Any) -> bool:
    """The same values; the order of channels does not matter, that of files does."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return bool(plain(dict(sorted(found.items()))) == plain(dict(sorted(wanted.items()))))
    return bool(plain(found) == plain(wanted))


def whole(saver: Saver, thread: str) -> bool:
    return [str(problem) for problem in saver.check(thread)] == []


def test_a_step_stores_what_is_new_in_it(saver: Saver, thread: str) -> None:
    where = put(saver, config(thread), 1, {"messages": says(*range(20)), "files": {f"{n}": TEXT for n in range(9)}})
    before = rows(saver, thread)
    assert before == 29
    put(
        saver, where, 2, {"messages": says(*range(21)), "files": {f"{n}": TEXT for n in range(9)} | {"new": "x" + TEXT}}
    )
    assert rows(saver, thread) == before + 2


def test_a_message_changed_in_place_is_stored_as_a_change(saver: Saver, thread: str) -> None:
    messages = says(1, 2, 3)
    first = put(saver, config(thread), 1, {"messages": messages})
    before = copy.deepcopy(messages)
    messages[1].content = "another " + TEXT
    second = put(saver, first, 2, {"messages": messages})
    messages[1].additional_kwargs["deep"] = {"down": [1]}
    third = put(saver, second, 3, {"messages": messages})
    found = values(saver, third)["messages"]
    found[2].content = "changed after it was read"
    fourth = put(saver, third, 4, {"messages": found})
    assert rows(saver, thread) == 6
    assert same(values(saver, first)["messages"], before)
    assert values(saver, second)["messages"][1].additional_kwargs == {}
    assert same(values(saver, third)["messages"], messages)
    assert values(saver, fourth)["messages"][2].content == "changed after it was read"


def test_order_and_doubles_cost_no_elements(saver: Saver, thread: str) -> None:
    messages = says(*range(6))
    where = put(saver, config(thread), 1, {"messages": messages})
    orders = [(5, 4, 3, 2, 1, 0), (0, 0, 0), (3,), (1, 2, 1, 2, 1, 2), (2, 3, 4), (0, 5, 1, 4, 2, 3, 0, 5)]
    for number, order in enumerate(orders, 2):
        put(saver, where, number, {"messages": [messages[n] for n in order]})
    assert rows(saver, thread) == 6
    for number, order in enumerate(orders, 2):
        assert same(values(saver, config(thread, "", f"{number:06}"))["messages"], [messages[n] for n in order])


@pytest.mark.parametrize("apart", [False, True], ids=["same message", "different messages"])
def test_two_workers_append_to_the_same_parent(saver_on: Make, thread: str, apart: bool) -> None:
    first, second = saver_on(), saver_on()
    base = put(first, config(thread), 1, {"messages": says(0, 1)})
    second.load(base)
    ours = put(first, base, 2, {"messages": says(0, 1, 2)})
    theirs = put(second, base, 3, {"messages": says(0, 1, 3 if apart else 2)})
    assert rows(first, thread, layout.BRANCHES) == 2
    assert rows(first, thread) == 4
    put(first, ours, 4, {"messages": says(0, 1, 2, 4)})
    put(second, theirs, 5, {"messages": says(0, 1, 3, 5)})
    assert rows(first, thread, layout.BRANCHES) == 2
    for saver in (first, second, saver_on()):
        assert same(values(saver, ours)["messages"], says(0, 1, 2))
        assert same(values(saver, theirs)["messages"], says(0, 1, 3 if apart else 2))
        assert same(values(saver, config(thread, "", "000004"))["messages"], says(0, 1, 2, 4))
        assert same(values(saver, config(thread, "", "000005"))["messages"], says(0, 1, 3, 5))
    assert whole(first, thread)


def test_forks_that_use_the_same_counter_keep_their_own_values(saver_on: Make, thread: str) -> None:
    saver, cold = saver_on(), saver_on()
    base = put(saver, config(thread), 1, {"messages": says(0), "text": TEXT}, messages=1, text=1)
    one = put(saver, base, 2, {"messages": says(0, 1), "text": TEXT + "one"}, messages=2, text=2)
    two = put(saver, base, 3, {"messages": says(0, 2), "text": TEXT + "two"}, messages=2, text=2)
    for worker in (saver, cold):
        put(worker, one, 4 + (worker is cold), {"n": 4, "messages": [], "text": ""}, "n", messages=2, text=2)
        kept = values(worker, config(thread))
        assert same([kept["messages"], kept["text"]], [says(0, 1), TEXT + "one"])
        assert same(values(worker, two)["messages"], says(0, 2))


def test_a_cold_worker_keeps_what_is_not_new(saver_on: Make, thread: str) -> None:
    kept = {"messages": says(0, 1), "files": {"a": TEXT * 3, "b": TEXT * 4}, "text": TEXT, "n": 1}
    base = put(saver_on(), config(thread), 1, kept)
    before = rows(saver_on(), thread)
    where = put(saver_on(), base, 2, {"step": 2}, **dict.fromkeys(kept, 1))
    assert same(values(saver_on(), where), kept | {"step": 2})
    assert rows(saver_on(), thread) == before


@pytest.mark.parametrize("other", [{"share": False}, {"cache_bytes": 0}, {"cache_bytes": 1000}], ids=str)
def test_workers_with_other_options_go_on_from_each_other(saver_on: Make, thread: str, other: dict[str, Any]) -> None:
    workers, where, messages = (saver_on(), saver_on(**other)), config(thread), says(0)
    files: dict[str, Any] = {"a": TEXT * 5}
    last: dict[str, Any] = {}
    for number in range(1, 9):
        messages.append(AIMessage(f"{number} {TEXT}"))
        files[f"{number % 3}"] = f"{number} {TEXT * 5}"
        found = workers[number % 2].get(where)
        assert found is None or same(found.checkpoint["channel_values"], {"messages": messages[:-1], "files": last})
        last = dict(files)
        where = put(workers[number % 2], where, number, {"messages": messages, "files": files})
    for number in range(1, 9):
        at = config(thread, "", f"{number:06}")
        assert [same(values(each, at)["messages"], messages[: number + 1]) for each in workers] == [True, True]
    assert whole(workers[0], thread)


def test_without_sharing_a_list_is_one_element(saver_on: Make, thread: str) -> None:
    saver = saver_on(share=False)
    where = put(saver, config(thread), 1, {"messages": says(0, 1)})
    put(saver, where, 2, {"messages": says(0, 1, 2)})
    assert rows(saver, thread) == 2


def test_more_pieces_than_allowed_are_written_anew(saver: Saver, thread: str) -> None:
    messages = says(*range(2 * channels.SLICES + 2))
    base = put(saver, config(thread), 1, {"messages": messages})
    fits = messages[: 2 * channels.SLICES : 2]
    one = put(saver, base, 2, {"messages": fits})
    assert rows(saver, thread) == len(messages)
    two = put(saver, base, 3, {"messages": messages[::2]})
    assert rows(saver, thread) == len(messages) + len(messages[::2])
    assert same(values(saver, one)["messages"], fits)
    assert same(values(saver, two)["messages"], messages[::2])
    assert whole(saver, thread)


def test_another_serializer_shares_lists_of_messages(saver_on: Make, thread: str) -> None:
    saver = saver_on(serde=JsonPlusSerializer())
    where = put(saver, config(thread), 1, {"messages": says(0, 1, 2), "things": [{"text": TEXT}, 2]})
    assert rows(saver, thread) == 4
    where = put(saver, where, 2, {"messages": says(0, 1, 2, 3), "things": [{"text": TEXT}, 2]})
    assert rows(saver, thread) == 5
    for each in (saver, saver_on(serde=JsonPlusSerializer())):
        assert same(values(each, where), {"messages": says(0, 1, 2, 3), "things": [{"text": TEXT}, 2]})
    saver.delete_thread(thread)  # those who list all threads with the library's own serializer cannot read it


def test_what_is_handed_out_belongs_to_the_caller(saver: Saver, thread: str) -> None:
    first = says(0)[0]
    wanted: dict[str, Any] = {
        "messages": [first, first, AIMessage([{"type": "text", "text": TEXT}])],
        "files": {"a": [TEXT, [1]], "b": TEXT * 5},
    }
    where = put(saver, config(thread), 1, copy.deepcopy(wanted))
    for _ in range(3):
        found = [saver.load(where), *saver.list(config(thread))]
        assert [same(each.checkpoint["channel_values"], wanted) for each in found] == [True, True]
        wreck(found[0])
        assert same(found[1].checkpoint["channel_values"], wanted)
        wreck(found[1])
        doubles = values(saver, where)["messages"]
        doubles[0].content = "changed"
        assert same(doubles[1:], wanted["messages"][1:])


@pytest.mark.parametrize(
    "large", [b"\xff" * 20_000_000, "text\n" * 4_000_000, [TEXT, "x" * 5_000_000, TEXT]], ids=["bytes", "text", "list"]
)
def test_large_values(saver_on: Make, thread: str, large: Any) -> None:
    saver = saver_on()
    where = put(saver, config(thread), 1, {"large": large, "n": 1})
    where = put(saver, where, 2, {"large": None, "n": 2}, "n", large=1)
    for each in (saver, saver, saver_on()):
        assert values(each, where) == {"large": large, "n": 2}
    assert rows(saver, thread) == (3 if isinstance(large, list) else 1)
    saver.delete_thread(thread)


@pytest.mark.parametrize("bad", [threading.Lock(), lambda: 0], ids=["lock", "function"])
@pytest.mark.parametrize("hide", [lambda bad: bad, lambda bad: [TEXT, bad], lambda bad: {"a": TEXT * 9, "b": bad}])
def test_what_cannot_be_stored_leaves_nothing(saver: Saver, thread: str, bad: Any, hide: Callable[[Any], Any]) -> None:
    thread = f"{thread} {uuid.uuid4()}"
    with pytest.raises(Unstorable, match="culprit") as caught:
        put(saver, config(thread), 1, {"messages": says(0), "culprit": hide(bad)})
    assert thread in str(caught.value)
    assert rows(saver, thread, (b"", b"\xff")) == 0
    assert saver.get(config(thread)) is None
    where = put(saver, config(thread), 2, {"messages": says(0)})
    before = rows(saver, thread, (b"", b"\xff"))
    with pytest.raises(Unstorable, match="culprit"):
        put(saver, where, 3, {"messages": says(0, 1), "culprit": hide(bad)})
    with pytest.raises(Unstorable, match="culprit"):
        saver.put_writes(where, [("fine", 1), ("culprit", hide(bad))], "task")
    assert rows(saver, thread, (b"", b"\xff")) == before
    assert same(values(saver, where)["messages"], says(0))


class Word(str):
    """Comes back as plain text."""


class Guarded(BaseModel):
    """Cannot be copied."""

    x: int
    _lock: Any = PrivateAttr(default_factory=threading.Lock)


@pytest.mark.parametrize(
    "part",
    [Word("v"), (1, 2), np.arange(3), Guarded(x=1), collections.defaultdict(int, b=1), None],
    ids=lambda part: type(part).__name__,
)
def test_what_is_read_is_stored_once_whatever_it_holds(saver: Saver, thread: str, part: Any) -> None:
    where: Any = config(thread)
    messages: list[BaseMessage] = []
    for number in range(1, 6):
        messages.append(HumanMessage(f"{number} {TEXT}", id=f"m{number}", additional_kwargs={"part": part}))
        where = put(saver, where, number, {"messages": messages})
        messages = values(saver, where)["messages"]
        assert [message.content for message in messages] == [f"{n} {TEXT}" for n in range(1, number + 1)]
        kept = messages[0].additional_kwargs["part"]
        messages[0].additional_kwargs["spoiled"] = True
        again = values(saver, where)["messages"][0]
        assert "spoiled" not in again.additional_kwargs
        assert repr(again.additional_kwargs["part"]) == repr(kept)
        messages[0].additional_kwargs.pop("spoiled")
    assert rows(saver, thread) == 5
