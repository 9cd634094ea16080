"""The Redis backend against one real server: round trips, broken connections, trouble of the server, given clients."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio

from langgraph_sessionstore import (
    Backend,
    BackendClosed,
    BackendError,
    BackendFull,
    BackendUnavailable,
    ConfigurationError,
    ForeignStorage,
    OutcomeUnknown,
    keys,
    open_backend,
)
from langgraph_sessionstore.backends.redis import RedisBackend
from langgraph_sessionstore.ops import (
    Add,
    Append,
    Batch,
    Call,
    Conflict,
    Count,
    Delete,
    Drop,
    Expect,
    Expire,
    Get,
    Op,
    Page,
    Put,
    Range,
    Touch,
    etag,
    with_links,
)
from langgraph_sessionstore.testing.worker import Worker
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer

Use = Callable[..., Worker]


@pytest.fixture(params=["sync", "async"])
def use(request: pytest.FixtureRequest) -> Iterator[Use]:
    """Makes workers on a URL or backend, all through one of the two forms."""
    loop = asyncio.new_event_loop() if request.param == "async" else None
    workers: list[Worker] = []

    def make(target: str | Backend, **options: Any) -> Worker:
        backend = open_backend(target, **options) if isinstance(target, str) else target
        workers.append(Worker(backend, loop))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()
    if loop:
        loop.close()


@pytest.fixture(scope="module")
def redis_of_the_module() -> Iterator[RedisServer]:
    from tests.support.binaries import find_binary

    with RedisServer(find_binary("7")) as server:
        yield server


@pytest.fixture
def proxy(redis_of_the_module: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_of_the_module.host, redis_of_the_module.port) as proxy:
        yield proxy


@pytest.fixture
def name() -> bytes:
    return keys.session(str(uuid.uuid4()))


def url_of(proxy: Proxy) -> str:
    return f"redis://{proxy.host}:{proxy.port}/0"


def warm(worker: Worker, proxy: Proxy, name: bytes) -> None:
    """Connect, load the script, and begin to count."""
    worker.do(name, Put(b"warm", b"1"))
    worker.do(name, Get(b"warm"))
    proxy.reset()


# -- round trips


def test_any_number_of_batches_is_one_round_trip(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    others = [keys.session(str(uuid.uuid4())) for _ in range(100)]
    registry = keys.registry(str(uuid.uuid4()))
    linked = with_links([(b"k", b"l")], b"")
    trips: list[tuple[Call, ...]] = [
        (Call(name, Batch(Get(b"k"))),),
        (Call(name, Batch(Get(b"k"), Range(b"", None), Count(b"", None))),),
        (Call(name, Batch(Put(b"k", b"1"), Append(b"a", b"x"), op_id=b"1")),),
        (Call(name, Batch(Expect(b"k", True), Put(b"h", linked), Range(b"", None), Range(b"h", b"i", follow=True))),),
        tuple(Call(one, Batch(Put(b"k", b"x" * 1000), Add(b"n", 1))) for one in others),
        tuple(Call(one, Batch(Get(b"k"), Range(b"", None))) for one in others),
        (Call(registry, Batch(Touch(name))), Call(name, Batch(Put(b"k", b"2")))),
        (Call(registry, Batch(Page())),),
    ]
    for ordered in (False, True):
        for number, calls in enumerate(trips, 1):
            worker.execute(*calls, ordered=ordered)
            assert proxy.round_trips == number, calls
        proxy.reset()
    worker.copy(name, others[0], Put(b"k", b"3"))
    assert (proxy.round_trips, proxy.connections) == (1, 0)


def test_a_flushed_script_costs_one_more_trip_once(
    use: Use, proxy: Proxy, name: bytes, redis_of_the_module: RedisServer
) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    for ops in [(Add(b"n", 1),), (Range(b"", None), Add(b"n", 1), Range(b"", None))]:
        with redis_of_the_module.client() as client:
            client.script_flush()
        before = proxy.round_trips
        worker.do(name, *ops)  # the second goes as a transaction around the script
        assert proxy.round_trips == before + 2
        worker.do(name, *ops)
        assert proxy.round_trips == before + 3
    assert worker.do(name, Get(b"n")) == [b"4"]


@pytest.mark.parametrize("size", [100, 100_000])
def test_what_a_batch_writes_is_what_it_costs(use: Use, proxy: Proxy, name: bytes, size: int) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    worker.do(name, Put(b"k", b"x" * size))
    assert proxy.bytes_up < size + 400
    assert proxy.bytes_down < 100


# -- many at once


def test_two_hundred_tasks_at_once_need_no_option(redis7: RedisServer, name: bytes) -> None:
    async def main() -> None:
        async with open_backend(redis7.url) as backend:
            assert isinstance(backend, RedisBackend)
            calls = [[Call(name, Batch(Append(b"a", b"%d" % n)))] for n in range(200)]
            answers: list[Any] = await asyncio.gather(*[backend.aexecute(call) for call in calls])
            assert len({answer[0][0] for answer in answers}) == 200

    asyncio.run(main())


def test_waiting_for_a_turn_bounds_the_connections(redis_of_the_module: RedisServer, name: bytes) -> None:
    async def main() -> int:
        with Proxy(redis_of_the_module.host, redis_of_the_module.port) as proxy:
            async with open_backend(url_of(proxy) + "?max_connections=3") as backend:
                tasks = [backend.aexecute([Call(name, Batch(Add(b"n", 1)))]) for _ in range(50)]
                assert len(await asyncio.gather(*tasks)) == 50
                threads = [
                    threading.Thread(target=backend.execute, args=([Call(name, Batch(Add(b"n", 1)))],))
                    for _ in range(50)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert backend.execute([Call(name, Batch(Get(b"n")))]) == [[b"100"]]
            return proxy.connections

    assert asyncio.run(main()) <= 6


def test_several_event_loops_use_one_backend(redis7: RedisServer, name: bytes) -> None:
    backend = open_backend(redis7.url)

    async def count() -> None:
        for _ in range(10):
            assert isinstance((await backend.aexecute([Call(name, Batch(Add(b"n", 1)))]))[0], list)
        assert isinstance(backend, RedisBackend)
        wire = backend._loops.pop(asyncio.get_running_loop())
        await wire.close(owned=True)

    threads = [threading.Thread(target=asyncio.run, args=(count(),)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert backend.execute([Call(name, Batch(Get(b"n")))]) == [[b"50"]]
    backend.close()


# -- broken connections


def append_ops(batch: int) -> tuple[Any, ...]:
    return (Append(b"a", b"%d" % batch), Add(b"n", 1))


@pytest.mark.parametrize("cut", [0, 1, 4, 9, 20])
@pytest.mark.parametrize("side", ["request", "reply"])
def test_a_cut_append_with_an_operation_id_is_applied_once(
    use: Use, proxy: Proxy, name: bytes, side: str, cut: int
) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    for number in range(3):
        getattr(proxy, f"cut_after_{side}_bytes")(cut)
        made = worker.do(name, *append_ops(number), op_id=b"%d" % number)
        assert made == [keys.sequence(b"a", number), number + 1]
    assert proxy.cuts == 3


@pytest.mark.parametrize("cut", [0, 1, 4, 9, 20])
@pytest.mark.parametrize("side", ["request", "reply"])
def test_a_cut_append_without_an_operation_id_is_never_applied_twice(
    use: Use, proxy: Proxy, name: bytes, side: str, cut: int
) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    for number in range(3):
        worker.do(name, Get(b"warm"))  # connects: a connection that breaks while it opens is another case
        getattr(proxy, f"cut_after_{side}_bytes")(cut)
        with pytest.raises(OutcomeUnknown, match="may have been applied"):
            worker.do(name, *append_ops(number))
    assert proxy.cuts == 3
    count, total = worker.do(name, Count(*children(b"a")), Get(b"n"))
    assert int(total or 0) == count
    assert count == (3 if side == "reply" else 0)


def children(prefix: bytes) -> tuple[bytes, bytes]:
    return prefix + b"\x02", prefix + b"\xff"


def test_a_transaction_cut_at_every_byte_is_whole_or_not_there(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    batch = (Range(b"", None), Put(b"x", b"1"), Put(b"y", b"1"), Add(b"n", 1), Range(b"", None))
    worker.do(name, *batch)
    size = proxy.bytes_up
    applied = 1
    for cut in [*range(0, size, 37), size - 1]:
        proxy.cut_after_request_bytes(cut)
        with pytest.raises(OutcomeUnknown):
            worker.do(name, *batch)
        assert worker.do(name, Get(b"n")) == [b"%d" % applied]
    proxy.cut_after_reply_bytes(0)
    with pytest.raises(OutcomeUnknown):
        worker.do(name, *batch)
    assert worker.do(name, Get(b"n")) == [b"2"]


def test_a_cut_guarded_batch_is_unknown_and_not_a_conflict_with_itself(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    guarded = (Expect(b"warm", etag(b"1")), Put(b"warm", b"2"))
    proxy.cut_after_reply_bytes(0)
    with pytest.raises(OutcomeUnknown):
        worker.do(name, *guarded)
    assert worker.do(name, Get(b"warm")) == [b"2"]
    worker.do(name, Put(b"warm", b"1"))
    proxy.cut_after_reply_bytes(0)
    assert worker.do(name, *guarded, op_id=b"id") == [None, None]


def test_reads_and_what_is_declared_repeatable_do_not_notice_a_cut(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    worker.do(name, Put(b"k", b"1"))
    for side in ("request", "reply"):
        getattr(proxy, f"cut_after_{side}_bytes")(2)
        assert worker.execute(Call(name, Batch(Put(b"k", b"1"), repeatable=True))) == [[None]]
        cases: list[tuple[tuple[Op, ...], list[Any]]] = [
            ((Get(b"k"), Expect(b"k", True)), [b"1", None]),
            ((Range(b"k", b"l"),), [[(b"k", b"1")]]),
        ]
        for ops, replies in cases:
            getattr(proxy, f"cut_after_{side}_bytes")(2)
            assert worker.do(name, *ops) == replies
    assert proxy.cuts == 6


def test_a_plain_put_is_not_repeated_behind_the_back_of_others(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    for op in (Put(b"warm", b"2"), Drop(), Expire(at=9 * 10**12)):
        proxy.cut_after_reply_bytes(0)
        with pytest.raises(OutcomeUnknown):
            worker.do(name, op)
        worker.do(name, Get(b"warm"))


def test_ordered_calls_stay_in_order_when_the_script_is_lost(
    use: Use, proxy: Proxy, name: bytes, redis_of_the_module: RedisServer
) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    for _ in range(2):
        with redis_of_the_module.client() as client:
            client.script_flush()
        replies = worker.execute(Call(name, Batch(Add(b"n", 1))), Call(name, Batch(Get(b"n"))), ordered=True)
        assert replies[1] == [b"%d" % replies[0][0]]


def test_an_ordered_call_that_redis_refuses_stops_those_behind_it(use: Use, own_redis: RedisServer) -> None:
    worker = use(own_redis.url, prefix="app")
    one, theirs, two = keys.session("1"), keys.session("theirs"), keys.session("2")
    with own_redis.client() as client:
        client.set("app:{$session/$theirs/}", "x")
        for op in (Put(b"k", b"1"), Drop()):
            calls = [Call(one, Batch(Add(b"n", 1))), Call(theirs, Batch(op)), Call(two, Batch(Put(b"k", b"1")))]
            answers = worker.answers(*calls, ordered=True)
            assert [type(answer) for answer in answers] == [list, ForeignStorage, BackendUnavailable]
            answers = worker.answers(*calls[1:], ordered=True)
            assert [type(answer) for answer in answers] == [ForeignStorage, BackendUnavailable]
        copy = Call(theirs, Batch(), source=one)
        assert isinstance(worker.answers(copy)[0], ForeignStorage)
        assert client.get("app:{$session/$theirs/}") == b"x"
    assert worker.do(two, Get(b"k")) == [None]
    worker.touched.clear()


def test_a_delete_whose_answer_was_lost_is_settled_by_its_operation_id(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    for ops, replies in [
        ((Delete(b"warm"), Drop()), [True, None]),
        ((Expect(b"warm", True), Drop(), Put(keys.TOMBSTONE, b""), Expire(ttl=60_000)), None),
    ]:
        warm(worker, proxy, name)
        proxy.cut_after_reply_bytes(0)
        made = worker.do(name, *ops, op_id=str(ops).encode()[:64])
        assert replies is None or made == replies
        assert proxy.cuts == 1
        assert worker.rows(name) == {}


def test_a_cut_in_a_pipeline_tells_what_is_known_of_each_batch(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    warm(worker, proxy, name)
    calls = [Call(name, Batch(Add(b"n", 1))) for _ in range(5)]
    worker.execute(*calls)
    size = proxy.bytes_down
    proxy.cut_after_reply_bytes(size * 3 // 5)
    answers = worker.answers(*calls)
    assert answers[:3] == [[6], [7], [8]]
    assert [type(answer) for answer in answers[3:]] == [OutcomeUnknown, OutcomeUnknown]
    assert worker.do(name, Get(b"n")) == [b"10"]


def test_idle_connections_that_died_are_replaced_unnoticed(use: Use, proxy: Proxy, name: bytes) -> None:
    worker = use(url_of(proxy))
    for number in range(3):
        assert worker.do(name, Add(b"n", 1)) == [number + 1]
        proxy.drop_all()
        if worker._loop:
            worker._loop.run_until_complete(asyncio.sleep(0.05))  # a loop that stands still notices nothing


def test_cancelled_tasks_leave_no_reply_behind(redis7: RedisServer, name: bytes) -> None:
    async def main() -> None:
        with Proxy("127.0.0.1", redis7.port) as proxy:
            async with open_backend(url_of(proxy) + "?max_connections=1") as backend:
                await backend.aexecute([Call(name, Batch(Put(b"k", b"mine")))])
                proxy.hold_replies()
                task = asyncio.ensure_future(backend.aexecute([Call(name, Batch(Get(b"other")))]))
                await asyncio.sleep(0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                proxy.release_replies()
                assert await backend.aexecute([Call(name, Batch(Get(b"k")))]) == [[b"mine"]]

    asyncio.run(main())


# -- trouble of the server


def test_a_dead_server_is_unavailable_and_nothing_was_applied(use: Use, own_redis: RedisServer, name: bytes) -> None:
    worker = use(own_redis.url, patience=0.2)
    worker.do(name, Put(b"k", b"1"))
    own_redis.stop()
    for op in (Get(b"k"), Append(b"a", b"x"), Put(b"k", b"2")):
        with pytest.raises((BackendUnavailable, OutcomeUnknown), match=str(own_redis.port)):
            worker.do(name, op)  # the first meets the connection that was open, where all is unknown
    with pytest.raises(BackendUnavailable, match=r"could not be reached within 0.2 s") as caught:
        worker.do(name, Append(b"a", b"x"))
    assert isinstance(caught.value.__cause__, redis.ConnectionError)
    worker.touched.clear()


def test_a_server_that_comes_back_is_used_again(use: Use, own_redis: RedisServer, name: bytes) -> None:
    worker = use(own_redis.url, patience=30)
    worker.do(name, Get(b"k"))
    own_redis.stop()
    timer = threading.Timer(0.5, own_redis.restart)
    timer.start()
    try:
        assert worker.do(name, Append(b"a", b"x"), op_id=b"1") == [keys.sequence(b"a", 0)]
    finally:
        timer.join()


def test_a_silent_server_is_given_up(use: Use, own_redis: RedisServer, name: bytes) -> None:
    worker = use(own_redis.url + "?socket_timeout=0.2", patience=0.3)
    worker.do(name, Put(b"k", b"1"))
    own_redis.pause()
    try:
        with pytest.raises(OutcomeUnknown, match="no answer"):
            worker.do(name, Append(b"a", b"x"))
        with pytest.raises(BackendUnavailable):
            worker.do(name, Get(b"k"))
    finally:
        own_redis.resume()
    assert worker.do(name, Get(b"k")) == [b"1"]


def test_a_full_server_applies_nothing_of_a_batch(use: Use, own_redis: RedisServer, name: bytes) -> None:
    worker = use(own_redis.url)
    worker.do(name, Put(b"k", b"1"), Put(b"big", b"x" * 100_000))
    with own_redis.client() as client:
        client.config_set("maxmemory", "200kb")
        with pytest.raises(BackendFull, match="Redis refused"):
            worker.do(name, Put(b"k", b"2"), *[Put(b"%d" % n, b"x" * 100_000) for n in range(20)])
        assert worker.do(name, Get(b"k"), Count(b"", None)) == [b"1", 2]
        with pytest.raises(BackendFull):
            worker.copy(name, keys.session("copy"))
        assert worker.do(name, Delete(b"big")) == [True]  # making room goes on
        client.config_set("maxmemory", "0")
    assert worker.do(name, Put(b"k", b"3")) == [None]


def test_a_key_of_somebody_else_is_named_and_left(use: Use, own_redis: RedisServer) -> None:
    worker = use(own_redis.url, prefix="app")
    with own_redis.client() as client:
        client.set("app:{$session/$x/}", "theirs")
        for op in (Put(b"k", b"1"), Get(b"k"), Range(b"", None)):
            with pytest.raises(ForeignStorage, match="WRONGTYPE"):
                worker.do(keys.session("x"), op)
        assert client.get("app:{$session/$x/}") == b"theirs"
    worker.touched.clear()


def test_wrong_passwords_say_so_without_naming_them(use: Use) -> None:
    from tests.support.binaries import find_binary

    with RedisServer(find_binary("7"), password="secret") as server:
        worker = use(server.url)
        assert worker.do(keys.session("x"), Put(b"k", b"1")) == [None]
        for wrong in ("redis://:mistake@", "redis://"):
            other = use(f"{wrong}{server.host}:{server.port}", patience=0.2)
            with pytest.raises(BackendError, match=r"does not let us in|NOAUTH|Authentication") as caught:
                other.do(keys.session("x"), Get(b"k"))
            assert "mistake" not in str(caught.value)


def test_partitions_are_readable_keys_below_the_prefix(use: Use, own_redis: RedisServer) -> None:
    worker = use(own_redis.url, prefix="app")
    other = use(own_redis.url, prefix="app2")
    worker.do(keys.session("user-1 {é}/*"), Put(b"k", b"1"))
    worker.do(keys.registry("session"), Touch(keys.session("x")))
    with own_redis.client() as client:
        assert sorted(client.keys("*")) == [b"app:{$registry/$session/}", b"app:{$session/$user-1%20%7B%C3%A9%7D%2F*/}"]
        assert all(client.type(key) == b"zset" for key in client.keys("*"))
        assert other.do(keys.session("user-1 {é}/*"), Get(b"k")) == [None]
        worker.do(keys.session("user-1 {é}/*"), Expire(ttl=60_000))
        assert 0 < client.pttl("app:{$session/$user-1%20%7B%C3%A9%7D%2F*/}") <= 60_000


def test_every_row_is_one_member_also_when_replaced(use: Use, own_redis: RedisServer, name: bytes) -> None:
    worker = use(own_redis.url)
    for number in range(5):
        worker.do(name, Put(b"k", b"%d\0" % number), Put(b"kk", b""), Append(b"a", b"x"))
    with own_redis.client() as client:
        members = client.zrange(client.keys("*")[0], 0, -1)
    found = [member.split(b"\0")[0] for member in members]
    assert found == sorted(set(found))
    assert len(found) == 1 + 2 + 1 + 5  # incarnation, two rows, the counter, the records


# -- clients that the user has


def test_closing_while_others_work_hurts_nobody(redis_of_the_module: RedisServer, name: bytes) -> None:
    for _ in range(5):
        backend = open_backend(redis_of_the_module.url, max_connections=4)
        seen: list[Any] = []

        def work(backend: Backend = backend, seen: list[Any] = seen) -> None:
            try:
                while True:
                    seen.extend(backend.execute([Call(name, Batch(Add(b"n", 1)))]))
            except BackendClosed:
                pass

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        while len(seen) < 50:
            threads[0].join(0.01)
        backend.close()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)
        assert {type(answer) for answer in seen} <= {list, BackendClosed}
    with redis_of_the_module.client() as client:
        assert client.ping()


def test_event_loops_that_ended_are_forgotten(redis_of_the_module: RedisServer, name: bytes) -> None:
    backend = open_backend(redis_of_the_module.url)
    assert isinstance(backend, RedisBackend)

    async def use() -> None:
        assert isinstance(backend, RedisBackend)
        await backend.aexecute([Call(name, Batch(Get(b"k")))])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # each loop ends without aclose
        for _ in range(20):
            asyncio.run(use())
        assert len(backend._loops) == 1
        gc.collect()
        backend.close()
        del backend._loops
        gc.collect()


def test_a_forked_child_has_its_own_turns(redis_of_the_module: RedisServer) -> None:
    script = f"""
import os, sys
from langgraph_sessionstore import open_backend, run
from langgraph_sessionstore.ops import *
backend = open_backend({redis_of_the_module.url!r}, max_connections=1)
run(backend, must(b"fork", Drop(), Add(b"n", 1)))
backend._sync._turn(None).get()  # as if another thread were using it
if os.fork() == 0:
    run(backend, must(b"fork", Add(b"n", 1)))
    os._exit(0)
assert os.wait()[1] == 0
backend._sync._turn(None).put(None)
assert run(backend, must(b"fork", Get(b"n"))) == [b"2"]
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_patience_may_be_nothing_or_much(use: Use, own_redis: RedisServer, name: bytes) -> None:
    for patience in (0, 1e6):
        with own_redis.client() as client:
            client.script_flush()
        assert use(own_redis.url, patience=patience).do(name, Add(b"n", 1))[0] > 0


def test_one_given_client_serves_its_own_form(redis7: RedisServer, name: bytes) -> None:
    with redis.Redis.from_url(redis7.url) as client:
        backend = RedisBackend(client)
        assert backend.execute([Call(name, Batch(Put(b"k", b"1"), Get(b"k")))]) == [[None, b"1"]]
        with pytest.raises(ConfigurationError, match="async_client="):
            asyncio.run(backend.aexecute([]))
        backend.close()
        assert client.ping()

    async def main() -> None:
        async with redis.asyncio.Redis.from_url(redis7.url) as client:
            backend = RedisBackend(async_client=client)
            assert await backend.aexecute([Call(name, Batch(Get(b"k")))]) == [[b"1"]]
            with pytest.raises(ConfigurationError, match="async client alone"):
                backend.execute([])
            await backend.aclose()
            assert await client.ping()

    asyncio.run(main())


def test_a_given_pool_that_is_smaller_still_queues(redis7: RedisServer, name: bytes) -> None:
    async def main() -> None:
        pool = redis.asyncio.ConnectionPool.from_url(redis7.url, max_connections=2)
        async with redis.asyncio.Redis.from_pool(pool) as client:
            backend = RedisBackend(async_client=client)
            answers: list[Any] = await asyncio.gather(
                *[backend.aexecute([Call(name, Batch(Add(b"n", 1), op_id=b"%d" % n))]) for n in range(60)]
            )
            assert sorted(answer[0][0] for answer in answers) == list(range(1, 61))

    asyncio.run(main())


def test_conflicts_are_answers_and_not_errors(use: Use, redis62: RedisServer, name: bytes) -> None:
    worker = use(redis62.url)
    assert worker.do(name, Expect(b"k", True), Put(b"k", b"1"), Range(b"", None)) == Conflict(0)
