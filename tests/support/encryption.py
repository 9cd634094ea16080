"""The same tests on encrypted storage: with SESSIONSTORE_TEST_ENCRYPTED=1 they run on that instead of plain one."""

import os

from support.raw import Rows

from langgraph_sessionstore import Backend, EncryptedBackend

KEY = b"0123456789abcdef" * 2
ENCRYPTED = os.environ.get("SESSIONSTORE_TEST_ENCRYPTED") == "1"


def wrapped(backend: Backend) -> Backend:
    """The backend that a test stands on."""
    return EncryptedBackend(backend, KEY) if ENCRYPTED else backend


def unwrapped(backend: Backend) -> Backend:
    """What lies below."""
    return backend.inner if isinstance(backend, EncryptedBackend) else backend


def unsealed(found: Rows) -> Rows:
    """What lies in a storage, without what says with which keys it is encrypted."""
    return {name: rows for name, rows in found.items() if b"$seals" not in name}
