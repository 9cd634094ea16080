"""What cannot take part on this machine.

Rule: nobody is left out silently; whoever is not there says what is missing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Absent(Exception):
    """It cannot take part, and why."""


def needed(module: str, package: str) -> Any:
    """A module of somebody else's package."""
    try:
        return import_module(module)
    except ImportError as error:
        raise Absent(f"the package {package} is not installed ({error})") from error
