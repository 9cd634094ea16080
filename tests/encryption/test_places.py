"""What somebody with access to the storage, but without the key, can do: nothing that is taken for a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from encryption.filled import INDEX, KEY, OTHER, WORD, Open, fill, graph, prices, read, rows
from support.sittings import Form

from langgraph_sessionstore import (
    Backend,
    SessionManager,
    SessionStoreError,
    Tampered,
    Unencrypted,
    WrongKey,
    codec,
    keys,
    run,
)
from langgraph_sessionstore.backends.encrypted.translating import COUNTED
from langgraph_sessionstore.ops import Delete, Drop, Get, Op, Put, Range, must, named, split_links, split_name
from langgraph_sessionstore.plans import layout, places

pytestmark = pytest.mark.long

TALK, GRAPH = keys.session("talk"), keys.session("graph")
SUM = keys.encode("n", "m", "", "input")
Managers = Callable[..., SessionManager]


@pytest.fixture
def plain(open_storage: Open) -> Backend:
    """The storage as somebody without the key sees it."""
    return open_storage()


def put(backend: Backend, partition: bytes, *ops: Op) -> None:
    run(backend, must(partition, *ops))


def test_everything_comes_back_and_nothing_can_be_read_in_the_storage(
    manager_on: Managers, form: Form, plain: Backend
) -> None:
    options: Any = {"index": INDEX, "prices": prices()}
    manager = manager_on(KEY, **options)
    fill(form, manager)
    found = read(form, manager)
    assert found["messages"] == [f"{WORD} {number}" for number in range(4)]
    assert found == read(form, manager_on(KEY, **options))
    stored = rows(plain)
    assert len(stored) > 30
    for (partition, key), value in stored.items():
        if key in COUNTED:
            assert value.isdigit()
        else:
            assert value[:1] == codec.ENCRYPTED, (partition, key)
        for secret in (WORD.encode(), WORD.lower().encode(), b"7001", b"messages"):
            assert secret not in value, (partition, key)


def test_the_storage_counts_where_sessions_count() -> None:
    assert {places.LOG, places.UNDO, layout.VERSION} == COUNTED


def test_a_changed_value_is_refused_whichever_byte_it_is(manager_on: Managers, form: Form, plain: Backend) -> None:
    session = form.do(manager_on(KEY), "create_session", "talk", summary=WORD)
    (stored,) = run(plain, must(TALK, Get(places.SUMMARY)))
    for at in range(len(stored)):
        damaged = stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :]
        put(plain, TALK, Put(places.SUMMARY, damaged))
        with pytest.raises(SessionStoreError) as caught:
            form.do(session, "summary")
        assert isinstance(caught.value, (Tampered, WrongKey, Unencrypted)) or "format" in str(caught.value), at
    for size in range(len(stored)):
        put(plain, TALK, Put(places.SUMMARY, stored[:size]))
        with pytest.raises((Tampered, Unencrypted)):
            form.do(session, "summary")
    put(plain, TALK, Put(places.SUMMARY, stored))
    assert form.do(session, "summary") == WORD


def test_rows_that_change_places_are_refused(manager_on: Managers, form: Form, plain: Backend) -> None:
    session = form.do(manager_on(KEY), "create_session", "talk", messages=["one", "two"], summary="s", title="t")
    first, second = places.message(0), places.message(1)
    one, two, summary, details = run(plain, must(TALK, *map(Get, (first, second, places.SUMMARY, places.DETAILS))))
    for moved in ([Put(first, two), Put(second, one)], [Put(second, one)]):
        put(plain, TALK, *moved)
        with pytest.raises(Tampered, match=r"\('m', [01]\).*'session', 'talk'"):
            form.do(manager_on(KEY), "get_session", "talk") and form.texts(session)
        put(plain, TALK, Put(first, one), Put(second, two))
    put(plain, TALK, Put(places.SUMMARY, details))
    with pytest.raises(Tampered):
        form.do(session, "summary")
    put(plain, TALK, Put(places.SUMMARY, summary))
    assert form.texts(session) == ["one", "two"]


def test_the_rows_of_one_session_are_not_those_of_another(manager_on: Managers, form: Form, plain: Backend) -> None:
    manager = manager_on(KEY)
    for name in ("talk", "graph"):
        form.do(manager, "create_session", name, messages=[name], summary=name)
    (summary,) = run(plain, must(GRAPH, Get(places.SUMMARY)))
    put(plain, TALK, Put(places.SUMMARY, summary))
    with pytest.raises(Tampered, match="another partition"):
        form.do(form.do(manager, "get_session", "talk"), "summary")
    (all_rows,) = run(plain, must(GRAPH, Range(b"", None)))
    put(plain, TALK, Drop(), *[Put(*row) for row in all_rows])
    for worker in (manager, manager_on(KEY)):
        with pytest.raises(Tampered):
            form.do(worker, "get_session", "talk")
    put(plain, TALK, Drop(), *[Put(*row) for row in all_rows], *[Put(b"\x03" + b"0" * 32, summary)])
    with pytest.raises(Tampered):
        form.do(manager_on(KEY), "get_session", "talk")


def test_items_and_checkpoints_stay_where_they_are(manager_on: Managers, form: Form, plain: Backend) -> None:
    manager = manager_on(KEY)
    for name in ("ann", "bob"):
        form.do(manager.store, "put", ("people", name), "secret", {"of": name})
        graph(form, manager, name, 2)
    stored = rows(plain)
    swapped = 0
    for (partition, key), value in stored.items():
        other = partition.replace(b"ann", b"bob")
        if other != partition and (other, key) in stored and key not in COUNTED:
            put(plain, other, Put(key, value))
            swapped += 1
    assert swapped >= 3
    fresh = manager_on(KEY)
    with pytest.raises(Tampered):
        form.do(fresh.store, "get", ("people", "bob"), "secret")
    with pytest.raises(Tampered):
        form.do(fresh.store, "search", ("people", "bob"))
    assert form.do(fresh.store, "get", ("people", "ann"), "secret").value == {"of": "ann"}


def test_links_cannot_be_led_elsewhere(manager_on: Managers, form: Form, plain: Backend) -> None:
    graph(form, manager_on(KEY), "graph", 6)
    (records,) = run(plain, must(GRAPH, Range(*layout.RECORDS)))
    cut = 0
    for key, value in records:
        name, rest = split_name(value)
        links, content = split_links(rest)
        if links.runs:
            put(plain, GRAPH, Put(key, named(name, content)))
            cut += 1
    assert cut
    with pytest.raises(Tampered):
        form.do(manager_on(KEY).checkpointer, "get_tuple", {"configurable": {"thread_id": "graph"}})


def test_plain_values_are_refused(manager_on: Managers, form: Form, plain: Backend) -> None:
    open_ = manager_on()
    form.do(open_, "create_session", "talk", summary="plain", messages=["hi"])
    form.do(open_.store, "put", ("a",), "k", {"v": 1})
    for _ in range(2):
        manager = manager_on(KEY)
        with pytest.raises(Unencrypted, match="plaintext=True"):
            form.do(manager, "get_session", "talk")
        with pytest.raises(Unencrypted):
            form.do(manager.store, "get", ("a",), "k")
        with pytest.raises(Unencrypted):
            form.do(manager.store, "search", ("a",))
        with pytest.raises(Unencrypted):
            form.do(manager, "create_session", "new")
    assert form.do(form.do(open_, "get_session", "talk"), "summary") == "plain"
    assert form.do(open_, "get_session", "new") is None


def test_plain_rows_in_an_encrypted_storage_are_refused(manager_on: Managers, form: Form, plain: Backend) -> None:
    manager = manager_on(KEY)
    session = form.do(manager, "create_session", "talk", messages=["hi"], summary="s")
    put(plain, TALK, Put(places.SUMMARY, codec.pack(["planted"])))
    with pytest.raises(Unencrypted, match="talk"):
        form.do(session, "summary")
    form.do(manager_on(), "create_session", "graph", messages=["planted"])  # a worker that was given no key
    with pytest.raises(Unencrypted):
        form.do(manager_on(KEY), "get_session", "graph")


@pytest.mark.parametrize("key", [places.SUMMARY, places.LIFE, SUM])
def test_a_number_where_no_counter_is_does_not_pass_as_one(
    manager_on: Managers, form: Form, plain: Backend, key: bytes
) -> None:
    session = form.do(manager_on(KEY), "create_session", "talk", summary="s")
    form.do(session, "record_usage", "m", input_tokens=5)
    put(plain, TALK, Put(key, b"9999"))
    reading = {places.SUMMARY: (session, "summary"), SUM: (session, "usage")}
    with pytest.raises(Unencrypted):
        form.do(*reading.get(key, (manager_on(KEY), "get_session", "talk")))


def test_a_wrong_key_is_told_before_anything_is_done(manager_on: Managers, form: Form, plain: Backend) -> None:
    form.do(manager_on(KEY), "create_session", "talk", messages=["hi"])
    before = rows(plain)
    wrong = manager_on(OTHER)
    session = wrong.history("talk")
    for _ in range(2):
        with pytest.raises(WrongKey, match="other keys"):
            form.do(wrong, "get_session", "talk")
        with pytest.raises(WrongKey):
            form.do(wrong, "create_session", "new")
        with pytest.raises(WrongKey):
            form.do(wrong.store, "put", ("a",), "k", {"v": 1})
        with pytest.raises(WrongKey):
            form.do(wrong.cache, "get", [(("c",), "k")])
        with pytest.raises(WrongKey):
            session.add_user_message("lost")
    assert rows(plain) == before


def test_a_storage_that_is_encrypted_says_so_to_those_without_a_key(manager_on: Managers, form: Form) -> None:
    fill(form, manager_on(KEY))
    plain = manager_on()
    with pytest.raises(WrongKey, match="encryption="):
        form.do(plain, "get_session", "talk")
    with pytest.raises(WrongKey):
        form.do(plain.checkpointer, "get_tuple", {"configurable": {"thread_id": "graph"}})
    with pytest.raises(WrongKey):
        form.do(plain.store, "search", ("people",))


def test_a_row_of_a_key_that_is_not_in_the_ring_is_named(manager_on: Managers, form: Form) -> None:
    old, both = manager_on(KEY), manager_on([OTHER, KEY])
    form.do(old, "create_session", "talk", summary="s")
    form.do(both, "create_session", "graph")
    for manager, name in ((old, "graph"), (manager_on(KEY), "graph"), (manager_on(OTHER), "talk")):
        with pytest.raises(WrongKey, match="not in the keyring"):
            form.do(manager, "get_session", name)


def test_a_deleted_row_is_no_secret_but_no_other_value_either(manager_on: Managers, form: Form, plain: Backend) -> None:
    """What is deleted is gone, and what was put back in its place is an older value of the same row: not defended."""
    session = form.do(manager_on(KEY), "create_session", "talk", summary="old")
    (old,) = run(plain, must(TALK, Get(places.SUMMARY)))
    form.do(session, "set_summary", "new")
    put(plain, TALK, Put(places.SUMMARY, old))
    assert form.do(session, "summary") == "old"
    put(plain, TALK, Delete(places.SUMMARY))
    assert form.do(session, "summary") is None
