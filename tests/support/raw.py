"""What lies in a storage, looked up without the library's own reading."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import redis

Rows = dict[bytes, list[bytes]]
"""Partitions by the name that the storage knows them by; each row is its key, a NUL and its value."""


def of_memory(backend: Any) -> Rows:
    """All of a memory backend."""
    parts: dict[bytes, Any] = backend._partitions
    return {
        name: [key + b"\0" + value for key, value in part.range(b"", None, None, 0, False)]
        for name, part in parts.items()
    }


def of_directory(directory: Path) -> Rows:
    """All of a filesystem backend."""
    found: Rows = {}
    for file in directory.glob("*.sqlite3"):
        db = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        query = "SELECT name, key, value FROM partitions LEFT JOIN rows ON partition = id"
        for name, key, value in db.execute(query):
            found.setdefault(name, []).extend([key + b"\0" + value] if key is not None else [])
        db.close()
    return found


def of_redis(urls: list[str], prefix: str) -> Rows:
    """All that lies below a prefix on these servers."""
    found: Rows = {}
    for url in urls:
        with redis.Redis.from_url(url) as client:
            for name in client.scan_iter(match=f"{prefix}*", count=10_000):
                found[name] = [member for member, _ in client.zscan_iter(name, count=10_000)]
    return found
