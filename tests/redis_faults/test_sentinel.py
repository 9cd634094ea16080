"""The Redis backend behind Sentinels: masters that are replaced, demoted or killed, Sentinels that are gone.

Sentinels cannot save all that a master has acknowledged before it is replaced. What has to hold is that nothing is
there twice or by half, that what was refused is not there, and that what the new master acknowledged stays. Masters
that are killed under load: `faults`.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.asyncio.sentinel import Sentinel as AsyncSentinelManager
from redis.exceptions import NoScriptError
from redis.sentinel import Sentinel as SentinelManager
from redis_faults.load import (
    LOG,
    LOG_SPAN,
    SUM,
    Load,
    finish,
    fresh_id,
    one,
    session,
    work_in_both_forms_during,
)
from support.binaries import find_binary
from support.servers import SentinelGroup
from support.waiting import wait_until
from support.workers import Use

from langgraph_sessionstore import BackendError, BackendUnavailable, keys, open_backend
from langgraph_sessionstore.backends.redis import RedisBackend
from langgraph_sessionstore.ops import Add, Append, Delete, Expire, Get, Lease, Op, Put, Range, Touch
from langgraph_sessionstore.testing.checks import check_partition
from langgraph_sessionstore.testing.worker import Worker


@pytest.fixture(scope="module", params=["6.2", "7"])
def group(request: pytest.FixtureRequest) -> Iterator[SentinelGroup]:
    """A group whose servers swap their roles; all of them stay well."""
    with SentinelGroup(find_binary(request.param)) as group:
        yield group


@pytest.fixture(scope="module")
def fragile() -> Iterator[SentinelGroup]:
    """A group whose members die, and are back at the end of each test."""
    with SentinelGroup(find_binary("7")) as group:
        yield group


@pytest.fixture
def whole(fragile: SentinelGroup) -> Iterator[SentinelGroup]:
    yield fragile
    fragile.start()  # whoever is not there
    fragile.wait_replica()


def is_demotion(error: Exception) -> bool:
    return isinstance(error, redis.ReadOnlyError) or "READONLY" in str(error)


# -- the master is replaced


def test_a_failover_under_load(both: Use, group: SentinelGroup, met: list[Exception]) -> None:
    worker = both(group.url)
    load = Load(*[session() for _ in range(3)])
    marks: list[int] = []

    def change() -> None:
        load.progress(200)
        group.failover()
        marks.append(load.mark())
        load.progress(200)

    work_in_both_forms_during(worker, [(worker.backend, load.step)] * 3, change)
    assert any(map(is_demotion, met))
    assert all(is_demotion(error) or isinstance(error, NoScriptError) for error in met)
    assert not load.refused
    assert not load.unknown.keys() & load.repeatable
    direct = both(group.master().url)
    load.check(direct.rows, marks[0])
    assert max(load.appended) > marks[0]
    for partition in load.partitions:
        assert not direct.run(check_partition(partition))
        wait_until(lambda: worker.rows(partition) == direct.rows(partition), "old connections see it")  # noqa: B023


def test_the_sentinels_demote_an_old_master_themselves(both: Use, fragile: SentinelGroup) -> None:
    """For some seconds it goes on as a master, and what it acknowledges then is lost."""
    worker = both(fragile.url)
    load = Load(*[session() for _ in range(3)])
    marks: list[int] = []

    def change() -> None:
        load.progress(200)
        old = fragile.master()
        fragile.failover(demote=False)
        load.progress(200)
        wait_until(lambda: old.role() == "slave", "the old master is demoted", 40)
        marks.append(load.mark())
        load.progress(400)

    try:
        work_in_both_forms_during(worker, [(worker.backend, load.step)] * 2, change)
        assert not load.refused
        assert not load.unknown.keys() & load.repeatable
        load.check(both(fragile.master().url).rows, marks[0])
    finally:
        fragile.wait_replica()


# -- connections to a master that has become a replica


def test_a_demoted_master_is_left_for_the_new_one(use: Use, group: SentinelGroup, met: list[Exception]) -> None:
    name, registry = session(), keys.registry(session().hex())
    add = (Append(LOG, b"x"), Add(SUM, 1))
    beside = (Range(*LOG_SPAN), *add, Range(b"", None))
    batches: list[tuple[Any, ...]] = [
        (Put(b"k", b"1"),),
        (Delete(b"nothing"),),
        (Expire(),),
        (Lease(b"me", 0),),
        add,
        beside,
    ]
    cases: list[Callable[[Worker], Any]] = [
        *[lambda worker, ops=ops: worker.do(name, *ops) for ops in batches],
        lambda worker: worker.do(name, *add, op_id=fresh_id()),
        lambda worker: worker.do(name, *beside, op_id=fresh_id()),
        lambda worker: worker.do(registry, Touch(name)),
        lambda worker: worker.copy(name, session(), Get(b"k")),
        lambda worker: worker.execute(*[one(name, *add)] * 3),
        lambda worker: worker.execute(*[one(name, *beside)] * 3),
        lambda worker: worker.execute(*[one(name, *add)] * 3, ordered=True),
        lambda worker: worker.execute(one(name, Get(b"k")), one(name, *add), ordered=True),
    ]
    workers = [use(group.url) for _ in cases]
    for worker in workers:
        worker.do(name, Put(b"k", b"0"))
    old = group.master()
    new = group.failover()
    assert new is not old
    wrong = []
    for number, (worker, case) in enumerate(zip(workers, cases, strict=True)):
        met.clear()
        try:
            case(worker)
        except BackendError as error:  # the server has said that nothing was applied
            wrong.append((number, error))
            continue
        assert any(map(is_demotion, met)), number
        if number == 0:
            assert worker.do(name, Get(b"k")) == [b"1"]
    assert not wrong
    rows = use(new.url).rows(name)
    assert rows[b"k"] == b"1"
    assert rows[LOG] == rows[SUM] == b"14"


def test_given_clients_leave_a_demoted_master_too(both: Use, group: SentinelGroup, met: list[Exception]) -> None:
    loop = both(group.url)._loop
    assert loop
    sentinels = [(sentinel.host, sentinel.port) for sentinel in group.sentinels]
    manager = SentinelManager(sentinels)  # type: ignore[no-untyped-call]
    async_manager = AsyncSentinelManager(sentinels)  # type: ignore[no-untyped-call]
    client = manager.master_for(group.service)  # type: ignore[no-untyped-call]
    async_client = async_manager.master_for(group.service)
    backend = RedisBackend(client, async_client)
    names = session(), session()
    workers = Worker(backend, None), Worker(backend, loop)
    try:
        for worker, name in zip(workers, names, strict=True):
            worker.do(name, Put(b"k", b"0"))
        group.failover()
        for worker, name in zip(workers, names, strict=True):
            met.clear()
            assert worker.do(name, Add(SUM, 1)) == [1]
            assert any(map(is_demotion, met))
            assert worker.execute(one(name, Add(SUM, 1)), one(name, Get(b"k"))) == [[2], [b"0"]]
    finally:
        workers[1].close()
        for sync in (client, *manager.sentinels):
            sync.close()
        for each in (async_client, *async_manager.sentinels):
            loop.run_until_complete(each.aclose())


# -- Sentinels that are gone


def test_without_sentinels_the_open_connection_goes_on(use: Use, whole: SentinelGroup) -> None:
    worker = use(whole.url, patience=0.2)
    name = session()
    worker.do(name, Put(b"k", b"1"))
    for sentinel in whole.sentinels:
        sentinel.stop()
    for number in range(20):
        assert worker.do(name, Add(SUM, 1), Range(b"k", b"l")) == [number + 1, [(b"k", b"1")]]
    whole.servers[0].kill()
    whole.servers[1].kill()
    batches: list[tuple[Op, ...]] = [
        (Get(b"k"),),
        (Get(b"k"), Range(b"", None)),
        (Append(LOG, b"x"),),
        (Put(b"k", b"1"),),
    ]
    for ops in batches:
        begun = time.monotonic()
        with pytest.raises(BackendUnavailable, match="No master found for 'main'"):
            worker.do(name, *ops)
        assert time.monotonic() - begun < 8, "a fifth of a second of patience"
    with pytest.raises(BackendUnavailable, match="No master found for 'main'"):
        worker.copy(name, session())
    whole.start()
    assert worker.do(name, Put(b"k", b"2"), Get(b"k")) == [None, b"2"]


def test_any_sentinel_that_answers_will_do(use: Use, whole: SentinelGroup) -> None:
    first, second, third = whole.sentinels
    name = session()
    first.kill()
    assert use(whole.url).do(name, Add(SUM, 1)) == [1]
    second.kill()
    worker = use(whole.url)
    assert worker.do(name, Add(SUM, 1)) == [2]
    first.start()
    third.kill()
    whole.master().ask("CLIENT", "KILL", "TYPE", "normal")
    worker.do(name, Get(SUM))
    assert worker.do(name, Add(SUM, 1)) == [3]


def test_many_connections_at_once_forget_no_sentinel(use: Use, whole: SentinelGroup) -> None:
    worker = use(whole.url)
    name = session()
    first, second, third = whole.sentinels
    first.kill()  # all connections look for another Sentinel at the same time
    calls = [one(name, Add(SUM, 1), op_id=fresh_id())]
    if worker._loop:

        async def all_at_once() -> None:
            await asyncio.gather(*[worker.backend.aexecute(calls) for _ in range(20)])

        finish(worker, all_at_once())
    else:
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(worker.backend.execute, [calls] * 20))
    first.start()
    second.kill()
    third.kill()
    whole.master().ask("CLIENT", "KILL", "TYPE", "normal")
    assert worker.do(name, Get(SUM)) == [b"1"]


def test_a_silent_sentinel_is_asked_once(use: Use, whole: SentinelGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs one time limit for a connection, not one for each retry of redis-py's own."""
    from langgraph_sessionstore.backends.redis import sources

    monkeypatch.setattr(sources, "TIMEOUTS", {"socket_connect_timeout": 0.3, "socket_timeout": 0.3})
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections, and says nothing
        mute.settimeout(0)
        url = whole.url.replace("://", f"://127.0.0.1:{mute.getsockname()[1]},")
        assert use(url).do(session(), Add(SUM, 1)) == [1]
        assert connections_to(mute) == 1


def connections_to(listener: socket.socket) -> int:
    """How many were opened so far."""
    count = 0
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return count
        connection.close()
        count += 1


def test_nobody_queues_up_for_silent_sentinels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three time limits for each of twenty callers: all at once, not one caller after the other (18 s)."""
    from langgraph_sessionstore.backends.redis import sources

    monkeypatch.setattr(sources, "TIMEOUTS", {"socket_connect_timeout": 0.3, "socket_timeout": 0.3})
    with ExitStack() as stack:
        mutes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        hosts = ",".join(f"127.0.0.1:{mute.getsockname()[1]}" for mute in mutes)
        # threads only: the pools of older redis-py connect one task after the other
        backend = stack.enter_context(open_backend(f"redis+sentinel://{hosts}/main", patience=0.1))
        calls = [one(session(), Get(b"k"))]
        begun = time.monotonic()
        with ThreadPoolExecutor(20) as pool:
            found = list(pool.map(backend.execute, [calls] * 20))
        assert time.monotonic() - begun < 9
        assert all(isinstance(answer, BackendUnavailable) for (answer,) in found)


def test_an_unknown_service_is_named(use: Use, whole: SentinelGroup) -> None:
    worker = use(whole.url.removesuffix(whole.service) + "other", patience=0.1)
    for op in (Get(b"k"), Append(LOG, b"x")):
        with pytest.raises(BackendUnavailable, match="No master found for 'other'"):
            worker.do(session(), op)
