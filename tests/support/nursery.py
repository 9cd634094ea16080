"""Processes for tests, forked from one that has imported what they need: a start takes milliseconds, not a second.

Rule: that one has never opened a storage, so what is forked from it is as good as a process that was started anew.
"""

from __future__ import annotations

import multiprocessing

NURSERY = multiprocessing.get_context("forkserver")
NURSERY.set_forkserver_preload(
    [
        "pytest",
        "langchain.agents",
        "langchain_core.messages",
        "langgraph.graph",
        "langgraph_sessionstore",
        "langgraph_sessionstore.backends.filesystem",
        "langgraph_sessionstore.backends.redis",
        "langgraph_sessionstore.testing",
    ]
)
