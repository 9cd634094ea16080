"""Forks of a process that uses a manager in every way at once, see `forking`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_gives_two_that_work(url: str) -> None:
    script = str(Path(__file__).parent / "forking.py")
    # Python 3.12 and newer warn of forks beside threads, which is what is tried here
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", script, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stderr) == (0, "")
