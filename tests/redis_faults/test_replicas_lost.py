"""Writes that wait for replicas, on a cluster whose replicas stop one by one, and through the death of a master."""

from __future__ import annotations

import asyncio
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

from redis_faults.load import LOG, LOG_SPAN, SUM, fresh_id, one, others, session, session_on
from support.binaries import find_binary
from support.pair import SOON
from support.servers import RedisCluster, SentinelGroup
from support.waiting import wait_until
from support.workers import Use

from langgraph_sessionstore import (
    Backend,
    BackendError,
    NotReplicated,
    open_backend,
    run,
)
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import (
    Add,
    Append,
    Call,
    Get,
    Put,
    Range,
    must,
)


def test_each_node_of_a_cluster_answers_for_itself(use: Use, replicated: RedisCluster) -> None:
    worker = use(replicated.url, **(SOON | {"wait_timeout": 2}))
    names = [session_on(replicated, node) for node in replicated.masters()]
    lonely = replicated.masters()[0]
    replica = next(node for node in replicated.nodes if f",port={node.port}," in lonely.ask("INFO", "replication"))
    assert worker.execute(*[one(name, Add(SUM, 1)) for name in names]) == [[1]] * 3
    replica.pause()
    try:
        for ordered in (False, True):
            first, *rest = worker.answers(*[one(name, Add(SUM, 1)) for name in names], ordered=ordered)
            assert isinstance(first, NotReplicated)
            assert first.result == ([3] if ordered else [2])
            assert rest == [first.result] * 2
        source = session_on(replicated, others(replicated, lonely)[0])
        worker.do(source, Put(b"k", b"1"))
        (copied,) = worker.answers(Call(session_on(replicated, lonely), one(source, Get(b"k")).batch, source))
        assert isinstance(copied, NotReplicated)
        assert copied.result == [b"1"]
    finally:
        replica.resume()
        replicated.wait_ok()


def test_what_was_confirmed_survives_the_master() -> None:
    """Written by threads and tasks while the master dies; the replica that has confirmed it is promoted."""
    confirmed: dict[bytes, dict[bytes, bytes]] = {session(): {} for _ in range(4)}
    begun, doubts, lock, stop = itertools.count(), [0], threading.Lock(), threading.Event()

    def calls() -> tuple[bytes, bytes, list[Call]]:
        with lock:
            number = next(begun)
        name, record = list(confirmed)[number % len(confirmed)], b"%d" % number
        op_id = fresh_id() if number % 2 else None
        return name, record, [one(name, Append(LOG, record), Add(SUM, 1), op_id=op_id)]

    def take(name: bytes, number: bytes, answers: list[Answer]) -> None:
        with lock:
            (answer,) = answers
            if isinstance(answer, list):
                confirmed[name][answer[0]] = number
            else:
                assert isinstance(answer, BackendError)
                doubts[0] += 1

    def work(backend: Backend) -> None:
        while not stop.is_set():
            name, number, made = calls()
            take(name, number, backend.execute(made))

    async def work_async(backend: Backend) -> None:
        while not stop.is_set():
            name, number, made = calls()
            take(name, number, await backend.aexecute(made))

    async def main(url: str) -> None:
        async with open_backend(url, **SOON) as backend:
            await asyncio.gather(*[work_async(backend) for _ in range(3)])

    def known() -> int:
        with lock:
            return sum(map(len, confirmed.values()))

    with SentinelGroup(find_binary("7")) as group, open_backend(group.url, **SOON) as backend:
        with ThreadPoolExecutor(4) as pool:
            ends = [pool.submit(work, backend) for _ in range(3)] + [pool.submit(lambda: asyncio.run(main(group.url)))]
            try:
                wait_until(lambda: known() > 100, "much was written")
                victim = group.kill_master()
                group.wait_new_master(victim)
                met = doubts[0]
                wait_until(lambda: doubts[0] > met, "the new master, which has no replica, takes writes")
            finally:
                stop.set()
            for end in ends:
                end.result()
        with open_backend(group.master().url) as direct:
            for name, written in confirmed.items():
                there = dict(run(direct, must(name, Range(*LOG_SPAN)))[0])
                assert len(there) == len(set(there.values())), "a record is there twice"
                assert {key: there.get(key) for key in written} == written
