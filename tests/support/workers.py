"""Workers on URLs, all through the sync or all through the async form, closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from langgraph_sessionstore import open_backend
from langgraph_sessionstore.testing.worker import Worker

Use = Callable[..., Worker]
"""Makes a worker on a URL, with options."""


@contextmanager
def workers(loop: asyncio.AbstractEventLoop | None) -> Iterator[Use]:
    """Make workers, on this loop if there is one, and close what was made, the loop included."""
    made: list[Worker] = []

    def make(url: str, **options: Any) -> Worker:
        made.append(Worker(open_backend(url, **options), loop))
        return made[-1]

    yield make
    for worker in made:
        worker.close()
    if loop:
        loop.close()
