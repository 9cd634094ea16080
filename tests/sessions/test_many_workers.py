"""Workers that are killed and replaced: what was answered is in its session, once and in order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import support.hasty_workers
from support.servers import RedisServer

pytestmark = pytest.mark.long

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def crowd(url: str, sessions: int, kills: int) -> dict[str, int]:
    """What four workers have done, and what is left of it."""
    command = [sys.executable, "-W", "error", support.hasty_workers.__file__, url, str(sessions), str(kills)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(EXAMPLES), os.environ.get("PYTHONPATH")]))}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures: dict[str, int] = json.loads(done.stdout)
    assert figures.pop("again") > 0  # whoever is killed has something to do
    return figures


@pytest.mark.parametrize(("kind", "sessions", "kills"), [("redis7", 200, 20), ("file", 40, 6)])
def test_workers_are_killed_and_no_turn_is_lost_or_doubled(
    kind: str, sessions: int, kills: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "file":
        url = f"file:{tmp_path}/s"
    else:
        server: RedisServer = request.getfixturevalue(kind)
        url = server.url
    turns = 3 * sessions
    wanted = {"asked": turns, "answered": turns, "killed": kills, "lost": 0, "doubled": 0, "disordered": 0}
    assert crowd(url, sessions, kills) == wanted
