"""LangGraph's own server, as `langgraph dev` starts it, in a folder of its own with a copy of the example.

Rule: it is a process like the other servers of the tests: on the loopback interface, ended by its process id, with the
end of its log in the message when it does not come up.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from support.binaries import RedisBinary
from support.process import ServerProcess

TESTS = Path(__file__).parent.parent
EXAMPLE = TESTS.parent / "examples" / "langgraph_server"
QUIET = {"LANGGRAPH_CLI_NO_ANALYTICS": "1", "LANGGRAPH_NO_VERSION_CHECK": "true", "LANGSMITH_TRACING": "false"}
"""It shall talk to nobody."""


class LangGraphServer(ServerProcess):
    """The server of the example, with the graph of `graphs.py` beside its own."""

    def __init__(self, url: str, **settings: str) -> None:
        version = importlib.metadata.version("langgraph-cli")
        path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        super().__init__(RedisBinary(Path(sys.executable), version, {**QUIET, "PYTHONPATH": path}))
        for name in ("agent.py", "langgraph.json"):
            shutil.copy(EXAMPLE / name, self.folder)
        config = json.loads((self.folder / "langgraph.json").read_text("utf-8"))
        config["graphs"]["steps"] = "server.graphs:steps"
        config["env"] = {"SESSIONSTORE_URL": url, **settings}
        (self.folder / "langgraph.json").write_text(json.dumps(config), "utf-8")

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    def _arguments(self) -> Sequence[str]:
        where = ("--host", self.host, "--port", str(self.port), "--n-jobs-per-worker", "20")
        return ("-m", "langgraph_cli", "dev", "--no-browser", "--no-reload", *where)

    def _is_up(self) -> bool:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=1.0)
        try:
            connection.request("GET", "/ok")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
