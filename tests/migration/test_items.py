"""Items copied between each of the other stores and ours."""

from __future__ import annotations

import sqlite3
from importlib import import_module
from typing import Any

import pytest
from langgraph.store.base import BaseStore, PutOp, SearchItem
from langgraph.store.memory import InMemoryStore
from support.peers import Form, Peer, forms

from langgraph_sessionstore import ConfigurationError, MigrationError, SessionStore, migration

pytestmark = pytest.mark.filterwarnings("ignore:The default datetime adapter:DeprecationWarning")
peers = pytest.mark.peers
Items = dict[tuple[tuple[str, ...], str], dict[str, Any]]
MANY: Items = {(("many",), f"m{number:04}"): {"n": number} for number in range(1100)}
"""More than a page, and all of them changed at the same moment."""
ITEMS: Items = {
    **{
        (("users", f"u{number % 12}"), f"k{number}"): {"n": number, "deep": {"list": [1, None]}} for number in range(30)
    },
    (("users",), "root"): {"n": -1},
    (("users-x",), "root"): {"n": -2},
    (("us",), "root"): {"n": -3},
    (("the",), "root"): {"n": -5},
    (("a b", "c_d", "e%f"), "odd key: {1}"): {"n": -4},
}


def fill(form: Form, store: Any) -> None:
    form.do(store, "batch", [PutOp(namespace, key, value) for (namespace, key), value in ITEMS.items()])


def held(form: Form, store: Any, prefix: tuple[str, ...] = ()) -> dict[Any, Any]:
    found: list[SearchItem] = form.do(store, "search", prefix, limit=10_000)
    return {(tuple(each.namespace), each.key): each.value for each in found}


@peers
def test_items_are_the_same_with_us_and_back(form: Form, peer: Peer, new_peer: Any) -> None:
    source, ours = form.store(peer), form.our_store("memory:")
    fill(form, source)
    if form.blocks:
        form.do(source, "batch", [PutOp(namespace, key, value) for (namespace, key), value in MANY.items()])
    items = {**ITEMS, **(MANY if form.blocks else {})}
    done: list[tuple[int, int]] = []
    options = {"verify": True, "progress": lambda *at: done.append(at)}
    report = form.do(migration, "copy_items", source, ours, **options)
    assert (report.seen, report.copied, report.present) == (17 + form.blocks, len(items), 0)
    assert (report.failed, report.differences) == ({}, ())
    assert done[-1] == (len(items), len(items))
    assert held(form, ours) == items
    report = form.do(migration, "copy_items", source, ours)
    assert (report.copied, report.present, report.differing) == (0, len(items), 0)
    assert held(form, source) == items
    back = form.store(new_peer(peer.name))
    report = form.do(migration, "copy_items", ours, back, verify=True)
    assert (report.copied, report.failed, report.differences) == (len(items), {}, ())
    assert held(form, back) == items


@peers
def test_what_is_there_stays(form: Form, peer: Peer) -> None:
    source, target = form.our_store("memory:"), form.store(peer)
    for key, value in (("same", 1), ("other", 1), ("new", 1)):
        form.do(source, "put", ("a",), key, {"n": value})
    for key, value in (("same", 1), ("other", 2)):
        form.do(target, "put", ("a",), key, {"n": value})
    report = form.do(migration, "copy_items", source, target, verify=True)
    assert (report.copied, report.present, report.differing) == (1, 2, 1)
    assert report.differences == ("namespace ('a',): item 'other' differs",)
    assert {key: value["n"] for (_, key), value in held(form, target).items()} == {"same": 1, "other": 2, "new": 1}


@peers
def test_only_what_lies_below_a_prefix(form: Form, peer: Peer) -> None:
    source, target = form.store(peer), form.our_store("memory:")
    fill(form, source)
    report = form.do(migration, "copy_items", source, target, prefix=("users",))
    assert (report.seen, report.copied) == (13, 31)
    assert held(form, target) == {name: value for name, value in ITEMS.items() if name[0][0] == "users"}


@peers
def test_items_live_as_the_target_says(new_peer: Any) -> None:
    peer: Peer = new_peer("sqlite")
    source = InMemoryStore()
    source.put(("a",), "k", {"n": 1})
    with peer.store() as target:
        target.ttl_config = {"default_ttl": 5}
        migration.copy_items(source, target)
    connection = sqlite3.connect(peer.plain)
    assert connection.execute("SELECT ttl_minutes FROM store").fetchall() == [(5,)]
    connection.close()
    ours = SessionStore.from_url("memory:", ttl={"default_ttl": 0.0001})
    migration.copy_items(source, ours)
    again = SessionStore(ours.backend)
    again.put(("a",), "stays", {"n": 2})
    while again.get(("a",), "k") is not None:  # until it has ended, six milliseconds after it was put
        pass
    assert again.get(("a",), "stays") is not None


@peers
def test_what_has_ended_does_not_begin_anew(new_peer: Any) -> None:
    peer: Peer = new_peer("postgres")
    with peer.store() as source:
        for key in ("ended", "lives"):
            source.put(("notes",), key, {"n": 1}, ttl=60)
    with import_module("psycopg").connect(peer.plain) as connection:
        connection.execute("UPDATE store SET expires_at = now() - interval '1 day' WHERE key = 'ended'")
    target = InMemoryStore()
    with migration.open_store(peer.url) as opened:
        assert migration.copy_items(opened, target).copied == 1
    assert [item.key for item in target.search(("notes",))] == ["lives"]


class Refusing(InMemoryStore):
    """Takes no item whose value has a "bad" in it."""

    def batch(self, ops: Any) -> Any:
        ops = list(ops)
        if any(isinstance(op, PutOp) and op.value and "bad" in op.value for op in ops):
            raise TypeError("this value is not taken\nsecret")
        return super().batch(ops)

    async def abatch(self, ops: Any) -> Any:
        return self.batch(ops)


def test_an_error_names_the_namespace_and_others_are_copied(form: Form) -> None:
    source, target = InMemoryStore(), Refusing()
    for number in range(5):
        source.put(("a", str(number)), "k", {"bad" if number == 3 else "good": number})
    with pytest.raises(
        MigrationError, match=r"namespace 'a.3' could not be copied: TypeError: this value is not taken\."
    ):
        form.do(migration, "copy_items", source, target)
    report = form.do(migration, "copy_items", source, target, keep_going=True, verify=True)
    assert report.failed == {"a.3": "TypeError: this value is not taken"}
    assert report.differences == ("namespace ('a', '3'): item 'k' is missing",)
    assert (report.copied + report.present, len(target.search(("a",)))) == (4, 4)


def test_what_cannot_be_is_refused() -> None:
    store: BaseStore = InMemoryStore()
    for source, options, message in (
        (store, {}, "the same"),
        ("x", {}, "a store of LangGraph is wanted, not str"),
        (InMemoryStore(), {"prefix": "a"}, "tuple of labels"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            migration.copy_items(source, store, **options)  # type: ignore[arg-type]


@peers
def test_a_class_without_this_form_says_so(new_peer: Any) -> None:
    with (
        forms("async") as form,
        new_peer("sqlite").store() as blocking,
        pytest.raises(ConfigurationError, match="no async"),
    ):
        form.do(migration, "copy_items", blocking, InMemoryStore())
