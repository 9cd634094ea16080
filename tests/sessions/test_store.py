"""The store: LangGraph's own in-memory store is the model, wherever it says what has to come out."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any, Literal

import pytest
from langchain_core.messages import HumanMessage
from langgraph.store.base import (
    GetOp,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore
from support.sittings import Form

from langgraph_sessionstore import (
    SessionManager,
)

LABELS = ["a", "ab", "b", "%", "_", "*x", "ü", "{", ":", "1"]
FILTERS: list[dict[str, Any] | None] = [
    None,
    {},
    {"n": 1},
    {"n": {"$gt": 2}},
    {"n": {"$gte": 2, "$lt": 4}},
    {"n": {"$lte": 1}},
    {"n": {"$ne": 3}, "kind": "x"},
    {"kind": {"$eq": "y"}},
    {"deep": {"part": [1, 2]}},
    {"deep": {"part": {"$ne": None}}},
    {"missing": None},
    {"deep.part": 1},
    {"') OR 1=1 --": "x"},
]


def value(chance: random.Random) -> dict[str, Any]:
    """A value with fields that filters ask for."""
    part: Any = chance.choice(([1, 2], "p", None))
    return {"n": chance.randrange(5), "kind": chance.choice("xy"), "deep": {"part": part}}


def shown(items: Any) -> Any:
    """What an item says, without the times."""
    return items and (items.namespace, items.key, items.value)


def namespace(chance: random.Random, least: int = 1) -> tuple[str, ...]:
    return tuple(chance.choice(LABELS) for _ in range(chance.randint(least, 3)))


@pytest.mark.parametrize("seed", range(4))
def test_it_answers_as_the_in_memory_store_does(seed: int, manager: SessionManager, form: Form) -> None:
    chance, model, store = random.Random(seed), InMemoryStore(), manager.store
    kept: dict[tuple[tuple[str, ...], str], Any] = {}
    for _ in range(60):
        ops: list[Any] = []
        for _ in range(chance.randint(1, 6)):
            ns, key = namespace(chance), chance.choice("klm")
            what = chance.randrange(10)
            if what < 5:
                ops.append(PutOp(ns, key, value(chance) if chance.random() < 0.8 else None))
            elif what < 7:
                ops.append(GetOp(ns, key))
            elif what < 9:
                ops.append(SearchOp(namespace(chance, 0), chance.choice(FILTERS), 1000, 0))
            else:
                ops.append(ListNamespacesOp(_conditions(chance), chance.choice((None, 1, 2)), 1000, 0))
        expected: list[Any] = model.batch(ops)
        found = form.do(store, "batch", ops)
        for op, right, is_ in zip(ops, expected, found, strict=True):
            if isinstance(op, SearchOp):
                assert [shown(item) for item in is_] == sorted(map(shown, right), key=lambda each: each[:2]), op
            elif isinstance(op, ListNamespacesOp):  # the model goes on to list what it has been asked about
                names: Any = model.batch([op._replace(max_depth=None)])[0]
                assert is_ == sorted({ns[: op.max_depth] for ns, _ in kept if ns in names}), op
            else:
                assert shown(is_) == shown(right), op
        for op in ops:
            if isinstance(op, PutOp):
                kept.pop((op.namespace, op.key), None)
                kept |= {(op.namespace, op.key): op.value} if op.value is not None else {}
    everything = form.do(store, "search", (), limit=1000)
    assert {(item.namespace, item.key): item.value for item in everything} == kept
    pages = [form.do(store, "search", (), limit=7, offset=at) for at in range(0, len(kept), 7)]
    assert [shown(item) for page in pages for item in page] == [shown(item) for item in everything]
    names = sorted({ns for ns, _ in kept})
    found_names = [form.do(store, "list_namespaces", limit=3, offset=at) for at in range(0, len(names), 3)]
    assert [name for page in found_names for name in page] == names


def _conditions(chance: random.Random) -> tuple[MatchCondition, ...]:
    kinds: list[Literal["prefix", "suffix"]] = ["prefix", "suffix"]
    paths = [tuple(chance.choice([*LABELS, "*"]) for _ in range(chance.randint(1, 2))) for _ in kinds]
    return tuple(MatchCondition(kind, path) for kind, path in zip(kinds, paths, strict=True) if chance.random() < 0.5)


def test_values_and_times_come_back(manager: SessionManager, form: Form) -> None:
    store = manager.store
    given = {"text": "ü\0\ud800", "when": datetime(2020, 1, 1), "message": HumanMessage("Hi", id="1"), "t": (1, {2})}
    form.do(store, "put", ("u",), "k", given)
    first = form.do(store, "get", ("u",), "k")
    assert first.value == given
    assert first.created_at == first.updated_at
    form.do(store, "put", ("u",), "k", {"n": 1})
    second = form.do(store, "get", ("u",), "k")
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    assert form.do(store, "search", ("u",))[0].updated_at == second.updated_at
    form.do(store, "delete", ("u",), "k")
    form.do(store, "put", ("u",), "k", {"n": 2})
    assert form.do(store, "get", ("u",), "k").created_at > first.created_at


def test_a_batch_reads_first_and_the_last_write_counts(manager: SessionManager, form: Form) -> None:
    store = manager.store
    form.do(store, "put", ("n",), "k", {"v": 0})
    ops = [PutOp(("n",), "k", {"v": 1}), GetOp(("n",), "k"), PutOp(("n",), "k", {"v": 2}), PutOp(("n",), "l", None)]
    before = form.do(store, "batch", [*ops, PutOp(("m",), "k", {"v": 3}), PutOp(("m",), "k", None)])
    assert before[1].value == {"v": 0}
    assert [before[at] for at in (0, 2, 3, 4, 5)] == [None] * 5
    assert form.do(store, "get", ("n",), "k").value == {"v": 2}
    assert form.do(store, "list_namespaces") == [("n",)]


def test_many_items_and_namespaces_are_found_page_by_page(manager: SessionManager, form: Form) -> None:
    store = manager.store
    ops = [PutOp(("many",), f"{n:04}", {"n": n, "odd": n % 2 == 1}) for n in range(1000)]
    ops += [PutOp(("wide", f"{n:04}"), "k", {"n": n, "odd": n % 2 == 1}) for n in range(450)]
    form.do(store, "batch", ops)
    odd = form.do(store, "search", ("many",), filter={"odd": True}, limit=10, offset=300)
    assert [item.value["n"] for item in odd] == list(range(601, 621, 2))
    last = form.do(store, "search", ("many",), limit=5, offset=997)
    assert [item.value["n"] for item in last] == [997, 998, 999]
    wide = form.do(store, "search", ("wide",), filter={"odd": True}, limit=1000)
    assert [item.value["n"] for item in wide] == list(range(1, 450, 2))
    assert [item.value["n"] for item in form.do(store, "search", ("wide",), limit=3, offset=400)] == [400, 401, 402]
    assert form.do(store, "list_namespaces", prefix=("wide",), offset=440, limit=100) == [
        ("wide", f"{n:04}") for n in range(440, 450)
    ]
    assert form.do(store, "list_namespaces", max_depth=1) == [("many",), ("wide",)]
    form.do(store, "batch", [PutOp(("wide", f"{n:04}"), "k", None) for n in range(449)])
    assert form.do(store, "list_namespaces", prefix=("wide",)) == [("wide", "0449")]
