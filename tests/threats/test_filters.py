"""Threat: a filter says more than it asks.

How others were broken into: the names in a filter of `list` or `search` became a part of the SQL (CVE-2025-67644), or
of the query of a search module of Redis (CVE-2026-27022); so whoever may choose a filter reads what is not theirs, or
adds rows of their own to what is found. `search` of a store is tried in `sessions/test_store_isolation.py`.
"""

from __future__ import annotations

from typing import Any

from langgraph.store.base import SearchOp
from sessions.test_store_isolation import FIELDS, WORDS
from support.everywhere import everywhere
from support.savers import Saver, checkpoint, config
from support.sittings import Form

from langgraph_sessionstore import SessionManager

PUBLISHED = [
    *("x') OR '1'='1", "x') OR 1=1 --", "x') = '' OR ''='' --", "owner') OR json_extract(metadata, '$.owner"),
    "x') UNION SELECT 'b', '', 'id', NULL, 'msgpack', x'c7', x'80' --",
    *("owner}) | (@thread_id:{*", "owner:{*} | @owner", "*", "owner|thread_id", "owner\r\nFLUSHALL\r\n"),
    *("owner\0", "owner]", "owner => {$weight: 5}", "a.b", "owner.x"),
]
NAMES = [*PUBLISHED, *FIELDS]
MINE: dict[str, Any] = {"owner": "a", "n": 1, "x": "x"}


def wanted() -> list[dict[str, Any]]:
    """Names with every kind of word, and words for a name that exists."""
    some: list[dict[str, Any]] = [{name: "x" if at % 2 else None} for at, name in enumerate(NAMES)]
    some += [{"owner": word} for word in WORDS[::2]] + [{"owner": {"$ne": "a"}}, {"$or": [{}, {}]}]
    return [*some, *({"owner": "a", name: "x"} for name in PUBLISHED)]


def fits(metadata: Any, filter: dict[str, Any], absent: Any = object) -> bool:
    """Whether metadata has these words; what it lacks is as good as `absent`."""
    return all(metadata.get(name, absent) == word for name, word in filter.items())


@everywhere
def test_a_filter_of_checkpoints_is_compared_and_nothing_else(manager: SessionManager, form: Form) -> None:
    saver = Saver(manager.checkpointer, form.loop)
    own = {"a": MINE, "b": {**MINE, "owner": "b", "secret": "b"}, "odd": dict.fromkeys(PUBLISHED, "x")}
    for thread, metadata in own.items():
        saver.put(config(thread), checkpoint({"n": 1}), {"source": "input", "step": -1, **metadata})
    everything = {found.config["configurable"]["thread_id"]: found.metadata for found in saver.list(None)}
    assert everything.keys() == own.keys()
    for filter in wanted():
        found = [each.config["configurable"]["thread_id"] for each in saver.list(None, filter=filter)]
        assert sorted(found) == sorted(name for name, kept in everything.items() if fits(kept, filter, None)), filter
    for name in PUBLISHED:
        assert saver.list(config("a"), filter={name: "x"}) == []


@everywhere
def test_a_filter_of_sessions_is_compared_and_nothing_else(manager: SessionManager, form: Form) -> None:
    own = {"a": MINE, "b": {**MINE, "owner": "b", "secret": "b"}, "odd": dict.fromkeys(PUBLISHED, "x")}
    for name, metadata in own.items():
        form.do(manager, "create_session", name, metadata=metadata)
    for filter in wanted():
        found = [info.id for info in form.do(manager, "list_sessions", filter=filter)]
        assert sorted(found) == sorted(name for name, kept in own.items() if fits(kept, filter)), filter
        assert form.do(manager, "count_sessions", filter=filter) == len(found)
    for filter in ({name: "nobody"} for name in NAMES):
        assert form.do(manager, "delete_sessions", filter=filter) == 0
    assert form.do(manager, "count_sessions") == 3


@everywhere
def test_a_filter_of_items_finds_none_of_others(manager: SessionManager, form: Form) -> None:
    form.do(manager.store, "put", ("of", "a"), "k", MINE)
    form.do(manager.store, "put", ("of", "b"), "k", {**MINE, "owner": "b"})
    for name in PUBLISHED:
        filters = {name: "x"}, {name: ""}, {"owner": name}, {name: {"$ne": name}, "owner": "a"}
        found = form.do(manager.store, "batch", [SearchOp(("of",), filter=filter) for filter in filters])
        assert [[item.namespace for item in items] for items in found] == [[], [], [], [("of", "a")]], name
        assert form.do(manager.data, "search", (), filter={name: "x"}) == []
