"""LangGraph's own in-memory store as the model of what operations answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph.store.base import GetOp, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

Namespace = tuple[str, ...]


class Model(InMemoryStore):
    """LangGraph's own in-memory store, which forgets namespaces without items."""

    def read(self, op: Any) -> Any:
        """What one operation reads."""
        self.tidy()
        return self.batch([op])[0]

    def tidy(self) -> None:
        for namespace in [namespace for namespace, items in self._data.items() if not items]:
            del self._data[namespace]

    def answer(self, ops: Sequence[Any]) -> list[Any]:
        """What a batch has to answer: what was there before it, in the order of namespaces and keys."""
        results: list[Any] = []
        for op in ops:
            if isinstance(op, SearchOp):
                everything = [shown(item) for item in self.read(op._replace(limit=10_000, offset=0))]
                results.append(sorted(everything, key=lambda each: each[:2])[op.offset : op.offset + op.limit])
            elif isinstance(op, GetOp):
                item = self.read(op)
                results.append(item and shown(item))
            else:
                results.append(None if isinstance(op, PutOp) else self.read(op))
        self.batch([op for op in ops if isinstance(op, PutOp)])
        self.tidy()
        return results


def shown(item: Any) -> tuple[Namespace, str, Any]:
    """What an item says, without the times."""
    return item.namespace, item.key, item.value


def answers(ops: Sequence[Any], results: Sequence[Any]) -> list[Any]:
    """What a store has answered, in the form of `Model.answer`."""
    return [
        [shown(item) for item in result]
        if isinstance(op, SearchOp)
        else shown(result)
        if isinstance(op, GetOp) and result is not None
        else result
        for op, result in zip(ops, results, strict=True)
    ]
