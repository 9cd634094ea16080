"""Messages of a log become those of a graph, with the first turn of the graph.

Rule: a log moves once, in the one step of that turn, with all of its messages; a turn that fails leaves it as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.types import Command, interrupt
from support.talker import NO_CONTEXT, TOOLS, Meanwhile, Stage, State, Talker, echo, graph, say, texts, waits

from langgraph_sessionstore import (
    Backend,
    ConflictError,
    NothingToUndo,
    SessionDeleted,
    SessionManager,
    SessionStoreError,
    arun,
    run,
)
from langgraph_sessionstore.adapters.held import Held
from langgraph_sessionstore.plans import adopting, places, steering
from langgraph_sessionstore.session import line
from langgraph_sessionstore.testing import Fault, FaultyBackend

MEMORY = pytest.mark.parametrize("kind", ["memory"], indirect=True)
TWO = ["a", ("assistant", "b")]


def in_the_log(stage: Stage) -> list[bytes]:
    """The rows of messages, and of what can be undone and redone."""
    rows = [row for part in stage.everything().values() for row in part if isinstance(row, bytes)]
    return [row for row in rows for lo, hi in (places.MESSAGES, places.UNDONE, places.REDO) if lo <= row < hi]


def carry_out(stage: Stage, plan: Any) -> Any:
    """A plan on the storage."""
    backend = stage.manager.backend
    return run(backend, plan) if stage.form.loop is None else stage.form.loop.run_until_complete(arun(backend, plan))


def fails(state: State) -> Any:
    """A node that does not work."""
    raise RuntimeError("on purpose")


# -- once, and in one step


@pytest.mark.parametrize("tools", [False, True])
def test_a_log_moves_in_one_step(stage: Stage, tools: bool) -> None:
    given = [HumanMessage("a", id="mine"), AIMessage("b"), HumanMessage("c" * 200), AIMessage("d", name="n")]
    stage.do("extend", given)
    for name, *args in (("append", "user", "gone"), ("remove", -1), ("undo",), ("redo",)):
        stage.do(name, *args)
    assert in_the_log(stage)
    model = Talker()
    talk = stage.session.conversation(model, tools=TOOLS) if tools else stage.session.conversation(graph(echo))
    said = "I heard x" if tools else "5: x"
    assert stage.run(talk, "x") == said
    if tools:
        assert texts(model.sent[0]) == [*texts(given), "x"]
    messages = stage.do("messages")
    assert [(type(each), each.text, each.name) for each in messages[:4]] == [
        (type(each), each.text, each.name) for each in given
    ]
    assert (messages[0].id, texts(messages[4:])) == ("mine", ["x", said])
    assert len({message.id for message in messages} - {None}) == 6
    assert (stage.values()["messages"], in_the_log(stage)) == (messages, [])
    turn, moved = stage.checkpoints()
    assert moved.checkpoint["channel_values"]["messages"] == messages[:4]
    assert turn.parent_config == moved.config
    for name in ("undo", "redo"):
        with pytest.raises(NothingToUndo):
            stage.do(name)
    stage.run(talk, "y")
    assert (stage.do("messages")[:6], len(stage.checkpoints())) == (messages, 3)  # once
    stage.line()


def test_an_order_that_is_not_that_of_the_log(stage: Stage) -> None:
    stage.do("extend", [f"{number}" for number in range(30)])
    stage.do("truncate", 3, 2)
    stage.do("insert", 1, "user", "in")
    stage.do("replace", 0, "user", "first")
    before = stage.texts()
    assert stage.run(stage.session.conversation(graph(echo)), "x") == f"{len(before) + 1}: x"
    assert stage.texts() == [*before, "x", f"{len(before) + 1}: x"]


def test_the_first_turn_is_taken_back_alone(stage: Stage) -> None:
    stage.do("extend", TWO)
    stage.run(stage.session.conversation(graph(echo)), "x")
    moved = stage.checkpoints()[-1].checkpoint
    stage.do("rewind", turns=1)
    assert stage.texts() == ["a", "b"]
    assert moved["channel_versions"].keys() == {"messages"}
    assert "echo" not in moved["versions_seen"]


def test_a_session_without_messages_stays_as_it_is(stage: Stage) -> None:
    before = stage.everything()
    found, draft = carry_out(stage, adopting.opening(stage.session._desk))
    assert (found.channel, found.latest, draft.messages, stage.everything()) == (None, None, [], before)
    stage.run(stage.session.conversation(graph(echo)), "a")
    assert len(stage.checkpoints()) == 1


@MEMORY
def test_messages_that_were_all_taken_back(stage: Stage) -> None:
    stage.do("extend", TWO)
    stage.do("clear")
    assert stage.run(stage.session.conversation(graph(echo)), "x") == "1: x"
    assert stage.texts() == ["x", "1: x"]


@MEMORY
def test_a_question_moves_the_log(stage: Stage) -> None:
    if NO_CONTEXT and stage.form.loop is not None:
        pytest.skip("without context LangGraph has no async interrupts")

    def ask(state: State) -> Any:
        return say(f"{len(state['messages'])} {interrupt('which?')}")

    stage.do("extend", TWO)
    talk = stage.session.conversation(graph(ask))
    waits(stage, talk, "x", "which?")
    assert (stage.texts(), in_the_log(stage)) == (["a", "b", "x"], [])
    assert stage.run(talk, Command(resume="this")) == "3 this"
    assert stage.texts() == ["a", "b", "x", "3 this"]
    stage.line()


# -- several at once


def test_several_who_move_a_log_at_once(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    stage.do("extend", TWO)
    sessions = [stage.form.do(manager_on(), "get_session", stage.session.id) for _ in range(4)]
    errors: list[Exception] = []

    def talk(number: int) -> None:
        while True:
            try:
                sessions[number].conversation(graph(echo)).run(f"t{number}")
                return
            except ConflictError:  # somebody has appended meanwhile: nothing of the turn is stored
                continue
            except Exception as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(4)]
    threads += [threading.Thread(target=sessions[0].append, args=("user", "c"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    said = stage.texts()
    assert (said[:2], sorted(said).count("c"), len(said)) == (["a", "b"], 1, 2 + 1 + 8)
    for number in range(4):
        at = said.index(f"t{number}")
        assert said[at + 1] == f"{at + 1}: t{number}"
    assert not any(places.MESSAGES[0] <= row < places.MESSAGES[1] for row in in_the_log(stage))
    stage.line()


def late(stage: Stage) -> Callable[[], bool]:
    """A move of the log as it is now, that is stored later on; whether it was."""
    session, number = stage.session, stage.manager.checkpointer.tools().new_branch()
    found, draft = carry_out(stage, adopting.opening(session._desk))
    move = adopting.move(session._desk, found, draft, "messages")
    held = Held(stage.manager.checkpointer, session.config, None)
    before: Any = {"configurable": {**session.config["configurable"], "checkpoint_id": move.given.checkpoint["id"]}}
    version = held.get_next_version(move.given.checkpoint["channel_versions"]["messages"], None)
    checkpoint: Any = {**move.given.checkpoint, "id": "f" * 36, "channel_versions": {"messages": version}}
    held.put(before, checkpoint, {"source": "loop", "step": 1, "parents": {}}, {"messages": version})
    guards = [*steering.newest(found.latest), *move.guards]
    name = b"%016d" % (number % 10**16)
    return lambda: bool(carry_out(stage, held.release(move.given, guards, move.ops, name)))


def test_it_is_moved_as_it_was_read_or_not_at_all(stage: Stage) -> None:
    stage.do("extend", TWO)
    edits: list[tuple[Any, ...]] = [
        ("append", "user", "c"), ("remove", -1), ("undo",), ("redo",), ("replace", 0, "user", "x")
    ]  # fmt: skip
    for name, *args in edits:
        store = late(stage)
        stage.do(name, *args)
        before = stage.kept()
        assert store() is False, name
        assert stage.kept() == before
    stores = [late(stage) for _ in range(2)]
    said = stage.texts()
    assert [store() for store in stores] == [True, False]
    assert (stage.texts(), in_the_log(stage), len(stage.checkpoints())) == (said, [], 2)


def test_another_session_with_that_name_is_not_moved_into(stage: Stage) -> None:
    stage.do("extend", TWO)
    store = late(stage)
    stage.do("delete")
    with pytest.raises(SessionDeleted):
        store()
    assert stage.form.do(stage.manager, "get_session", stage.session.id) is None
    new = stage.form.do(stage.manager, "create_session", stage.session.id, messages=["new"])
    assert store() is False
    assert (stage.form.texts(new), stage.checkpoints()) == (["new"], [])


# -- turns that fail


@MEMORY
@pytest.mark.parametrize("fault", [Fault.FAIL, Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_a_move_that_is_cut_loses_nothing(
    stage: Stage, storage: Callable[[], Backend], monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(line, "_TTL", 0.1)  # a place whose end was not heard of is free soon
    faulty, number = FaultyBackend(storage(), {}), 0
    manager, seen = SessionManager(faulty), set()
    while faulty.calls >= number:
        number += 1
        session = stage.form.do(manager, "create_session")
        stage.form.do(session, "extend", TWO)
        talk = session.conversation(graph(echo))
        faulty.calls, faulty.faults = 0, {number: fault}
        failed = False
        try:
            assert stage.run(talk, "x") == "3: x"
        except SessionStoreError:
            failed = True
        made, faulty.faults = faulty.calls, {}
        said = stage.form.texts(session)
        assert said in (["a", "b"], ["a", "b", "x", "3: x"])
        seen.add((failed, len(said)))
        at_session = Stage(stage.form, manager, session, dict)
        if len(said) == 2:
            assert (failed, at_session.checkpoints()) == (True, [])
            assert stage.form.do(session, "undo")
            assert stage.form.do(session, "redo")
        assert stage.run(talk, "x") in ("3: x", "5: x")
        assert stage.form.texts(session)[:4] == ["a", "b", "x", "3: x"]
        at_session.line()
        at_session.sound()
        faulty.calls = made
    assert {(True, 2), (False, 4)} <= seen
    assert number > 3


@pytest.mark.parametrize("kind", ["memory", "redis7"], indirect=True)
def test_a_turn_that_fails_leaves_the_log_where_it_is(stage: Stage) -> None:
    stage.do("extend", TWO)
    stage.do("append", "user", "gone")
    stage.do("undo")
    before, rows, session = stage.kept(), in_the_log(stage), stage.session
    with pytest.raises(TimeoutError):
        stage.run(session.conversation(Talker(faults={1: TimeoutError("no")}), tools=TOOLS), "c")
    with pytest.raises(RuntimeError):
        stage.run(session.conversation(Talker(), tools=TOOLS), "broken:1")
    with pytest.raises(RuntimeError, match="on purpose"):
        stage.run(session.conversation(graph(echo, fails)), "c")
    stage.stream(session.conversation(graph(echo, echo_again)), "c", 1)
    assert (stage.kept(), in_the_log(stage)) == (before, rows)
    assert stage.do("redo") == "Restored: after append of 1 message"
    assert stage.do("undo") == "Restored: before append of 1 message"
    assert stage.do("undo") == "Restored: before append of 2 messages"


def echo_again(state: State) -> Any:
    """A second node."""
    return echo(state)


def test_an_append_while_the_first_turn_runs(stage: Stage) -> None:
    stage.do("extend", TWO)
    meanwhile = Meanwhile(stage.form)
    meanwhile.acts = [(stage.session, "append", "user", "c")]
    talk = stage.session.conversation(graph(meanwhile.node()), wait=0)
    with pytest.raises(ConflictError, match="nothing was stored"):
        stage.run(talk, "x")
    assert (meanwhile.errors, stage.texts(), stage.checkpoints()) == ([], ["a", "b", "c"], [])
    assert stage.do("undo")
    assert stage.run(talk, "x") == "3: x"
    assert stage.texts() == ["a", "b", "x", "3: x"]
