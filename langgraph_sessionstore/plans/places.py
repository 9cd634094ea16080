"""Where a session lies in its partition, beside its checkpoints (`layout`).

    ("a",)               how it began: when, and of which session it is a fork
    ("d",)               details: title, system prompt, metadata
    ("g",)               the channel of the graph that holds the messages; deleted with the checkpoints
    ("h",)               the checkpoint that undo or redo made last, and which one it equals
    ("l",)               how long it lives without being used
    ("m", n)             the message log: one message, written once, at the number that the storage gave
    ("m",)               how many messages the log has ever had
    ("n", phase, model, what)   usage: a sum
    ("n",)               the usage recorded last
    ("o",)               the order of the log's messages, when it is not simply that of their numbers; see `order`
    ("s",)               the summary
    ("u", n), ("r", n)   operations that can be undone, and those that were and can be redone
    ("u",)               how many operations there have ever been
    ("x", ...)           items of a store that belong to the session

Rule: nothing in a value repeats the session's id, so that a partition can be copied as it is.
"""

from __future__ import annotations

from .. import keys
from ..errors import CorruptData

BORN = keys.encode("a")
DETAILS = keys.encode("d")
GRAPH = keys.encode("g")
HEAD = keys.encode("h")
LIFE = keys.encode("l")
LOG = keys.encode("m")
MESSAGES = keys.below("m")
USAGE = keys.below("n")
LAST_USAGE = keys.encode("n")
ORDER = keys.encode("o")
SUMMARY = keys.encode("s")
UNDO = keys.encode("u")
UNDONE = keys.below("u")
"""The operations that can be undone."""
REDO = keys.below("r")
"""The operations that can be redone."""

REGISTRY = keys.registry("session")
"""The list of all sessions."""


def session_named(partition: bytes) -> str | None:
    """The session whose partition this is; None: that of none."""
    try:
        match keys.decode(partition):
            case ["session", str(session_id)]:
                return session_id
    except CorruptData:
        pass
    return None


def operation(key: bytes, session_id: str) -> int:
    """The number of an operation that can be undone or redone."""
    match keys.decode(key):
        case [_, int(number)]:
            return number
    raise CorruptData(f"session {session_id!r} holds {key[:80]!r}, which is no operation to undo")


def message(number: int) -> bytes:
    """The key of a message of the log."""
    return keys.encode("m", number)


def undo(number: int) -> bytes:
    """The key of an operation that can be undone."""
    return keys.encode("u", number)


def redo(number: int) -> bytes:
    """The key of an operation that can be redone."""
    return keys.encode("r", number)
