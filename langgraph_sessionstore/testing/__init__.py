"""For those who write a backend, or want to see their code meet a failing one. Needs pytest.

`BackendContract` is a pytest class with all that a backend must do: subclass it, say where the storage is.
`FaultyBackend` wraps any backend and fails, delays or cuts at the call you name. `check_partition` and
`check_registry` say what is wrong with stored rows.
"""

from .checks import check_partition, check_registry
from .contract import BackendContract
from .faults import Fault, FaultyBackend

__all__ = ["BackendContract", "Fault", "FaultyBackend", "check_partition", "check_registry"]
