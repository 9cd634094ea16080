"""Every error of the library, in one tree.

    SessionStoreError
    |-- ConfigurationError (ValueError)     a URL, an option or an argument that cannot work
    |   `-- MissingExtra (ImportError)      a backend whose packages are not installed
    |-- DataError                           stored or given bytes that cannot be taken
    |   |-- Unstorable (TypeError)          a value that no stored form exists for
    |   |-- CorruptData                     stored bytes that are not what was written
    |   |   `-- Tampered                    encrypted, and changed or moved by somebody without the key
    |   |-- WrongKey                        encrypted with a key that is not at hand
    |   |-- Unencrypted                     plain, where all has to be encrypted
    |   |-- UntrustedType                   stored data of a type that is not loaded, or not allowed
    |   `-- UnsupportedFormat               stored by a newer version of this library
    |-- ConflictError                       somebody else changed what a guarded write relied on
    |   |-- LeaseHeld                       another worker has its turn on the session
    |   `-- LeaseLost                       this worker's turn on the session is over
    |-- SessionError                        a session cannot do what is asked of it
    |   |-- SessionExists (ConflictError)   there is one with this id
    |   |-- SessionNotFound (LookupError)   there is none: never created, or expired
    |   |-- SessionDeleted                  it was deleted, and shall not come back by itself
    |   |-- MessagesElsewhere               its messages are in the log, or in the graph's state
    |   |-- MessageIndexError (IndexError)  no message has this index
    |   |-- NothingToUndo                   no operation is left to undo or redo
    |   |-- InvalidAnswer (ValueError)      a model has answered something else than what was asked for
    |   `-- Interrupted                     a graph waits for an answer before it can go on
    |-- MigrationError                      a thread or an item could not be copied; what was copied before is there
    `-- BackendError                        the storage could not do its work
        |-- BackendClosed                   used after close()
        |-- BackendUnavailable              not reachable, or too busy; nothing was applied
        |-- BackendFull                     no space left; nothing was applied
        |-- ForeignStorage                  the place holds something that is not ours; left as it is
        |-- DamagedStorage                  ours, but no longer readable; left as it is
        |-- OutcomeUnknown                  the call may or may not have been applied
        `-- NotReplicated                   the call was applied, but too few replicas have confirmed it

The rule: a call that failed with anything but `OutcomeUnknown` or `NotReplicated` left no trace. (`Interrupted` is no
failure: what was done until then is stored; and a copy is many calls, of which those before a `MigrationError` stand.)
"""

from __future__ import annotations

from typing import Any


class SessionStoreError(Exception):
    """The root: `except SessionStoreError` catches whatever this library raises on purpose.

    `answers` holds what came of each call, when several travelled together.
    """

    answers: list[Any] | None = None


class ConfigurationError(SessionStoreError, ValueError):
    """A URL, an option or an argument that cannot work; the message says what would."""


class MissingExtra(ConfigurationError, ImportError):
    """A backend needs packages that are not installed; the message holds the pip command."""


class DataError(SessionStoreError):
    """Bytes or values that cannot be turned into each other."""


class Unstorable(DataError, TypeError):
    """A value that has no stored form."""


class CorruptData(DataError):
    """Stored bytes that are not what was written; the message names the place."""


class Tampered(CorruptData):
    """An encrypted value was changed, or moved to another place, by somebody who does not have the key."""


class WrongKey(DataError):
    """A value or a storage is encrypted with a key that is not at hand: see `open_backend(..., encryption=)`."""


class Unencrypted(DataError):
    """A value is plain in a storage that is opened with encryption; nothing of it was taken."""


class UntrustedType(DataError):
    """Stored data names a type that is not loaded or not allowed; the message says what helps."""


class UnsupportedFormat(DataError):
    """Stored by a newer version of this library; upgrade to read it."""


class ConflictError(SessionStoreError):
    """Somebody else changed what this write relied on; nothing of it was applied."""


class LeaseHeld(ConflictError):
    """Another worker has its turn on this session (`Session.lease`); nothing was applied. Try again later."""


class LeaseLost(ConflictError):
    """This worker's lease has ended before it wrote; nothing was applied. Take a new lease, and read what is there."""


class SessionError(SessionStoreError):
    """A session cannot do what is asked of it. Nothing was applied."""


class SessionExists(SessionError, ConflictError):
    """There is a session with this id already."""


class SessionNotFound(SessionError, LookupError):
    """There is no session with this id: it was never created, or it has expired."""


class SessionDeleted(SessionError):
    """The session was deleted, and shall not come back by itself. `create_session` with its id begins a new one."""


class MessagesElsewhere(SessionError):
    """A session has one source of messages, its log or the state of a graph, and this would begin a second one."""


class MessageIndexError(SessionError, IndexError):
    """No message has this index; the message names it, and how many there are."""


class NothingToUndo(SessionError):
    """No operation is left that could be undone, or redone."""


class InvalidAnswer(SessionError, ValueError):
    """A model has answered something else than what was asked for; `answer` is what it said. Nothing was stored."""

    answer: Any = None


class Interrupted(SessionError):
    """A graph waits for an answer before it can go on: `interrupts` says what it asks. What it has done is stored.

    `conversation.run(Command(resume=...))` answers.
    """

    interrupts: tuple[Any, ...] = ()


class MigrationError(SessionStoreError):
    """A thread or an item could not be copied; `__cause__` is why. The same copy again goes on from there."""


class BackendError(SessionStoreError):
    """The storage could not do its work."""


class BackendClosed(BackendError):
    """The backend was used after `close()`."""


class BackendUnavailable(BackendError):
    """The storage cannot be reached or is too busy. Nothing was applied: trying again is safe."""


class BackendFull(BackendError):
    """No space (disk or memory) left. Nothing was applied."""


class ForeignStorage(BackendError):
    """The place holds something that is not ours. It was left as it is."""


class DamagedStorage(BackendError):
    """The storage is ours but can no longer be read. It was left as it is."""


class OutcomeUnknown(BackendError):
    """The call was sent, but no answer came: it may or may not have been applied.

    Read what is there before doing it again, or repeat a batch that carries an `op_id`.
    """


class NotReplicated(BackendError):
    """All was done and is there, but too few replicas have confirmed it in time (`wait_replicas`).

    So it may be lost when the master is, as everything may be without that option. `result` is what the call would have
    returned: go on with it. To do the same again would do it twice. Only a batch with an `op_id`, and a turn that is
    said again on the same conversation, are not done twice, and wait for the replicas once more.
    """

    result: Any = None

    def of(self, result: Any) -> NotReplicated:
        """The same of another result."""
        error = type(self)(*self.args)
        error.result, error.__cause__ = result, self
        return error
