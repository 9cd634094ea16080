"""Many conversations at once on one checkpointer, in threads and in tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.graphs import FIRST, Work, built_agent, normal, say, working

from langgraph_sessionstore import Backend

MANY = 8
TURNS = ("hello", "double:4 double:5")


@pytest.fixture
def work(kind: str, storage: Callable[[], Backend], thread: str, tmp_path: Path) -> Iterator[Work]:
    with working(storage, FIRST[kind], thread, tmp_path / "ledger") as work:
        yield work


def turns(number: int) -> list[Any]:
    return [say(f"{text} in conversation {number}", at) for at, text in enumerate(TURNS)]


def converse(work: Work, graph: Any, config: Any, number: int) -> None:
    for turn in turns(number):
        graph.invoke(turn, config)


async def aconverse(work: Work, graph: Any, config: Any, number: int) -> None:
    for turn in turns(number):
        await graph.ainvoke(turn, config)


def assert_as_alone(work: Work, configs: list[Any]) -> None:
    """Each conversation holds what it would hold if it had been the only one."""
    peer = built_agent(work.ledger, work.peer)
    for number, config in enumerate(configs):
        converse(work, peer, config, number)
        wanted = normal(work.history(peer, config))
        assert normal(work.history(built_agent(work.ledger, work.saver), config)) == wanted
        cold = work.state(built_agent(work.ledger, work.other()), config)
        assert cold.values == work.state(peer, config).values


def test_conversations_in_threads_do_not_disturb_each_other(work: Work) -> None:
    configs = [work.config(f"{work.thread}-{number}") for number in range(MANY)]
    graph = built_agent(work.ledger, work.saver)
    with ThreadPoolExecutor(MANY) as pool:
        list(pool.map(lambda number: converse(work, graph, configs[number], number), range(MANY)))
    assert_as_alone(work, configs)


def test_conversations_in_tasks_do_not_disturb_each_other(work: Work) -> None:
    configs = [work.config(f"{work.thread}-{number}") for number in range(MANY)]
    graph = built_agent(work.ledger, work.saver)

    async def everything() -> None:
        await asyncio.gather(*(aconverse(work, graph, config, number) for number, config in enumerate(configs)))

    work.wait(everything())
    assert_as_alone(work, configs)


def test_threads_and_tasks_at_once_do_not_disturb_each_other(work: Work) -> None:
    configs = [work.config(f"{work.thread}-{number}") for number in range(MANY)]
    graph = built_agent(work.ledger, work.saver)
    half = MANY // 2

    async def everything() -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(half) as pool:
            others = [
                loop.run_in_executor(pool, converse, work, graph, configs[number], number) for number in range(half)
            ]
            await asyncio.gather(*(aconverse(work, graph, configs[n], n) for n in range(half, MANY)), *others)

    work.wait(everything())
    assert_as_alone(work, configs)


def test_threads_whose_names_begin_alike_are_strangers(work: Work) -> None:
    graph = built_agent(work.ledger, work.saver)
    names = [work.thread, f"{work.thread}:", f"{work.thread}|a", f"{work.thread}\u00e9", work.thread[:-1]]
    configs = [work.config(name) for name in names]
    for number, config in enumerate(configs):
        work.invoke(graph, say(f"I am {number}", 0), config)
    work.call(work.saver, "delete_thread", work.thread)
    for number, config in enumerate(configs):
        found = [str(each.content) for each in work.state(graph, config).values.get("messages", ())]
        assert found == ([f"I am {number}", f"I heard I am {number}"] if number else [])
