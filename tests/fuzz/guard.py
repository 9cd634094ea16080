"""What stored bytes may make of a call: an answer or an error of ours, soon, within bounds, and nothing is run.

Rule: whatever happens inside `Guard.watching` is on account of stored bytes, since all that is loaded lazily was
loaded before. So an import, code that is compiled or executed, a program that is started, or a connection to somewhere
else is a hole, as is a call that takes long or needs much memory.
"""

from __future__ import annotations

import resource
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

SECONDS = 30
MEMORY = 1 << 30
_HOLES = frozenset(
    {"import", "exec", "compile", "pickle.find_class", "marshal.loads", "os.system", "os.exec", "os.posix_spawn"}
    | {"os.fork", "os.remove", "shutil.rmtree", "subprocess.Popen", "ctypes.dlopen", "socket.connect", "os.startfile"}
)


class TooLong(BaseException):
    """A call has not come back; no handler of errors takes it for one of its own."""


class Guard:
    """Watches the thread that enters it."""

    def __init__(self) -> None:
        self._thread = 0
        self._seen: list[str] = []
        self.ports: set[int] = set()
        """Of servers that may be connected to."""
        sys.addaudithook(self._hook)  # nobody can take it away again, so it costs little while nobody watches

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self._thread and event in _HOLES and threading.get_ident() == self._thread and not self._known(event, args):
            self._seen.append(f"{event} {args!r:.300}")

    def _known(self, event: str, args: Sequence[Any]) -> bool:
        if event == "import":  # the data of time zones lies in modules without code
            return str(args[0]).partition(".")[0] == "tzdata"
        return event == "socket.connect" and isinstance(args[1], tuple) and args[1][1] in self.ports

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Fails with what was run, or what took too long."""
        limits = resource.getrlimit(resource.RLIMIT_AS)
        before = signal.signal(signal.SIGALRM, _too_long)
        self._seen.clear()
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        resource.setrlimit(resource.RLIMIT_AS, (_size() + MEMORY, limits[1]))
        self._thread = threading.get_ident()
        try:
            yield
        finally:
            self._thread = 0
            resource.setrlimit(resource.RLIMIT_AS, limits)
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert not self._seen, self._seen


def _too_long(*_: object) -> None:
    raise TooLong(f"more than {SECONDS} seconds")


def _size() -> int:
    """How much this process has taken of its address space."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


GUARD = Guard()
