"""Threads and items from other checkpointers and stores into ours, and back.

`copy_threads` copies checkpoints and pending writes between any two checkpointers of LangGraph, `copy_items` the items
between any two stores; each has an `a` form. `open_saver` and `open_store` open those of others by a URL.

Rule 1: only what every checkpointer and every store offers is used: `list`, `get_tuple`, `put`, `put_writes`; `batch`.
Rule 2: a copy can be stopped at any moment and begun again. It brings what is missing, and overwrites nothing.
Rule 3: a source is only read.
"""

from .copying import acopy_items, acopy_threads, copy_items, copy_threads
from .opening import PEER_SCHEMES, open_saver, open_store
from .report import Report

__all__ = [
    "PEER_SCHEMES",
    "Report",
    "acopy_items",
    "acopy_threads",
    "copy_items",
    "copy_threads",
    "open_saver",
    "open_store",
]
