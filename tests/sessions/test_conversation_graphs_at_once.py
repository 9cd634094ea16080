"""Several who talk on one session at once: turns wait for turns, and none is lost.

Rule: who is refused has stored nothing, and may try again at once.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.sittings import Form
from support.talker import NO_CONTEXT, TOOLS, Meanwhile, Stage, Talker, echo, graph, remembering

from langgraph_sessionstore import (
    ConflictError,
    LeaseHeld,
    SessionDeleted,
    SessionManager,
)

MEMORY = pytest.mark.parametrize("kind", ["memory"], indirect=True)
CONTEXT = pytest.mark.skipif(NO_CONTEXT, reason="a graph in a node needs the context")


@pytest.fixture
def meanwhile(form: Form) -> Meanwhile:
    return Meanwhile(form)


# -- several at once


def test_all_turns_are_stored_one_after_the_other(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    stage.do("extend", ["x", ("assistant", "y")])
    sessions = [stage.form.do(manager_on(), "get_session", stage.session.id) for _ in range(3)]
    talks = [session.conversation(graph(echo)) for session in sessions for _ in range(2)]
    answers: list[str] = []

    def talk(number: int) -> None:
        answers.append(talks[number].run(f"t{number}").text)

    if stage.form.loop is None:
        threads = [threading.Thread(target=talk, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:

        async def all_() -> None:
            answers.extend(
                each.text for each in await asyncio.gather(*(each.arun(f"t{at}") for at, each in enumerate(talks)))
            )

        stage.form.loop.run_until_complete(all_())
    said = stage.texts()
    assert sorted(said[2::2]) == [f"t{number}" for number in range(6)]
    assert said[3::2] == [f"{2 * at + 3}: {text}" for at, text in enumerate(said[2::2])]
    assert sorted(answers) == sorted(said[3::2])
    stage.line()


@CONTEXT
def test_who_does_not_want_to_wait(
    stage: Stage, meanwhile: Meanwhile, manager_on: Callable[..., SessionManager]
) -> None:
    talk = stage.session.conversation(graph(meanwhile.node()))
    ran: list[Any] = []
    other = stage.form.do(manager_on(), "get_session", stage.session.id)
    meanwhile.acts = [(other.conversation(graph(ran.append), wait=0.2), "run", "b")]
    assert stage.run(talk, "a") == "1: a"
    assert [type(error) for error in meanwhile.errors] == [LeaseHeld]
    assert (ran, stage.texts()) == ([], ["a", "1: a"])
    assert stage.run(other.conversation(graph(echo), wait=0), "b") == "3: b"


@CONTEXT
@pytest.mark.parametrize("tools", [False, True])
def test_a_turn_does_not_wait_for_the_one_around_it(
    stage: Stage, meanwhile: Meanwhile, manager_on: Callable[..., SessionManager], tools: bool
) -> None:
    begun, other = time.monotonic(), stage.form.do(manager_on(), "get_session", stage.session.id)
    ran: list[Any] = []
    for session in (stage.session, other):
        inner: Any = graph(ran.append)
        talk = session.conversation(Talker(), tools=TOOLS) if tools else session.conversation(inner, wait=60)
        meanwhile.acts.append((talk, "run", "b"))
    assert stage.run(stage.session.conversation(graph(meanwhile.node())), "a") == "1: a"
    assert [type(error) for error in meanwhile.errors] == [LeaseHeld] * 2
    assert "wait for itself" in str(meanwhile.errors[0])
    assert time.monotonic() - begun < 10
    assert (ran, stage.texts(), stage.calls()) == ([], ["a", "1: a"], {})
    assert stage.run(stage.session.conversation(graph(echo), wait=0), "b") == "3: b"


@CONTEXT
def test_a_turn_two_graphs_further_in_does_not_wait_either(stage: Stage, meanwhile: Meanwhile) -> None:
    begun, further = time.monotonic(), Meanwhile(stage.form)
    between = stage.form.do(stage.manager, "create_session")
    stage.others.append(between)
    further.acts = [(stage.session.conversation(graph(echo), wait=60), "run", "c")]
    meanwhile.acts = [(between.conversation(graph(further.node())), "run", "b")]
    assert stage.run(stage.session.conversation(graph(meanwhile.node())), "a") == "1: a"
    assert (meanwhile.errors, [type(error) for error in further.errors]) == ([], [LeaseHeld])
    assert time.monotonic() - begun < 10
    assert (stage.texts(), stage.form.texts(between)) == (["a", "1: a"], ["b", "1: b"])


@CONTEXT
@pytest.mark.parametrize("leased", [False, True])
def test_another_session_in_a_node(stage: Stage, meanwhile: Meanwhile, leased: bool) -> None:
    """A lease is one on its own session only."""
    other = stage.form.do(stage.manager, "create_session")
    stage.others.append(other)
    talks = [
        other.conversation(graph(echo), wait=0),
        other.conversation(Talker(), tools=TOOLS, wait=0),
        other.conversation(Talker()),
    ]
    lease = stage.session.lease() if leased else None
    turn = stage.form.enter(lease) if lease is not None else stage.session
    try:
        meanwhile.acts = [(talk, "run", "b") for talk in talks]
        assert stage.run(turn.conversation(graph(meanwhile.node()), wait=0), "a") == "1: a"
    finally:
        if lease is not None:
            stage.form.leave(lease)
    assert meanwhile.errors == []
    assert stage.texts() == ["a", "1: a"]
    assert stage.form.texts(other) == ["b", "I heard b", "b", "I heard b", "b", "5: b"]


def test_an_edit_while_a_graph_runs(
    stage: Stage, meanwhile: Meanwhile, manager_on: Callable[..., SessionManager]
) -> None:
    talk = stage.session.conversation(graph(meanwhile.node()), wait=0)
    stage.run(talk, "a")
    other = stage.form.do(manager_on(), "get_session", stage.session.id)
    for edit in (("append", "user", "x"), ("remove", -1), ("rewind", 1)):
        meanwhile.acts = [(other, *edit)]
        with pytest.raises(ConflictError, match="nothing was stored") as error:
            stage.run(talk, "b")
        assert (type(error.value), meanwhile.errors) == (ConflictError, [])
        assert "b" not in stage.texts()
    assert stage.texts() == []
    meanwhile.acts = [(other, "update"), (other, "append", "user", "x")]
    with pytest.raises(ConflictError):
        stage.run(talk, "b")
    assert stage.run(talk, "b") == "2: b"
    assert stage.texts() == ["x", "b", "2: b"]


def test_what_is_no_message_may_change_while_a_graph_runs(stage: Stage, meanwhile: Meanwhile) -> None:
    talk = stage.session.conversation(graph(meanwhile.node()), wait=0)
    for number, act in enumerate([("set_summary", "S"), ("set_ttl", 1000), ("record_usage", "p", "m")]):
        meanwhile.acts = [(stage.session, *act)]
        assert stage.run(talk, "a") == f"{2 * number + 1}: a"
    assert (meanwhile.errors, stage.do("summary"), stage.calls()) == ([], "S", {"p": 1})


@pytest.mark.parametrize("kind", ["memory", "redis7"], indirect=True)
def test_a_message_in_the_log_while_a_graph_begins(stage: Stage, meanwhile: Meanwhile) -> None:
    talk = stage.session.conversation(graph(meanwhile.node()), wait=0)
    meanwhile.acts = [(stage.session, "append", "user", "x")]
    with pytest.raises(ConflictError):
        stage.run(talk, "a")
    assert stage.texts() == ["x"]
    assert stage.run(talk, "a") == "2: a"


@MEMORY
def test_a_subgraph_does_not_remember_a_turn_that_was_refused(stage: Stage, meanwhile: Meanwhile) -> None:
    talk = stage.session.conversation(remembering(meanwhile.node()), wait=0)
    stage.run(talk, "a")
    own = [each for each in stage.checkpoints() if each.config["configurable"]["checkpoint_ns"]]
    assert own
    meanwhile.acts = [(stage.session, "append", "user", "x")]
    with pytest.raises(ConflictError):
        stage.run(talk, "b")
    assert [each for each in stage.checkpoints() if each.config["configurable"]["checkpoint_ns"]] == own


@pytest.mark.parametrize("turns", [0, 1])
@pytest.mark.parametrize("build", [graph, remembering])
def test_a_session_that_is_deleted_while_its_graph_runs(
    stage: Stage, meanwhile: Meanwhile, turns: int, build: Any
) -> None:
    talk = stage.session.conversation(build(meanwhile.node()), wait=0)
    for _ in range(turns):
        stage.run(talk, "a")
    meanwhile.acts = [(stage.session, "delete")]
    with pytest.raises(SessionDeleted):
        stage.run(talk, "b")
    assert meanwhile.errors == []
    assert stage.form.do(stage.manager, "get_session", stage.session.id) is None
    assert (stage.checkpoints(), stage.form.everything(stage.manager)) == ([], [])
    new = stage.form.do(stage.manager, "create_session", stage.session.id)
    assert stage.run(new.conversation(graph(echo)), "c") == "1: c"


def test_a_lease_is_a_turn_of_several_turns(stage: Stage, manager_on: Callable[..., SessionManager]) -> None:
    other = stage.form.do(manager_on(), "get_session", stage.session.id)
    stage.do("append", "user", "x")
    lease = stage.session.lease()
    turn = stage.form.enter(lease)
    try:
        talk = turn.conversation(graph(echo), wait=0)
        assert [stage.run(talk, text) for text in "ab"] == ["2: a", "4: b"]
        for conversation in (other.conversation(graph(echo), wait=0), other.conversation(Talker(), tools=TOOLS)):
            with pytest.raises(LeaseHeld):
                stage.run(conversation, "c")
        assert stage.run(talk, "d") == "6: d"
    finally:
        stage.form.leave(lease)
    assert stage.run(other.conversation(graph(echo), wait=0), "c") == "8: c"
    assert stage.texts() == ["x", "a", "2: a", "b", "4: b", "d", "6: d", "c", "8: c"]
    stage.line()
