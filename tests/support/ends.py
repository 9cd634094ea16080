"""A session whose end comes when a test wants it.

Rule: no test hopes that its steps are done before a short life is over. A session lives long, and when its time is to
be over, the test says so.
"""

from __future__ import annotations

import time

from support.waiting import wait_until

from langgraph_sessionstore import Backend, keys, run
from langgraph_sessionstore.ops import Count, Expire, Touch, must


def move_end(backend: Backend, session_id: str, at: int) -> None:
    """Let a session end at this moment, in milliseconds, and be listed so."""
    partition = keys.session(session_id)
    assert run(backend, must(partition, Expire(at=at))) == [at]
    run(backend, must(keys.registry("session"), Touch(partition, expires=at)))


def let_end(backend: Backend, session_id: str) -> None:
    """What was to be later is now: the storage lets the session go by itself, as at any end."""
    move_end(backend, session_id, int(time.time() * 1000) + 1)
    count = Count(b"", None)
    wait_until(lambda: run(backend, must(keys.session(session_id), count)) == [0], f"{session_id} has ended")
