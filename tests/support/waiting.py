"""Wait for a condition by asking again until a deadline.

Rule: no test and no support code sleeps for a guessed time; it names what it waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from support.resp import ReplyError

T = TypeVar("T")


def wait_until(probe: Callable[[], T | None], what: str, timeout: float = 20.0, every: float = 0.02) -> T:
    """Return the first truthy answer of `probe`; raise TimeoutError naming `what` after `timeout` seconds.

    A server that is starting, stopping or changing its role refuses or drops connections, so a failing
    probe counts as "not yet", and its last failure is part of the error.
    """
    deadline = time.monotonic() + timeout
    failure: Exception | None = None
    while True:
        try:
            answer = probe()
            failure = None
        except (OSError, ReplyError) as error:
            answer, failure = None, error
        if answer:
            return answer
        if time.monotonic() > deadline:
            reason = f" (last failure: {failure!r})" if failure else ""
            raise TimeoutError(f"gave up after {timeout:.0f} seconds waiting until {what}{reason}")
        time.sleep(every)
