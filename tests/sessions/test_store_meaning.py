"""Items of a store that are found by meaning: LangGraph's in-memory store with the same index is the model."""

from __future__ import annotations

import asyncio
import math
import random
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import BaseStore, IndexConfig, PutOp, SearchItem, SearchOp
from langgraph.store.memory import InMemoryStore
from support import raw
from support.proxy import Proxy
from support.servers import RedisServer
from support.sittings import Form

from langgraph_sessionstore import (
    SESSION_NAMESPACE,
    Backend,
    ConfigurationError,
    OutcomeUnknown,
    SessionDeleted,
    SessionManager,
    SessionStore,
    SessionStoreError,
    Unstorable,
    keys,
    run,
)
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.ops import Call, Get, must
from langgraph_sessionstore.plans import ranking, vectors
from langgraph_sessionstore.testing import Fault, FaultyBackend

DIMS = 8
Stores = Callable[..., SessionStore]
Look = Callable[[], raw.Rows]


@cache
def vector(text: str, dims: int = DIMS) -> list[float]:
    """What this text means: something of its own."""
    chance = random.Random(text.encode("utf-8", "surrogatepass"))
    return [chance.gauss(0, 1) for _ in range(dims)]


def near(one: str, other: str) -> float:
    """The cosine of two texts."""
    a, b = vector(one), vector(other)
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


class Model:
    """An embedding function that notes what it was asked."""

    def __init__(self, dims: int = DIMS) -> None:
        self.dims = dims
        self.asked: list[str] = []
        self.before: Callable[[], Any] | None = None

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        before, self.before = self.before, None
        if before is not None:
            before()
        self.asked += texts
        return [vector(text, self.dims) for text in texts]

    def news(self) -> list[str]:
        """What it was asked since the last time, in order."""
        asked, self.asked = sorted(self.asked), []
        return asked


class Named(Embeddings):
    """An embedding with a name, which embeds queries in its own way."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.asked: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.asked += texts
        return [vector(self.model + text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.asked.append(f"?{text}")
        return vector(f"{self.model}a {text}")


def index(embed: Any = None, fields: list[str] | None = None, dims: int = DIMS) -> IndexConfig:
    return {"dims": dims, "embed": embed or Model(dims), "fields": ["text"] if fields is None else fields}


@pytest.fixture
def backend(storage: Callable[[], Backend], form: Form) -> Iterator[Backend]:
    """What the stores of a test stand on."""
    backend = storage()
    yield backend
    if form.loop is not None and not isinstance(backend, MemoryBackend):
        form.do(backend, "close")


@pytest.fixture
def store_on(backend: Backend) -> Stores:
    """Makes stores on the storage that remember nothing of each other."""

    def make(embed: Any = None, **options: Any) -> SessionStore:
        return SessionStore(backend, index=index(embed), **options)

    return make


@pytest.fixture
def look(kind: str, backend: Any, request: pytest.FixtureRequest, tmp_path: Path) -> Look:
    """Everything that lies in the storage, without what belongs to no item."""

    def look() -> raw.Rows:
        if kind == "memory":
            found = raw.of_memory(backend)
        elif kind == "file":
            found = raw.of_directory(tmp_path / "sessions")
        else:
            server = request.getfixturevalue(kind)
            nodes = [f"redis://{node.host}:{node.port}" for node in server.nodes] if kind == "cluster" else [server.url]
            found = raw.of_redis(nodes, backend._prefix)
        rows = {name: sorted(row for row in part if not row.startswith(b"\x02")) for name, part in found.items()}
        return {name: part for name, part in rows.items() if part}

    return look


few_kinds = pytest.mark.parametrize("kind", ["memory", "redis7"])


def embedded(rows: raw.Rows, *texts: str) -> list[str]:
    """Those of the texts whose vectors lie somewhere."""
    everything = b"".join(row for part in rows.values() for row in part)
    return [text for text in texts if np.array(vector(text), dtype="<f4").tobytes() in everything]


def texts_of(items: Sequence[SearchItem]) -> list[Any]:
    return [item.value.get("text") for item in items]


def belong(query: str, items: Sequence[SearchItem]) -> None:
    """Every score is that of the text that was found with it."""
    for item in items:
        assert item.score == pytest.approx(near(query, item.value["text"]), abs=1e-4), item


# -- what is found


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


@pytest.mark.parametrize("seed", range(1))
def test_it_finds_what_the_in_memory_store_finds(seed: int, backend: Backend, form: Form) -> None:
    compare(backend, form, seed, 12)


@few_kinds
@pytest.mark.parametrize("seed", range(2))
def test_it_finds_the_same_in_many_small_pieces(
    seed: int, backend: Backend, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "_KEYS", 3)
    monkeypatch.setattr(vectors, "_BYTES", 4 * DIMS * 2)
    monkeypatch.setattr(vectors, "_FEW", 2)
    monkeypatch.setattr(ranking, "_NAMES", 3)
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


@few_kinds
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


@few_kinds
def test_a_filter_passes_over_near_items_until_there_are_enough(store_on: Stores, form: Form) -> None:
    store = store_on()
    order = sorted(range(300), key=lambda n: near("q", f"t{n}"), reverse=True)
    place = {n: at for at, n in enumerate(order)}
    form.do(store, "batch", [PutOp(("n",), f"{n}", {"text": f"t{n}", "at": place[n]}) for n in range(300)])
    for each in (store, store, store_on(), store_on(vector_bytes=0)):
        found = form.do(each, "search", ("n",), query="q", filter={"at": {"$gte": 250}}, limit=4, offset=3)
        assert [item.value["at"] for item in found] == [253, 254, 255, 256]
        belong("q", found)


@few_kinds
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


@few_kinds
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


@few_kinds
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


@few_kinds
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


# -- what is embedded


@few_kinds
def test_a_text_is_embedded_once(store_on: Stores, form: Form) -> None:
    model = Model()
    store = store_on(model)

    def put(which: SessionStore, key: str, text: str, **options: Any) -> list[str]:
        form.do(which, "put", ("n",), key, {"text": text, "at": time.time()}, **options)
        return model.news()

    assert put(store, "k", "one") == ["one"]
    assert put(store, "k", "one") == []
    assert put(store_on(model), "k", "one") == []
    assert put(store, "k", "two") == ["two"]
    assert put(store, "k", "one") == ["one"]
    assert put(store, "k", "one", index=["text", "text"]) == []
    assert put(store, "k", "one", index=False) == []
    assert put(store, "k", "one") == ["one"]
    form.do(store, "delete", ("n",), "k")
    assert put(store, "k", "one") == ["one"]
    belong("one", form.do(store, "search", ("n",), query="one"))
    model.news()
    form.do(store, "batch", [PutOp(("m",), key, {"text": text}) for key, text in zip("abc", "xyx", strict=True)])
    assert model.news() == ["x", "y"]
    form.do(store, "batch", [PutOp(("m",), key, {"text": text}) for key, text in zip("abc", "xzx", strict=True)])
    assert model.news() == ["z"]
    form.do(store, "batch", [PutOp(("m",), "a", {"text": "lost"}), PutOp(("m",), "a", {"text": "kept"})])
    assert model.news() == ["kept"]
    found = form.do(store_on(), "search", ("m",), query="q")
    assert len(found) == 3
    belong("q", found)


@few_kinds
def test_of_several_texts_only_those_that_changed_are_embedded(store_on: Stores, form: Form) -> None:
    model = Model()
    store = store_on(model)
    for tags, news in ((["a", "b"], ["a", "b"]), (["b", "c"], ["c"]), (["c", "b", "c"], []), (["d"], ["d"]), ([], [])):
        form.do(store, "put", ("n",), "k", {"tags": tags}, index=["tags[*]"])
        assert model.news() == news
        for each in (store, store_on()):
            (found,) = form.do(each, "search", ("n",), query="q")
            right = max((near("q", tag) for tag in tags), default=None)
            assert found.score == (None if right is None else pytest.approx(right, abs=1e-4))
        model.news()


@few_kinds
def test_another_model_embeds_anew(backend: Backend, form: Form) -> None:
    one, two = Named("one"), Named("two")
    for embeddings, news in ((one, ["a x"]), (Named("one"), []), (two, ["a x"]), (two, [])):
        embeddings.asked.clear()
        store = SessionStore(backend, index=index(embeddings))
        form.do(store, "put", ("n",), "k", {"text": "a x"})
        assert embeddings.asked == news
        (found,) = form.do(store, "search", ("n",), query="x")
        assert found.score == pytest.approx(1, abs=1e-4)
        assert embeddings.asked == [*news, "?x"]


@pytest.mark.parametrize("kind", ["memory"])
def test_an_async_function_embeds_async_calls_only(backend: Backend, form: Form) -> None:
    async def embed(texts: Sequence[str]) -> list[list[float]]:
        await asyncio.sleep(0)
        return [vector(text) for text in texts]

    store = SessionStore(backend, index=index(embed))
    calls: list[tuple[str, Any, Any]] = [
        ("put", (("n",), "k", {"text": "a"}), {}),
        ("search", (("n",),), {"query": "a"}),
        ("batch", ([PutOp(("m",), "k", {"text": "a"}, False), PutOp(("n",), "k", {"text": "a"})],), {}),
    ]
    for name, args, options in calls:
        if form.loop is None:
            with pytest.raises(ValueError, match="async"):
                form.do(store, name, *args, **options)
        else:
            form.do(store, name, *args, **options)
    found = form.do(store, "search", ())
    assert [item.namespace for item in found] == ([] if form.loop is None else [("m",), ("n",)])
    form.do(store, "put", ("n",), "l", {"text": "a"}, index=False)
    assert form.do(store, "get", ("n",), "l").value == {"text": "a"}


@pytest.mark.parametrize("kind", ["memory"])
def test_sync_functions_and_embeddings_do_for_both_forms(backend: Backend, form: Form) -> None:
    for number, embed in enumerate((lambda texts: np.array([vector(text) for text in texts]), Model(), Named(""))):
        store = SessionStore(backend, index=index(embed))
        form.do(store, "put", (f"{number}",), "k", {"text": "a"})
        (found,) = form.do(store, "search", (f"{number}",), query="q")
        right = near("a q", "a") if isinstance(embed, Named) else near("q", "a")
        assert found.score == pytest.approx(right, abs=1e-4)


@pytest.mark.parametrize(
    "made",
    [
        [],
        [vector("a"), vector("b")],
        [vector("a", DIMS - 1)],
        [vector("a", DIMS + 1)],
        [[]],
        [[vector("a")]],
        [1.0],
        [[math.nan] * DIMS],
        [[math.inf, *[0.0] * (DIMS - 1)]],
        [[1e300, *[0.0] * (DIMS - 1)]],
    ],
    ids=repr,
)
def test_nothing_is_written_when_the_embedding_returns_nonsense(made: Any, form: Form) -> None:
    backend = MemoryBackend()
    store = SessionStore(backend, index=index(lambda texts: made))
    SessionStore(backend, index=index()).put(("n",), "k", {"text": "before"})
    before = raw.of_memory(backend)
    with pytest.raises(ConfigurationError):
        form.do(
            store, "batch", [PutOp(("m",), "k", {"n": 1}), PutOp(("n",), "k", {"text": "x"}), PutOp(("n",), "l", None)]
        )
    if len(made) == 1:
        with pytest.raises(ConfigurationError):
            form.do(store, "search", ("n",), query="x")
    assert raw.of_memory(backend) == before


@pytest.mark.parametrize("made", [None, 5, "text", {"a": 1}, [None], ["text"], [[[1.0], *[1.0] * 7]], [[1j] * DIMS]])
def test_nothing_is_written_when_the_embedding_returns_something_else(made: Any, form: Form) -> None:
    backend = MemoryBackend()
    store = SessionStore(backend, index=index(lambda texts: made))
    with pytest.raises((TypeError, ValueError)):
        form.do(store, "batch", [PutOp(("m",), "k", {"n": 1}), PutOp(("n",), "k", {"text": "x"})])
    assert raw.of_memory(backend) == {}


@few_kinds
def test_nothing_is_written_when_the_embedding_fails(store_on: Stores, look: Look, form: Form) -> None:
    class Down(Exception):
        pass

    def fail() -> None:
        raise Down

    model = Model()
    store = store_on(model)
    form.do(store, "put", ("n",), "k", {"text": "before"})
    before = look()
    model.before = fail
    with pytest.raises(Down):
        form.do(store, "batch", [PutOp(("m",), "k", {"n": 1}), PutOp(("n",), "k", {"text": "x"})])
    model.before = fail
    with pytest.raises(Down):
        form.do(store, "batch", [PutOp(("m",), "k", {"n": 1}), SearchOp(("n",), None, 10, 0, "x")])
    assert look() == before
    model.before = fail
    form.do(store, "put", ("n",), "k", {"text": "before", "more": True})  # what is known needs no embedding
    form.do(store, "put", ("n",), "l", {"more": True})
    assert [item.key for item in form.do(store, "search", ("n",))] == ["k", "l"]


@pytest.mark.parametrize("kind", ["memory"])
def test_what_json_cannot_hold_is_refused_as_a_whole_text(backend: Backend, look: Look, form: Form) -> None:
    store = SessionStore(backend, index={"dims": DIMS, "embed": Model()})
    loop: dict[str, Any] = {"text": "a"}
    loop["loop"] = loop
    deep: dict[str, Any] = {}
    for _ in range(3000):
        deep = {"deep": deep}
    for odd in ({"f": b"bytes"}, {"f": {1, 2}}, {"f": {1: 2, "a": 3}}, {"f": object()}, loop, deep):
        for value in (odd, {"part": odd}):
            with pytest.raises((ConfigurationError, Unstorable)):
                form.do(store, "batch", [PutOp(("m",), "k", {"text": "a"}), PutOp(("n",), "k", value)])
        with pytest.raises((ConfigurationError, Unstorable)):
            form.do(store, "put", ("n",), "k", {"part": odd}, index=["part"])
    assert look() == {}
    form.do(store, "put", ("n",), "bytes", {"f": b"bytes"}, index=False)
    form.do(store, "put", ("n",), "set", {"f": {1}, "text": "t"}, index=["text"])
    found = form.do(store, "search", ("n",), query="t")
    assert [(item.key, item.value) for item in found] == [("set", {"f": {1}, "text": "t"}), ("bytes", {"f": b"bytes"})]


@pytest.mark.parametrize(
    "given_",
    [
        {},
        {"dims": 8},
        {"embed": Model()},
        "index",
        {"dims": 8, "embed": Model(), "more": 1},
        *({"dims": dims, "embed": Model()} for dims in (0, -1, True, "8", 8.0, 1 << 30)),
        *({"dims": 8, "embed": embed} for embed in (None, "nonsense", 5)),
        *({"dims": 8, "embed": Model(), "fields": fields} for fields in ("text", [1], {"text": 1}, True)),
    ],
    ids=lambda given_: repr(given_)[:40],
)
def test_an_index_that_makes_no_sense_is_refused(given_: Any) -> None:
    with pytest.raises(ConfigurationError):
        SessionStore(MemoryBackend(), index=given_)
    with pytest.raises(ConfigurationError):
        SessionManager(MemoryBackend(), index=given_)


def test_bad_options_and_paths_are_refused_and_change_nothing(form: Form) -> None:
    for limit in (-1, True, 1.5, "1", None):
        with pytest.raises(ConfigurationError, match="vector_bytes"):
            SessionStore(MemoryBackend(), index=index(), vector_bytes=limit)  # type: ignore[arg-type]
    backend = MemoryBackend()
    store = SessionStore(backend, index=index())
    for paths in ("text", True, [1], 5, {"text": 1}):
        with pytest.raises(ConfigurationError, match="index=False"):
            form.do(store, "batch", [PutOp(("n",), "k", {"text": "a"}), PutOp(("n",), "l", {"text": "a"}, paths)])  # type: ignore[arg-type]
    for query in (1, b"q", ["q"]):
        with pytest.raises(ConfigurationError, match="query"):
            form.do(store, "batch", [PutOp(("n",), "k", {"text": "a"}), SearchOp((), None, 1, 0, query)])  # type: ignore[arg-type]
    assert raw.of_memory(backend) == {}


# -- what is stored


def test_vectors_go_with_what_they_were_made_of(backend: Backend, look: Look, form: Form) -> None:
    store, bare = SessionStore(backend, index=index()), SessionStore(backend)
    texts = ["one", "two", "three", "four"]

    def rows() -> int:
        return sum(row.startswith((keys.encode(4), keys.encode(5))) for part in look().values() for row in part)

    form.do(store, "batch", [PutOp(("n",), text, {"text": text}) for text in texts])
    assert embedded(look(), *texts) == texts
    assert rows() == 8
    form.do(store, "put", ("n",), "one", {"text": "one"}, index=False)
    assert embedded(look(), *texts) == texts[1:]
    form.do(bare, "put", ("n",), "two", {"text": "two"})
    assert embedded(look(), *texts) == texts[2:]
    form.do(store, "put", ("n",), "three", {"other": "three"})
    assert embedded(look(), *texts) == texts[3:]
    form.do(bare, "delete", ("n",), "four")
    assert embedded(look(), *texts) == []
    assert rows() == 0
    found = form.do(store, "search", ("n",), query="q")
    assert [(item.key, item.score) for item in found] == [("one", None), ("three", None), ("two", None)]
    form.do(store, "put", ("n",), "one", {"text": "new"})
    assert embedded(look(), "one", "new") == ["new"]
    assert rows() == 2
    form.do(store, "batch", [PutOp(("n",), text, None) for text in texts])
    assert look() == {}


@few_kinds
@pytest.mark.parametrize("how", ["sweep", "write", "put again"])
def test_what_has_ended_is_not_found_and_leaves_no_vectors(how: str, store_on: Stores, look: Look, form: Form) -> None:
    store, other = store_on(), store_on()
    form.do(store, "put", ("n",), "short", {"text": "short"}, ttl=0.3 / 60)
    form.do(store, "batch", [PutOp(("n",), text, {"text": text}) for text in ("one", "two")])
    for each in (store, other):
        assert texts_of(form.do(each, "search", ("n",), query="short", limit=1, refresh_ttl=False)) == ["short"]
    assert embedded(look(), "short", "one") == ["short", "one"]
    time.sleep(0.4)
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
    assert embedded(look(), "short", "one") == ["one"]
    for each in (store, other):
        found = form.do(each, "search", ("n",), query="short", filter={"n": {"$ne": 1}})
        assert sorted(texts_of(found)) == sorted(["one", "two", *(["again"] if how == "put again" else [])])
        belong("short", found)


@pytest.mark.parametrize("kind", ["memory"])
def test_a_query_is_a_use_of_what_it_finds(store_on: Stores, form: Form) -> None:
    store = store_on(ttl={"refresh_on_read": True})
    for text in ("found", "passed over"):
        form.do(store, "put", ("n",), text, {"text": text}, ttl=0.5 / 60)
    for _ in range(4):
        form.pause(0.2)
        assert texts_of(form.do(store, "search", ("n",), query="found", limit=1)) == ["found"]
    assert texts_of(form.do(store_on(), "search", ("n",), query="found", refresh_ttl=False)) == ["found"]
    form.pause(0.6)
    assert form.do(store, "search", ("n",), query="found") == []


@few_kinds
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


# -- several workers


def test_what_one_worker_puts_another_finds_at_once(manager_on: Callable[..., SessionManager], form: Form) -> None:
    one, two = (manager_on(index=index()).store for _ in range(2))
    for turn in range(10):
        key = f"{turn % 3}"
        form.do(one, "put", ("n",), key, {"text": f"t{turn}"})
        for each in (two, one):
            (first, *rest) = form.do(each, "search", ("n",), query=f"t{turn}", limit=10)
            assert (first.key, first.value) == (key, {"text": f"t{turn}"})
            belong(f"t{turn}", [first, *rest])
            assert len(rest) == min(turn, 2)
    form.do(one, "delete", ("n",), "0")
    assert [item.key for item in form.do(two, "search", ("n",), query="t9", limit=1)] != ["0"]
    for key in "12":
        form.do(one, "delete", ("n",), key)
    assert form.do(two, "search", ("n",), query="t9") == []
    form.do(one, "put", ("n",), "0", {"text": "back"})
    assert texts_of(form.do(two, "search", ("n",), query="t9")) == ["back"]


@few_kinds
def test_workers_and_threads_at_once_leave_values_with_their_vectors(
    manager_on: Callable[..., SessionManager], form: Form
) -> None:
    one, two = (manager_on(index=index()).store for _ in range(2))
    one.put(("shared",), "still", {"text": "still"})

    def work(number: int) -> None:
        store = (one, two)[number % 2]
        for turn in range(12):
            text = f"{number} {turn}"
            store.put(("shared",), f"{turn % 2}", {"text": text}, index=None if turn != 5 else False)
            store.put((f"own {number}",), "k", {"text": text})
            (own,) = store.search((f"own {number}",), query="q")
            assert own.value == {"text": text}
            belong("q", [own])
            found = store.search(("shared",), query="still", limit=1)
            assert texts_of(found) == ["still"]
            belong("still", found)
            if turn % 4 == 3:
                store.delete(("shared",), f"{turn % 2}")

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, range(6)))
    for key in "01":
        form.do(one, "put", ("shared",), key, {"text": f"last {key}"})
    for store in (one, two, manager_on(index=index()).store):
        found = form.do(store, "search", (), query="q", limit=100)
        assert len(found) == 9
        belong("q", found)


@few_kinds
def test_two_workers_put_one_key(manager_on: Callable[..., SessionManager], form: Form) -> None:
    workers = [manager_on(index=index()).store for _ in range(2)]
    both = threading.Barrier(2)

    def work(number: int) -> None:
        try:
            for turn in range(15):
                both.wait(30)
                workers[number].put(("n",), f"{turn}", {"text": f"{number} {turn}"})
                both.wait(30)
                found = workers[number].search(("n",), query="q", limit=99)
                assert len(found) == turn + 1
                belong("q", found)
        except BaseException:
            both.abort()
            raise

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, range(2)))
    for each in (*workers, manager_on(index=index()).store):
        found = form.do(each, "search", ("n",), query="q", limit=99)
        assert len(found) == 15
        belong("q", found)


@few_kinds
def test_tasks_of_one_loop_share_a_store(store_on: Stores) -> None:
    store = store_on()

    async def work(number: int) -> None:
        for turn in range(4):
            await store.aput((f"{number}",), "k", {"text": f"{number} {turn}"})
            found = await store.asearch((), query=f"{number} {turn}", limit=1)
            assert texts_of(found) == [f"{number} {turn}"]

    async def main() -> None:
        waiting: list[Awaitable[None]] = [work(number) for number in range(8)]
        await asyncio.gather(*waiting)
        await store.backend.aclose()

    asyncio.run(main())


class Between(Backend):
    """Does something else before the trip with this number."""

    def __init__(self, inner: Backend, at: int, act: Callable[[], Any]) -> None:
        self.inner, self.at, self.act = inner, at, act
        self.trips = 0

    def _count(self) -> None:
        self.trips += 1
        if self.trips == self.at:
            self.act()

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        self._count()
        return self.inner.execute(calls, ordered=ordered)

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        self._count()
        return await self.inner.aexecute(calls, ordered=ordered)

    def close(self) -> None:
        self.inner.close()

    async def aclose(self) -> None:
        await self.inner.aclose()


MEANWHILE: dict[str, list[PutOp]] = {
    "an item goes": [PutOp(("n",), "near", None)],
    "all others go": [PutOp(("n",), key, None) for key in ("near", "far")],
    "an item comes": [PutOp(("n",), "a", {"text": "come"})],
    "one that others replace": [PutOp(("n",), "near", {"text": "replaced"})],
    "one that loses its vectors": [PutOp(("n",), "near", {"text": "bare"}, False)],
}


def searched(name: str, warm: str, limit: int, at: int, form: Form) -> tuple[list[SearchItem], int]:
    """What a search finds while something happens before one of its trips, and how many there were."""
    inner = MemoryBackend()
    other = SessionStore(inner, index=index())
    other.batch([PutOp(("n",), key, {"text": key}) for key in ("still", "near", "far")])
    between = Between(inner, 0, lambda: other.batch(MEANWHILE[name]))
    store = SessionStore(between, index=index(), vector_bytes=limit)
    if warm != "cold":
        store.search(("n",), query="near")
    if warm == "stale":
        other.put(("n",), "far", {"text": "further"})
    between.trips, between.at = 0, at
    return form.do(store, "search", ("n",), query="near"), between.trips


@pytest.mark.parametrize("warm", ["warm", "cold", "stale"])
@pytest.mark.parametrize("name", list(MEANWHILE))
def test_what_changes_during_a_search_does_not_disturb_the_others(name: str, warm: str, form: Form) -> None:
    for limit in (0, 1 << 20):
        for at in range(1, 9):
            found, trips = searched(name, warm, limit, at, form)
            assert "still" in texts_of(found)
            belong("near", [item for item in found if item.key == "still"])
            assert len(found) == len({item.key for item in found})
            if at > trips:
                break


@pytest.mark.parametrize("warm", ["warm", "cold", "stale"])
@pytest.mark.parametrize("name", ["one that others replace", "one that loses its vectors"])
def test_an_item_that_is_replaced_during_a_search_has_the_score_of_what_is_found(
    name: str, warm: str, form: Form
) -> None:
    for limit in (0, 1 << 20):
        for at in range(1, 9):
            found, trips = searched(name, warm, limit, at, form)
            for item in found:
                if item.value["text"] == "bare":
                    assert item.score is None
                else:
                    belong("near", [item])
            if at > trips:
                break


@pytest.mark.parametrize("text", ["old", "new"])
def test_an_item_that_others_replace_while_it_is_put_has_its_own_vectors(text: str, form: Form) -> None:
    for paths in (None, False):
        for at in (1, 2):
            inner = MemoryBackend()
            other = SessionStore(inner, index=index())
            other.put(("n",), "k", {"text": "old"})
            act = lambda other=other, paths=paths: other.put(("n",), "k", {"text": "other"}, index=paths)  # noqa: E731
            store = SessionStore(Between(inner, at, act), index=index())
            form.do(store, "put", ("n",), "k", {"text": text})
            for each in (store, other, SessionStore(inner, index=index())):
                found = each.search(("n",), query="q")
                assert texts_of(found) == [text]
                belong("q", found)


# -- of sessions


def test_the_items_of_a_session_are_found(manager_on: Callable[..., SessionManager], form: Form) -> None:
    model = Model()
    manager, other = manager_on(index=index(model)), manager_on(index=index())
    session = form.do(manager, "create_session", "s", messages=["Hi"])
    form.do(form.do(manager, "create_session", "t").store, "put", ("a",), "k", {"text": "apart"})
    form.do(session.store, "batch", [PutOp(("a", f"{n}"), "k", {"text": f"t{n}"}) for n in range(5)])
    form.do(manager.store, "put", (SESSION_NAMESPACE, "s", "ab"), "k", {"text": "b"})
    form.do(manager.store, "put", (SESSION_NAMESPACE, "s"), "top", {"text": "top"})
    model.news()
    form.do(session.store, "put", ("a", "1"), "k", {"text": "t1", "more": 1})
    assert model.news() == []
    everything = [*(f"t{n}" for n in range(5)), "b", "top"]
    for store in (manager.store, other.store):
        for _ in range(2):
            for rest, right in (((), everything), (("a",), everything[:5]), (("a", "3"), ["t3"]), (("x",), [])):
                found = form.do(store, "search", (SESSION_NAMESPACE, "s", *rest), query="q", limit=20)
                assert texts_of(found) == sorted(right, key=lambda text: -near("q", text))
                belong("q", found)
                assert all(item.namespace[:2] == (SESSION_NAMESPACE, "s") for item in found)
    found = form.do(session.store, "search", ("a",), query="t3", limit=1)
    assert [(item.namespace, item.value) for item in found] == [(("a", "3"), {"text": "t3"})]
    assert form.do(manager.store, "search", (), query="q") == []
    assert form.texts(session) == ["Hi"]
    assert manager.checkpointer.check("s") == []
    with pytest.raises(ConfigurationError, match="session"):
        form.do(manager.store, "search", (SESSION_NAMESPACE,), query="q")
    form.do(session, "delete")
    assert form.do(other.store, "search", (SESSION_NAMESPACE, "s"), query="q") == []
    with pytest.raises(SessionDeleted):
        form.do(session.store, "search", ("a",), query="q")
    with pytest.raises(SessionDeleted):
        form.do(session.store, "put", ("a",), "k", {"text": "late"})


def test_forked_and_moved_sessions_find_their_items(
    manager_on: Callable[..., SessionManager], form: Form, tmp_path: Path
) -> None:
    model = Model()
    manager = manager_on(index=index(model))
    session = form.do(manager, "create_session", "s")
    form.do(session.store, "batch", [PutOp(("n",), key, {"text": f"old {key}"}) for key in "abc"])
    form.do(session.store, "search", ("n",), query="q")
    data = form.do(session, "to_dict")
    form.do(session, "export", tmp_path / "s.jsonl")
    elsewhere = SessionManager(MemoryBackend(), index=index(model))
    model.news()
    copies = [
        form.do(session, "fork", "fork"),
        form.do(manager, "from_dict", data, session_id="from dict"),
        form.do(manager, "import_", tmp_path / "s.jsonl", session_id="from file"),
        form.do(elsewhere, "from_dict", data),
    ]
    form.do(session.store, "put", ("n",), "a", {"text": "new a"})
    form.do(session.store, "delete", ("n",), "b")
    model.news()
    for copy in copies:
        for _ in range(2):
            found = form.do(copy.store, "search", ("n",), query="q")
            assert texts_of(found) == sorted(("old a", "old b", "old c"), key=lambda text: -near("q", text))
            belong("q", found)
        form.do(copy.store, "put", ("n",), "a", {"text": "old a", "more": 1})
        assert set(model.news()) == {"q"}
        form.do(copy.store, "put", ("n",), "a", {"text": copy.id})
        found = form.do(copy.store, "search", ("n",), query=copy.id, limit=1)
        assert texts_of(found) == [copy.id]
        model.news()
    found = form.do(session.store, "search", ("n",), query="q")
    assert sorted(texts_of(found)) == ["new a", "old c"]
    belong("q", found)


@few_kinds
@pytest.mark.parametrize("through", ["its store", "all items"])
def test_a_session_that_comes_back_finds_what_it_had(
    through: str, manager_on: Callable[..., SessionManager], form: Form
) -> None:
    """Also in a process that remembers it with less."""
    manager = manager_on(index=index(), tombstone=0)
    session = form.do(manager, "create_session", "s")
    form.do(session.store, "batch", [PutOp(("n",), key, {"text": key}) for key in "abc"])
    data, origin = form.do(session, "to_dict"), form.do(session, "fork", "origin")
    copy = form.do(origin, "fork", "copy")
    for each in (session, copy):
        form.do(each.store, "delete", ("n",), "a")
        assert sorted(texts_of(form.do(each.store, "search", ("n",), query="a"))) == ["b", "c"]
        form.do(each, "delete")
    for again in (form.do(manager, "from_dict", data), form.do(origin, "fork", "copy")):
        store = manager.store if through == "all items" else again.store
        base = (SESSION_NAMESPACE, again.id) if through == "all items" else ()
        assert sorted(texts_of(form.do(store, "search", (*base, "n")))) == ["a", "b", "c"]
        found = form.do(store, "search", (*base, "n"), query="a")
        assert sorted(texts_of(found)) == ["a", "b", "c"]
        belong("a", found)


@few_kinds
def test_a_graph_searches_its_store(manager_on: Callable[..., SessionManager], form: Form) -> None:
    manager = manager_on(index=index())

    def remember(state: MessagesState, *, store: BaseStore) -> dict[str, Any]:
        text = str(state["messages"][-1].text)
        seen = store.search(("memories",), query=text, limit=1)
        store.put(("memories",), text, {"text": text})
        return {"messages": [("ai", f"{seen[0].key} {seen[0].score:.2f}" if seen else "nothing")]}

    builder = StateGraph(MessagesState).add_node("remember", remember).add_edge(START, "remember")
    graph = builder.compile(checkpointer=manager.checkpointer, store=manager.store)
    said = [
        form.do(graph, "invoke", {"messages": [("user", text)]}, {"configurable": {"thread_id": f"{at}"}})["messages"][
            -1
        ]
        for at, text in enumerate(["tea", "tea", "coffee"])
    ]
    assert [message.text for message in said] == ["nothing", "tea 1.00", f"tea {near('tea', 'coffee'):.2f}"]


# -- what it costs


@pytest.fixture
def proxy(redis7: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis7.host, redis7.port) as proxy:
        yield proxy


Opened = Callable[..., SessionStore]


@pytest.fixture
def opened(proxy: Proxy, form: Form, tmp_path: Path) -> Iterator[Opened]:
    """Makes stores on one connection through the proxy that remember nothing of each other."""
    first = SessionStore.from_url(f"redis://{proxy.host}:{proxy.port}/0", prefix=f"{tmp_path}", index=index())
    form.do(first, "put", ("warm",), "k", {})

    def make(dims: int = DIMS, **options: Any) -> SessionStore:
        return SessionStore(first.backend, index=index(dims=dims), **options)

    yield make
    form.do(first, "close")


def test_the_round_trips_of_queries_and_puts(proxy: Proxy, opened: Opened, form: Form) -> None:
    store = opened()
    form.do(store, "batch", [PutOp(("n",), f"{n}", {"text": f"t{n}", "n": n}) for n in range(50)])
    form.do(store, "batch", [PutOp(("deep", f"{n}"), "k", {"text": f"t{n}"}) for n in range(20)])
    own = (SESSION_NAMESPACE, "s")
    form.do(store, "batch", [PutOp((*own, f"{n}"), "k", {"text": f"t{n}"}) for n in range(20)])

    def trips(name: str, *args: Any, **options: Any) -> int:
        proxy.reset()
        form.do(store, name, *args, **options)
        return proxy.round_trips

    several = [SearchOp(("n",), None, 10, 0, query) for query in "abc"]
    assert trips("search", ("n",), query="cold") == 3
    assert trips("search", ("deep", "1"), query="cold and small") == 2
    assert trips("search", ("n",), query="warm") == 1
    assert trips("search", ("n",), query="warm", limit=200) == 1
    assert trips("search", ("n",), query="warm", limit=10, offset=20) == 1
    assert trips("search", ("n",), query="warm", filter={"n": {"$gte": 0}}) == 1
    assert trips("batch", several) == 1
    assert trips("search", own, query="cold") == 3
    assert trips("search", own, query="warm") == 1
    assert trips("search", (*own, "3"), query="warm") <= 2
    assert trips("search", ("deep",), query="cold") == 3
    assert trips("search", ("deep",), query="warm") == 2
    assert trips("search", ("none",), query="cold") == 1
    assert trips("put", ("n",), "3", {"text": "new"}) == 2
    assert trips("search", ("n",), query="changed") <= 4
    assert trips("search", ("n",), query="warm") == 1
    assert trips("put", ("n",), "3", {"text": "new", "more": 1}) == 2
    assert trips("put", ("n",), "3", {"text": "new"}, index=False) == 1
    assert trips("put", ("n",), "3", {"other": "no text"}) == 1
    assert trips("put", ("new",), "k", {"text": "new"}) == 3
    assert trips("put", own, "k", {"text": "new"}) == 2
    assert trips("delete", ("n",), "3") == 1
    assert trips("search", ("n",), query="warm", limit=60) <= 4
    assert trips("search", ("n",), query="warm", limit=60) == 1
    assert trips("batch", [PutOp(("n",), f"{n}", {"text": f"many {n}"}) for n in range(500)]) == 2
    assert trips("batch", [PutOp(("n",), f"x{n}", {"text": "x"}) for n in range(9)] + several) <= 6


def test_deleted_items_do_not_make_later_queries_longer(proxy: Proxy, opened: Opened, form: Form) -> None:
    store = opened()
    order = sorted((f"t{n}" for n in range(400)), key=lambda text: -near("q", text))
    form.do(store, "batch", [PutOp(("n",), text, {"text": text}) for text in order])
    form.do(store, "search", ("n",), query="q")
    form.do(store, "batch", [PutOp(("n",), text, None) for text in order[:390]])
    for _ in range(2):
        proxy.reset()
        assert texts_of(form.do(store, "search", ("n",), query="q")) == order[390:]
    assert proxy.round_trips <= 3


def test_vectors_are_fetched_once_and_after_a_change_only_what_is_new(proxy: Proxy, opened: Opened, form: Form) -> None:
    dims, many = 512, 100
    store, other, cold = (opened(dims) for _ in range(3))
    form.do(store, "batch", [PutOp(("n",), f"{n}", {"text": f"t{n}"}) for n in range(many)])

    def down(which: SessionStore, query: str = "q", prefix: tuple[str, ...] = ("n",)) -> int:
        proxy.reset()
        found = form.do(which, "search", prefix, query=query, limit=3)
        assert len(found) == 3
        return proxy.bytes_down

    all_of_them, one = 4 * dims * many, 4 * dims
    assert all_of_them < down(store) < all_of_them + 30_000
    assert down(store) < 2000
    assert down(store, "another") < 2000
    form.do(other, "put", ("n",), "7", {"text": "changed"})
    assert down(store, "changed") < one + 150 * many
    assert down(store, "changed") < 2000
    form.do(store, "put", ("n",), "new", {"text": "t8"})  # which is known of another item
    assert down(store, "t8") < 150 * many
    form.do(other, "delete", ("n",), "8")
    assert down(store) < 150 * many
    assert down(store) < 2000
    form.do(other, "put", ("n",), "9", {"text": "t9"}, index=False)
    assert down(store) < 150 * many
    assert down(cold) > all_of_them


def test_so_many_bytes_are_remembered(proxy: Proxy, opened: Opened, form: Form) -> None:
    dims, many = 512, 30
    size = 4 * dims * many
    form.do(
        opened(dims), "batch", [PutOp((name,), f"{n}", {"text": f"{name}{n}"}) for n in range(many) for name in "abc"]
    )

    def down(which: SessionStore, *prefix: str) -> int:
        proxy.reset()
        found = form.do(which, "search", prefix, query="q", limit=3)
        assert len(found) == 3
        assert found[0].score is not None
        return proxy.bytes_down

    for limit in (0, 1000, size - 1):
        store = opened(dims, vector_bytes=limit)
        assert min(down(store, "a") for _ in range(3)) > size
    two = opened(dims, vector_bytes=2 * size + 30_000)
    assert [down(two, name) > size for name in "ababcacbbcc"] == [
        *(True, True, False, False),  # a b a b
        *(True, True, False),  # c instead of a, a instead of b, c
        *(True, False, False, False),  # b instead of a, b, c, c
    ]
    assert down(opened(dims, vector_bytes=0)) > 3 * size
    ample = opened(dims, vector_bytes=4 * size)
    assert down(ample) > 3 * size
    assert down(ample) < 6000


def test_a_large_namespace_is_looked_through_piece_by_piece(
    proxy: Proxy, opened: Opened, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    dims, many, piece = 256, 200, 1 << 14
    store = opened(dims, vector_bytes=0)
    form.do(store, "batch", [PutOp(("n",), f"{n}", {"text": f"t{n}"}) for n in range(many)])
    monkeypatch.setattr(vectors, "_BYTES", piece)
    proxy.reset()
    form.do(store, "search", ("n",), query="q")
    assert 4 * dims * many // piece < proxy.round_trips < 4 * dims * many // piece + 6
    assert proxy.bytes_down < 4 * dims * many + 2 * piece + 150 * many


class Weighed(Between):
    """Notes the bytes of the largest trip."""

    most = 0

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        answers = super().execute(calls, ordered=ordered)
        self.most = max(self.most, _size(answers))
        return answers


def _size(answer: Any) -> int:
    if isinstance(answer, (list, tuple)):
        return sum(map(_size, answer))
    return len(answer) if isinstance(answer, bytes) else 0


@pytest.mark.parametrize("what", ["one namespace", "many namespaces", "many texts"])
def test_no_trip_brings_many_more_bytes_than_a_piece(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dims, piece = 64, 1 << 14
    config, inner = index(dims=dims, fields=["texts[*]"]), MemoryBackend()
    names = [("n", f"{n}") for n in range(6 if what == "many namespaces" else 1)]
    items = 200 if what == "many texts" else 600 // len(names)
    texts = 30 if what == "many texts" else 1
    writer = SessionStore(inner, index=config)
    for name in names:
        writer.batch([PutOp(name, f"{n}", {"texts": [f"{n} {m}" for m in range(texts)]}) for n in range(items)])
    monkeypatch.setattr(vectors, "_BYTES", piece)
    backend = Weighed(inner, 0, lambda: None)
    found = SessionStore(backend, index=config, vector_bytes=0).search(("n",), query="0 0", limit=1)
    assert found[0].score == pytest.approx(1, abs=1e-4)
    assert backend.most < len(names) * items * texts * 4 * dims / 2


# -- without numpy


HIDE = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "numpy":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
from langgraph_sessionstore import *
"""


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_numpy_an_index_says_what_to_install_and_all_else_works(tmp_path: Path) -> None:
    with SessionManager.from_url(tmp_path / "s", index=index()) as manager:
        manager.store.put(("n",), "k", {"text": "a"})
        manager.store.put(("n",), "l", {"text": "b"})
        manager.create_session("s").store.put(("n",), "k", {"text": "c"})
    code = f"""{HIDE}
path, index = {str(tmp_path / "s")!r}, {{"dims": 8, "embed": lambda texts: []}}
backend = open_backend(path)
for make in (SessionStore, SessionManager) * 2:
    for stand, where in ((make, backend), (make.from_url, path)):
        try:
            stand(where, index=index)
        except MissingExtra as exc:
            assert "pip install" in str(exc) and "langgraph-sessionstore[vectors]" in str(exc), exc
        else:
            raise AssertionError(make)
manager = SessionManager(backend)
store, session = manager.store, manager.get_session("s")
store.put(("n",), "l", {{"text": "without"}}, index=["text"])
store.put(("n",), "m", {{"text": "new"}}, ttl=5)
assert [item.key for item in store.search(("n",), query="a")] == ["k", "l", "m"]
assert store.get(("n",), "k").value == {{"text": "a"}}
store.delete(("n",), "m")
assert session.fork("t").store.search(("n",), query="c")[0].value == {{"text": "c"}}
assert store.list_namespaces() == [("n",)]
backend.close()
print("numpy" in sys.modules)
"""
    assert python(code) == "False"
    with SessionManager.from_url(tmp_path / "s", index=index()) as manager:
        found = manager.store.search(("n",), query="a")
        assert [(item.key, item.score) for item in found] == [("k", pytest.approx(1, abs=1e-4)), ("l", None)]
        copy = manager.get_session("t")
        assert copy is not None
        belong("q", copy.store.search(("n",), query="q"))


def test_a_store_without_an_index_does_not_load_numpy() -> None:
    code = "import sys; from langgraph_sessionstore import *; s = SessionStore(open_backend('memory:')); "
    code += "s.put(('n',), 'k', {'a': 1}); s.search(('n',), query='a'); print('numpy' in sys.modules)"
    assert python(code) == "False"


@few_kinds
def test_the_state_of_a_namespace_is_renamed_by_every_put(store_on: Stores, backend: Backend) -> None:
    store, version = store_on(), Get(keys.encode(7))
    seen = set()
    for options in ({}, {"index": False}, {"ttl": 5}):
        store.put(("n",), "k", {"text": "same"}, **options)
        seen.add(run(backend, must(keys.encode("store", "n"), version))[0])
    assert len(seen) == 3
    assert None not in seen
