"""Rows of few bytes that say they are much, or ask for much work: refused at once, each as a row that was found."""

from __future__ import annotations

import re
from typing import Any

import msgpack
import numpy  # noqa: F401  so that arrays are read at all
import ormsgpack
import pytest
from fuzz.guard import GUARD
from langchain_core.messages import HumanMessage
from support.savers import Saver, checkpoint, config

from langgraph_sessionstore import (
    CorruptData,
    SessionCheckpointer,
    SessionManager,
    codec,
    keys,
    open_backend,
    run,
)
from langgraph_sessionstore.ops import Delete, Get, Put, Range, Touch, must
from langgraph_sessionstore.plans import layout, places
from langgraph_sessionstore.plans.order import Order
from langgraph_sessionstore.serde import SessionSerializer, codes

PRIME = (1 << 61) - 1  # of whole numbers Python's hash is the rest by this


def stored(code: int, parts: Any) -> bytes:
    return b"\x01" + ormsgpack.packb(ormsgpack.Ext(code, msgpack.packb(parts)))


def big(number: int) -> Any:
    return msgpack.ExtType(codes.INT, msgpack.packb(number.to_bytes(16, "little", signed=True)))


def uuid(number: int) -> Any:
    return msgpack.ExtType(codes.UUID, msgpack.packb(number.to_bytes(16, "big")))


SAME = [big(PRIME * number) for number in range(20_000)]
VALUES = {
    "dimensions": stored(codes.ARRAY, ["<f4", [(1 << 63) - 1] * 80_000, "C", b""]),
    "set": stored(codes.SET, SAME),
    "frozenset": stored(codes.FROZENSET, SAME),
    "dict": stored(codes.PAIRS, [part for each in SAME for part in (each, None)]),
    "ordered dict": stored(codes.ORDERED_DICT, [part for each in SAME for part in (each, None)]),
    "counter": stored(codes.COUNTER, [part for each in SAME for part in (each, 1)]),
    "uuids": stored(codes.SET, [uuid(PRIME * number) for number in range(20_000)]),
    "pattern": stored(codes.PATTERN, ["[\0-\uffff]" * 10_000, int(re.IGNORECASE)]),
    "escaped pattern": stored(codes.PATTERN, ["(?i)" + "[a-\\uffff]" * 10_000, 0]),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_asks_for_much_work_is_refused(name: str) -> None:
    with GUARD.watching(), pytest.raises(CorruptData):
        SessionSerializer().loads_typed(("data", VALUES[name]))


def test_values_that_look_like_it_come_back() -> None:
    serializer = SessionSerializer()
    chosen: list[Any] = [
        {PRIME * number for number in range(1000)},
        set(range(50_000)),
        dict.fromkeys(map(float, range(20_000))),
        re.compile("[\U0001f600-\U0001f64f]|[a-z\\-]+|[\\w.-]" * 200, re.IGNORECASE),
        re.compile("[a-\uffff]" * 40, re.IGNORECASE),
        re.compile("[a-\uffff]" * 1000),
    ]
    for value in chosen:
        assert serializer.loads_typed(serializer.dumps_typed(value)) == value


def test_a_log_that_says_it_had_millions_of_messages_is_refused() -> None:
    manager = SessionManager(open_backend("memory:"))
    session = manager.create_session("s", messages=["a", "b"])
    session.replace(0, "user", "A")
    partition = keys.session("s")
    (order,) = run(manager.backend, must(partition, Get(places.ORDER)))
    ((undone, step),) = run(manager.backend, must(partition, Range(*places.UNDONE)))[0][-1:]
    label, appended, _, after, graph = codec.unpack(step, "a step")
    wide = Order(((0, 1 << 24),), 1 << 24).pack()
    edited = codec.pack([label, appended, {places.ORDER: wide}, after, graph])
    for changes in (
        [Put(places.LOG, b"16777216"), Delete(places.ORDER)],
        [Put(places.LOG, b"16777216"), Put(places.ORDER, wide)],
        [Put(places.LOG, b"16777216"), Put(undone, edited)],
    ):
        run(manager.backend, must(partition, *changes))
        for ask in (
            lambda: session.messages,
            lambda: session.at(3),
            lambda: session.remove(0),
            lambda: session.undo(),
            lambda: session.clear(),
            lambda: manager.data.get(("memory", "s"), "messages"),
        ):
            with GUARD.watching(), pytest.raises(CorruptData, match=r"session 's' is damaged: it lists \d+ messages"):
                ask()
        run(manager.backend, must(partition, Put(places.LOG, b"3"), Put(places.ORDER, order)))
        assert [message.text for message in session.messages] == ["A", "b"]


def thread() -> tuple[Saver, Any]:
    saver = Saver(SessionCheckpointer(open_backend("memory:")), None)
    messages = [HumanMessage("x" * 200, id=str(number)) for number in range(4)]
    return saver, saver.put(config("thread"), checkpoint({"messages": messages}))


def changed(saver: Saver, where: Any, slices: Any) -> None:
    """Let the list of the only checkpoint be these pieces, with links that lead to them."""
    from langgraph_sessionstore.ops import split_links, with_links

    key, partition = layout.record("", where["configurable"]["checkpoint_id"]), keys.session("thread")
    (row,) = run(saver.checkpointer.backend, must(partition, Get(key)))
    links, packed = split_links(row)
    record = codec.unpack(packed, "the record")
    value = record[6]["messages"]
    value[2] = slices(value[2])
    run(saver.checkpointer.backend, must(partition, Put(key, with_links(links, codec.pack(record)))))


def test_a_list_that_names_few_elements_very_often_is_refused() -> None:
    saver, where = thread()
    changed(saver, where, lambda slices: slices * 100_000)
    reader = Saver(SessionCheckpointer(saver.checkpointer.backend), None)
    for ask in (lambda: reader.load(where), lambda: reader.list(config("thread")), lambda: saver.load(where)):
        with GUARD.watching(), pytest.raises(CorruptData, match="more elements than there can be"):
            ask()
    assert [problem.kind for problem in reader.check("thread")] == ["damaged"]


def test_a_list_with_doubles_comes_back() -> None:
    saver, where = thread()
    messages = saver.load(where).checkpoint["channel_values"]["messages"]
    for times in (3, 40, 2, 400):
        again = [message for message in messages for _ in range(times)]
        where = saver.put(where, checkpoint({"messages": again}))
        for reader in (saver, Saver(SessionCheckpointer(saver.checkpointer.backend), None)):
            assert reader.load(where).checkpoint["channel_values"]["messages"] == again
    assert saver.check("thread") == []


def test_millions_of_missing_elements_are_named_in_few_words() -> None:
    saver, where = thread()
    changed(saver, where, lambda slices: [slices[0], 0, (1 << 24) - 1])
    with GUARD.watching(), pytest.raises(CorruptData, match="missing"):
        Saver(SessionCheckpointer(saver.checkpointer.backend), None).load(where)
    with GUARD.watching():
        problems = [str(problem) for problem in saver.check("thread")]
    assert len(problems) < 200
    assert any("and perhaps others up to 16777214" in problem for problem in problems)


@pytest.mark.parametrize("size", [b"", b"-5", b"1" * 5000, b"x", b"\xff"])
def test_a_branch_that_does_not_know_its_size_is_named(size: bytes) -> None:
    saver, _ = thread()
    ((branch, _),) = run(saver.checkpointer.backend, must(keys.session("thread"), Range(*layout.BRANCHES)))[0]
    run(saver.checkpointer.backend, must(keys.session("thread"), Put(branch, size)))
    assert [problem.kind for problem in saver.check("thread")] == ["damaged"]
    with pytest.raises(CorruptData, match="does not know its size"):
        saver.collect("thread")


NAMES = [
    *(b"junk", keys.encode("x"), keys.encode("session"), keys.encode("session", 5), keys.encode("session", "a", "b")),
    *(keys.encode("store"), keys.encode("store", 5), keys.encode("store", "__session__")),
    *(keys.encode("store", "__session__", "good"), b"\xff\x01", b"$\x01"),
]


def test_a_line_of_a_list_that_names_nothing_hides_nothing() -> None:
    manager = SessionManager(open_backend("memory:"))
    graph = manager.create_session("good", messages=["a"])
    graph.store.put(("n",), "k", {"of": "good"})
    manager.store.put(("docs",), "k", {"n": 1})
    manager.cache.set({(("c",), "k"): (1, None)})
    for registry in (keys.registry("session"), keys.registry("store"), keys.registry("cache")):
        run(manager.backend, must(registry, *[Touch(name) for name in [*NAMES, keys.session("good")]]))
    assert [info.id for info in manager.list_sessions()] == ["good"]
    assert [info.id for info in manager.list_sessions(by="updated", filter={})] == ["good"]
    assert list(manager.checkpointer.list(None)) == []
    assert [item.value for item in manager.store.search(())] == [{"n": 1}]
    assert manager.store.list_namespaces() == [("docs",)]
    assert manager.store.sweep_ttl() == 0
    assert {item.namespace for item in manager.data.search(())} == {
        ("sessions",),
        ("memory", "good"),
        ("usage", "good"),
    }
    manager.cache.clear()  # which takes away what caches have, and nothing else that is listed there
    assert manager.cache.get([(("c",), "k")]) == {}
    assert [message.text for message in graph.messages] == ["a"]
    assert manager.store.get(("docs",), "k") is not None


@pytest.mark.parametrize("times", ["f" * 36, "0" * 12 + "f" * 24, "f" * 12 + "0" * 24])
def test_times_beyond_all_calendars_are_the_last_there_is(times: str) -> None:
    manager = SessionManager(open_backend("memory:"))
    manager.create_session("s", ttl=60)
    run(manager.backend, must(keys.registry("session"), Put(b"n" + keys.session("s"), times.encode())))
    session = manager.get_session("s")
    assert session is not None
    assert session.info.updated_at <= "9999-12-31T23:59:59.000+00:00"
    assert [info.id for info in manager.list_sessions()] == ["s"]
