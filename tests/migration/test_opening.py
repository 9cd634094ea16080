"""Others opened by a URL: a source is not touched, and an error says what is wrong and no password."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from traceback import format_exception
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from support.binaries import find_binary
from support.peers import PEERS, Peer, new_database
from support.ports import free_port
from support.savers import checkpoint, config
from support.servers import RedisServer

from langgraph_sessionstore import BackendUnavailable, ConfigurationError, MissingExtra, SessionStoreError, migration
from langgraph_sessionstore.migration import PEER_SCHEMES, open_saver, open_store

pytestmark = pytest.mark.peers
OPENERS = (open_saver, open_store)
Opener = Callable[..., Any]


def put(peer: Peer) -> None:
    """A checkpoint and an item."""
    with peer.saver() as saver, peer.store() as store:
        made = saver.put(config("t"), checkpoint({"a": 1}), {}, {"a": 1})
        saver.put_writes(made, [("a", 2)], "task")
        store.put(("notes",), "k", {"n": 1})


def read(peer: Peer) -> None:
    """Both again, as sources."""
    with open_saver(peer.url) as saver, open_store(peer.url) as store:
        (found,) = saver.list(None)
        assert found.pending_writes == [("task", "a", 2)]
        (item,) = store.search(("notes",))
        assert item.value == {"n": 1}


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_file_is_read_as_it_is(new_peer: Any, journal: str) -> None:
    peer: Peer = new_peer("sqlite")
    put(peer)
    with closing(sqlite3.connect(peer.plain)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal}")
    before = sha256(Path(peer.plain).read_bytes()).digest()
    read(peer)
    assert sha256(Path(peer.plain).read_bytes()).digest() == before
    with open_saver(peer.url) as saver, pytest.raises(sqlite3.OperationalError, match="readonly"):
        saver.delete_thread("t")


def test_an_url_of_a_file_is_a_path(new_peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    peer: Peer = new_peer("sqlite")
    put(peer)
    path = Path(peer.plain)
    odd = path.with_name("odd name?#%.db")
    path.rename(odd)
    monkeypatch.chdir(path.parent)
    for url in (f"sqlite:{odd}".replace("%", "%25"), f"SQLITE://{odd}".replace("%", "%25"), "sqlite:odd name?#%25.db"):
        with open_saver(url) as saver:
            assert len(list(saver.list(None))) == 1


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_a_server_is_read_as_it_is(name: str, new_peer: Any) -> None:
    peer: Peer = new_peer(name)
    for opener in OPENERS:
        with pytest.raises(ConfigurationError, match="holds nothing of"), opener(peer.url):
            pass
    put(peer)
    read(peer)


def test_an_empty_storage_stays_empty(new_peer: Any, redis_stack: RedisServer, tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    closing(sqlite3.connect(empty)).__enter__().execute("CREATE TABLE mine (x)")
    before = empty.read_bytes()
    postgres, redis = new_peer("postgres"), new_peer("redis")
    for opener in OPENERS:
        for url in (f"sqlite:{empty}", postgres.url, redis.url):
            with pytest.raises(
                ConfigurationError, match=r"holds nothing of (Sqlite|Postgres|Redis)(Saver|Store): there is no"
            ):
                opener(url).__enter__()
    assert empty.read_bytes() == before
    with import_module("psycopg").connect(postgres.plain) as connection:
        found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert found == (0,)
    assert redis_stack.ask("FT._LIST") == []
    assert redis_stack.ask("DBSIZE") == 0


def test_tables_of_an_older_release_are_refused(new_peer: Any) -> None:
    peer: Peer = new_peer("postgres")
    put(peer)
    with import_module("psycopg").connect(peer.plain, autocommit=True) as connection:
        for table in ("checkpoint_migrations", "store_migrations"):
            connection.execute(f"DELETE FROM {table} WHERE v = (SELECT max(v) FROM {table})")
    for opener in OPENERS:
        with pytest.raises(ConfigurationError, match=r"written by an older .* call setup\(\)"), opener(peer.url):
            pass


@pytest.mark.parametrize("opener", OPENERS)
def test_files_that_are_none_say_so(opener: Opener, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database " * 500)
    for path, create, message in (
        ("missing.db", False, "names a file that is there"),
        ("", False, "names a file that is there"),
        ("missing/new.db", True, "a directory that is there"),
        ("text.db", False, "not a database"),
        ("text.db", True, "not a database"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            opener(f"sqlite:{tmp_path}/{path}", create=create).__enter__()
    assert [file.name for file in tmp_path.iterdir()] == ["text.db"]


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("opener", OPENERS)
def test_dead_servers_are_unavailable(opener: Opener, create: bool, postgres_url: str) -> None:
    urls = [f"{scheme}://ann:s3cret@127.0.0.1:{free_port()}/0" for scheme in ("postgresql", "postgres", "redis-stack")]
    urls.append(postgres_url.rpartition("/")[0].replace("@", ":s3cret@") + "/nowhere")
    for url in urls:
        with pytest.raises(BackendUnavailable) as error:
            opener(url, create=create).__enter__()
        assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("opener", OPENERS)
def test_urls_that_cannot_work_say_so(opener: Opener) -> None:
    for url in (
        "redis://localhost",
        "mysql://ann:s3cret@host/db",
        "/a/path",
        "redis-stack://ann:s3cret@host:port/0",
        None,
    ):
        with pytest.raises(ConfigurationError) as error:
            opener(url).__enter__()
        assert "s3cret" not in str(error.value)
    with pytest.raises(ConfigurationError, match="cannot be opened with this URL") as error:
        opener("postgresql://ann:s3cret@127.0.0.1/db?nonsense=s3cret").__enter__()
    assert "s3cret" not in str(error.value)
    assert all(f"{scheme}:" in str(_refused(opener, "x:")) for scheme in PEER_SCHEMES)


@pytest.mark.parametrize("opener", OPENERS)
def test_no_part_of_a_password_is_shown(opener: Opener) -> None:
    for url in (
        "postgresql:ann:s3cret@host/db",
        "postgres:host=localhost password=s3cret bogus=1",
        "postgresql://ann:pa/s3cret@[::1/db",
        "postgresql://ann:s3%zzcret@host/db",
        "postgresql://127.0.0.1:5/s3cret@db?nonsense=1",
        "postgresql://ann:x@[::1/db?password=s3cret",
        "redis-stack:s3cret@host",
    ):
        with pytest.raises(SessionStoreError) as error:
            opener(url).__enter__()
        shown = "".join(line for line in format_exception(error.value) if not line.startswith("  File"))
        assert "s3" not in shown
        assert "cret" not in shown
    assert "nonsense" in str(_refused(opener, "postgresql://ann:ann@127.0.0.1/db?nonsense=1"))


@pytest.mark.parametrize("opener", OPENERS)
def test_options_that_are_none_say_so(opener: Opener) -> None:
    port = free_port()
    for scheme, option, told in (
        ("redis-stack", "nonsense=1", "nonsense"),
        ("redis-stack", "socket_timeout=soon", "socket_timeout"),
        ("rediss-stack", "ssl_cert_reqs=nonsense", "Requirements Flag"),
    ):
        assert told in str(_refused(opener, f"{scheme}://127.0.0.1:{port}/?{option}"))
    for scheme in ("postgresql", "redis-stack"):
        assert "too long" in str(_refused(opener, f"{scheme}://{'a' * 70}:{port}/0"))


def _refused(opener: Opener, url: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as error:
        opener(url).__enter__()
    return error.value


@pytest.mark.parametrize("opener", OPENERS)
def test_a_wrong_password_and_a_plain_redis_say_so(opener: Opener) -> None:
    with RedisServer(find_binary("6.2"), password="right") as server:
        port = server.port
        with pytest.raises(BackendUnavailable) as error:
            opener(f"redis-stack://:s3cret@127.0.0.1:{port}/0").__enter__()
        assert "s3cret" not in str(error.value)
        with pytest.raises(ConfigurationError, match="RediSearch and RedisJSON"):
            opener(f"redis-stack://:right@127.0.0.1:{port}/0").__enter__()


@pytest.mark.parametrize(("name", "package"), [(name, f"langgraph-checkpoint-{name}") for name in PEERS])
def test_what_is_not_installed_is_named_with_what_helps(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, f"langgraph.checkpoint.{name}", None)
    monkeypatch.setitem(sys.modules, f"langgraph.store.{name}", None)
    scheme = {"postgres": "postgresql", "redis": "redis-stack"}.get(name, name)
    (tmp_path / "x.db").touch()
    for opener in OPENERS:
        with pytest.raises(MissingExtra, match=f'python -m pip install "{package}"'):
            opener(f"{scheme}:{tmp_path}/x.db").__enter__()


def test_a_server_that_goes_away_stops_the_copy(postgres_url: str) -> None:
    url = new_database(postgres_url)
    source = InMemorySaver()
    for thread in "ab":
        source.put(config(thread), checkpoint({"a": 1}), {}, {"a": 1})
    with open_saver(url, create=True) as target:

        def cut(done: int, total: int) -> None:
            with import_module("psycopg").connect(postgres_url, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [url[-33:]]
                )

        with pytest.raises(BackendUnavailable, match="PostgresSaver cannot do its work"):
            migration.copy_threads(source, target, progress=cut, keep_going=True)
    with open_saver(url) as half:
        assert len(list(half.list(None))) == 1
    with open_saver(url, create=True) as target:
        report = migration.copy_threads(source, target)
        assert (report.copied, report.present) == (1, 1)
