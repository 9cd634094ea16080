"""Texts with a meaning of their own: an embedding for tests, and what has to be found with it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langgraph.store.base import IndexConfig, SearchItem
from support import raw

from langgraph_sessionstore import SessionStore

DIMS = 8
Stores = Callable[..., SessionStore]


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
