"""Everything that can be done to a storage, and how often."""

from __future__ import annotations

from support.sittings import Form
from whole.act import Act, Numbers
from whole.on_messages import OnMessages
from whole.on_sessions import OnSessions
from whole.on_threads import OnThreads
from whole.workers import Worker
from whole.world import NAMES

EDITS = (
    "append", "append", "extend", "insert", "replace", "remove", "prune", "truncate", "set_messages", "clear",
    "set_summary", "update", "transaction", "transaction",
)  # fmt: skip
OTHERS = (
    "create", "create", "delete", "delete", "fork", "fork", "export", "arrive", "arrive", "say", "purge",
    "undo", "undo", "undo", "redo", "redo", "rewind", "put", "put", "put", "put", "put", "put", "write",
    "delete_thread", "prune_thread", "collect", "delete_runs", "copy_thread", "record", "item", "item", "item",
)  # fmt: skip


LONG = ("create", "delete", "fork", "arrive", "purge", "undo", "delete_thread", "prune_thread", "delete_runs", "item")
"""Those that take several calls."""


class Acts(OnSessions, OnMessages, OnThreads):
    """Makes acts on the world as it is now; None: there is nothing that this one could be done to."""

    def make(self, kind: str, worker: Worker, form: Form, which: int, numbers: Numbers) -> Act | None:
        name = NAMES[which]
        if kind in EDITS:
            return self._edit(kind, worker, form, name, *numbers)
        made: Act | None = getattr(self, f"_{kind}")(worker, form, name, *numbers)
        return made
