"""An encrypted storage that somebody has changed: what does not open is named, and the rest is looked after."""

from __future__ import annotations

from typing import Any

import pytest
from support.savers import config
from support.sittings import Form
from upkeep.care import Care

from langgraph_sessionstore import EncryptedBackend, SessionManager, keys, run
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.ops import Get, Put, Range, must
from langgraph_sessionstore.plans import layout
from langgraph_sessionstore.plans.places import SUMMARY

KEY = b"0123456789abcdef" * 2


@pytest.fixture
def below() -> MemoryBackend:
    """What lies below."""
    return MemoryBackend()


@pytest.fixture
def sealed(below: MemoryBackend, form: Form) -> Care:
    """The storage."""
    return Care(form, lambda: SessionManager(EncryptedBackend(below, KEY)))


def tampered(below: MemoryBackend, name: str, key: bytes) -> None:
    partition = keys.session(name)
    (value,) = run(below, must(partition, Get(key)))
    run(below, must(partition, Put(key, value[:-1] + bytes([value[-1] ^ 1]))))


def test_what_was_changed_is_named_and_stops_nothing(below: MemoryBackend, sealed: Care) -> None:
    for name in ("a", "b", "c"):
        sealed.log(name)
    there: Any = sealed.thread("t")
    tampered(below, "b", SUMMARY)
    branch, slot = sealed.elements("t")[0]
    tampered(below, "t", layout.element(branch, slot))
    stats = sealed.form.do(sealed.other(), "stats")
    assert (stats.sessions, stats.unreadable) == (2, ("b", "t"))
    for repair in (False, True):
        found = sealed.check_all(repair=repair)
        assert [(each.id, [problem.kind for problem in each.problems], each.repaired) for each in found] == [
            ("a", [], ()), ("b", ["damaged"], ()), ("c", [], ()), ("t", ["damaged"], ()),
        ]  # fmt: skip
    assert sealed.texts(there["000003"]) == ["7", "8"]


def test_what_is_wrong_elsewhere_in_such_a_session_is_repaired(below: MemoryBackend, sealed: Care) -> None:
    sealed.thread("t")
    sealed.form.do(sealed.form.do(sealed.manager, "get_session", "t"), "set_summary", "Far.")
    sealed.delete("t", layout.index("inner:1", "000004"))
    tampered(below, "t", SUMMARY)
    done = sealed.check("t", repair=True)
    assert ([each.kind for each in done.problems], len(done.repaired)) == (["damaged"], 1)
    assert sealed.get("t", layout.index("inner:1", "000004")) == b""


def test_with_another_key_nothing_is_said_to_be_lost(below: MemoryBackend, sealed: Care) -> None:
    sealed.thread("t")
    plain = Care(sealed.form, lambda: SessionManager(below))
    sealed.delete("t", layout.index("inner:1", "000004"))
    before = run(below, must(keys.session("t"), Range(b"", None)))
    checked = plain.check("t", repair=True)
    assert {problem.help for problem in checked.problems} == {"a process that has what it needs can read it"}
    assert checked.repaired == ()
    assert run(below, must(keys.session("t"), Range(b"", None))) == before
    assert len(sealed.check("t", repair=True).repaired) == 1
    assert sealed.problems("t") == []
    assert sealed.texts(config("t", "", "000003")) == ["7", "8"]
