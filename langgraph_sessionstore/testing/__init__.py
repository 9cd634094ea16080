"""For those who write a backend, or want to see their code meet a failing one.

`BackendContract` is a pytest class with all that a backend must do: subclass it, say where the storage is.
`FaultyBackend` wraps any backend and fails, delays or cuts at the call you name. `check_partition` and
`check_registry` say what is wrong with stored rows. Only the first needs pytest.
"""

from typing import TYPE_CHECKING, Any

from .checks import check_partition, check_registry
from .faults import Fault, FaultyBackend

if TYPE_CHECKING:
    from .contract import BackendContract

__all__ = ["BackendContract", "Fault", "FaultyBackend", "check_partition", "check_registry"]


def __getattr__(name: str) -> Any:
    if name != "BackendContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    parts = ("", "_rows", "_life", "_links", "_registry")
    pytest.register_assert_rewrite(*[f"{__name__}.contract{part}" for part in parts])
    from .contract import BackendContract

    return BackendContract
