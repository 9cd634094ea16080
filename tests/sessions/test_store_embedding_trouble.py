"""Nothing is written when an embedding fails or returns nonsense, and when an index or its options make no sense."""

from __future__ import annotations

import math
from typing import Any

import pytest
from langgraph.store.base import PutOp, SearchOp
from support import raw
from support.lifetimes import Look
from support.meanings import DIMS, Model, Stores, index, vector
from support.places import two_places
from support.sittings import Form

from langgraph_sessionstore import Backend, ConfigurationError, SessionManager, SessionStore, Unstorable
from langgraph_sessionstore.backends.memory import MemoryBackend


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


@two_places
def test_nothing_is_written_when_the_embedding_fails(store_on: Stores, contents: Look, form: Form) -> None:
    class Down(Exception):
        pass

    def fail() -> None:
        raise Down

    model = Model()
    store = store_on(model)
    form.do(store, "put", ("n",), "k", {"text": "before"})
    before = contents()
    model.before = fail
    with pytest.raises(Down):
        form.do(store, "batch", [PutOp(("m",), "k", {"n": 1}), PutOp(("n",), "k", {"text": "x"})])
    model.before = fail
    with pytest.raises(Down):
        form.do(store, "batch", [PutOp(("m",), "k", {"n": 1}), SearchOp(("n",), None, 10, 0, "x")])
    assert contents() == before
    model.before = fail
    form.do(store, "put", ("n",), "k", {"text": "before", "more": True})  # what is known needs no embedding
    form.do(store, "put", ("n",), "l", {"more": True})
    assert [item.key for item in form.do(store, "search", ("n",))] == ["k", "l"]


@pytest.mark.parametrize("kind", ["memory"])
def test_what_json_cannot_hold_is_refused_as_a_whole_text(backend: Backend, contents: Look, form: Form) -> None:
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
    assert contents() == {}
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
