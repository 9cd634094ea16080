"""A text is embedded once, by functions and embeddings of both forms, and anew by another model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from langgraph.store.base import PutOp
from support.meanings import Model, Named, Stores, belong, index, near, vector
from support.places import two_places
from support.sittings import Form

from langgraph_sessionstore import Backend, ConfigurationError, SessionStore


@two_places
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


@two_places
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


@two_places
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


class Provider:
    """An embedding function that is an object, as those of some providers."""

    def __init__(self, model: str) -> None:
        self.model = model

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        return of_model(texts, self.model)


def of_model(texts: Sequence[str], model: str) -> list[list[float]]:
    return [[1.0, 0.0] if model == "a" else [0.0, 1.0] for _ in texts]


@pytest.mark.parametrize("make", [Provider, lambda model: partial(of_model, model=model)])
def test_functions_of_two_models_are_told_apart(make: Any, backend: Backend) -> None:
    for model in "ab":
        store = SessionStore(backend, index={"dims": 2, "embed": make(model)})
        store.put(("n",), "k", {"text": "x"})
        assert store.search(("n",), query="x")[0].score == pytest.approx(1)


def test_an_async_function_is_for_the_async_forms(backend: Backend) -> None:
    async def embed(texts: Sequence[str]) -> list[list[float]]:
        return of_model(texts, "a")

    store = SessionStore(backend, index={"dims": 2, "embed": embed})
    for act in (lambda: store.put(("n",), "k", {"text": "x"}), lambda: store.search(("n",), query="x")):
        with pytest.raises(ConfigurationError, match="async"):
            act()
    assert store.get(("n",), "k") is None
