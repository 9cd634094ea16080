"""What an encrypted backend remembers has a limit, and a forked child can go on with it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from encryption.filled import KEY

from langgraph_sessionstore import EncryptedBackend, SessionManager, open_backend
from langgraph_sessionstore.backends import encrypted
from langgraph_sessionstore.backends.encrypted import seals


def test_what_is_remembered_does_not_grow_with_the_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encrypted, "_KNOWN", 20)
    monkeypatch.setattr(seals, "_CIPHERS", 20)
    backend = EncryptedBackend(open_backend("memory:"), KEY)
    manager = SessionManager(backend)
    for number in range(60):
        session = manager.create_session(f"s{number}", messages=["one"])
        fork = session.fork()
        assert [message.text for message in fork.messages] == ["one"]
    assert len(backend._counters) == len(backend._lineages) == len(backend._seals._ciphers) == 20
    for number in range(60):  # what was forgotten is found again
        again = manager.get_session(f"s{number}")
        assert again is not None
        again.append("user", "two")
        assert [message.text for message in again.messages] == ["one", "two"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_goes_on_while_its_parent_had_a_turn(tmp_path: Path) -> None:
    with SessionManager.from_url(tmp_path, encryption=KEY) as manager:
        session = manager.create_session("talk", messages=["one"])
        ended = threading.Event()

        def write() -> None:
            while not ended.is_set():
                session.append("user", "more")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    for number in range(3):
                        session.append("user", f"child {number}")
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        finally:
            ended.set()
            writer.join()
        texts = [str(message.text) for message in session.messages]
        assert [text for text in texts if text.startswith("child")] == ["child 0", "child 1", "child 2"]
        assert texts.count("more") == len(texts) - 4
