"""Four processes at once on one thread: whatever is left over at the end is what somebody has put."""

from __future__ import annotations

import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.crowd_of_savers import NAMESPACES, be_a_member, cold
from support.nursery import NURSERY
from support.savers import config
from support.thread_model import plain

from langgraph_sessionstore import open_backend

pytestmark = pytest.mark.long

OPTIONS: list[dict[str, Any]] = [{}, {"cache_bytes": 20_000}, {"share": False}, {}]


@pytest.mark.parametrize(("kind", "seconds"), [("redis7", 12), ("file", 8), ("cluster", 8)])
def test_four_processes_lose_nothing_on_one_thread(
    kind: str, seconds: float, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"file:{tmp_path}/sessions" if kind == "file" else request.getfixturevalue(kind).url
    life = str(uuid.uuid4())
    thread = f"thread {life}"
    told = NURSERY.Queue()
    members = [
        NURSERY.Process(target=be_a_member, args=(url, thread, n, life, seconds, options, told), daemon=True)
        for n, options in enumerate(OPTIONS)
    ]
    for member in members:
        member.start()
    try:
        reports = sorted((told.get(timeout=seconds + 90) for _ in members), key=lambda report: int(report[0]))
        for member in members:
            member.join(30)
            assert member.exitcode == 0
    finally:
        for member in members:
            member.kill()
            member.join()
    known: dict[Any, Any] = {}
    writes: dict[Any, set[str]] = {}
    deleted: set[str] = set()
    counts: Counter[str] = Counter()
    for number, own, wrote, took, did, trouble in reports:
        assert trouble is None, f"process {number}: {trouble}"
        assert did["put"] > 20, f"process {number} did not get on: {did}"
        known.update(own)
        for name, tasks in wrote.items():
            writes.setdefault(name, set()).update(tasks)
        deleted |= took
        counts.update(did)
    with open_backend(url) as backend:
        saver = cold(backend)
        found = saver.list(config(thread, None))
        figures = {**counts, "known": len(known), "left": len(found)}
        request.node.user_properties += figures.items()
        assert found, figures
        for each in found:
            named = each.config["configurable"]
            name = named["checkpoint_id"], named["checkpoint_ns"]
            assert plain(dict(sorted(each.checkpoint["channel_values"].items()))) == known[name][0], name
            assert each.metadata == known[name][1]
            assert {task for task, _, _ in each.pending_writes or ()} <= writes.get(name, set())
            assert saver.load(each.config).checkpoint["id"] == name[0]
        assert {problem.kind for problem in saver.check(thread)} <= {"unreferenced"}
        for ns in NAMESPACES:
            stays = [id_ for (id_, of), (_, noted) in known.items() if of == ns and noted["run_id"] not in deleted]
            assert saver.load(config(thread, ns)).checkpoint["id"] >= max(stays)
        saver.collect(thread)
        assert [str(problem) for problem in saver.check(thread)] == []
        saver.prune([thread])
        assert len(saver.list(config(thread, None))) == len(NAMESPACES)
        assert [str(problem) for problem in saver.check(thread)] == []
        saver.delete_thread(thread)
        assert saver.check(thread) == []
