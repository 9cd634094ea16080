"""A search by meaning finds what LangGraph's in-memory store with the same index finds."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from langgraph.store.base import PutOp, SearchItem, SearchOp
from langgraph.store.memory import InMemoryStore
from support.meanings import DIMS, index
from support.places import every_place, two_places
from support.sittings import Form

from langgraph_sessionstore import Backend, SessionStore
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.plans import finding, ranking, vectors

LABELS = ["a", "ab", "b", "ü", "1"]
FILTERS: list[dict[str, Any] | None] = [None, None, {}, {"n": 1}, {"n": {"$gte": 2}}, {"n": {"$ne": 3}, "kind": "x"}]
FIELDS = ["text", "tags[*]"]


def namespace(chance: random.Random, least: int = 1) -> tuple[str, ...]:
    return tuple(chance.choice(LABELS) for _ in range(chance.randint(least, 2)))


def put(chance: random.Random) -> PutOp:
    ns, key = namespace(chance), chance.choice("klmn")
    if chance.random() < 0.2:
        return PutOp(ns, key, None)
    text, note, *tags = chance.sample([f"word {n}" for n in range(30)], chance.randint(2, 5))
    value: dict[str, Any] = {"n": chance.randrange(5), "kind": chance.choice("xy"), "note": note, "tags": tags}
    if chance.random() < 0.7:
        value["text"] = text
    paths: Any = chance.choice([None, None, None, None, False, ["note"], ["note", "tags[0]", "n"], ["missing"], []])
    return PutOp(ns, key, value, paths)


def search(chance: random.Random) -> SearchOp:
    limit, offset = chance.choice([(1000, 0), (3, 0), (5, 2), (1, 4), (0, 0), (4, 1000)])
    query = chance.choice(["word 3", "word 4", "another"])
    return SearchOp(namespace(chance, 0), chance.choice(FILTERS), limit, offset, query)


def same(found: Sequence[SearchItem], model: InMemoryStore, op: SearchOp) -> None:
    """What was found is what the model finds, with those without a score in order, and as one list that is cut."""
    everything: Any = model.batch([op._replace(limit=1000, offset=0)])[0]
    right = sorted(everything, key=lambda item: -math.inf if item.score is None else item.score, reverse=True)
    scored = [item for item in right if item.score is not None]
    others = sorted((item for item in right if item.score is None), key=lambda item: (item.namespace, item.key))
    cut = [*scored, *others][op.offset : op.offset + op.limit]
    assert len(found) == len(cut)
    assert len({(item.namespace, item.key) for item in found}) == len(found)
    by_address = {(item.namespace, item.key): item for item in everything}
    for is_, should in zip(found, cut, strict=True):
        one = by_address[is_.namespace, is_.key]
        assert is_.value == one.value
        for score in (one.score, should.score):
            assert is_.score == (None if score is None else pytest.approx(score, abs=1e-4)), op
        if is_.score is None:
            assert (is_.namespace, is_.key) == (should.namespace, should.key)


def tell(model: InMemoryStore, ops: Sequence[PutOp]) -> None:
    """Let the model know, one by one: it confuses equal texts of a batch, and keeps vectors of what is replaced."""
    for op in {(op.namespace, op.key): op for op in ops}.values():
        model.batch([PutOp(op.namespace, op.key, None)])
        if op.value is not None:
            model.batch([op])


def compare(backend: Backend, form: Form, seed: int, rounds: int) -> None:
    """Put, delete and search in stores that remember all, little and nothing."""
    chance, config = random.Random(seed), index(fields=FIELDS)
    model = InMemoryStore(index=index(fields=FIELDS))
    first, second = SessionStore(backend, index=config), SessionStore(backend, index=config)
    bare = SessionStore(backend)
    others = [second, *(SessionStore(backend, index=config, vector_bytes=limit) for limit in (0, 700))]
    for _ in range(rounds):
        ops: list[Any] = [put(chance) for _ in range(chance.randint(1, 8))]
        searches = [search(chance) for _ in range(2)]
        for op, found in zip(searches, form.do(first, "batch", [*ops, *searches])[len(ops) :], strict=True):
            same(found, model, op)
        tell(model, ops)
        if chance.random() < 0.3:
            by_others = put(chance)
            form.do(bare, "batch", [by_others])
            tell(model, [by_others._replace(index=False)])
        for other in [first, *others, SessionStore(backend, index=config)]:
            op = search(chance)
            same(form.do(other, "batch", [op])[0], model, op)


@every_place
def test_it_finds_what_the_in_memory_store_finds(backend: Backend, form: Form) -> None:
    compare(backend, form, 0, 12)


@two_places
@pytest.mark.parametrize("seed", range(2))
def test_it_finds_the_same_in_many_small_pieces(
    seed: int, backend: Backend, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "_KEYS", 3)
    monkeypatch.setattr(vectors, "_BYTES", 4 * DIMS * 2)
    monkeypatch.setattr(vectors, "_FEW", 2)
    monkeypatch.setattr(finding, "_NAMES", 3)
    monkeypatch.setattr(ranking, "_FEW", 2)
    compare(backend, form, 10 + seed, 12)


_plain = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("abü\ud800\0", max_size=3)
_values = st.dictionaries(
    st.sampled_from(["a", "b", "0", "$"]),
    st.recursive(
        _plain, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from("ab0"), part), max_leaves=6
    ),
)
_paths = st.lists(
    st.sampled_from(["$", "", "a", "b", "a.b", "*", "a[*]", "b[0]", "a[-1]", "{a,b}", "{a,b.a}", "*.a", "a[", "[0]"])
    | st.text(".*[]{}0-1,ab", max_size=5),
    min_size=1,
    max_size=3,
)


@settings(max_examples=50, deadline=None)
@given(_values, _paths)
def test_the_texts_of_a_value_are_those_that_langgraph_takes(value: dict[str, Any], paths: list[str]) -> None:
    assume(not any(one.rpartition(".")[0] == other for one in paths for other in paths))  # it takes these for one
    model = InMemoryStore(index=index(fields=paths))
    try:
        model.put(("n",), "k", value)
    except ValueError:  # the same text twice
        assume(False)
    for store in (
        SessionStore(MemoryBackend(), index=index(fields=paths)),
        SessionStore(MemoryBackend(), index=index(fields=["none"])),
    ):
        store.put(("n",), "k", value, index=paths)
        for query in ("one", "two", "three"):
            same(store.search(("n",), query=query), model, SearchOp(("n",), None, 10, 0, query))
