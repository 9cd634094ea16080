"""Sessions move between storages: all of one, or nothing of it.

Rule: what arrived equals what left, row by row and for the graph; what is refused leaves no session and no rows.
"""

from __future__ import annotations

import base64
import json
import os
import time
import uuid
from collections.abc import Iterator
from hashlib import sha256
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Command
from support.graphs import Talk, built_agent, noted, say
from support.savers import BACKENDS
from support.sittings import Form

from langgraph_sessionstore import Session, SessionManager, errors, keys, open_backend, run
from langgraph_sessionstore.ops import Count, must
from langgraph_sessionstore.plans import moving
from langgraph_sessionstore.transfer import of_file

PAIRS = pytest.mark.parametrize(("kind", "other"), list(permutations(BACKENDS, 2)), indirect=["kind"])
GIVEN = {"messages": ["a", ("ai", "b")], "title": "T", "system": "S", "metadata": {"k": [1]}, "summary": "short"}
READ = ("messages", "usage", "last_usage")


class Move:
    """Two storages, and sessions that go from here to there, in pieces of a few rows."""

    def __init__(self, form: Form, here: SessionManager, there: SessionManager, file: Path) -> None:
        self.form, self.do, self.texts = form, form.do, form.texts
        self.here, self.there, self.file = here, there, file
        self.places: list[bytes] = []

    def used(self, session_id: str, **options: Any) -> Session:
        """A session with something of everything, and operations that can be undone and redone."""
        session: Session = self.do(self.here, "create_session", session_id, **GIVEN, **options)
        for name, *given in (("append", "user", "c"), ("replace", 0, "user", "A"), ("set_summary", "gone"), ("undo",)):
            self.do(session, str(name), *given)
        self.do(session, "record_usage", "p", "m", input_tokens=3, output_tokens=2, seconds=0.5, cost=0.25)
        return session

    def rows(self, session: Session) -> Any:
        """All rows."""
        return self.do(session, "to_dict")["rows"]

    def details(self, session: Session) -> list[Any]:
        """What is known of it, but for its name, and for when it was last written to, which is now."""
        info = self.do(session, "info")
        return [info.created_at, info.title, info.system, info.metadata, info.parent, info.expires_at]

    def graph(self, manager: SessionManager) -> Any:
        """An agent with tools as a part of another graph."""
        graph: Any = StateGraph(Talk)
        graph.add_node("part", built_agent(self.file.with_name("ledger"), None))
        graph.add_edge(START, "part")
        return graph.compile(checkpointer=manager.checkpointer)

    def arrived(self) -> list[str]:
        """The sessions that are there, which are those that are counted; no rows are still on their way."""
        found = [info.id for info in self.form.everything(self.there)]
        assert self.do(self.there, "count_sessions") == len(found)
        for manager in (self.here, self.there):
            assert [run(manager.backend, must(at, Count(b"", None))) for at in self.places] == [[0]] * len(self.places)
        return found


@pytest.fixture
def other(kind: str) -> str:
    """Which backend is there; where a test does not say, it is the same as here."""
    return kind


@pytest.fixture
def move(
    manager: SessionManager, other: str, form: Form, request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Move]:
    """From here to there."""
    options: dict[str, Any] = {} if other in ("memory", "file") else {"prefix": f"there-{uuid.uuid4()}"}
    url = {"memory": "memory:", "file": f"{tmp_path}/there"}.get(other) or request.getfixturevalue(other).url
    backend = open_backend(url, **options)
    move = Move(form, manager, SessionManager(backend), tmp_path / "session.jsonl")

    def place(new: bytes) -> bytes:
        move.places.append(keys.encode("moving", new.hex()))
        return move.places[-1]

    monkeypatch.setattr(moving, "place", place)
    monkeypatch.setattr(moving, "CHUNK", 4)
    yield move
    form.do(backend, "close")
    backend.close()


@PAIRS
def test_a_session_arrives_as_it_was(move: Move) -> None:
    session, steps = move.do(move.used("source"), "fork", "fork"), list[Any]()
    total = move.do(session, "export", move.file, progress=lambda *step: steps.append(step))
    assert total == len(move.rows(session)) == len(move.file.read_text().splitlines()) - 2
    assert steps == [(min(done, total), total) for done in range(4, total + 4, 4)]
    arrived = move.do(move.there, "import_", move.file, progress=lambda *step: steps.remove(step))
    assert (arrived.id, move.arrived(), steps) == ("fork", ["fork"], [])
    assert move.rows(arrived) == move.rows(session)
    assert move.details(session)[1:] == ["T", "S", {"k": [1]}, "source", None]
    assert move.details(arrived) == move.details(session)
    assert [move.do(arrived, name) for name in READ] == [move.do(session, name) for name in READ]
    assert (move.texts(arrived), move.do(arrived, "summary")) == (["A", "b", "c"], "short")
    assert move.do(arrived, "redo") == "Restored: after summary"
    for label in ("summary", "replace at 0", "append of 1 message"):
        assert move.do(arrived, "undo") == f"Restored: before {label}"
    assert (move.texts(arrived), move.texts(session)) == (["a", "b"], ["A", "b", "c"])
    assert move.do(arrived, "delete")
    assert move.rows(move.do(move.there, "import_", move.file)) == move.rows(session)


@PAIRS
def test_a_graph_goes_on_in_another_storage(move: Move) -> None:
    graph, same, done = move.graph(move.here), move.graph(move.there), move.file.with_name("ledger")
    session = move.do(move.here, "create_session", "graph", title="T")
    graph.invoke(say("double:1", 0), session.config)
    graph.invoke(say("double:2 ask:sure", 1), session.config)
    data = json.loads(json.dumps(move.do(session, "to_dict")))
    arrived = move.do(move.there, "from_dict", data)
    assert (move.rows(arrived), move.details(arrived)) == (data["rows"], move.details(session))
    left = [graph.get_state(session.config, subgraphs=True), *graph.get_state_history(session.config)]
    found = [same.get_state(session.config, subgraphs=True), *same.get_state_history(session.config)]
    assert found == left
    assert [task.result is None for task in found[0].tasks[0].state.tasks] == [False, True]
    assert move.texts(arrived) == move.texts(session) != []
    assert move.there.checkpointer.check("graph") == move.here.checkpointer.check("graph")
    result = same.invoke(Command(resume="yes"), arrived.config)
    resumed = noted(done)[2:]  # an older LangGraph runs all tools of the part again, side by side
    assert (result["messages"][-1].text, "ask sure: yes" in resumed) == ("I heard 4, yes", True)
    assert result["messages"] == move.do(arrived, "messages") != move.do(session, "messages")
    assert graph.invoke(Command(resume="yes"), session.config) == result
    assert sorted(noted(done)[2:]) == sorted(resumed * 2)


def test_edits_of_a_graph_are_undone_elsewhere(move: Move) -> None:
    graph, session = move.graph(move.here), move.do(move.here, "create_session")
    graph.invoke(say("one", 0), session.config)
    graph.invoke(say("two", 1), session.config)
    texts = move.texts(session)
    move.do(session, "replace", 0, "user", "ONE")
    move.do(session, "rewind", 1)
    move.do(session, "undo")
    arrived = move.do(move.there, "from_dict", move.do(session, "to_dict"), session_id="renamed")
    move.do(arrived, "redo")
    assert move.texts(arrived) == texts[:2]
    move.do(arrived, "undo")
    move.do(arrived, "undo")
    assert (move.texts(arrived), move.texts(session)) == (texts, ["ONE", *texts[1:]])
    result = move.graph(move.there).invoke(say("three", 2), arrived.config)
    assert [message.text for message in result["messages"]] == [*texts, "three", "I heard three"]


def test_a_thread_that_a_graph_began_arrives(move: Move) -> None:
    move.graph(move.here).invoke(say("one", 0), {"configurable": {"thread_id": "x"}, "metadata": {"run_id": "run"}})
    session = move.do(move.here, "get_session", "x")
    time.sleep(0.01)
    arrived = move.do(move.there, "from_dict", move.do(session, "to_dict"))
    assert move.texts(arrived) == move.texts(session) == ["one", "I heard one"]
    assert move.details(arrived) == move.details(session)
    move.there.checkpointer.delete_for_runs(["run"])  # somebody has taken the session in, so it stays
    assert (move.arrived(), move.texts(arrived), len(move.texts(session))) == (["x"], [], 2)


def test_many_messages_arrive(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "CHUNK", 500)
    texts = [f"{number} {'x' * 100}" for number in range(2000)]
    session = move.do(move.here, "create_session", messages=texts)
    move.do(session, "export", move.file)
    assert move.texts(move.do(move.there, "import_", move.file)) == texts
    assert move.texts(move.do(move.there, "from_dict", move.do(session, "to_dict"), session_id="again")) == texts


def test_a_session_leaves_and_arrives_at_one_moment(move: Move) -> None:
    session, absent = move.used("busy"), list[int]()
    before = move.rows(session)
    move.do(session, "export", move.file, progress=lambda done, _: session.append("user", f"{done}"))
    arrived = move.do(move.there, "import_", move.file, progress=lambda *_: absent.append(move.there.count_sessions()))
    assert (move.rows(arrived), set(absent), move.arrived()) == (before, {0}, ["busy"])
    assert move.do(session, "len") == 3 + -(-len(before) // 4)


def test_a_lifetime_begins_anew_and_a_lease_stays(move: Move) -> None:
    session = move.used("held", ttl=3600, sliding=False)
    lease = session.lease(60)
    move.form.enter(lease)
    arrived = move.do(move.there, "from_dict", move.do(session, "to_dict"))
    move.do(arrived, "append", "user", "b")
    assert move.details(arrived)[-1] >= move.details(session)[-1] > move.details(session)[0]
    with pytest.raises(errors.LeaseHeld):
        move.do(session, "append", "user", "b")
    move.form.leave(lease)


def test_an_id_that_is_taken_stays_as_it_is(move: Move) -> None:
    data, taken = move.do(move.used("taken", ttl=3600), "to_dict"), move.do(move.there, "create_session", "taken")
    info, before = move.do(taken, "info"), move.rows(taken)
    time.sleep(0.01)
    with pytest.raises(errors.SessionExists, match="taken"):
        move.do(move.there, "from_dict", data)
    assert (move.rows(taken), move.arrived()) == (before, ["taken"])
    assert move.do(taken, "info") == info


def file_of(head: dict[str, Any], pairs: list[Any]) -> bytes:
    """A file whose check sum is right."""
    lines = [json.dumps(each).encode() + b"\n" for each in (head, *({"k": key, "v": value} for key, value in pairs))]
    return b"".join(lines) + json.dumps({"end": len(pairs), "sha256": sha256(b"".join(lines)).hexdigest()}).encode()


HEAD: dict[str, Any] = {"format": "langgraph_sessionstore.session", "version": 1, "id": "x"}
HEADS = [{**HEAD, **each} for each in ({"id": ""}, {"id": 3}, {"format": "x"}, {"version": "1"}, {"version": 2})]
KEYS = (b"", b"m", b"\x02t", b"\x02i", b"\x02l", keys.encode("z"), keys.encode(3), keys.encode("session", "x"))
NO_ROWS: list[Any] = [[], ["JG0B"], ["JG0B", None], ["JG0B", "%"], ["\xe4", ""], ["JG0B", "", ""], None, 3, "ab"]
NO_DICTS: list[Any] = [{}, [], None, "", HEAD, {**HEAD, "rows": []}, {**HEAD, "rows": 3}]


def test_files_that_are_no_whole_session_are_refused(move: Move) -> None:
    move.do(move.used("whole"), "export", move.file)
    whole, places = move.file.read_bytes(), len(move.places)
    lines = whole.splitlines(keepends=True)
    bad = [b"\n", b"{}", b"[]", b"null", b'{"a": 1}\n', b"\xff\xfe", b"PK\x03\x04", b"[" * 100_000, b"1" * 5000]
    bad += [b"".join([lines[0], *lines[2:-1], lines[1], lines[-1]]), whole + b"\n", whole + lines[1]]
    bad += [file_of(head, []) for head in HEADS]
    bad += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(0, len(whole), 3)]
    for at in range(len(lines)):
        before, after = b"".join(lines[:at]), b"".join(lines[at + 1 :])
        bad += [before, before[:-9], before + after, before + lines[at] * 2 + after]
    for content in bad:
        move.file.write_bytes(content)
        with pytest.raises(errors.SessionStoreError):
            move.do(move.there, "import_", move.file)
    with pytest.raises(errors.UnsupportedFormat, match="upgrade"):
        move.do(move.there, "from_dict", {**HEADS[-1], "rows": []})
    for nowhere in (move.file.parent, move.file / "below", move.file.parent / "missing"):
        with pytest.raises(errors.ConfigurationError, match="cannot be read"):
            move.do(move.there, "import_", nowhere)
    assert (len(move.places), move.arrived()) == (places, [])


def test_a_file_that_cannot_be_read_twice_is_refused(move: Move) -> None:
    move.do(move.used("whole"), "export", move.file)
    whole = move.file.read_bytes()
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb", buffering=0) as pipe:
        pipe.write(whole)
        pipe.close()
        with pytest.raises(errors.ConfigurationError, match="no regular file"):
            move.do(move.there, "import_", f"/dev/fd/{reading}")
    for size in (0, whole.index(b"\n") + 1, len(whole) // 2):
        arrival = of_file(move.file)
        move.file.write_bytes(whole[:size])  # by somebody else, meanwhile
        with pytest.raises(errors.CorruptData):
            list(arrival.pieces)
        move.file.write_bytes(whole)
    arrival = of_file(move.file)
    move.file.unlink()
    with pytest.raises(errors.ConfigurationError, match="cannot be read"):
        list(arrival.pieces)
    assert move.arrived() == []


def test_rows_that_are_none_of_a_session_are_refused(move: Move) -> None:
    good = [[base64.b64encode(keys.encode("m", number)).decode(), ""] for number in range(9)]
    rows: list[Any] = [[base64.b64encode(key).decode(), ""] for key in KEYS]
    bad = [{**HEAD, "rows": [*good, row]} for row in (*rows, *NO_ROWS)]
    for data in (*NO_DICTS, *bad, *({**head, "rows": good} for head in HEADS)):
        with pytest.raises(errors.SessionStoreError):
            move.do(move.there, "from_dict", data)
    for row in rows:
        move.file.write_bytes(file_of(HEAD, [*good, row]))
        with pytest.raises(errors.CorruptData):
            move.do(move.there, "import_", move.file)
    assert move.arrived() == []


@pytest.mark.parametrize("row", ["a", "c", "d", "l"])
def test_a_row_that_cannot_be_read_leaves_no_session(move: Move, row: str) -> None:
    session = move.do(move.here, "create_session", title="T", ttl=3600)
    move.graph(move.here).invoke(say("one", 0), session.config)
    data = move.do(session, "to_dict")
    damaged = next(pair for pair in data["rows"] if keys.decode(base64.b64decode(pair[0]))[0] == row)
    for junk in (b"junk", b"\x01\xc1", b"\x02 of a newer version"):
        damaged[1] = base64.b64encode(junk).decode()
        with pytest.raises(errors.DataError):
            move.do(move.there, "from_dict", data)
        assert move.arrived() == []


def test_what_fails_half_way_leaves_no_trace(move: Move) -> None:
    session, old = move.used("x"), b"what was there"
    move.do(session, "export", move.file)

    def fail(done: int, total: int) -> None:
        if done > total / 2:
            raise RuntimeError("no more")

    def unreachable(done: int, total: int) -> None:
        raise ConnectionError("nobody looks at the progress")

    with pytest.raises(RuntimeError, match="no more"):
        move.do(move.there, "import_", move.file, progress=fail)
    move.file.write_bytes(old)
    files = sorted(move.file.parent.iterdir())
    with pytest.raises(RuntimeError, match="no more"):
        move.do(session, "export", move.file, progress=fail)
    with pytest.raises(ConnectionError, match="nobody looks"):  # which is no trouble with the file
        move.do(session, "export", move.file, progress=unreachable)
    for nowhere in (move.file.parent, move.file / "below", move.file.parent / "missing" / "file"):
        with pytest.raises(errors.ConfigurationError, match="cannot be written"):
            move.do(session, "export", nowhere)
    move.do(session, "delete")
    with pytest.raises(errors.SessionDeleted):
        move.do(session, "export", move.file)
    assert (sorted(move.file.parent.iterdir()), move.file.read_bytes(), move.arrived()) == (files, old, [])
