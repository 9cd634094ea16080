"""The proxy in front of a real server: it counts what was exchanged, and cuts at the exact byte.

Rule: whether a fault came before or after the request was carried out is read from the server itself.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ClientConnectionError
from redis.retry import Retry
from support.binaries import find_binaries
from support.proxy import Proxy
from support.servers import RedisServer
from support.waiting import wait_until


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    """A server that the proxy tests share."""
    with RedisServer(find_binaries()["7"]) as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    """The shared server, emptied."""
    shared.ask("FLUSHALL")
    return shared


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    """A proxy in front of the emptied server."""
    with Proxy(server.host, server.port) as proxy:
        yield proxy


def never_retrying(proxy: Proxy) -> redis.Redis:
    """A client which shows each failure as it happens."""
    return redis.Redis(host=proxy.host, port=proxy.port, retry=Retry(NoBackoff(), 0))


def connected(proxy: Proxy) -> redis.Redis:
    """A client which has its connection; the proxy's counters start after that."""
    client = never_retrying(proxy)
    client.ping()
    proxy.reset()
    return client


def test_proxy_counts_round_trips(proxy: Proxy) -> None:
    with connected(proxy) as client:
        with client.pipeline(transaction=False) as pipeline:
            for number in range(20):
                pipeline.set(f"key{number}", "x" * 300)  # arrives as a whole: Redis answers parts
            pipeline.execute()
        assert proxy.round_trips == 1
        assert proxy.bytes_up > 20 * 300
        assert proxy.bytes_down == 20 * len("+OK\r\n")
        assert proxy.connections == 0

        proxy.reset()
        for number in range(3):
            client.get(f"key{number}")
        assert proxy.round_trips == 3


def test_proxy_counts_connections(proxy: Proxy) -> None:
    with never_retrying(proxy) as one, never_retrying(proxy) as other:
        one.ping()
        other.ping()
        assert proxy.connections == 2
        proxy.reset()
        one.ping()
        other.ping()
        assert (proxy.connections, proxy.round_trips) == (0, 2)


def test_proxy_carries_much_data_both_ways(proxy: Proxy) -> None:
    with connected(proxy) as client:
        value = os.urandom(8_000_000)
        with client.pipeline(transaction=False) as pipeline:
            for _ in range(3):
                pipeline.set("key", value)
                pipeline.get("key")
            assert pipeline.execute() == [True, value] * 3


def test_reply_cut_leaves_the_write_applied(proxy: Proxy, server: RedisServer) -> None:
    with connected(proxy) as client:
        proxy.cut_after_reply_bytes(0)
        with pytest.raises(ClientConnectionError):
            client.incr("counter")
        assert (proxy.cuts, proxy.bytes_down) == (1, 0)
        assert server.ask("GET", "counter") == "1"
        assert client.incr("counter") == 2  # once only


@pytest.mark.parametrize("size", [1, 4, 9])
def test_reply_cut_at_an_exact_byte(proxy: Proxy, server: RedisServer, size: int) -> None:
    server.ask("SET", "key", "value")
    with socket.create_connection((proxy.host, proxy.port)) as sock:
        proxy.cut_after_reply_bytes(size)
        sock.sendall(b"GET key\r\n")
        received = sock.recv(size, socket.MSG_WAITALL)
        with pytest.raises(ConnectionResetError):
            sock.recv(100)
    assert received == b"$5\r\nvalue\r\n"[:size]


def test_request_cut(proxy: Proxy, server: RedisServer) -> None:
    command = b"INCR counter\r\n"
    # Nothing, all but the last byte, and everything: only the last of these is carried out.
    for size, expected in ((0, None), (len(command) - 1, None), (len(command), "1")):
        with socket.create_connection((proxy.host, proxy.port)) as sock:
            proxy.reset()
            proxy.cut_after_request_bytes(size)
            sock.sendall(command)
            with pytest.raises(ConnectionResetError):
                sock.recv(100)
        assert (proxy.cuts, proxy.bytes_up) == (1, size)
        wait_until(lambda: server.ask("CLIENT", "LIST").count("\n") == 1, "the server has seen the cut")
        assert server.ask("GET", "counter") == expected


def test_request_cut_spares_the_server(proxy: Proxy, server: RedisServer) -> None:
    with connected(proxy) as client:
        proxy.cut_after_request_bytes(0)
        with pytest.raises(ClientConnectionError):
            client.set("key", "value")
        assert server.ask("EXISTS", "key") == 0
        assert client.set("key", "value")


def test_held_replies(proxy: Proxy, server: RedisServer) -> None:
    with connected(proxy) as client:
        proxy.hold_replies()
        with socket.create_connection((proxy.host, proxy.port)) as sock:
            sock.sendall(b"SET key value\r\n")
            wait_until(lambda: server.ask("EXISTS", "key"), "the request has been carried out")
            sock.settimeout(0.1)
            with pytest.raises(TimeoutError):
                sock.recv(100)
            proxy.release_replies()
            sock.settimeout(10)
            assert sock.recv(100) == b"+OK\r\n"
        assert client.ping()


def test_refusing_and_dropping(proxy: Proxy) -> None:
    with connected(proxy) as client:
        proxy.refuse()
        assert client.ping()  # an open connection stays
        proxy.drop_all()
        with pytest.raises(ClientConnectionError):
            client.ping()
        with pytest.raises(ClientConnectionError):
            client.ping()
        proxy.accept()
        assert client.ping()
