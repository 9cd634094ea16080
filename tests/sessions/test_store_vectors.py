"""Vectors are stored with the texts that they were made of, and go with them."""

from __future__ import annotations

import pytest
from langgraph.store.base import PutOp, SearchItem
from support.lifetimes import Clock, Look
from support.meanings import Model, Stores, belong, embedded, index, near, texts_of
from support.places import every_place, two_places
from support.sittings import Form

from langgraph_sessionstore import Backend, OutcomeUnknown, SessionStore, SessionStoreError, keys, run
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.ops import Get, must
from langgraph_sessionstore.testing import Fault, FaultyBackend


@every_place
def test_vectors_go_with_what_they_were_made_of(backend: Backend, contents: Look, form: Form) -> None:
    store, bare = SessionStore(backend, index=index()), SessionStore(backend)
    texts = ["one", "two", "three", "four"]

    def rows() -> int:
        return sum(row.startswith((keys.encode(4), keys.encode(5))) for part in contents().values() for row in part)

    form.do(store, "batch", [PutOp(("n",), text, {"text": text}) for text in texts])
    assert embedded(contents(), *texts) == texts
    assert rows() == 8
    form.do(store, "put", ("n",), "one", {"text": "one"}, index=False)
    assert embedded(contents(), *texts) == texts[1:]
    form.do(bare, "put", ("n",), "two", {"text": "two"})
    assert embedded(contents(), *texts) == texts[2:]
    form.do(store, "put", ("n",), "three", {"other": "three"})
    assert embedded(contents(), *texts) == texts[3:]
    form.do(bare, "delete", ("n",), "four")
    assert embedded(contents(), *texts) == []
    assert rows() == 0
    found = form.do(store, "search", ("n",), query="q")
    assert [(item.key, item.score) for item in found] == [("one", None), ("three", None), ("two", None)]
    form.do(store, "put", ("n",), "one", {"text": "new"})
    assert embedded(contents(), "one", "new") == ["new"]
    assert rows() == 2
    form.do(store, "batch", [PutOp(("n",), text, None) for text in texts])
    assert contents() == {}


@two_places
@pytest.mark.parametrize("how", ["sweep", "write", "put again"])
def test_what_has_ended_is_not_found_and_leaves_no_vectors(
    how: str, store_on: Stores, contents: Look, form: Form, clock: Clock
) -> None:
    store, other = store_on(), store_on()
    form.do(store, "put", ("n",), "short", {"text": "short"}, ttl=10)
    form.do(store, "batch", [PutOp(("n",), text, {"text": text}) for text in ("one", "two")])
    for each in (store, other):
        assert texts_of(form.do(each, "search", ("n",), query="short", limit=1, refresh_ttl=False)) == ["short"]
    assert embedded(contents(), "short", "one") == ["short", "one"]
    clock.pass_(10)
    right = sorted(["one", "two"], key=lambda text: -near("short", text))
    for each in (store, other, store_on(), store_on(vector_bytes=0)):
        assert texts_of(form.do(each, "search", ("n",), query="short", limit=2)) == right
        assert texts_of(form.do(each, "search", ("n",), query="short", limit=1)) == right[:1]
    if how == "sweep":
        assert form.do(store, "sweep_ttl") == 1
    elif how == "write":
        form.do(store, "put", ("n",), "other", {"n": 1})
    else:
        form.do(store, "put", ("n",), "short", {"text": "again"})
    assert embedded(contents(), "short", "one") == ["one"]
    for each in (store, other):
        found = form.do(each, "search", ("n",), query="short", filter={"n": {"$ne": 1}})
        assert sorted(texts_of(found)) == sorted(["one", "two", *(["again"] if how == "put again" else [])])
        belong("short", found)


@two_places
def test_vectors_of_other_dimensions_count_as_none(backend: Backend, form: Form) -> None:
    model = Model(4)
    eight, four = SessionStore(backend, index=index()), SessionStore(backend, index=index(model, dims=4))
    form.do(eight, "batch", [PutOp(("n",), key, {"text": key}) for key in "ab"])
    for limit in (None, 0):
        each = four if limit is None else SessionStore(backend, index=index(dims=4), vector_bytes=0)
        assert [(i.key, i.score) for i in form.do(each, "search", ("n",), query="a")] == [("a", None), ("b", None)]
    model.news()
    form.do(four, "put", ("n",), "b", {"text": "b"})
    assert model.news() == ["b"]
    found = form.do(four, "search", ("n",), query="b")
    assert [item.key for item in found] == ["b", "a"]
    assert found[0].score == pytest.approx(1, abs=1e-4)
    found = form.do(eight, "search", ("n",), query="a")
    assert [(item.key, item.score) for item in found] == [("a", pytest.approx(1, abs=1e-4)), ("b", None)]


def test_a_fault_at_any_call_leaves_a_value_with_its_vectors(form: Form) -> None:
    backend = MemoryBackend()

    def found() -> list[SearchItem]:
        items = [
            item
            for limit in (0, 1 << 20)
            for item in SessionStore(backend, index=index(), vector_bytes=limit).search((), query="q")
        ]
        belong("q", items)
        return items

    ops = [PutOp(("n",), "k", {"text": "new"}), PutOp(("m",), "l", {"text": "new too"}), PutOp(("n",), "o", None)]
    calls = 0
    for at in range(1, 99):
        for fault in (Fault.FAIL, Fault.CUT_AFTER):
            store = SessionStore(backend, index=index())
            store.batch(
                [PutOp(("n",), "k", {"text": "old"}), PutOp(("n",), "o", {"text": "o"}), PutOp(("m",), "l", None)]
            )
            faulty, error = FaultyBackend(backend, {at: fault}), None
            try:
                form.do(SessionStore(faulty, index=index()), "batch", ops)
            except SessionStoreError as exc:
                error = exc
            calls = faulty.calls
            texts = sorted(texts_of(found()))
            if error is None:
                assert texts == ["new", "new", "new too", "new too"]
            elif not isinstance(error, OutcomeUnknown):
                assert texts == ["o", "o", "old", "old"], (at, fault)
            form.do(SessionStore(backend, index=index()), "batch", ops)
            assert sorted(texts_of(found())) == ["new", "new", "new too", "new too"]
        if at > calls:
            break
    assert calls > 3


@two_places
def test_the_state_of_a_namespace_is_renamed_by_every_put(store_on: Stores, backend: Backend) -> None:
    store, version = store_on(), Get(keys.encode(7))
    seen = set()
    for options in ({}, {"index": False}, {"ttl": 5}):
        store.put(("n",), "k", {"text": "same"}, **options)
        seen.add(run(backend, must(keys.encode("store", "n"), version))[0])
    assert len(seen) == 3
    assert None not in seen
