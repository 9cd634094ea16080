"""What stands on a backend, and how it is opened and closed with it.

Rule: a backend is closed by whoever opened it. What was made by `from_url` has opened its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from langgraph.checkpoint.serde.base import SerializerProtocol

from ..backends import open_backend
from ..backends.base import Backend
from ..errors import ConfigurationError
from ..serde.serializer import SessionSerializer

T = TypeVar("T", bound="OnBackend")


class OnBackend:
    """Stands on a backend; a sync and async context manager."""

    backend: Backend
    """Where all of it lies."""
    _owned = False

    def _stand_on(self, backend: Backend, what: str) -> None:
        if not isinstance(backend, Backend):
            raise ConfigurationError(
                f"a {what} stands on a backend, not on {type(backend).__name__}; for a URL there is "
                f"{type(self).__name__}.from_url(url)"
            )
        self.backend = backend

    def close(self) -> None:
        """Close the backend, when `from_url` opened it."""
        if self._owned:
            self.backend.close()

    async def aclose(self) -> None:
        """The async form of `close`."""
        if self._owned:
            await self.backend.aclose()

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self: T) -> T:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def opened(make: Callable[[Backend], T], url: str | os.PathLike[str], options: Mapping[str, Any]) -> T:
    """What stands on the backend that a URL names, and closes it."""
    backend = open_backend(url, **options)
    try:
        made = make(backend)
    except BaseException:
        backend.close()
        raise
    made._owned = True
    return made


def serializer_of(
    serde: SerializerProtocol | None, allow: Iterable[type | tuple[str, ...]], strict: bool | None
) -> SerializerProtocol:
    """The serializer that is given, or the library's own with these options."""
    allow = tuple(allow)
    if serde is not None and (allow or strict is not None):
        raise ConfigurationError("allow and strict belong to the library's own serializer, not to a given one")
    return serde or SessionSerializer(allow=allow, strict=strict)
