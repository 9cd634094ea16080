"""A storage with a value of every kind in it, each of which holds one word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.store.base import IndexConfig
from support.savers import checkpoint, config
from support.sittings import Form

from langgraph_sessionstore import Backend, Price, Session, SessionManager, keys, run
from langgraph_sessionstore.ops import Page, Range, Row, must

Open = Callable[..., Backend]
"""Opens a storage, plain or with keys."""
KEY, OTHER = b"0123456789abcdef" * 2, b"fedcba9876543210" * 2
WORD = "Rumpelstiltskin"
"""Stands in every value, and in no name."""


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Vectors that say nothing."""
    return [[1.0, float(len(text)), 0.5, 0.25] for text in texts]


INDEX = IndexConfig(dims=4, embed=embed)


def fill(form: Form, manager: SessionManager) -> Session:
    """Put everything into the storage: a session `talk` with a log, one with a graph, items, a cache."""
    session: Session = form.do(
        manager,
        "create_session",
        "talk",
        title=WORD,
        system=f"You are {WORD}",
        metadata={WORD: [WORD]},
        summary=f"about {WORD}",
        messages=[("user", f"{WORD} {number}") for number in range(3)],
    )
    form.do(session, "append", AIMessage(f"{WORD} 3", usage_metadata=_used(), response_metadata={"model_name": "m"}))
    form.do(session, "replace", 1, f"{WORD} again")
    form.do(session, "undo")
    form.do(session, "record_usage", "m", input_tokens=7001, output_tokens=7002)
    form.do(session.store, "put", ("notes",), "one", {"text": WORD})
    graph(form, manager, "graph", 4)
    form.do(manager.store, "put", ("people", "ann"), "name", {"text": WORD, "n": 1}, index=["text"])
    form.do(manager.store, "put", ("people", "ann"), "short", {"text": WORD}, ttl=60)
    form.do(manager.cache, "set", {(("c",), "key"): ({"result": WORD}, 60)})
    return session


def graph(form: Form, manager: SessionManager, thread: str, steps: int) -> None:
    """A thread of so many checkpoints, whose messages grow."""
    saver = manager.checkpointer
    where: Any = config(thread)
    messages: list[Any] = []
    for step in range(steps):
        messages = [*messages, HumanMessage(f"{WORD} {step} " + "x" * 200, id=f"{thread}-{step}")]
        values = {"messages": messages, "note": WORD, "count": step}
        point = checkpoint(values, dict.fromkeys(values, f"{step + 1:032}.{step:016}"))
        metadata: Any = {"source": "loop", "step": step, "parents": {}, "by": WORD}
        where = form.do(saver, "put", where, point, metadata, point["channel_versions"])
    form.do(saver, "put_writes", where, [("note", WORD)], "task")


def read(form: Form, manager: SessionManager) -> dict[str, Any]:
    """Everything that `fill` has put there, by what it is."""
    session = form.do(manager, "get_session", "talk")
    info = form.do(session, "info")
    found = form.do(manager.checkpointer, "get_tuple", config("graph"))
    items = form.do(manager.store, "search", ("people",))
    return {
        "messages": form.texts(session),
        "summary": form.do(session, "summary"),
        "details": (info.title, info.metadata, info.system),
        "usage": form.do(session, "usage"),
        "note": form.do(session.store, "get", ("notes",), "one").value,
        "state": found.checkpoint["channel_values"],
        "metadata": found.metadata,
        "writes": found.pending_writes,
        "items": sorted((item.namespace, item.key, item.value) for item in items),
        "cache": form.do(manager.cache, "get", [(("c",), "key")]),
        "sessions": sorted(info.id for info in form.everything(manager)),
    }


def rows(backend: Backend) -> dict[tuple[bytes, bytes], bytes]:
    """Every row of a plain backend with a value in it, by partition and key."""
    found: dict[tuple[bytes, bytes], bytes] = {}
    for kind in ("session", "store", "cache"):
        (page,) = run(backend, must(keys.registry(kind), Page("name", limit=1000)))
        for entry in page.rows:
            part: list[Row] = run(backend, must(entry.name, Range(b"", None)))[0]
            found.update({(entry.name, key): value for key, value in part})
    return found


def prices() -> dict[str, Price]:
    """What the model costs."""
    return {"m": Price(1, 2)}


def _used() -> Any:
    return {"input_tokens": 11, "output_tokens": 5, "total_tokens": 16}
