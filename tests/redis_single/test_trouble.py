"""A server in trouble."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid

import pytest
import redis
import redis.asyncio
from support.servers import RedisServer
from support.workers import Use

from langgraph_sessionstore import (
    BackendError,
    BackendFull,
    BackendUnavailable,
    ForeignStorage,
    OutcomeUnknown,
    keys,
    open_backend,
)
from langgraph_sessionstore.ops import (
    Append,
    Batch,
    Call,
    Count,
    Delete,
    Expire,
    Get,
    Put,
    Range,
    Touch,
)

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


@pytest.mark.parametrize("option", ["", "&health_check_interval=1"])
def test_a_silent_server_is_given_up(use: Use, own_redis: RedisServer, name: bytes, option: str) -> None:
    worker = use(f"{own_redis.url}?socket_timeout=0.2{option}", patience=0.3)
    worker.do(name, Put(b"k", b"1"))
    time.sleep(1.1 if option else 0)  # then redis-py asks the server whether it is there before it sends anything
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
    from support.binaries import find_binary

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


def test_a_cancellation_is_never_lost(redis7: RedisServer) -> None:
    """Whenever it comes: a task that was told to end does not go on as if nothing had been said."""

    async def cancel() -> int:
        backend, heard = open_backend(redis7.url), 0
        name = keys.session(str(uuid.uuid4()))
        for number in range(600):
            task = asyncio.create_task(backend.aexecute([Call(name, Batch(Get(b"k")))]))
            for _ in range(number % 60):
                await asyncio.sleep(0)
            if task.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await task
                heard += 1
        await backend.aclose()
        return heard

    assert asyncio.run(cancel()) > 20
