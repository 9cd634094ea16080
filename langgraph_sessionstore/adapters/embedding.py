"""What a store embeds of its items, and by whom.

Rule: a text is named by a digest of the text and of the model, so that a vector is used again exactly where the same
model would be asked the same.

This needs numpy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langgraph.store.base import IndexConfig, ensure_embeddings, get_text_at_path, tokenize_path
from langgraph.store.base.embed import EmbeddingsLambda

from ..errors import ConfigurationError
from ..plans.vectors import DIGEST, Matrix, Vectors, unit

_KEYS = {"dims", "embed", "fields"}


class Embedder:
    """Turns items and queries into vectors, as an `index` says, and remembers so many bytes of them."""

    def __init__(self, index: IndexConfig, limit: int) -> None:
        if not isinstance(index, Mapping) or not {"dims", "embed"} <= set(index) or set(index) - _KEYS:
            given = sorted(map(str, index)) if isinstance(index, Mapping) else index
            raise ConfigurationError(f"an index has 'dims' and 'embed', and may have 'fields', not {given!r:.80}")
        dims, fields = index["dims"], index.get("fields")
        if isinstance(dims, bool) or not isinstance(dims, int) or not 0 < dims <= 1 << 16:
            raise ConfigurationError(f"dims is the number of dimensions of the vectors, not {dims!r:.80}")
        self.dims = dims
        self.vectors = Vectors(dims, limit)
        if not isinstance(index["embed"], (Embeddings, str)) and not callable(index["embed"]):
            raise ConfigurationError(
                f"embed is a LangChain Embeddings, a function or the name of a model, not {index['embed']!r:.80}"
            )
        try:
            self.embeddings: Embeddings = ensure_embeddings(index["embed"])
        except (ValueError, ImportError) as exc:
            raise ConfigurationError(f"embed={index['embed']!r:.80} cannot be used: {exc}") from exc
        self._paths = _paths(fields or ["$"])
        self._model = blake2b(_name_of(self.embeddings, dims).encode("utf-8", "surrogatepass"), digest_size=16).digest()

    def texts(self, value: Mapping[str, Any], index: Any) -> list[str]:
        """What is embedded of a value; `index` are the paths to take instead of those of the store, or False."""
        if index is False:
            return []
        paths = self._paths if index is None else _paths(index)
        try:
            found = [text for path in paths for text in get_text_at_path(value, path)]
        except (TypeError, ValueError, RecursionError) as exc:
            raise ConfigurationError(
                f"a value cannot be embedded as it is ({exc}): name the fields that hold text in 'fields' or `index=`, "
                "or put it with index=False"
            ) from exc
        return list(dict.fromkeys(found))

    def digest(self, text: str) -> bytes:
        """The name of a text."""
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST, key=self._model).digest()

    def known(self, texts: bytes | None, vectors: bytes | None) -> dict[bytes, Matrix]:
        """The vectors that are stored with an item, by the names of their texts."""
        digests, made = self.vectors.stored(texts, vectors)
        return {digests[at * DIGEST : (at + 1) * DIGEST]: vector for at, vector in enumerate(made)}

    def embed(self, texts: Sequence[str], queries: Sequence[str]) -> tuple[list[Matrix], list[Matrix]]:
        """The vectors of texts, as they are, and of queries, with length 1."""
        if isinstance(self.embeddings, EmbeddingsLambda) and not hasattr(self.embeddings, "func"):
            raise ConfigurationError("embed is an async function: use the async forms, such as aput and asearch")
        made = self.embeddings.embed_documents(list(texts)) if texts else []
        asked = [self.embeddings.embed_query(query) for query in queries]
        return self._checked(made, len(texts)), self._units(asked)

    async def aembed(self, texts: Sequence[str], queries: Sequence[str]) -> tuple[list[Matrix], list[Matrix]]:
        """The async form of `embed`."""
        made = await self.embeddings.aembed_documents(list(texts)) if texts else []
        asked = await asyncio.gather(*[self.embeddings.aembed_query(query) for query in queries])
        return self._checked(made, len(texts)), self._units(asked)

    def _units(self, asked: Sequence[Any]) -> list[Matrix]:
        return [unit(vector) for vector in self._checked(asked, len(asked))]

    def _checked(self, made: Any, count: int) -> list[Matrix]:
        try:
            with np.errstate(over="ignore"):
                vectors = [np.asarray(vector, dtype=np.float32) for vector in made]
        except (TypeError, ValueError) as exc:
            raise ConfigurationError(f"the embedding gave no vectors of numbers, but {made!r:.80}") from exc
        if len(vectors) != count:
            raise ConfigurationError(f"the embedding gave {len(vectors)} vectors for {count} texts")
        for vector in vectors:
            if vector.shape != (self.dims,):
                raise ConfigurationError(
                    f"the embedding gives vectors of {vector.size} numbers, and the index says dims={self.dims}"
                )
            if not np.isfinite(vector).all():
                raise ConfigurationError("the embedding gave a vector with numbers that are not finite")
        return vectors


def _paths(fields: Any) -> list[str | list[str]]:
    if not isinstance(fields, (list, tuple)) or not all(isinstance(field, str) for field in fields):
        raise ConfigurationError(f"fields of an index are a list of paths, or index=False for none, not {fields!r:.80}")
    return [field if field == "$" else tokenize_path(field) for field in fields]


def _name_of(embeddings: Embeddings, dims: int) -> str:
    """What tells one model from another, as far as it can be seen."""
    made: Any = getattr(embeddings, "func", None) or getattr(embeddings, "afunc", None) or embeddings
    told: list[Any] = [dims]
    while isinstance(made, partial):
        told += [*made.args, *made.keywords.items()]
        made = made.func
    for name in ("model", "model_name", "model_id", "deployment", "dimensions"):
        told += [getattr(embeddings, name, None), getattr(made, name, None)]
    named = made if hasattr(made, "__qualname__") else type(made)
    told = [each for each in told if isinstance(each, (str, int, tuple))]
    return repr([getattr(named, "__module__", ""), named.__qualname__, told])
