"""Rows that somebody with access to the database made up: an error that names them, at once, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from support.savers import Saver, checkpoint, config

from langgraph_sessionstore import CorruptData, SessionCheckpointer, codec, keys, open_backend, run
from langgraph_sessionstore.ops import Get, Links, Put, must, split_links, with_links
from langgraph_sessionstore.plans import layout

PARENT, FIELDS, METADATA, VERSIONS, SEEN, VALUES, TAIL, SENDS = range(1, 9)
MESSAGES = [HumanMessage("x" * 200, id=str(number)) for number in range(3)]


def made_up(position: int, part: Any, value: Any = None, links: Links | None = None) -> Saver:
    """A checkpointer with a thread whose only record has this instead, in itself or in the value of its list."""
    saver = Saver(SessionCheckpointer(open_backend("memory:")), None)
    stored = saver.put(config("thread"), checkpoint({"messages": MESSAGES, "a": 1}))
    key = layout.record("", stored["configurable"]["checkpoint_id"])
    partition = keys.session("thread")
    (row,) = run(saver.checkpointer.backend, must(partition, Get(key)))
    old, packed = split_links(row)
    record = codec.unpack(packed, "the record")
    if position == VALUES and value is not None:
        record[VALUES]["messages"][part] = value
    else:
        record[position] = part
    row = with_links(old if links is None else links, codec.pack(record))
    run(saver.checkpointer.backend, must(partition, Put(key, row)))
    return saver


BRANCH = 1 << 60
RECORDS: list[tuple[int, Any, Any]] = [
    (VALUES, 2, [BRANCH, 0, 2**32 - 1]),
    (VALUES, 2, [BRANCH, 0, 2**63]),
    (VALUES, 2, [BRANCH, 5, 5]),
    (VALUES, 2, [BRANCH, 7, 5]),
    (VALUES, 2, [BRANCH, -1, 5]),
    (VALUES, 2, [BRANCH, 0]),
    (VALUES, 2, [BRANCH, 0, 3, 1]),
    (VALUES, 2, ["e", 0, 3]),
    (VALUES, 2, [BRANCH, True, 3]),
    (VALUES, 2, [number for _ in range(2000) for number in (BRANCH, 0, 10_000)]),
    (VALUES, 2, [number for n in range(2000) for number in (BRANCH + n, 0, 10_000)]),
    (VALUES, 2, 5),
    (VALUES, 0, 4),
    (VALUES, 0, -5),
    (VALUES, 0, 1),
    (VALUES, 0, 3),
    (VALUES, 1, ["data", b""]),
    (VALUES, 1, "data"),
    (VALUES, 3, [BRANCH]),
    (VALUES, 3, ["e", 0]),
    (VALUES, 3, [BRANCH, -1]),
    (VALUES, {"messages": None}, None),
    (VALUES, [], None),
    (PARENT, 5, None),
    (PARENT, ["x"], None),
    (FIELDS, ["os", b"system"], None),
    (FIELDS, ["null", b""], None),
    (FIELDS, ["data", "text"], None),
    (FIELDS, None, None),
    (METADATA, ["bytes", b"x"], None),
    (METADATA, ["pickle", b"cos\nsystem\n(S'true'\ntR."], None),
    (VERSIONS, ["a"], None),
    (VERSIONS, {"a": None}, None),
    (VERSIONS, {"a": [1, 2, 3]}, None),
    (VERSIONS, {"a": ["x", "y"]}, None),
    (SEEN, [1], None),
    (SEEN, {"node": 5}, None),
    (TAIL, [1, 2, 3], None),
    (TAIL, ["x", "y"], None),
    (SENDS, 5, None),
    (0, 2, None),
    (0, None, None),
]


@pytest.mark.parametrize(("position", "part", "value"), RECORDS)
@pytest.mark.parametrize("warm", [True, False])
def test_a_record_that_was_made_up_is_refused(position: int, part: Any, value: Any, warm: bool) -> None:
    saver = made_up(position, part, value)
    reader = saver if warm else Saver(SessionCheckpointer(saver.checkpointer.backend), None)
    with pytest.raises(CorruptData, match="thread 'thread'"):
        reader.load(config("thread"))
    with pytest.raises(CorruptData, match="thread 'thread'"):
        reader.list(config("thread", None))
    assert {problem.kind for problem in saver.check("thread")} & {"damaged", "missing"}
    reader.delete_thread("thread")
    assert reader.list(config("thread")) == []


@pytest.mark.parametrize(
    "links", [Links(below=(b"",)), Links(below=(b"\x02",)), Links(below=(keys.encode("w"),)), Links()], ids=str
)
def test_links_that_were_made_up_bring_nothing_to_light(links: Links) -> None:
    saver = made_up(PARENT, None, links=links)
    reader = Saver(SessionCheckpointer(saver.checkpointer.backend), None)
    try:
        assert reader.load(config("thread")).checkpoint["channel_values"] == {"messages": MESSAGES, "a": 1}
    except CorruptData as exc:
        assert "missing" in str(exc)  # noqa: PT017  either is fine, and nothing else
    assert [problem.kind for problem in saver.check("thread")] == ["damaged"]
