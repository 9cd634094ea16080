"""The README on coming from other systems: each of their calls stands above what it is here, and that runs.

Rule: the calls are named here as their documents name them, so that none is left out.
"""

from __future__ import annotations

import re
import runpy
import uuid
from pathlib import Path

import pytest
from support.servers import RedisServer

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
CALLS = {
    "synaptic (Rust)": """
        SessionManager::new InMemoryStore::new FileStore::new create_session list_sessions info.created_at get_session
        memory() memory.append memory.load memory.clear checkpointer() manager.store() ["sessions"] "messages"
        "summary" ["checkpoints" delete_session
    """,
    "zyn (Go)": """
        NewSession .Fire Extract[ Classification( Transform( .Messages() .Len() .At( .Append( .Insert( .Replace(
        .Remove( .Prune( .Truncate( .SetMessages( .Clear() .LastUsage() .SetUsage( slidingWindow summarizeOldContext
        pruneByRelevance
    """,
    "agent (Python)": """
        agent.session() session_id= system= messages= session.run( .text temperature= max_tokens= run_async( .stream(
        stream_async( .json( schema= .messages .clear() add_message( .fork( to_dict() from_dict( store.save(
        store.load( .delete( .list_sessions() tools=[ AgentError
    """,
    "synkro (Python)": """
        Session.create( load_from_db( session.policy session.model session.grading_model extract_rules refine_rules(
        undo() show_rules( status() show_cost_summary() show_cost() metrics.total_cost metrics.total_calls
        metrics.breakdown done( list_sessions() updated_at .delete() db_url
    """,
}


def block(system: str) -> str:
    """The code of a system's section."""
    found = re.search(rf"### From {re.escape(system)}\n\n```python\n(.*?)```", README, re.DOTALL)
    assert found, system
    return found[1]


def pairs(code: str) -> list[tuple[str, str]]:
    """Their calls, and what stands beneath them."""
    found: list[tuple[str, str]] = []
    for line in code.splitlines():
        if line.lstrip().startswith("# "):
            if found and not found[-1][1].strip():  # a call of several lines
                found[-1] = (f"{found[-1][0]}\n{line}", "")
            else:
                found.append((line, ""))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
    return found


@pytest.mark.parametrize("system", CALLS)
def test_each_call_of_theirs_stands_above_ours(system: str) -> None:
    found = pairs(block(system))
    assert all(ours.strip() for _, ours in found)
    theirs = "\n".join(call for call, _ in found)
    assert [call for call in CALLS[system].split() if call not in theirs] == []


@pytest.mark.parametrize("system", CALLS)
@pytest.mark.parametrize("place", ["as it stands", "redis"])
def test_each_pair_runs(
    system: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    code = block(system)
    if place == "redis":
        server: RedisServer = request.getfixturevalue("redis7")
        code, count = re.subn(r'from_url\("[^"]*"', f'from_url("{server.url}?prefix=from-{uuid.uuid4()}"', code)
        assert count
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "pairs.py"
    script.write_text(code, "utf-8")
    runpy.run_path(str(script), run_name="__main__")
