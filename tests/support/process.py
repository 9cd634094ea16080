"""The life of one server process: start, stop, kill, pause, restart.

Rule: a server listens on 127.0.0.1 only, lives in a temporary directory of its own, and is ended by its
process id, never by name. `stop()` keeps port and directory, so that `start()` continues with the same
data; leaving the `with` block (`close()`) removes the directory.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from support import reaper
from support.binaries import RedisBinary
from support.lifecycle import Startable
from support.ports import HOST, free_port
from support.resp import ReplyError, ask

START_TIMEOUT = 20.0
STOP_TIMEOUT = 10.0
PORT_TRIES = 5


def identity(user: str | None) -> dict[str, Any]:
    """What makes a child process theirs; of None, that of this process."""
    return {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


class ServerStartError(RuntimeError):
    """A server did not come up; the text ends with the last lines of its log."""


class ServerProcess(Startable):
    """A server process, a `redis-server` unless a subclass says otherwise; each says with which arguments it runs."""

    host = HOST
    user: str | None = None
    """Who runs it, where that may not be root; the directory is theirs then."""

    def __init__(self, binary: RedisBinary, *, port: int | None = None, password: str | None = None) -> None:
        """Prepare a server on `port`, or on a free one; nothing is started yet."""
        self.binary = binary
        self.password = password
        # A port the caller asked for is kept at all costs, and so is one that the server has had.
        self._port_is_fixed = port is not None
        self.port = free_port() if port is None else port
        self.paused = False
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None

    def __repr__(self) -> str:
        """Name the server in assertion messages."""
        return f"<{type(self).__name__} {self.binary.version} on {self.host}:{self.port}>"

    def _arguments(self) -> Sequence[str]:
        raise NotImplementedError

    @property
    def folder(self) -> Path:
        """The server's own directory; made when it is first needed, removed by `close()`."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="sessionstore-server-")).resolve()
            if self.user is not None:
                shutil.chown(self._folder, self.user)
        return self._folder

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None or not self.running:
            raise RuntimeError(f"{self!r} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process exists (paused or not)."""
        return self._process is not None and self._process.poll() is None

    @property
    def answering(self) -> bool:
        """Whether the process exists and is not paused."""
        return self.running and not self.paused

    def start(self) -> None:
        """Start the server and return once it answers; raise `ServerStartError` after 20 seconds."""
        if self.running:
            return
        for attempt in range(1, PORT_TRIES + 1):
            try:
                self._start_once()
            except _PortTaken as error:
                if self._port_is_fixed or attempt == PORT_TRIES:
                    raise ServerStartError(str(error)) from None
                self.port = free_port()
            else:
                self._port_is_fixed = True
                return

    def _start_once(self) -> None:
        log = self.folder / "log"
        offset = log.stat().st_size if log.exists() else 0
        with open(log, "ab") as output:
            self._process = subprocess.Popen(
                [str(self.binary.path), *self._arguments()],
                cwd=self.folder,
                env={**os.environ, **self.binary.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # an interrupt from the terminal is for the tests, not for it
                **identity(self.user),
            )
        self.paused = False
        reaper.watch(self._process.pid, self.folder)
        deadline = time.monotonic() + START_TIMEOUT
        while not self._is_up():
            ended = self._process.poll() is not None
            if ended and b"in use" in log.read_bytes()[offset:]:
                raise _PortTaken(self._complaint("found its port taken"))
            if ended or time.monotonic() > deadline:
                text = self._complaint("ended at once" if ended else "did not come up")
                self.kill()
                raise ServerStartError(text)
            time.sleep(0.01)

    def _is_up(self) -> bool:
        try:
            # The process id tells it from a stranger that was faster on this port; while the server is
            # still loading its data it answers with an error instead.
            return f"process_id:{self._process_id()}\r\n" in self.ask("INFO", "server", timeout=1.0)
        except (OSError, ReplyError):
            return False

    def _process_id(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _complaint(self, what: str) -> str:
        return f"{self!r} {what}; the end of its log:\n{self.log_tail()}"

    def log_tail(self, lines: int = 30) -> str:
        """Return the last lines of the server's log."""
        path = self.folder / "log"
        text = path.read_text(errors="replace") if path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def request_stop(self) -> None:
        """Ask the server to end, without waiting, so that several can end at the same time."""
        if self._process is not None:  # to one that has ended nothing is sent
            self._process.send_signal(signal.SIGTERM)
            self._process.send_signal(signal.SIGCONT)  # a paused process would not see the request
            self.paused = False

    def stop(self) -> None:
        """End the server in an orderly way, or by force if it does not; port and directory stay."""
        self.request_stop()
        if self._process is not None:
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End the server at once, as a crash would (SIGKILL); port and directory stay."""
        if self._process is not None:
            self._process.kill()  # does nothing when it has ended
            self._process.wait()
        self.paused = False

    def restart(self) -> None:
        """Stop the server if it runs, and start it again on the same port with the same directory."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): connections are kept and accepted, but nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)
        self.paused = False

    def ask(self, *words: str | int, timeout: float = 5.0) -> Any:
        """Send one command over a fresh plain connection and return the raw reply."""
        return ask(self.host, self.port, *words, password=self.password, timeout=timeout)

    def close(self) -> None:
        """Stop the server and remove its directory."""
        self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            reaper.unwatch(self._folder)
            self._folder = None


class _PortTaken(Exception):
    """Another process was faster on the port."""


def close_all(servers: Iterable[ServerProcess]) -> None:
    """Close several servers; they are all asked to end before the first is waited for."""
    servers = list(servers)
    for server in servers:
        server.request_stop()
    for server in servers:
        server.close()
