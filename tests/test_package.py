"""The package as others meet it: imports, public names, URLs."""

import importlib.metadata
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

import langgraph_sessionstore
from langgraph_sessionstore import ConfigurationError, MissingExtra, SessionStoreError, open_backend
from langgraph_sessionstore.backends.filesystem import FilesystemBackend
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.backends.redis import RedisBackend


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_warns_of_nothing_and_loads_no_backend() -> None:
    code = "import sys, langgraph_sessionstore; print([m for m in ('redis', 'sqlite3', 'pytest') if m in sys.modules])"
    assert python(code) == "[]"


def test_memory_and_files_need_no_redis() -> None:
    hidden = "import sys; sys.modules['redis'] = None; import langgraph_sessionstore as s; "
    assert python(hidden + "print(s.open_backend('memory:'))") == "MemoryBackend()"
    asked = "\ntry: s.open_backend('redis://x')\nexcept s.MissingExtra as exc: print(exc)"
    assert 'python -m pip install "langgraph-sessionstore[redis]"' in python(hidden + asked)


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    for name in langgraph_sessionstore.__all__:
        assert getattr(langgraph_sessionstore, name).__doc__, name
    assert importlib.metadata.version("langgraph-sessionstore") == langgraph_sessionstore.__version__


def test_all_errors_have_one_root() -> None:
    assert issubclass(MissingExtra, SessionStoreError)
    assert issubclass(ConfigurationError, ValueError)
    for name in langgraph_sessionstore.__all__:
        value = getattr(langgraph_sessionstore, name)
        if isinstance(value, type) and issubclass(value, Exception):
            assert issubclass(value, SessionStoreError)


def test_paths_and_file_urls_open_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cases: dict[str | Path, Path] = {
        "plain": Path("plain"),
        "./with space": Path("with space"),
        tmp_path / "object": tmp_path / "object",
        str(tmp_path / "absolute"): tmp_path / "absolute",
        "file:./.sessions": Path(".sessions"),
        "file:relative/deep": Path("relative/deep"),
        f"file://{tmp_path}/three": tmp_path / "three",
        f"file://localhost{tmp_path}/host": tmp_path / "host",
        f"file:{tmp_path}/a%20b%3Fc?durability=full&busy_timeout=2": tmp_path / "a b?c",
        "file://./dot": Path("dot"),
    }
    for url, path in cases.items():
        with open_backend(url) as backend:
            assert isinstance(backend, FilesystemBackend)
            assert backend.path == path
            assert path.is_dir()
    with open_backend("x", durability="full", busy_timeout=1.0) as backend:
        assert "full" in repr(backend)


def test_memory_urls() -> None:
    for url in ("memory:", "memory://", "MEMORY:"):
        with open_backend(url) as backend:
            assert isinstance(backend, MemoryBackend)


@pytest.mark.parametrize(
    "url",
    [
        "redis://", "redis://localhost", "redis://localhost:6379/0", "rediss://user:p%40ss@host:1/2", "unix:///run/redis.sock",
        "redis+cluster://a,b:7000,[::1]:7001", "rediss+cluster://:pw@a:1/?socket_timeout=3",
        "redis+sentinel://a:1,b/main", "rediss+sentinel://u:p@a/main/3?sentinel_password=x",
        "redis://h?prefix=app&max_connections=3&patience=0.5",
    ],
)  # fmt: skip
def test_redis_urls_are_understood_without_a_server(url: str) -> None:
    with open_backend(url) as backend:
        assert isinstance(backend, RedisBackend)
        assert "p%40ss" not in repr(backend)
        assert ("app" in repr(backend)) == ("app" in url)
        assert ("cluster=True" in repr(backend)) == ("cluster" in url)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("mysql://x", {}, "no backend for 'mysql:'.*memory:, file:, redis:.*redis\\+sentinel:"),
        ("memory:x", {}, "no path and no options"),
        ("memory:", {"durability": "full"}, "no path and no options"),
        ("file:", {}, "names a directory"),
        ("file://host/path", {}, "names no host"),
        ("file:x?sync=1", {}, "unknown option 'sync'.*durability"),
        ("file:x?busy_timeout=long", {}, "not a number"),
        ("file:x?durability=none", {}, "durability is normal or full"),
        ("file:x?busy_timeout=nan", {}, "a number of seconds"),
        ("file:x?busy_timeout=-1", {}, "a number of seconds"),
        ("redis://h:port", {}, "cannot work: check its port"),
        ("redis://user:s3cret/pw@h", {}, "cannot work: check its port"),
        ("rediss+cluster://user:s3cret/pw@h", {}, "cannot work|no databases"),
        ("memory://user:s3cret@h", {}, "no path"),
        ("file://user:s3cret@host/path", {}, "names no host"),
        ("redis://h?colour=red", {}, "cannot work.*colour"),
        ("redis://h?max_connections=many", {}, "cannot work"),
        ("redis://h?max_connections=0", {}, "at least 1"),
        ("redis://h", {"prefix": "{a}"}, "no braces"),
        ("redis://h", {"prefix": ""}, "not empty"),
        ("redis://h", {"colour": "red"}, "unknown options.*colour.*prefix"),
        ("redis+sentinel://h:1", {}, "names the service"),
        ("redis+sentinel://h:1/main/x", {}, "cannot work"),
        ("redis+cluster://h:1/2", {}, "no databases"),
    ],
)
def test_urls_that_cannot_work_say_why(url: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        open_backend(url.replace("file:x", f"file:{tmp_path}/x"), **options)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value)[-1:])
    assert caught.value.__cause__ is None or "s3cret" not in str(caught.value.__cause__)


def test_redis_wants_clients_that_fit() -> None:
    import redis
    import redis.asyncio

    for arguments, message in [
        ((), "give a Redis client"),
        ((redis.asyncio.Redis(),), "client is a redis.Redis"),
        ((None, redis.Redis()), "async_client is a redis.asyncio"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            RedisBackend(*arguments)
