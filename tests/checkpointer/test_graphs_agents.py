"""Agents with tools over several turns: what they remember is what LangGraph's own checkpointer would hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command
from support.graphs import FIRST, Work, built_agent, made_agent, normal, noted, say, working

from langgraph_sessionstore import Backend

SCRIPT = ("hello", "double:4", "double:5 double:6", "and now?")
Agent = Callable[[Path, Any], Any]


@pytest.fixture
def work(kind: str, storage: Callable[[], Backend], thread: str, tmp_path: Path) -> Iterator[Work]:
    with working(storage, FIRST[kind], thread, tmp_path / "ledger") as work:
        yield work


@pytest.fixture(params=[built_agent, made_agent], ids=["built", "create_agent"])
def agent(request: pytest.FixtureRequest) -> Agent:
    made: Agent = request.param
    return made


def test_an_agent_remembers_its_turns_as_with_langgraphs_own_checkpointer(work: Work, agent: Agent) -> None:
    graph, peer = agent(work.ledger, work.saver), agent(work.ledger, work.peer)
    for number, text in enumerate(SCRIPT):
        for each in (graph, peer):
            work.invoke(each, say(text, number), work.config())
    history = work.history(graph, work.config())
    assert normal(history) == normal(work.history(peer, work.config()))
    assert [str(message.content) for message in history[0].values["messages"]] == [
        *("hello", "I heard hello"),
        *("double:4", "", "8", "I heard 8"),
        *("double:5 double:6", "", "10", "12", "I heard 10, 12"),
        *("and now?", "I heard and now?"),
    ]
    assert noted(work.ledger).count("double 4") == 2  # once for each checkpointer


def test_another_worker_sees_all_that_one_holds(work: Work, agent: Agent) -> None:
    graph = agent(work.ledger, work.saver)
    for number, text in enumerate(SCRIPT):
        work.invoke(graph, say(text, number), work.config())
    cold = agent(work.ledger, work.other())
    assert work.history(cold, work.config()) == work.history(graph, work.config())
    assert work.state(cold, work.config()) == work.state(graph, work.config())


def test_workers_that_take_turns_see_each_others_turns(work: Work, agent: Agent) -> None:
    workers = [agent(work.ledger, saver) for saver in (work.saver, work.other(), work.other())]
    peer = agent(work.ledger, work.peer)
    for number in range(6):
        text = f"double:{number}"
        work.invoke(peer, say(text, number), work.config())
        result = work.invoke(workers[number % 3], say(text, number), work.config())
        assert len(result["messages"]) == (number + 1) * 4
    histories = [normal(work.history(each, work.config())) for each in (*workers, peer)]
    assert all(history == histories[-1] for history in histories)


@pytest.mark.parametrize("mode", ["values", "updates", "checkpoints"])
def test_streams_tell_what_they_tell_with_langgraphs_own_checkpointer(work: Work, agent: Agent, mode: Any) -> None:
    pieces = []
    for saver in (work.saver, work.peer):
        graph = agent(work.ledger, saver)
        told = [work.stream(graph, say(text, n), work.config(), stream_mode=mode) for n, text in enumerate(SCRIPT[:3])]
        # tasks that run side by side may end in any order
        pieces.append(sorted(normal([_without_moments(piece)])[0] for turn in told for piece in turn))
    assert pieces[0] == pieces[1]


def test_a_stream_that_is_left_early_leaves_a_thread_that_goes_on(work: Work, agent: Agent) -> None:
    graph = agent(work.ledger, work.saver)
    if work.turns_async():

        async def leave() -> None:
            pieces = graph.astream(say("double:4", 0), work.config(), stream_mode="updates")
            await anext(pieces)
            await pieces.aclose()

        work.wait(leave())
    else:
        pieces = graph.stream(say("double:4", 0), work.config(), stream_mode="updates")
        next(pieces)
        pieces.close()
    result = work.invoke(graph, None, work.config())
    assert str(result["messages"][-1].content) == "I heard 8"


def test_a_tool_that_asks_lets_its_finished_neighbours_be(work: Work, agent: Agent) -> None:
    graph = agent(work.ledger, work.saver)
    result = work.invoke(graph, say("double:4 ask:sure double:5", 0), work.config())
    assert [each.value for each in result["__interrupt__"]] == [{"question": "sure"}]
    assert sorted(noted(work.ledger)) == ["double 4", "double 5"]
    assert work.state(graph, work.config()).interrupts == tuple(result["__interrupt__"])

    other = agent(work.ledger, work.other())
    result = work.invoke(other, Command(resume="yes"), work.config())
    assert str(result["messages"][-1].content) == "I heard 8, yes, 10"
    assert sorted(noted(work.ledger)) == ["ask sure: yes", "double 4", "double 5"]
    assert work.state(graph, work.config()).next == ()


def test_history_with_an_interrupt_is_that_of_langgraphs_own_checkpointer(work: Work, agent: Agent) -> None:
    held = []
    for saver in (work.saver, work.peer):
        graph = agent(work.ledger, saver)
        work.invoke(graph, say("double:4 ask:sure", 0), work.config())
        waiting = normal(work.history(graph, work.config()))
        work.invoke(graph, Command(resume="yes"), work.config())
        held.append((waiting, normal(work.history(graph, work.config()))))
    assert held[0] == held[1]


def test_the_approval_of_tools_by_a_human_is_kept(work: Work) -> None:
    from langchain.agents import create_agent
    from langchain.agents.middleware import HumanInTheLoopMiddleware
    from support.graphs import Scripted, make_tools

    def graph(saver: Any) -> Any:
        human = HumanInTheLoopMiddleware(interrupt_on={"double": True})
        return create_agent(Scripted(), make_tools(work.ledger), middleware=[human], checkpointer=saver)

    work.invoke(graph(work.saver), say("double:4 double:5", 0), work.config())
    assert noted(work.ledger) == []
    answer = {"decisions": [{"type": "approve"}, {"type": "reject", "message": "not that"}]}
    result = work.invoke(graph(work.other()), Command(resume=answer), work.config())
    assert noted(work.ledger) == ["double 4"]
    said = [message.content for message in result["messages"] if message.type == "tool"]
    assert "8" in said
    assert len(said) == 2
    assert any("not that" in each for each in said)


def _without_moments(piece: Any) -> Any:
    return {name: each for name, each in piece.items() if name != "ts"} if isinstance(piece, dict) else piece
