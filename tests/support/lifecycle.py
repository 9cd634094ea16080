"""The `with` block that every server and group of servers has in common.

Rule: entering starts, leaving closes, and what fails halfway through its start is closed as well.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self  # in `typing` only since Python 3.11


class Startable:
    """Something with `start()` and `close()`, usable in a `with` statement."""

    def start(self) -> None:
        """Start it and return when it can be used."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop it and remove what it kept on disk."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Start it."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it and remove what it kept on disk."""
        self.close()
