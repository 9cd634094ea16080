"""What searches by meaning cost on the wire: round trips and bytes, never time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import PutOp, SearchOp
from support.between import Between
from support.meanings import DIMS, index, near, texts_of
from support.proxy import Proxy
from support.sittings import Form

from langgraph_sessionstore import SESSION_NAMESPACE, SessionStore
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.ops import Call
from langgraph_sessionstore.plans import vectors

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
    backend = Weighed(inner, {})
    found = SessionStore(backend, index=config, vector_bytes=0).search(("n",), query="0 0", limit=1)
    assert found[0].score == pytest.approx(1, abs=1e-4)
    assert backend.most < len(names) * items * texts * 4 * dims / 2
