"""A session's handle, in pieces by topic: messages, operations, usage, life.

common        what a manager and its sessions share
messages      the messages API, the summary and the details
operations    transactions, undo, redo, rewind
costs         usage and its tables
life          fork, lease, lifetime, export, delete
"""

from .handle import Session
from .lease import Lease
from .operations import Transaction

__all__ = ["Lease", "Session", "Transaction"]
