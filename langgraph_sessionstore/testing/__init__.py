"""For those who write a backend, or want to see their code meet a failing one. Needs pytest.

`BackendContract` is a pytest class with all that a backend must do: subclass it, say where the storage is.
`FaultyBackend` wraps any backend and fails, delays or cuts at the call you name. `check_partition` and
`check_registry` say what is wrong with stored rows.
"""

import pytest

pytest.register_assert_rewrite(
    *[f"{__name__}.contract{part}" for part in ("", "_rows", "_life", "_links", "_registry")]
)

from .checks import check_partition, check_registry  # noqa: E402
from .contract import BackendContract  # noqa: E402
from .faults import Fault, FaultyBackend  # noqa: E402

__all__ = ["BackendContract", "Fault", "FaultyBackend", "check_partition", "check_registry"]
