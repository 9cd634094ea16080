"""A search by meaning finds items in the order of their scores, and cuts one list into pages."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from langgraph.store.base import PutOp, SearchOp
from support.meanings import DIMS, Model, Stores, belong, index, near, texts_of, vector
from support.places import two_places
from support.sittings import Form

from langgraph_sessionstore import Backend, SessionStore
from langgraph_sessionstore.backends.memory import MemoryBackend


@two_places
def test_offset_and_limit_cut_one_list(store_on: Stores, form: Form) -> None:
    store = store_on()
    ops = [PutOp(("p", f"{n % 3}"), f"{n:02}", {"text": f"t{n}"}, None if n % 4 else False) for n in range(40)]
    form.do(store, "batch", [*ops, PutOp(("p",), "none", {"other": "x"})])
    everything = form.do(store, "search", ("p",), query="q", limit=100)
    scores = [item.score for item in everything]
    assert scores == sorted(scores[:30], reverse=True) + [None] * 11
    rest = [(item.namespace, item.key) for item in everything[30:]]
    assert rest == sorted(rest)
    assert rest[0] == (("p",), "none")
    for size in (1, 7, 40):
        for remembered in (store, store_on(vector_bytes=0)):
            found = [
                form.do(remembered, "search", ("p",), query="q", limit=size, offset=at) for at in range(0, 41, size)
            ]
            assert [item for page in found for item in page] == everything
    assert form.do(store, "search", ("p",), query="q", limit=5, offset=41) == []
    assert form.do(store, "search", ("p",), query="q", limit=0) == []


@two_places
def test_a_filter_passes_over_near_items_until_there_are_enough(store_on: Stores, form: Form) -> None:
    store = store_on()
    order = sorted(range(300), key=lambda n: near("q", f"t{n}"), reverse=True)
    place = {n: at for at, n in enumerate(order)}
    form.do(store, "batch", [PutOp(("n",), f"{n}", {"text": f"t{n}", "at": place[n]}) for n in range(300)])
    for each in (store, store, store_on(), store_on(vector_bytes=0)):
        found = form.do(each, "search", ("n",), query="q", filter={"at": {"$gte": 250}}, limit=4, offset=3)
        assert [item.value["at"] for item in found] == [253, 254, 255, 256]
        belong("q", found)


@two_places
def test_one_batch_asks_several_things(store_on: Stores, form: Form) -> None:
    model = Model()
    store = store_on(model)
    form.do(store, "batch", [PutOp(("n", f"{n}"), "k", {"text": f"t{n}", "n": n}) for n in range(6)])
    model.news()
    for _ in range(2):
        one, two, three, bare, empty = form.do(
            store,
            "batch",
            [
                SearchOp(("n",), None, 10, 0, "t2"),
                SearchOp(("n",), {"n": {"$lt": 3}}, 2, 0, "t5"),
                SearchOp(("n", "4"), None, 10, 0, "t2"),
                SearchOp(("n",), None, 10, 0),
                SearchOp(("m",), None, 10, 0, "t2"),
            ],
        )
        assert sorted(set(model.news())) == ["t2", "t5"]
        assert len(one) == 6
        belong("t2", one)
        assert [item.score for item in one] == sorted((item.score for item in one), reverse=True)
        assert texts_of(one)[0] == "t2"
        belong("t5", two)
        assert texts_of(two) == sorted(["t0", "t1", "t2"], key=lambda text: -near("t5", text))[:2]
        belong("t2", three)
        assert texts_of(three) == ["t4"]
        assert [item.score for item in bare] == [None] * 6
        assert empty == []


@two_places
def test_what_a_batch_finds_was_there_before(store_on: Stores, form: Form) -> None:
    store = store_on()
    asked = SearchOp(("n",), None, 10, 0, "a")
    for text, before in (("a", []), ("b", ["a"]), ("c", ["b"])):
        found = form.do(store, "batch", [PutOp(("n",), "k", {"text": text}), asked])[1]
        assert texts_of(found) == before
        belong("a", found)
    found = form.do(store, "batch", [asked, PutOp(("n",), "k", None)])[0]
    assert texts_of(found) == ["c"]
    assert form.do(store, "batch", [asked])[0] == []
    form.do(store, "batch", [PutOp(("n",), "k", {"text": "d"}), PutOp(("n",), "k", {"text": "e"})])
    belong("a", form.do(store, "search", ("n",), query="a"))


@two_places
def test_without_a_query_or_without_an_index_nothing_is_embedded_or_ranked(backend: Backend, form: Form) -> None:
    model = Model()
    store, bare = SessionStore(backend, index=index(model)), SessionStore(backend)
    form.do(store, "batch", [PutOp(("n",), key, {"text": key}) for key in "dcba"])
    model.news()
    for each, query in ((store, ""), (store, None), (bare, "a"), (bare, "")):
        found = form.do(each, "search", ("n",), query=query, limit=3, offset=1)
        assert [(item.key, item.score) for item in found] == [("b", None), ("c", None), ("d", None)]
    form.do(bare, "put", ("n",), "k", {"text": "a"}, index=["text"])
    assert model.news() == []
    found = form.do(store, "search", ("n",), query="a")
    assert found[0].key == "a"
    assert (found[-1].key, found[-1].score) == ("k", None)


@pytest.mark.parametrize("text", ["\ud800", "a\0b", " ", "\n", "💬" * 1000, "x" * 100_000, "' OR 1=1 --", "{}$[*]"])
def test_odd_texts_and_queries_are_texts(text: str) -> None:
    store = SessionStore(MemoryBackend(), index=index())
    store.put(("n",), "odd", {"text": text})
    store.put(("n",), text[:9], {"text": "plain"})
    for each in (store, SessionStore(store.backend, index=index())):
        found = each.search(("n",), query=text)
        belong(text, found)
        assert texts_of(found) == [text, "plain"]
        assert found[0].score == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("length", [1e-30, 1e-20, 1, 1e18, 1e30])
def test_the_length_of_a_vector_does_not_matter(length: float) -> None:
    def embed(texts: Sequence[str]) -> list[list[float]]:
        return [[length * number for number in vector(text)] for text in texts]

    store = SessionStore(MemoryBackend(), index=index(embed))
    for text in "abc":
        store.put(("n",), text, {"text": text})
    found = store.search(("n",), query="q")
    assert len(found) == 3
    belong("q", found)
    belong("q", SessionStore(store.backend, index=index(embed), vector_bytes=0).search(("n",), query="q"))


def test_a_vector_of_zeros_is_near_to_nothing() -> None:
    store = SessionStore(MemoryBackend(), index=index(lambda texts: [vector(t) if t else [0.0] * DIMS for t in texts]))
    store.put(("n",), "zero", {"text": ""})
    store.put(("n",), "one", {"text": "one"})
    found = {item.key: item.score for item in store.search(("n",), query="q")}
    assert found["zero"] == 0
    assert found["one"] == pytest.approx(near("q", "one"), abs=1e-4)
    store = SessionStore(store.backend, index=index(lambda texts: [[0.0] * DIMS for _ in texts]))
    assert [(item.key, item.score) for item in store.search(("n",), query="q")] == [("one", 0), ("zero", 0)]


@two_places
def test_many_namespaces_are_searched_as_one(store_on: Stores, form: Form) -> None:
    store = store_on()
    ops = [PutOp(("wide", f"{n:03}", "x"), "k", {"text": f"t{n}", "n": n}) for n in range(300)]
    form.do(store, "batch", [*ops, PutOp(("wide",), "top", {"text": "top"}), PutOp(("wider",), "k", {"text": "q"})])
    right = sorted([*(f"t{n}" for n in range(300)), "top"], key=lambda text: -near("q", text))
    for each in (store, store_on(vector_bytes=0)):
        for prefix in (("wide",), ()):
            found = form.do(each, "search", prefix, query="q", limit=8, offset=2)
            assert texts_of(found) == (right[2:10] if prefix else right[1:9])
            belong("q", found)
    found = form.do(store, "search", ("wide",), query="q", filter={"n": {"$lt": 9}}, limit=5)
    assert texts_of(found) == sorted((f"t{n}" for n in range(9)), key=lambda text: -near("q", text))[:5]
    form.do(store, "delete", ("wide", "007", "x"), "k")
    found = form.do(store, "search", ("wide",), query="q", limit=1000)
    assert texts_of(found) == [text for text in right if text != "t7"]
