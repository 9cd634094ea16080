"""Without numpy an index says what to install, and all else works; without an index numpy is not loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.meanings import belong, index

from langgraph_sessionstore import SessionManager

HIDE = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "numpy":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
from langgraph_sessionstore import *
"""


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_numpy_an_index_says_what_to_install_and_all_else_works(tmp_path: Path) -> None:
    with SessionManager.from_url(tmp_path / "s", index=index()) as manager:
        manager.store.put(("n",), "k", {"text": "a"})
        manager.store.put(("n",), "l", {"text": "b"})
        manager.create_session("s").store.put(("n",), "k", {"text": "c"})
    code = f"""{HIDE}
path, index = {str(tmp_path / "s")!r}, {{"dims": 8, "embed": lambda texts: []}}
backend = open_backend(path)
for make in (SessionStore, SessionManager) * 2:
    for stand, where in ((make, backend), (make.from_url, path)):
        try:
            stand(where, index=index)
        except MissingExtra as exc:
            assert "pip install" in str(exc) and "langgraph-sessionstore[vectors]" in str(exc), exc
        else:
            raise AssertionError(make)
manager = SessionManager(backend)
store, session = manager.store, manager.get_session("s")
store.put(("n",), "l", {{"text": "without"}}, index=["text"])
store.put(("n",), "m", {{"text": "new"}}, ttl=5)
assert [item.key for item in store.search(("n",), query="a")] == ["k", "l", "m"]
assert store.get(("n",), "k").value == {{"text": "a"}}
store.delete(("n",), "m")
assert session.fork("t").store.search(("n",), query="c")[0].value == {{"text": "c"}}
assert store.list_namespaces() == [("n",)]
backend.close()
print("numpy" in sys.modules)
"""
    assert python(code) == "False"
    with SessionManager.from_url(tmp_path / "s", index=index()) as manager:
        found = manager.store.search(("n",), query="a")
        assert [(item.key, item.score) for item in found] == [("k", pytest.approx(1, abs=1e-4)), ("l", None)]
        copy = manager.get_session("t")
        assert copy is not None
        belong("q", copy.store.search(("n",), query="q"))


def test_a_store_without_an_index_does_not_load_numpy() -> None:
    code = "import sys; from langgraph_sessionstore import *; s = SessionStore(open_backend('memory:')); "
    code += "s.put(('n',), 'k', {'a': 1}); s.search(('n',), query='a'); print('numpy' in sys.modules)"
    assert python(code) == "False"
