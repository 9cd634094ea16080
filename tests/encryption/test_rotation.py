"""From plain values to encrypted ones, and from one key to the next, while others work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from encryption.filled import INDEX, KEY, OTHER, Open, fill, prices, read, rows
from support.sittings import Form

from langgraph_sessionstore import (
    Backend,
    EncryptedBackend,
    Keyring,
    SessionManager,
    Tampered,
    Unencrypted,
    WrongKey,
    keys,
    run,
)
from langgraph_sessionstore.adapters.store import SessionStore
from langgraph_sessionstore.backends.encrypted.resealing import LISTS
from langgraph_sessionstore.backends.encrypted.seals import Seals
from langgraph_sessionstore.ops import Get, Put, Range, must
from langgraph_sessionstore.plans import caching, items, places
from langgraph_sessionstore.testing import Fault, FaultyBackend

pytestmark = pytest.mark.long

Managers = Callable[..., SessionManager]
OPTIONS: Any = {"index": INDEX, "prices": prices()}


def reseal(form: Form, backend: Backend) -> int:
    assert isinstance(backend, EncryptedBackend)
    done: int = form.do(backend, "reseal")
    return done


def test_every_list_of_partitions_is_gone_through() -> None:
    assert {places.REGISTRY, items.STORE, caching.CACHE} == set(map(keys.registry, LISTS))


def test_a_plain_storage_becomes_an_encrypted_one(manager_on: Managers, form: Form, open_storage: Open) -> None:
    plain = manager_on(**OPTIONS)
    session = fill(form, plain)
    form.do(session, "fork", "fork")
    before, stored = read(form, plain), rows(plain.backend)
    moving = manager_on(Keyring(KEY, plaintext=True), **OPTIONS)
    assert read(form, moving) == before
    form.do(form.do(moving, "get_session", "talk"), "append", "user", "sealed already")
    form.do(form.do(moving, "get_session", "talk"), "record_usage", "m", input_tokens=1)
    with pytest.raises(Unencrypted):
        form.do(manager_on(KEY), "get_session", "talk")
    assert reseal(form, moving.backend) > len(stored) // 2
    assert reseal(form, moving.backend) == 0
    sealed = manager_on(KEY, **OPTIONS)
    after = read(form, sealed)
    assert after["messages"] == [*before["messages"], "sealed already"]
    assert after["usage"].input_tokens == before["usage"].input_tokens + 1
    assert {**after, "messages": 0, "usage": 0} == {**before, "messages": 0, "usage": 0}
    assert form.texts(form.do(sealed, "get_session", "fork")) == before["messages"]
    assert form.do(sealed.checkpointer, "check", "graph") == []


def test_a_key_can_be_replaced_and_thrown_away(manager_on: Managers, form: Form, open_storage: Open) -> None:
    old = manager_on(KEY, **OPTIONS)
    form.do(fill(form, old), "fork", "fork")
    before = read(form, old)
    both = manager_on([OTHER, KEY], **OPTIONS)
    assert read(form, both) == before
    form.do(form.do(both, "get_session", "fork"), "append", "user", "with the new key")
    form.do(form.do(both, "get_session", "fork"), "record_usage", "m", input_tokens=1)
    still = manager_on([KEY, OTHER], **OPTIONS)  # a worker that was not restarted yet knows the new one, at least
    assert form.texts(form.do(still, "get_session", "fork"))[-1] == "with the new key"
    with pytest.raises(WrongKey):
        form.texts(form.do(old, "get_session", "fork"))
    assert reseal(form, both.backend) > 30
    new = manager_on(OTHER, **OPTIONS)
    assert read(form, new) == before
    assert form.texts(form.do(new, "get_session", "fork")) == [*before["messages"], "with the new key"]
    name = Keyring(KEY).secrets
    values = [value for (_, key), value in rows(open_storage()).items() if key > keys.ORIGINS[1]]
    assert not any(next(iter(name)) in value[:40] for value in values)
    with pytest.raises(WrongKey):
        form.do(manager_on(KEY), "get_session", "talk")


def test_what_was_changed_by_others_is_told_and_left(manager_on: Managers, form: Form, open_storage: Open) -> None:
    for name in ("talk", "zoo"):
        form.do(manager_on(KEY), "create_session", name, summary=name)
    plain = open_storage()
    (stored,) = run(plain, must(keys.session("talk"), Get(places.SUMMARY)))
    run(plain, must(keys.session("talk"), Put(places.SUMMARY, stored[:-1] + b"?")))
    both = manager_on([OTHER, KEY])
    for _ in range(2):
        with pytest.raises(Tampered, match=r"1 partitions .*'talk'"):
            reseal(form, both.backend)
    new = form.do(manager_on([OTHER]), "get_session", "zoo")  # what is sound is not kept from it
    assert form.do(new, "summary") == "zoo"
    with pytest.raises(WrongKey):
        form.do(manager_on(b"another key, of thirty-two bytes"), "get_session", "zoo")


def test_what_is_copied_meanwhile_is_resealed_too(manager_on: Managers, form: Form, open_storage: Open) -> None:
    """A session that was not reached yet is forked to a name that was passed already."""
    manager = manager_on(KEY)
    for number in range(3):
        form.do(manager, "create_session", f"m{number}", messages=["hi"], summary="s")
    forker = SessionManager(open_storage([OTHER, KEY]))
    inner = open_storage()

    class Forking(FaultyBackend):
        def _next(self) -> Fault | None:
            fault = super()._next()
            if self.calls == 8:
                found = forker.get_session("m2")
                assert found is not None
                found.fork("a-fork")
            return fault

    backend = EncryptedBackend(Forking(inner, {}), [OTHER, KEY])
    assert reseal(form, backend) > 0
    fork = form.do(manager_on(OTHER), "get_session", "a-fork")
    assert form.texts(fork) == ["hi"]
    assert form.do(fork, "summary") == "s"


def test_rows_that_look_like_sealed_ones_are_taken_for_what_they_are(
    manager_on: Managers, form: Form, open_storage: Open
) -> None:
    """Digests and vectors are stored as they are: one in 256 begins with any byte."""
    options: Any = {"index": INDEX}
    manager = manager_on(**options)
    namespace = ("many",)
    for number in range(300):
        manager.store.put(namespace, str(number), {"text": f"text {number}"})
    stored = rows(open_storage())
    assert sum(value[:1] == b"\xc2" for value in stored.values())
    moving = manager_on(Keyring(KEY, plaintext=True), **options)
    assert len(form.do(moving.store, "search", namespace, query="text 7", limit=300)) == 300
    assert reseal(form, moving.backend) >= 300
    assert len(form.do(manager_on(KEY, **options).store, "search", namespace, query="text 7", limit=300)) == 300


def test_nothing_is_lost_while_others_write(manager_on: Managers, form: Form, open_storage: Open) -> None:
    both = manager_on([OTHER, KEY])
    form.do(manager_on(KEY), "create_session", "talk", messages=[f"m{number}" for number in range(200)])
    ended = threading.Event()
    said: list[str] = []

    def write() -> None:
        with SessionManager(open_storage([OTHER, KEY])) as worker:
            session = worker.get_session("talk")
            assert session is not None
            while not ended.is_set() or len(said) < 5:
                session.append("user", f"w{len(said)}")
                said.append(f"w{len(said)}")
                session.summary = said[-1]
                session.replace(0, f"edited {len(said)}")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(3):
            reseal(form, both.backend)
    finally:
        ended.set()
        thread.join()
    reseal(form, both.backend)
    session = form.do(manager_on(OTHER), "get_session", "talk")
    texts = form.texts(session)
    assert texts[1:200] == [f"m{number}" for number in range(1, 200)]
    assert texts[200:] == said
    assert form.do(session, "summary") == said[-1]


def test_a_value_of_each_kind_is_resealed(manager_on: Managers, form: Form, open_storage: Open) -> None:
    manager = manager_on(KEY, **OPTIONS)
    fill(form, manager)
    reseal(form, manager_on([OTHER, KEY]).backend)
    seals = Seals(Keyring(OTHER))
    plain = open_storage()
    for (partition, key), value in rows(plain).items():
        assert value.isdigit() or seals.is_new(value, partition), (partition, key)
    assert run(plain, must(keys.encode("seals"), Range(b"", None)))[0][0][0] == keys.encode(seals.names[0].hex())
    assert SessionStore(open_storage(OTHER)).get(("people", "ann"), "name") is not None
