"""A session whose end comes now.

Rule: no test hopes that its steps are done before a short life is over. A session lives long, and when its time is to
be over, the test says so.
"""

from __future__ import annotations

import time

from support.waiting import wait_until

from langgraph_sessionstore import Backend, keys, run
from langgraph_sessionstore.ops import Count, Expire, Touch, must


def let_end(backend: Backend, *session_ids: str) -> None:
    """What was to be later is now: the storage lets the sessions go by itself, as at any end."""
    soon = int(time.time() * 1000) + 1
    for session_id in session_ids:
        partition = keys.session(session_id)
        assert run(backend, must(partition, Expire(at=soon))) == [soon]
        run(backend, must(keys.registry("session"), Touch(partition, expires=soon)))
        _wait_for_the_end(backend, partition)


def _wait_for_the_end(backend: Backend, partition: bytes) -> None:
    wait_until(lambda: run(backend, must(partition, Count(b"", None))) == [0], "the session has ended")
