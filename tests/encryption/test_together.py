"""Many workers at once on encrypted sessions: what the storage counted itself has to be agreed on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from encryption.filled import KEY, OTHER, Open
from support.between import Between
from support.sittings import Form

from langgraph_sessionstore import (
    Backend,
    BackendUnavailable,
    DataError,
    EncryptedBackend,
    OutcomeUnknown,
    SessionManager,
    Unencrypted,
    WrongKey,
)
from langgraph_sessionstore.testing import Fault, FaultyBackend

pytestmark = pytest.mark.long

Managers = Callable[..., SessionManager]


def test_workers_append_and_spend_at_once(manager_on: Managers, form: Form) -> None:
    managers = [manager_on(KEY) for _ in range(3)]
    form.do(managers[0], "create_session", "talk")
    names = [(worker, number) for number in range(12) for worker in range(3)]

    def say(worker: int, number: int) -> None:
        session = managers[worker].get_session("talk")
        assert session is not None
        session.append("user", f"{worker}-{number}")
        session.record_usage("p", "m", input_tokens=number)

    async def asay(worker: int, number: int) -> None:
        session = await managers[worker].aget_session("talk")
        assert session is not None
        await session.aappend("user", f"{worker}-{number}")
        await session.arecord_usage("p", "m", input_tokens=number)

    async def all_at_once() -> None:
        await asyncio.gather(*[asay(*name) for name in names])

    if form.loop is None:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda name: say(*name), names))
    else:
        form.loop.run_until_complete(all_at_once())
    session = form.do(manager_on(KEY), "get_session", "talk")
    assert sorted(form.texts(session)) == sorted(f"{worker}-{number}" for worker, number in names)
    assert form.do(session, "usage").input_tokens == sum(number for _, number in names)
    assert form.do(session, "usage").calls == len(names)


@pytest.mark.parametrize("trip", range(1, 7))
@pytest.mark.parametrize("key", [KEY, OTHER, None], ids=["the same key", "another key", "no key"])
def test_of_two_who_begin_a_storage_at_once_one_was_first(
    open_storage: Open, form: Form, trip: int, key: bytes | None
) -> None:
    """Another one begins, between two trips of the first call of all."""
    refused: dict[str, Exception] = {}

    def begin(name: str, on: Form, backend: Backend) -> None:
        try:
            on.do(SessionManager(backend), "create_session", name, messages=["hi"])
        except DataError as exc:
            refused[name] = exc

    inner = Between(open_storage(), {trip: lambda: begin("second", Form(None), open_storage(key))})
    begin("first", form, EncryptedBackend(inner, KEY))
    assert inner.trips >= trip
    if key == KEY:
        assert refused == {}
    elif key == OTHER:
        assert [type(exc) for exc in refused.values()] == [WrongKey]
    else:  # whoever has no key never asks for proofs
        assert [(name, type(exc)) for name, exc in refused.items()] in ([], [("first", Unencrypted)])
    for name, its in (("first", KEY), ("second", key)):
        if name not in refused:
            assert form.texts(form.do(SessionManager(open_storage(its)), "get_session", name)) == ["hi"]


@pytest.mark.parametrize("fault", [Fault.FAIL, Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_a_fault_at_any_call_loses_and_doubles_nothing(open_storage: Open, form: Form, fault: Fault) -> None:
    for at in range(1, 40):
        faulty = FaultyBackend(open_storage(), {at: fault})
        manager = SessionManager(EncryptedBackend(faulty, KEY))
        name = f"talk-{fault.name}-{at}"
        done: list[Any] = []
        try:
            session = form.do(manager, "create_session", name, messages=["one"])
            done.append("one")
            form.do(session, "append", "user", "two")
            done.append("two")
            form.do(session, "record_usage", "p", input_tokens=5)
            done.append(5)
            form.do(session, "append", "user", "three")
            done.append("three")
        except (BackendUnavailable, OutcomeUnknown) as exc:
            certain = isinstance(exc, BackendUnavailable)
        else:
            certain = True
        check = SessionManager(open_storage(KEY))
        session = form.do(check, "get_session", name)
        steps = ["one", "two", 5, "three"]
        found: list[Any] = form.texts(session) if session else []
        spent = form.do(session, "usage").input_tokens if session else 0
        if spent:
            found.insert(2, spent)
        assert found in ([done] if certain else [done, steps[: len(done) + 1]]), (fault, at)
        if faulty.calls < at:
            break
    assert 10 < at < 39  # the fault came at every call that there is


def test_a_session_that_begins_again_counts_from_the_start(manager_on: Managers, form: Form) -> None:
    one, two = manager_on(KEY, tombstone=0.001), manager_on(KEY, tombstone=0.001)
    for round_ in range(3):
        for manager in (one, two):
            form.do(manager, "create_session", "talk", messages=["a", "b"])
            session = form.do(manager, "get_session", "talk")
            form.do(session, "record_usage", "p", input_tokens=1)
            form.do(session, "append", "user", f"{round_}")
            assert form.texts(session) == ["a", "b", f"{round_}"]
            assert form.do(session, "usage").input_tokens == 1
            form.do(manager, "delete_session", "talk")


def test_a_closed_one_says_so(open_storage: Open, form: Form) -> None:
    from langgraph_sessionstore import BackendClosed, open_backend

    backend = EncryptedBackend(open_backend("memory:"), KEY)
    manager = SessionManager(backend)
    form.do(manager, "create_session", "a")
    form.do(backend, "close")
    form.do(backend, "close")
    with pytest.raises(BackendClosed):
        form.do(manager, "get_session", "a")
    with pytest.raises(BackendClosed):
        form.do(backend, "reseal")
