"""See to it that no server outlives the tests, even when their process is killed outright.

Rule: one small helper process holds the read end of a pipe; when the last writer is gone, for whatever
reason, it kills the servers and removes the directories it was told of. It kills by process id only, and
only while that process still works in the directory it was started in. (Asking the kernel to signal the
servers at the parent's death is no substitute: that fires when the starting *thread* ends.)
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

_lock = threading.Lock()
_helper: subprocess.Popen[str] | None = None


def watch(pid: int, folder: Path) -> None:
    """Have process `pid`, which works in `folder`, killed and the folder removed when this process dies."""
    _tell(f"{pid}\t{folder}")


def unwatch(folder: Path) -> None:
    """Forget a folder that has been removed, and its process, which has ended."""
    _tell(f"0\t{folder}")


def _tell(line: str) -> None:
    global _helper
    with _lock:
        if _helper is None or _helper.poll() is not None:
            # Its own session keeps an interrupt from the terminal away from it; -I -S makes it start fast.
            _helper = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
            atexit.register(_finish, _helper)
        assert _helper.stdin is not None
        _helper.stdin.write(line + "\n")
        _helper.stdin.flush()


def _finish(helper: subprocess.Popen[str]) -> None:
    """At an orderly end, wait for the helper to have done its work."""
    assert helper.stdin is not None
    # A forked process may still hold the pipe; then the helper must wait for it, and this process must not.
    with suppress(OSError, subprocess.TimeoutExpired):
        helper.stdin.close()
        helper.wait(5)


def _end(pid: int, folder: str) -> None:
    with suppress(OSError):  # it may have ended already
        if os.path.isdir("/proc/self") and os.readlink(f"/proc/{pid}/cwd") != folder:
            return  # the number has been given to a stranger
        os.kill(pid, signal.SIGKILL)


def _main() -> None:
    watched: dict[str, int] = {}
    for line in sys.stdin:
        pid, folder = line.rstrip("\n").split("\t", 1)
        if pid == "0":
            watched.pop(folder, None)
        else:
            watched[folder] = int(pid)
    for folder, number in watched.items():
        _end(number, folder)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _main()
