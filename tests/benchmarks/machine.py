"""On what figures were measured: the machine, Python, the packages, the servers.

Rule: what is not there is not named.
"""

from __future__ import annotations

import os
import platform
import shlex
import sqlite3
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    *("langgraph-sessionstore", "langgraph", "langgraph-checkpoint", "langchain-core", "redis"),
    *("langgraph-checkpoint-sqlite", "langgraph-checkpoint-postgres", "langgraph-checkpoint-redis"),
    *("langgraph-checkpoint-aws", "valkey", "redisvl", "psycopg", "psycopg-pool", "aiosqlite"),
    *("langchain-redis", "langchain-community", "sqlalchemy", "msgpack", "ormsgpack"),
)


def described(arguments: list[str], servers: dict[str, str]) -> dict[str, Any]:
    """This run on this machine."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", "-m", "benchmarks", *arguments]),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": memory(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": dict(found for name in PACKAGES if (found := installed(name))),
        "servers": {"SQLite": sqlite3.sqlite_version, **servers},
    }


def processor() -> str:
    """Its model, as the system names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def memory() -> str:
    """How much the machine has."""
    if sys.platform != "linux":
        return "unknown"
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def installed(package: str) -> tuple[str, str] | None:
    """Its name and version."""
    try:
        return package, version(package)
    except PackageNotFoundError:
        return None
