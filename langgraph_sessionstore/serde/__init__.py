"""Users' values <-> bytes, under a type policy."""

from .serializer import SessionSerializer

__all__ = ["SessionSerializer"]
