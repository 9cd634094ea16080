"""The workers of examples/many_workers.py, killed at graphs' turns as well, whose places fall free after a second.

python hasty_workers.py EXAMPLES URL SESSIONS KILLS
"""

from __future__ import annotations

import importlib
import json
import sys
from multiprocessing.connection import Connection


def work(url: str, line: Connection) -> None:
    """What a worker does, in a hurry."""
    from langgraph_sessionstore.session import line as lines

    lines._TTL = 1
    importlib.import_module("many_workers").work(url, line)


if __name__ == "__main__":
    example = importlib.import_module("many_workers")
    url, sessions, kills = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sys.stdout.write(json.dumps(example.crowd(url, sessions, kills=kills, work=work, spare=False)._asdict()))
