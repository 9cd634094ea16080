"""Threat: a name reaches more than what it names, or gets out of its place.

How others were broken into: ids became a part of a pattern for KEYS and SCAN, so `*` was everybody's thread; of keys
that are joined by a separator, so ("a:b", "c") was ("a", "b:c"); of a LIKE, so "foo" was "foobar" too; of the protocol,
or of the name of a file. Labels and keys of a store, and of a cache, are tried in `sessions/test_store_isolation.py`.
"""

from __future__ import annotations

import unicodedata
import uuid
from pathlib import Path
from typing import Any

import pytest
from sessions.test_store_isolation import ODD
from support import raw
from support.everywhere import everywhere
from support.lifetimes import Look
from support.savers import Saver, checkpoint, config
from support.servers import RedisServer
from support.sittings import Form

from langgraph_sessionstore import ConfigurationError, SessionManager, open_backend

PATHS = ["../../etc/passwd", "/etc/passwd", "..", ".", "../sessions.sqlite3", "C:\\x", "~", "a/../../b", "s" * 5000]
PROTOCOL = ["x\r\nFLUSHALL\r\n", "x\r\n*1\r\n$8\r\nFLUSHALL\r\n", "\r\n", "x\0y", "x\n", "EVAL", "{x}", "}{", "x}:{y"]
ALIKE = [
    *("caf\u00e9", "cafe\u0301", "CAFE", "cafe", "ca", "caf", "cafe ", "\u212b", "\u00c5", "A\u030a", "\ufb01", "fi"),
    *("a", "a:b", "a:b:c", "b:c", "a.b", "a|b", "a/b", "a$b", "a#b", "session", "$session", "a\x01", "a\x02", "a\xff"),
]
NAMES = list(dict.fromkeys([*ODD[::6], *PATHS, *PROTOCOL, *ALIKE]))


@everywhere
def test_an_id_is_one_session_and_no_other(manager: SessionManager, form: Form, look: Look, tmp_path: Path) -> None:
    do, data = form.do, manager.data
    outside = sorted(path for path in tmp_path.parent.glob("*"))
    for name in NAMES:
        session = do(manager, "create_session", name, messages=[("user", repr(name))], metadata={"name": name})
        do(session.store, "put", ("n",), "k", {"name": name})
    assert {name for name in NAMES if unicodedata.normalize("NFC", name) != name}  # two forms of one text are two
    assert {info.id for info in form.everything(manager)} == set(NAMES)
    for name in NAMES:
        session = do(manager, "get_session", name)
        assert form.texts(session) == [repr(name)]
        assert [item.value for item in do(session.store, "search", ())] == [{"name": name}]
        assert [info.id for info in do(manager, "list_sessions", filter={"name": name})] == [name]
        if name != "*":  # which stands for every label there
            assert [item.key for item in do(data, "search", ("memory", name))] == ["messages"]
            assert do(data, "list_namespaces", prefix=("memory", name)) == [("memory", name)]
    doomed, left = NAMES[::2], NAMES[1::2]
    for name in doomed:
        assert do(manager, "delete_session", name) is True
    assert {info.id for info in form.everything(manager)} == set(left)
    assert [form.texts(do(manager, "get_session", name)) for name in left] == [[repr(name)] for name in left]
    assert sorted(path for path in tmp_path.parent.glob("*")) == outside
    assert {path.name.split("-")[0] for path in tmp_path.rglob("*") if path.is_file()} <= {"sessions.sqlite3"}
    assert look()


PAIRS = [
    ("a:b", "c"),
    ("a", "b:c"),
    ("a", "b"),
    ("a:b", ""),
    ("a", ""),
    ("a|", "b"),
    ("a", "|b"),
    ("a*", ""),
    ("a", "*"),
]
PAIRS += [
    ("a\x01", "b"),
    ("a", "\x01b"),
    ("a", "b\x01"),
    ("a", "$b"),
    ("a.b", "c"),
    ("a", "b.c"),
    ("ab", "c"),
    ("", "abc"),
]
PAIRS += [("a", "caf\u00e9"), ("a", "cafe\u0301"), ("a", "b|c:1"), ("a", "b|c:10"), ("a", "\r\n*1\r\n"), ("a", "?")]
PAIRS = [(thread or "none", ns) for thread, ns in PAIRS]


@everywhere
def test_a_thread_and_a_namespace_are_two_names(manager: SessionManager, form: Form) -> None:
    saver, wheres = Saver(manager.checkpointer, form.loop), {}
    for pair in PAIRS:
        wheres[pair] = saver.put(config(*pair), checkpoint({"pair": [*pair]}))
        saver.put_writes(wheres[pair], [("pair", [*pair])], f"task of {pair}")
    for pair in PAIRS:
        (listed,) = saver.list(config(*pair))
        for found in (saver.load(config(*pair)), saver.load(wheres[pair]), listed):
            assert found.checkpoint["channel_values"] == {"pair": [*pair]}
            assert [write for _, _, write in found.pending_writes or ()] == [[*pair]]
    for pair in PAIRS[::3]:
        assert {each.checkpoint["channel_values"]["pair"][0] for each in saver.list(config(pair[0], None))} == {pair[0]}
    for thread in ("a:b", "a*"):
        saver.delete_thread(thread)
    left = {tuple(found.checkpoint["channel_values"]["pair"]) for found in saver.list(None)}
    assert left == {pair for pair in PAIRS if pair[0] not in ("a:b", "a*")}


@pytest.mark.parametrize("form", ["sync", "async"], indirect=True)
def test_a_prefix_is_one_application_and_no_other(redis7: RedisServer, form: Form) -> None:
    prefixes = ["app", "app2", "app:", "ap", "app*", "app?", "app:$session/s/", "a\r\nFLUSHALL\r\n", "App"]
    run = f"threat-{uuid.uuid4()} "
    prefixes = [run + prefix for prefix in prefixes]
    for braces in ("app:{$session/s/}", "{app}", "}"):
        with pytest.raises(ConfigurationError, match="holds no braces"):
            open_backend(redis7.url, prefix=braces)
    managers = {prefix: SessionManager(open_backend(redis7.url, prefix=prefix)) for prefix in prefixes}
    for prefix, manager in managers.items():
        form.do(manager, "create_session", "s", messages=[("user", prefix)])
        form.do(manager.store, "put", ("n",), "k", {"prefix": prefix})
    for prefix, manager in managers.items():
        assert form.texts(form.do(manager, "get_session", "s")) == [prefix]
        assert [item.value for item in form.do(manager.store, "search", ())] == [{"prefix": prefix}]
        assert form.do(manager, "count_sessions") == 1
    form.do(managers[prefixes[0]], "delete_session", "s")
    assert [form.do(manager, "count_sessions") for manager in managers.values()] == [0] + [1] * (len(prefixes) - 1)
    for manager in managers.values():
        form.do(manager.backend, "close")
        manager.backend.close()
    others: Any = raw.of_redis([redis7.url], run)
    assert all(name.startswith(run.encode()) for name in others)
