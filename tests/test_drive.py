"""The drivers: the same plan on both, errors and cancellation thrown into it, faults at every call."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from langgraph_sessionstore import (
    BackendUnavailable,
    ConflictError,
    NotReplicated,
    OutcomeUnknown,
    arun,
    open_backend,
    run,
)
from langgraph_sessionstore.ops import Add, Batch, Call, Calls, Conflict, Expect, Get, Plan, Put, call, casual, must
from langgraph_sessionstore.testing import Fault, FaultyBackend

NAME = b"$p\x01"


def drive_sync(backend: FaultyBackend, plan: Plan[Any]) -> Any:
    return run(backend, plan)


def drive_async(backend: FaultyBackend, plan: Plan[Any]) -> Any:
    return asyncio.run(arun(backend, plan))


both = pytest.mark.parametrize("drive", [drive_sync, drive_async])
Drive = Callable[[FaultyBackend, Plan[Any]], Any]


def faulty(**faults: Fault) -> FaultyBackend:
    return FaultyBackend(open_backend("memory:"), {int(name[1:]): fault for name, fault in faults.items()}, delay=0)


@both
def test_a_plan_returns_its_result(drive: Drive) -> None:
    def plan() -> Plan[Any]:
        first = yield from call(NAME, Put(b"k", b"1"), Get(b"k"))
        (second, third) = yield Calls([Call(NAME, Batch(Add(b"n", 2))), Call(NAME, Batch(Expect(b"k", False)))])
        (fourth,) = yield Calls([Call(b"$q\x01", Batch(Get(b"k")), source=NAME)])
        return first, second, third, fourth

    assert drive(faulty(), plan()) == ([None, b"1"], [2], Conflict(0), [b"1"])


@both
def test_a_plan_that_asks_nothing(drive: Drive) -> None:
    def plan() -> Plan[int]:
        return 7
        yield

    backend = faulty()
    assert (drive(backend, plan()), backend.calls) == (7, 0)


@both
def test_errors_are_thrown_into_the_plan_which_may_go_on(drive: Drive) -> None:
    def plan() -> Plan[Any]:
        seen: list[type[Exception]] = []
        for _ in range(4):
            try:
                yield Calls([Call(NAME, Batch(Add(b"n", 1)))])
            except (BackendUnavailable, OutcomeUnknown) as exc:
                seen.append(type(exc))
        try:
            yield Calls([Call(NAME, Batch(), source=NAME)])
        except ValueError as exc:
            seen.append(type(exc))
        return seen, (yield from call(NAME, Get(b"n")))

    backend = faulty(_1=Fault.FAIL, _2=Fault.CUT_BEFORE, _3=Fault.CUT_AFTER, _4=Fault.DELAY)
    seen, replies = drive(backend, plan())
    assert seen == [BackendUnavailable, OutcomeUnknown, OutcomeUnknown, ValueError]
    assert replies == [b"2"]  # the third, whose answer was lost, and the fourth


@both
@pytest.mark.parametrize("fault", [Fault.FAIL, Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_errors_that_the_plan_does_not_handle_pass(drive: Drive, fault: Fault) -> None:
    closed = []

    def plan() -> Plan[None]:
        try:
            yield Calls([Call(b"$q\x01", Batch(), source=NAME)])
        finally:
            closed.append(True)

    with pytest.raises((BackendUnavailable, OutcomeUnknown)):
        drive(faulty(_1=fault), plan())
    assert closed == [True]


@both
def test_a_repeated_batch_with_an_operation_id_counts_once(drive: Drive) -> None:
    """What a cut leaves open, an operation id settles."""

    def plan() -> Plan[Any]:
        batch = Batch(Add(b"n", 1), op_id=b"id")
        while True:
            try:
                return (yield Calls([Call(NAME, batch)]))[0]
            except OutcomeUnknown:
                continue

    for fault in (Fault.CUT_BEFORE, Fault.CUT_AFTER):
        assert drive(faulty(_1=fault), plan()) == [1]


@both
@pytest.mark.parametrize("ordered", [False, True])
def test_an_error_beside_an_applied_call_is_not_taken_for_nothing(drive: Drive, ordered: bool) -> None:
    calls = [Call(NAME, Batch(Add(b"n", 1))) for _ in range(3)]

    def plan() -> Plan[Any]:
        return (yield Calls(calls, ordered=ordered))

    with pytest.raises(OutcomeUnknown, match="calls were or may have been applied") as caught:
        drive(faulty(_2=Fault.FAIL), plan())
    assert caught.value.answers is not None
    assert [type(answer) for answer in caught.value.answers] == [
        list, BackendUnavailable, BackendUnavailable if ordered else list,
    ]  # fmt: skip
    with pytest.raises(BackendUnavailable):
        drive(faulty(_1=Fault.FAIL, _2=Fault.FAIL, _3=Fault.FAIL), plan())


@both
def test_a_plan_goes_on_with_what_is_not_confirmed_and_its_end_says_so(drive: Drive) -> None:
    def plan(ordered: bool = False) -> Plan[Any]:
        first = yield from call(NAME, Add(b"n", 1))
        calls = [Call(NAME, Batch(Add(b"n", 1))), Call(b"$q\x01", Batch(), source=NAME), Call(NAME, Batch(Get(b"n")))]
        return first, (yield Calls(calls, ordered))

    doubts = dict.fromkeys(range(1, 9), Fault.UNCONFIRMED)
    backend = FaultyBackend(open_backend("memory:"), doubts)
    with pytest.raises(NotReplicated, match="no replica has confirmed it") as caught:
        drive(backend, plan())
    assert caught.value.result == ([1], [[2], [], [b"2"]])
    with pytest.raises(NotReplicated) as caught:
        drive(backend, plan(ordered=True))
    assert caught.value.result == ([3], [[4], [], [b"4"]])
    backend.faults = {9: Fault.UNCONFIRMED, 10: Fault.UNCONFIRMED, 11: Fault.FAIL}
    with pytest.raises(OutcomeUnknown, match="1 of 3 calls were or may have been applied") as failed:
        drive(backend, plan())
    assert failed.value.answers is not None
    assert failed.value.answers[0] == [6]  # what is in doubt was applied, and counts as that


@both
def test_what_needs_no_confirmation(drive: Drive) -> None:
    backend = FaultyBackend(open_backend("memory:"), dict.fromkeys(range(1, 9), Fault.UNCONFIRMED))
    assert drive(backend, call(NAME, Expect(b"k", True), Put(b"k", b"1"))) == Conflict(0)
    assert drive(backend, call(NAME, Get(b"k"))) == [None]
    assert drive(backend, casual(must(NAME, Add(b"n", 1)))) == [1]
    with pytest.raises(ConflictError):
        drive(backend, casual(must(NAME, Expect(b"k", True))))


@both
def test_guards_that_must_hold(drive: Drive) -> None:
    def plan() -> Plan[Any]:
        (value,) = yield from must(NAME, Get(b"k"))
        yield from must(NAME, Expect(b"k", False), Put(b"k", b"1"))
        return value, (yield from must(NAME, Put(b"k", b"2"), Expect(b"k", False)))

    backend = faulty()
    with pytest.raises(ConflictError, match=r"relied on: Expect\(key=b'k', state=False\)"):
        drive(backend, plan())
    assert drive(backend, must(NAME, Get(b"k"))) == [b"1"]


def test_cancellation_is_thrown_into_the_plan() -> None:
    reached = []

    async def main() -> None:
        backend = FaultyBackend(open_backend("memory:"), {1: Fault.DELAY}, delay=60)

        def plan() -> Plan[None]:
            try:
                yield Calls([Call(NAME, Batch(Put(b"k", b"1")))])
            except asyncio.CancelledError:
                reached.append("cancelled")
                raise

        task = asyncio.ensure_future(arun(backend, plan()))
        await asyncio.sleep(0)  # up to its first call
        assert backend.calls == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert reached == ["cancelled"]
