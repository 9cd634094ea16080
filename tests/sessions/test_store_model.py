"""A store answers every batch as LangGraph's own in-memory store does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from support.places import every_place
from support.sittings import Form
from support.store_model import Model, answers, shown

from langgraph_sessionstore import Backend, SessionManager, SessionStore, keys, run
from langgraph_sessionstore.testing import check_partition, check_registry

LABELS = ["a", "ab", "b", "%", "*", "a:b", "'"]
paths = st.lists(st.sampled_from(LABELS), max_size=3).map(tuple)
namespaces = st.lists(st.sampled_from(LABELS), min_size=1, max_size=3).map(tuple)
names = st.sampled_from(["k", "kl", "", "a.b", "\0", "\U0001f98a"])
numbers = st.sampled_from([0, 1, 2, -1, 0.5, 2.0, True, False, "1", float("inf"), 2**53 + 1, -(2**63), 2**64 - 1])
plain = st.none() | numbers | st.sampled_from(["x", "y", "", "\ud800", b"x"]) | st.text(max_size=3)
anything = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(st.sampled_from(["part", "n", "a.b", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)
values = st.fixed_dictionaries({"n": numbers}, optional={"kind": plain, "deep": anything, "a.b": anything, "": plain})
orders = st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), numbers, min_size=1, max_size=2)
equals = st.dictionaries(st.sampled_from(["$eq", "$ne"]), anything, min_size=1, max_size=2)
nested = st.dictionaries(st.sampled_from(["part", "n", "a.b"]), anything | equals, max_size=2)
filters = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "n": numbers | orders | equals,
        "kind": plain | equals,
        "deep": anything | equals | nested | st.lists(plain | equals, max_size=2),
        "a.b": anything,
        "missing": plain | equals,
    },
)
limits, offsets = st.sampled_from([0, 1, 2, 3, 10, 100]), st.sampled_from([0, 0, 0, 1, 2, 5])
matches = st.builds(
    MatchCondition,
    st.sampled_from(["prefix", "suffix"]),
    st.lists(st.sampled_from(LABELS), max_size=2).map(tuple),
)
operations = st.one_of(
    st.builds(lambda ns, key, value: PutOp(ns, key, value), namespaces, names, values),
    st.builds(lambda ns, key, value: PutOp(ns, key, value), namespaces, names, st.none() | values),
    st.builds(lambda ns, key: GetOp(ns, key), namespaces, names),
    st.builds(lambda ns, *given: SearchOp(ns, *given), paths, filters, limits, offsets),
    st.builds(
        lambda *given: ListNamespacesOp(*given),
        st.none() | st.lists(matches, max_size=3).map(tuple),
        st.none() | st.integers(1, 4),
        limits,
        offsets,
    ),
)
batches = st.lists(st.lists(operations, max_size=8), min_size=1, max_size=8)
EXAMPLES = {"memory-sync": 200, "memory-async": 30, "file-sync": 10, "redis7-async": 10, "cluster-sync": 5}


@every_place
def test_it_answers_every_batch_as_the_in_memory_store_does(
    kind: str, manager_on: Callable[..., SessionManager], storage: Callable[[], Backend], form: Form
) -> None:
    store, backend = manager_on().store, storage()
    examples = EXAMPLES[f"{kind}-{'sync' if form.loop is None else 'async'}"]

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(batches)
    def check(given: list[list[Any]]) -> None:
        wipe(store, form)
        model = Model()
        for ops in given:
            right, is_ = model.answer(ops), answers(ops, form.do(store, "batch", ops))
            for op, wanted, found in zip(ops, right, is_, strict=True):
                assert same(found, wanted), op
        items = form.do(store, "search", (), limit=10_000)
        assert same([shown(item) for item in items], model.answer([SearchOp((), limit=10_000)])[0])
        assert all(item.created_at <= item.updated_at for item in items)
        pages = [form.do(store, "search", (), limit=7, offset=at) for at in range(0, len(items) + 1, 7)]
        assert [item for page in pages for item in page] == items
        spaces = sorted({item.namespace for item in items})
        pages = [form.do(store, "list_namespaces", limit=3, offset=at) for at in range(0, len(spaces) + 1, 3)]
        assert [space for page in pages for space in page] == spaces
        wipe(store, form)

    check()
    assert run(backend, check_registry(keys.registry("store"))) == []
    for label in LABELS:
        assert run(backend, check_partition(keys.encode("store", label))) == []


def wipe(store: SessionStore, form: Form) -> None:
    """Delete all items."""
    items = form.do(store, "search", (), limit=10_000)
    form.do(store, "batch", [PutOp(item.namespace, item.key, None) for item in items])
    assert form.do(store, "search", ()) == [] == form.do(store, "list_namespaces")


def same(found: Any, wanted: Any) -> bool:
    """Whether these are equal, and of the same types."""
    if isinstance(wanted, dict):
        return (
            type(found) is dict
            and list(found) == list(wanted)
            and all(same(found[key], part) for key, part in wanted.items())
        )
    if isinstance(wanted, (list, tuple)):
        return type(found) is type(wanted) and len(found) == len(wanted) and all(map(same, found, wanted))
    return type(found) is type(wanted) and bool(found == wanted)
