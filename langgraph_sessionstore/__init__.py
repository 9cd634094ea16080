"""Sessions for LangGraph and LangChain on one shared backend: memory, files or plain Redis.

The tour, from below:

* A **backend** keeps *partitions*: small ordered maps with atomic batches. All that belongs to one session lives
  in one partition, so that deleting, expiring or copying it is one atomic step.
* **ops** is the vocabulary: `Get`, `Range`, `Put`, `Append`, `Expect` ... in a `Batch` for one partition.
* A **plan** is logic without I/O: a generator that yields calls and receives what came of them. `drive` runs it,
  sync or async, on any backend.
* `SessionManager` is the way in: `with SessionManager.from_url(url) as manager:` creates, lists and deletes sessions,
  and hands out a `Session` with its messages, summary, undo, usage and leases.
* `session.conversation(model)` gives a `Conversation`: a model, an agent with tools or a graph that talks on the
  session. A **script** is to it what a plan is to storage: steps without I/O, which ask models as well.
* `SessionCheckpointer`, `SessionStore`, `SessionCache` are LangGraph's checkpointer, store and cache; with a manager
  `compile(checkpointer=manager.checkpointer, store=manager.store, cache=manager.cache)`. `SessionData` shows all
  sessions as a store that is only read: `manager.data`.
* `server` has what LangGraph's server takes from its `langgraph.json`; `migration` brings threads and items from other
  checkpointers and stores, and back. The command `sessionstore` is in `cli`.
* `observe=hook` tells of each call to a storage (`BackendCall`); `observability` has hooks for logs and OpenTelemetry.
* **errors** has one tree of exceptions below `SessionStoreError`.

`open_backend(url)` is the way to the foundation; `testing.BackendContract` is what a backend of your own has to pass.
"""

import logging
from typing import TYPE_CHECKING, Any

from .adapters.cache import SessionCache
from .adapters.checkpointer import SessionCheckpointer
from .adapters.data import SessionData
from .adapters.store import SessionStore
from .backends import open_backend
from .backends.base import Backend
from .backends.keyring import Keyring
from .copying import Copied
from .drive import arun, run
from .errors import (
    BackendClosed,
    BackendError,
    BackendFull,
    BackendUnavailable,
    ConfigurationError,
    ConflictError,
    CorruptData,
    DamagedStorage,
    DataError,
    ForeignStorage,
    Interrupted,
    InvalidAnswer,
    LeaseHeld,
    LeaseLost,
    MessageIndexError,
    MessagesElsewhere,
    MigrationError,
    MissingExtra,
    NothingToUndo,
    NotReplicated,
    OutcomeUnknown,
    SessionDeleted,
    SessionError,
    SessionExists,
    SessionNotFound,
    SessionStoreError,
    Tampered,
    Unencrypted,
    Unstorable,
    UnsupportedFormat,
    UntrustedType,
    WrongKey,
)
from .info import SessionInfo, SessionPage
from .manager import SessionManager
from .plans.drafts import Draft
from .plans.items import SESSION_NAMESPACE
from .plans.problems import CheckedSession, Problem
from .session import Session
from .sizes import Amount, SessionSize, StorageStats
from .usage import Metrics, Price, Usage

if TYPE_CHECKING:
    from .adapters.chat_history import SessionChatHistory
    from .backends.encrypted import EncryptedBackend
    from .backends.observed import BackendCall, ObservedBackend
    from .conversation import Conversation

__version__ = "0.1.0"
logging.getLogger(__name__).addHandler(logging.NullHandler())  # whoever wants to hear of it says where

__all__ = [
    "SESSION_NAMESPACE",
    "Amount",
    "Backend",
    "BackendCall",
    "BackendClosed",
    "BackendError",
    "BackendFull",
    "BackendUnavailable",
    "CheckedSession",
    "ConfigurationError",
    "ConflictError",
    "Conversation",
    "Copied",
    "CorruptData",
    "DamagedStorage",
    "DataError",
    "Draft",
    "EncryptedBackend",
    "ForeignStorage",
    "Interrupted",
    "InvalidAnswer",
    "Keyring",
    "LeaseHeld",
    "LeaseLost",
    "MessageIndexError",
    "MessagesElsewhere",
    "Metrics",
    "MigrationError",
    "MissingExtra",
    "NotReplicated",
    "NothingToUndo",
    "ObservedBackend",
    "OutcomeUnknown",
    "Price",
    "Problem",
    "Session",
    "SessionCache",
    "SessionChatHistory",
    "SessionCheckpointer",
    "SessionData",
    "SessionDeleted",
    "SessionError",
    "SessionExists",
    "SessionInfo",
    "SessionManager",
    "SessionNotFound",
    "SessionPage",
    "SessionSize",
    "SessionStore",
    "SessionStoreError",
    "StorageStats",
    "Tampered",
    "Unencrypted",
    "Unstorable",
    "UnsupportedFormat",
    "UntrustedType",
    "Usage",
    "WrongKey",
    "arun",
    "open_backend",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "SessionChatHistory":  # which imports what LangChain calls deprecated, so only who asks for it does
        from .adapters.chat_history import SessionChatHistory

        return SessionChatHistory
    if name == "Conversation":  # which needs more of LangChain than the rest together
        from .conversation import Conversation

        return Conversation
    if name == "EncryptedBackend":  # which only few need
        from .backends.encrypted import EncryptedBackend

        return EncryptedBackend
    if name in ("BackendCall", "ObservedBackend"):  # likewise
        from .backends import observed

        return getattr(observed, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
