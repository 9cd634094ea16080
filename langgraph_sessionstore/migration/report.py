"""What came of a copy.

Rule: a report names places, and never what lies there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import BackendError, MigrationError, SessionStoreError, UntrustedType

Progress = Callable[[int, int], None]
MOST = 100
"""So many differences are named."""
LONGEST = 300


@dataclass(frozen=True)
class Report:
    """What a copy has done.

    seen         threads, or namespaces
    copied       checkpoints, or items
    present      those that the target had already
    writes       pending writes that were put
    differing    items that the target had with another value: they were left as they are
    failed       threads or namespaces that could not be copied, and why (with `keep_going`)
    differences  what `verify` has found, in sentences; of very many the first
    """

    seen: int
    copied: int
    present: int
    writes: int
    differing: int
    failed: Mapping[str, str]
    differences: Sequence[str]


class Tally:
    """A report in the making."""

    def __init__(self, progress: Progress | None, keep_going: bool) -> None:
        self.seen = self.copied = self.present = self.writes = self.differing = self.total = self.done = 0
        self._progress = progress
        self._keep_going = keep_going
        self._called_off: Exception | None = None
        """What the callback has raised: that is for its author."""
        self._failed: dict[str, str] = {}
        self._differences: list[str] = []
        self._more = 0

    def step(self, done: int = 1) -> None:
        """So much more is done."""
        self.done += done
        if done and self._progress is not None:
            try:
                self._progress(self.done, self.total)
            except Exception as exc:
                self._called_off = exc
                raise

    def differ(self, sentence: str) -> None:
        """Note a difference."""
        if len(self._differences) < MOST:
            self._differences.append(sentence)
        else:
            self._more += 1

    def fail(self, what: str, name: str, exc: Exception) -> None:
        """Note why this could not be copied, or raise it. A storage that is gone is not a matter of this one alone."""
        if isinstance(exc, BackendError) or exc is self._called_off:
            raise exc
        if not self._keep_going:
            raise MigrationError(
                f"{what} {name!r} could not be copied: {reason(exc)}. What was copied before is there; the same copy "
                "again goes on from there, with keep_going=True past this one"
            ) from exc
        self._failed.setdefault(name, reason(exc))

    def report(self) -> Report:
        """What it has come to."""
        more = [f"and {self._more} more"] if self._more else []
        differences = tuple(self._differences + more)
        counts = (self.seen, self.copied, self.present, self.writes, self.differing)
        return Report(*counts, dict(self._failed), differences)


@contextmanager
def listing(what: object) -> Iterator[None]:
    """What goes wrong while it is looked what is there stops the copy."""
    try:
        yield
    except SessionStoreError:
        raise
    except Exception as exc:
        raise MigrationError(f"what {type(what).__name__} holds cannot be listed: {reason(exc)}") from exc


def reason(exc: BaseException) -> str:
    """Why, in one line; what others say behind the first may hold content."""
    said = str(exc) if isinstance(exc, SessionStoreError) else f"{type(exc).__name__}: {exc}"
    line = (said.splitlines() or [type(exc).__name__])[0][:LONGEST]
    # what a program imports itself, the command has to be told
    return f"{line} (sessionstore migrate: --import MODULE)" if isinstance(exc, UntrustedType) else line
