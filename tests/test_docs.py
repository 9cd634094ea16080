"""What the documentation shows is true: every Python block of the README runs, every example runs."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from support.servers import RedisServer

import langgraph_sessionstore

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
CHANGES = re.findall(r"```diff\n(.*?)```", README, re.DOTALL)
BUILDER = """
from langgraph.graph import START, StateGraph
builder = StateGraph(dict).add_node("same", lambda state: state).add_edge(START, "same")
"""
AFTER = """
    graph.invoke({"a": 1}, {"configurable": {"thread_id": "from the README"}})
    assert len(list(checkpointer.list({"configurable": {"thread_id": "from the README"}}))) == 3
    checkpointer.delete_thread("from the README")
"""
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
BLOCKS += [
    BUILDER
    + re.sub(r"^[+ ]", "", re.sub(r"^-.*\n", "", change, flags=re.MULTILINE), flags=re.MULTILINE)
    + (AFTER if "    graph" in change else AFTER.replace("\n    ", "\n"))
    for change in CHANGES
]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_the_readme_says_how_to_come_from_the_other_checkpointers() -> None:
    assert len(CHANGES) == 4


def _marks(block: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.peers] if "from langgraph.checkpoint.sqlite" in block else []


@pytest.mark.parametrize("number", [pytest.param(at, marks=_marks(block)) for at, block in enumerate(BLOCKS)])
def test_readme_blocks_run(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    block = BLOCKS[number]
    if "redis://localhost:6379" in block:
        server: RedisServer = request.getfixturevalue("redis7")
        block = block.replace("redis://localhost:6379", server.url)
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "block.py"
    script.write_text(block, "utf-8")
    runpy.run_path(str(script), run_name="__main__")


SAYS = {
    "quickstart.py": ["Restored: before replace at 0", "still: 2 messages", "refused: another worker", "deleted: 1"],
    "graph_session.py": ["edited: So far: Osaka, Kyoto, Nara.", "not here: So far: Osaka, Kyoto, Kobe."],
    "chat_history.py": ["As I said: Kyoto.", "3  ai         As I said: Kyoto.", "calls: 2"],
    "conversation.py": ["urgency: high", "not stored:", "messages: 2", "As I saw before, it is on its way.", "$0.0448"],
    "workers.py": ["messages: 40", "each answered at once: True", "Cost: $0.0200 | Calls: 20"],
    "many_workers.py": ["answered: 600", "workers killed: 8", "lost: 0, doubled: 0, sessions out of order: 0"],
    "foundation.py": ["refused: there is a session", "still listed: False"],
    "memory_agent.py": ["You told me: My sister Eva lives in Osaka.", "I do not know.", "left: []"],
    "agent.py": ["another worker: Done: booked Kyoto", "had the answer been no: Done: not booked", "left: []"],
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_run(
    example: Path,
    tmp_path: Path,
    redis7: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each with one command, on what is embedded; and on Redis, in this process where it begins no others."""
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-W", "error", str(example)]
    for arguments in ([], [redis7.url]):
        if not arguments or "multiprocessing" in example.read_text("utf-8"):
            done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            printed = done.stdout
        else:
            monkeypatch.setattr(sys, "argv", [str(example), *arguments])
            runpy.run_path(str(example), run_name="__main__")
            printed = capsys.readouterr().out
        for words in SAYS[example.name]:
            assert words in printed


def test_each_threat_has_its_test() -> None:
    section = README.partition("## Threat model")[2].partition("\n## ")[0]
    named = re.findall(r"`([a-z_/]+\.py)`", section)
    assert len(named) > 15
    assert [name for name in named if not (ROOT / "tests" / name).is_file()] == []


def test_readme_names_every_option_and_scheme() -> None:
    from langgraph_sessionstore.backends import SCHEMES

    for word in (*(f"{scheme}:" for scheme in SCHEMES), "durability", "busy_timeout", "max_connections", "patience"):
        assert word in README, word


def test_readme_names_every_public_name() -> None:
    section = README.partition("## Public names")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section.partition("And the modules")[0])) - {"langgraph_sessionstore"}
    assert named == set(langgraph_sessionstore.__all__)


def test_links_within_the_readme_lead_somewhere() -> None:
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", README, flags=re.DOTALL), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    links = set(re.findall(r"\]\(#([^)]*)\)", README.replace("\n", " ")))
    assert sorted(links - anchors) == []
