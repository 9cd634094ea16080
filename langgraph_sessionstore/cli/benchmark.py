"""What calls cost on a storage: a conversation that grows turn by turn, every kind of call once a turn.

Rule: it works in a session and a namespace of its own, and takes both away, however it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, empty_checkpoint

from ..drive import run
from ..manager import SessionManager
from ..ops import Get, must

KINDS = {
    "empty": "an empty call",
    "put": "a checkpoint with two more messages",
    "put_writes": "what a task wrote",
    "get_tuple": "the newest checkpoint",
    "append": "a message more",
    "messages": "all messages",
    "store_put": "an item of the store",
    "store_get": "the same, read",
    "list": "a page of sessions",
}
_TEXT = "What is there to see in Kyoto in spring, and how long does one stay? " * 6


@dataclass(frozen=True)
class Figure:
    """Seconds for a call."""

    median: float
    p95: float


def measured(manager: SessionManager, turns: int, progress: Callable[[int, int], None]) -> dict[str, Figure]:
    """Each kind of call, so many times."""
    name = f"bench-{uuid4()}"
    graph, log = manager.create_session(f"{name}-graph"), manager.create_session(f"{name}-log")
    namespace = (name,)
    saver, store = manager.checkpointer, manager.store
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    config: Any = {"configurable": {"thread_id": graph.id, "checkpoint_ns": ""}}
    messages: list[Any] = []
    versions: dict[str, Any] = {}

    def clocked(kind: str, work: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        result = work()
        times[kind].append(time.perf_counter() - begun)
        return result

    try:
        for turn in range(turns):
            messages = [*messages, HumanMessage(f"{turn} {_TEXT}"), AIMessage(f"{turn} {_TEXT}")]
            versions = {"messages": saver.get_next_version(versions.get("messages"), None)}
            checkpoint: Checkpoint = {
                **empty_checkpoint(),
                "channel_values": {"messages": messages},
                "channel_versions": versions,
            }
            metadata: CheckpointMetadata = {"source": "loop", "step": turn, "parents": {}}
            writes = [("messages", messages[-1])]
            clocked("empty", lambda: run(manager.backend, must(b"nothing", Get(b"nothing"))))
            config = clocked("put", lambda: saver.put(config, checkpoint, metadata, versions))  # noqa: B023
            clocked("put_writes", lambda: saver.put_writes(config, writes, f"task-{turn}"))  # noqa: B023
            clocked("get_tuple", lambda: saver.get_tuple(graph.config))
            clocked("append", lambda: log.append("user", _TEXT))
            clocked("messages", lambda: log.messages)
            clocked("store_put", lambda: store.put(namespace, f"key-{turn}", {"text": _TEXT}))  # noqa: B023
            clocked("store_get", lambda: store.get(namespace, f"key-{turn}"))  # noqa: B023
            clocked("list", lambda: manager.list_sessions(limit=20))
            progress(turn + 1, turns)
    finally:
        graph.delete()
        log.delete()
        for item in store.search(namespace, limit=turns):
            store.delete(namespace, item.key)
    return {kind: Figure(median(each), quantiles([*each, each[-1]], n=20)[-1]) for kind, each in times.items()}
