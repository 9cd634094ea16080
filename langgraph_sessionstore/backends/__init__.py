"""Where partitions are kept, and `open_backend`, which finds the right place for a URL."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import ConfigurationError, MissingExtra
from .base import Backend
from .keyring import Encryption, keyring_of

if TYPE_CHECKING:
    from .observed import Hook

REDIS_SCHEMES = (
    "redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel",
)  # fmt: skip
SCHEMES = ("memory", "file", *REDIS_SCHEMES)


def open_backend(
    url: str | os.PathLike[str], *, encryption: Encryption | None = None, observe: Hook | None = None, **options: Any
) -> Backend:
    """Open the backend that a URL names; options may stand in its query or be given by name.

    With `encryption` (a key of 32 bytes, several, a `Keyring`, or True for those in the environment) all values are
    encrypted, on any backend. `observe` is told of each call to the storage (see `BackendCall`), below the encryption.

    memory:                                     in this process
    file:./.sessions, or just a path            SQLite in a directory
    redis://, rediss://, unix://                one Redis server
    redis+sentinel://host,host/service/db       the master that Sentinels name (rediss+sentinel: TLS)
    redis+cluster://host,host                   a Redis Cluster (rediss+cluster: TLS)
    """
    keyring = None if encryption is None or encryption is False else keyring_of(encryption)
    backend = _open(url, options)
    try:
        if observe is not None:
            backend = _load("observed", "ObservedBackend")(backend, observe)
        return backend if keyring is None else _load("encrypted", "EncryptedBackend")(backend, keyring)
    except BaseException:
        backend.close()
        raise


def directory_of(url: str | os.PathLike[str]) -> str | None:
    """The directory that a URL or a path names; None when it names something else."""
    text, scheme = _split(url)
    return text if scheme == "path" else _file(text, {})[0] if scheme == "file" else None


def _split(url: str | os.PathLike[str]) -> tuple[str, str]:
    """The text of a URL, and its scheme, which is "path" for a path."""
    text = os.fspath(url) if isinstance(url, (str, os.PathLike)) else ""
    if not isinstance(text, str) or not text:
        raise ConfigurationError(f"a backend is named by a URL or a path, not by {url!r:.80}")
    scheme, colon, _ = text.partition(":")
    is_path = isinstance(url, os.PathLike) or not colon or len(scheme) == 1 or not _is_scheme(scheme)
    return text, "path" if is_path else scheme.lower()


def _open(url: str | os.PathLike[str], options: dict[str, Any]) -> Backend:
    text, scheme = _split(url)
    backend: Backend
    if scheme == "path":
        backend = _load("filesystem", "FilesystemBackend")(text, **options)
    elif scheme == "memory":
        if text.partition(":")[2].strip("/") or options:
            raise ConfigurationError("the memory backend takes no path and no options: memory:")
        backend = _load("memory", "MemoryBackend")()
    elif scheme == "file":
        path, options = _file(text, options)
        backend = _load("filesystem", "FilesystemBackend")(path, **options)
    elif scheme in REDIS_SCHEMES:
        backend = _redis().from_url(text, **options)
    else:
        raise ConfigurationError(
            f"no backend for {scheme + ':'!r}. There are: {', '.join(s + ':' for s in SCHEMES)}; or a path. "
            "A path that looks like a URL is written with ./ in front."
        )
    return backend


def _is_scheme(text: str) -> bool:
    return text[:1].isalpha() and all(c.isalnum() or c in "+-." for c in text)


def _file(url: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost", ".", ".."):
        raise ConfigurationError("a file: URL names no host; a path is written file:./name or file:///name")
    path = unquote((parts.netloc if parts.netloc != "localhost" else "") + parts.path)
    if not path:
        raise ConfigurationError("a file: URL names a directory: file:./name or file:///name")
    kinds: dict[str, Callable[[str], Any]] = {"durability": str, "busy_timeout": float}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in kinds:
            raise ConfigurationError(f"unknown option {name!r} for files; there are: {', '.join(kinds)}")
        try:
            options.setdefault(name, kinds[name](value))
        except ValueError as exc:
            raise ConfigurationError(f"the option {name!r} is not a number: {value!r}") from exc
    return path, options


def _redis() -> Any:
    try:
        return _load("redis", "RedisBackend")
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] != "redis":
            raise
        raise MissingExtra(
            'Redis needs the package "redis": python -m pip install "langgraph-sessionstore[redis]"'
        ) from exc


def _load(module: str, name: str) -> Any:
    """Import a backend when it is asked for, so that nobody pays for one that is not used."""
    return getattr(import_module(f".{module}", __name__), name)
