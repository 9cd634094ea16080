"""Trouble of a directory: writers that are killed, no space, no right to write.

Rule: writers are processes, for that is what a kill or a full disk meets; whoever judges has not had the files open.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.ledger import Figures, judge
from faults.lives import Lives
from faults.writers import Kind, Plan
from filesystem_processes.crowd import whole

from langgraph_sessionstore import SessionManager

NOBODY = 65534
LONG_MESSAGES = 3000
WRITERS = 3


class NotHere(Exception):
    """This machine cannot have such trouble, and why."""


def judged(kind: Kind, begun: float) -> Figures:
    """What a fresh manager finds, and SQLite itself."""
    with SessionManager.from_url(kind.url, **kind.options) as manager:
        figures = judge(kind.folder, manager, begun)
    if kind.url.startswith("file:") and not whole(Path(kind.url.removeprefix("file:"))):
        figures.wrong.append("SQLite says that the file is damaged")
    return figures


def killed(plan: Plan, url: str) -> Figures:
    """Writers are killed at random moments; others go on in their place."""
    begun, kind = time.monotonic(), Kind(url, plan.options, plan.folder, plan.chance.random())
    with Lives(kind, WRITERS) as lives:
        for number in range(WRITERS):
            lives.progress(number, 1)
        for _ in plan.rounds(WRITERS):
            number = plan.chance.randrange(WRITERS)
            lives.progress(number, plan.chance.randrange(1, 20))
            time.sleep(plan.chance.uniform(0, 0.01))  # a random moment to be killed, not a time to wait
            lives.kill(number)
            lives.follow(number)
    return judged(kind, begun)


def limited(plan: Plan) -> Figures:
    """Files may not grow for a while (RLIMIT_FSIZE), again and again."""
    begun, place = time.monotonic(), plan.folder / "store"
    kind = Kind(f"file:{place}", plan.options, plan.folder, plan.chance.random(), LONG_MESSAGES)

    def limit(most: int) -> None:
        for process in lives.processes:
            assert process.pid is not None
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    with Lives(kind, WRITERS) as lives:
        for _ in plan.rounds():
            lives.all_progress(5, "done")
            limit(max(path.stat().st_size for path in plan.folder.rglob("*")) + 2**16)
            lives.all_progress(5, "refused", "unknown")
            limit(resource.RLIM_INFINITY)
        lives.all_progress(5, "done")
    return judged(kind, begun)


def full(plan: Plan) -> Figures:
    """A disk without space (a tmpfs, which root may mount), which grows again and again."""
    begun, place = time.monotonic(), plan.folder / "disk"
    place.mkdir()
    kind = Kind(f"file:{place}/store", plan.options, plan.folder, plan.chance.random(), LONG_MESSAGES)
    with small_disk(place) as enlarge:
        with Lives(kind, WRITERS) as lives:
            for _ in plan.rounds():
                lives.all_progress(5, "done")
                lives.all_progress(5, "refused")
                enlarge()
            lives.all_progress(5, "done")
        return judged(kind, begun)


@contextmanager
def small_disk(place: Path) -> Iterator[Callable[[], None]]:
    """A file system with little space; call what is given to have more."""
    size = 6

    def mount(how: str) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"{how}size={size}m", "tmpfs", str(place)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NotHere(f"no small disk may be mounted: {done.stderr.strip()}")

    def enlarge() -> None:
        nonlocal size
        size += 1
        mount("remount,")

    mount("")
    try:
        yield enlarge
    finally:
        subprocess.run(["umount", str(place)], check=True)


def read_only(plan: Plan) -> Figures:
    """A directory in which nobody may write for a while: processes that come then are refused, and later ones not."""
    begun, place = time.monotonic(), Path(tempfile.mkdtemp(prefix="sessionstore-faults-"))
    user = NOBODY if os.geteuid() == 0 else None  # root may write everywhere
    kind = Kind(f"file:{place}/store", plan.options, plan.folder, plan.chance.random(), user=user)
    try:
        if user is not None:
            os.chown(place, user, user)
        with Lives(kind, WRITERS) as lives:
            for _ in plan.rounds():
                lives.all_progress(5, "done")
                for writing, result in ((False, "refused"), (True, "done")):
                    lives.kill_all()
                    permit(place, writing)
                    lives.follow_all()
                    lives.all_progress(5, result)
        return judged(kind, begun)
    finally:
        permit(place, True)
        shutil.rmtree(place)


def permit(place: Path, writing: bool) -> None:
    """Let the directory and its files be written, or only read."""
    for path in (place, *place.rglob("*")):
        mode = 0o700 if path.is_dir() else 0o600
        path.chmod(mode if writing else mode & ~0o222)
