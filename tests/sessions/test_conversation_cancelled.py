"""Turns of graphs that are cancelled at any point: between two calls of the storage, and while one is answered.

Rule: what is stored is whole, what was used is counted once, and the next turn begins at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from support.talker import TOOLS, Stage, Talker, echo, graph, texts

from langgraph_sessionstore import Backend, Session, SessionManager
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import Call
from langgraph_sessionstore.testing import FaultyBackend

pytestmark = [
    pytest.mark.parametrize("kind", ["memory"], indirect=True),
    pytest.mark.parametrize("form", ["async"], indirect=True),
]


class Cancelling(FaultyBackend):
    """A backend whose caller is cancelled when one of its calls is done, and nobody has heard of it yet."""

    at = 0
    after = True
    task: asyncio.Task[Any] | None = None

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        earlier = self.calls
        if not self.after and earlier < self.at <= earlier + len(calls):
            await self._cancel()
        answers = await super().aexecute(calls, ordered=ordered)
        if self.after and earlier < self.at <= self.calls:
            await self._cancel()
        return answers

    async def _cancel(self) -> None:
        assert self.task is not None
        self.at = 0
        self.task.cancel()
        await asyncio.sleep(0)


def cancelled(
    stage: Stage, backend: Backend, after: bool, turn: Callable[[Session, Talker], Any]
) -> Iterator[tuple[Stage, Talker]]:
    """Sessions with a turn that was cancelled at one call of the storage: each call once."""
    cancelling, number, met = Cancelling(backend, {}), 0, True
    cancelling.after = after
    manager, loop = SessionManager(cancelling), stage.form.loop
    assert loop is not None
    while met:
        number += 1
        model = Talker()
        session = stage.form.do(manager, "create_session", messages=["x", ("assistant", "y")])
        cancelling.calls, cancelling.at = 0, number
        task = cancelling.task = loop.create_task(turn(session, model))
        loop.run_until_complete(asyncio.wait([task]))
        met, cancelling.at = not cancelling.at, 0
        assert met == task.cancelled()
        other = Stage(stage.form, manager, session, dict)
        yield other, model
        other.line()
        other.sound()
    assert number > 3


AFTER = ["x", "y", "double:3", "double", "6", "I heard 6"]


@pytest.mark.parametrize("after", [True, False])
def test_what_is_stored_is_whole(stage: Stage, storage: Callable[[], Backend], after: bool) -> None:
    async def turn(session: Session, model: Talker) -> None:
        await session.conversation(model, tools=TOOLS).arun(HumanMessage("double:3", id="mine"))

    seen = []
    for at, model in cancelled(stage, storage(), after, turn):
        seen.append(at.texts())
        assert seen[-1] in (AFTER[:2], AFTER)
        talk = at.session.conversation(model, tools=TOOLS)
        assert at.run(talk, HumanMessage("double:3", id="mine")) == "I heard 6"
        assert (at.texts(), texts(at.values()["messages"])) == (AFTER, AFTER)
    assert AFTER[:2] in seen
    assert AFTER in seen


@pytest.mark.parametrize("after", [True, False])
def test_what_was_used_is_counted_once(stage: Stage, storage: Callable[[], Backend], after: bool) -> None:
    async def turn(session: Session, model: Talker) -> None:
        await session.conversation(model, tools=TOOLS).arun("double:3")

    for at, model in cancelled(stage, storage(), after, turn):
        assert at.calls().get("chat", 0) == len(model.sent)


@pytest.mark.parametrize("after", [True, False])
def test_the_next_turn_begins_at_once(stage: Stage, storage: Callable[[], Backend], after: bool) -> None:
    async def turn(session: Session, model: Talker) -> None:
        await session.conversation(graph(echo)).arun("a")

    for at, _ in cancelled(stage, storage(), after, turn):
        at.run(at.session.conversation(graph(echo), wait=1), "b")


def test_who_waits_may_be_cancelled(stage: Stage) -> None:
    loop = stage.form.loop
    assert loop is not None

    async def both() -> None:
        inside, go = asyncio.Event(), asyncio.Event()

        async def slow(state: Any) -> Any:
            inside.set()
            await go.wait()
            return echo(state)

        first = asyncio.create_task(stage.session.conversation(graph(slow)).arun("a"))
        await inside.wait()
        second = asyncio.create_task(stage.session.conversation(graph(echo)).arun("b"))
        await asyncio.sleep(0.05)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        go.set()
        await first

    loop.run_until_complete(both())
    assert stage.texts() == ["a", "1: a"]
    assert stage.run(stage.session.conversation(graph(echo), wait=0), "c") == "3: c"


def test_nobody_listens_any_more(stage: Stage) -> None:
    loop = stage.form.loop
    assert loop is not None
    talk = stage.session.conversation(Talker(), tools=TOOLS)

    async def leave() -> str:
        async for _ in talk.astream("double:3"):
            break
        return str((await talk.arun("a")).text)

    assert loop.run_until_complete(leave()) == "I heard a"
    assert stage.texts() == ["a", "I heard a"]
