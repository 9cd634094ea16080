"""Makes what this version stores, for later versions to read: `PYTHONPATH=tests python -m formats.make`.

It is done once for each released version that stores something in a new way, and never again for an old one.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

from support.kept import graph_on, said, with_graph, with_log

from langgraph_sessionstore import SessionManager, __version__

KEY = base64.b64encode(bytes(range(32))).decode()
"""Of the encrypted storage. It protects nothing."""


def fill(manager: SessionManager) -> None:
    """Sessions and items of all kinds."""
    log = with_log(manager)
    log.replace(0, "user", "secret first")
    log.undo()
    log.fork("fork")
    graph = with_graph(manager)
    graph_on(manager.checkpointer).invoke(said("ask"), graph.config)
    manager.store.put(("users", "ann"), "diet", {"likes": "noodles"})
    manager.store.put(("users", "ann"), "code", {"is": 1234}, ttl=5e6)


def seen(manager: SessionManager) -> dict[str, object]:
    """What can be seen of them."""
    found: dict[str, object] = {}
    for info in manager.iter_sessions():
        session = manager.get_session(info.id)
        assert session is not None
        states = graph_on(manager.checkpointer).get_state_history(session.config)
        found[info.id] = {
            "title": info.title,
            "system": info.system,
            "metadata": dict(info.metadata),
            "created_at": info.created_at,
            "parent": info.parent,
            "messages": [[message.type, message.text] for message in session.messages],
            "summary": session.summary,
            "usage": session.metrics.summary(),
            "items": [[item.key, item.value] for item in session.store.search(())],
            "states": [
                [
                    state.config["configurable"]["checkpoint_id"],
                    list(state.next),
                    len(state.values.get("messages", ())),
                    str(state.values.get("mood")),
                    [each.value for each in state.interrupts],
                ]
                for state in states
            ],
        }
    found["items"] = sorted([item.key, item.value] for item in manager.store.search(("users",)))
    return found


def main(folder: Path) -> None:
    """Files with sessions, a storage in plain, and one that is encrypted."""
    for name, encryption in (("plain", None), ("encrypted", KEY)):
        with SessionManager.from_url(folder / name, encryption=encryption) as manager:
            fill(manager)
            (folder / f"{name}.json").write_text(json.dumps(seen(manager), indent=1), "utf-8")
            if encryption is None:
                for name in ("log", "graph"):
                    session = manager.get_session(name)
                    assert session is not None
                    session.export(folder / f"{name}.jsonl")


if __name__ == "__main__":
    folder = Path(__file__).parent / __version__
    if folder.exists():
        sys.exit(f"{folder} is there already: what was released once stays as it is")
    folder.mkdir()
    main(folder)
