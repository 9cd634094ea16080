"""The Redis backend against one real server."""

from __future__ import annotations

from typing import Any

from support.proxy import Proxy

from langgraph_sessionstore.ops import (
    Add,
    Append,
    Get,
    Put,
)
from langgraph_sessionstore.testing.worker import Worker


def url_of(proxy: Proxy) -> str:
    return f"redis://{proxy.host}:{proxy.port}/0"


def warm(worker: Worker, proxy: Proxy, name: bytes) -> None:
    """Connect, load the script, and begin to count."""
    worker.do(name, Put(b"warm", b"1"))
    worker.do(name, Get(b"warm"))
    proxy.reset()


def append_ops(batch: int) -> tuple[Any, ...]:
    return (Append(b"a", b"%d" % batch), Add(b"n", 1))


def children(prefix: bytes) -> tuple[bytes, bytes]:
    return prefix + b"\x02", prefix + b"\xff"
