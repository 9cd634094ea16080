"""A real PostgreSQL server, for what others keep in one.

Rule: its settings are its own defaults, durability above all, but for where it listens. It refuses to run as root;
root runs it as `postgres` or `nobody`.
"""

from __future__ import annotations

import os
import pwd
import re
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.absent import Absent
from support.binaries import RedisBinary
from support.process import ServerProcess, ServerStartError, identity

SUPERUSER = "benchmark"


def found() -> Path:
    """The newest `postgres` of Debian's packages."""
    known = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    programs = sorted(known, key=lambda path: int(path.parts[-3]))
    if not programs:
        raise Absent("no PostgreSQL server in /usr/lib/postgresql (Debian and Ubuntu: apt-get install postgresql)")
    return programs[-1]


def somebody() -> str | None:
    """Who may run it: this user, unless that is root."""
    if os.geteuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in names:
            return name
    raise Absent("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


class PostgresServer(ServerProcess):
    """One server with a data directory of its own, which goes with it."""

    def __init__(self) -> None:
        program = found()
        version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
        match = re.search(r"\d+\.\d+", version)
        super().__init__(RedisBinary(program, match.group() if match else version))
        self.user = somebody()

    def url(self, database: str = "postgres") -> str:
        """The address of a database as psycopg takes it."""
        return f"postgresql://{SUPERUSER}@{self.host}:{self.port}/{database}"

    def start(self) -> None:
        """Make the data directory, and start on it."""
        done = subprocess.run(
            [self.binary.path.with_name("initdb"), "-D", self.folder, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8"],
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
        return (*where, "-c", f"unix_socket_directories={self.folder}")

    def _is_up(self) -> bool:
        status = self.folder / "postmaster.pid"
        lines = status.read_text().split() if status.exists() else []
        if lines[:1] != [str(self._process_id())] or lines[-1] != "ready":
            return False
        with socket.create_connection((self.host, self.port), 1.0):
            return True
