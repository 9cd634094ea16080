"""Workers that write at once leave whole values, their namespaces listed, and no others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from langgraph.store.base import GetOp, PutOp
from support.places import every_place, two_kinds, two_places
from support.sittings import Form

from langgraph_sessionstore import Backend, SessionManager, SessionStore
from langgraph_sessionstore.adapters import store as clock
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import Call, Forget
from langgraph_sessionstore.testing import FaultyBackend

ROUNDS = 25


def sides(
    manager_on: Callable[..., SessionManager], form: Form, acts: Sequence[Callable[[SessionStore, int], Any]]
) -> None:
    """Do one act for each worker at the same moment, again and again: in threads, or in tasks of one loop."""
    stores = [manager_on().store for _ in acts]
    if form.loop is not None:

        async def together() -> None:
            for turn in range(ROUNDS):
                await asyncio.gather(*[act(store, turn) for act, store in zip(acts, stores, strict=True)])

        form.loop.run_until_complete(together())
        return
    barrier = Barrier(len(acts))

    def work(act: Callable[[SessionStore, int], Any], store: SessionStore) -> None:
        for turn in range(ROUNDS):
            barrier.wait(30)
            act(store, turn)

    with ThreadPoolExecutor(len(acts)) as pool:
        list(pool.map(work, acts, stores))


def putting(by: int, form: Form) -> Callable[[SessionStore, int], Any]:
    def act(store: SessionStore, turn: int) -> Any:
        value = {"by": by, "text": f"{by}" * 300}
        name = "put" if form.loop is None else "aput"
        return getattr(store, name)(("n", f"{turn}"), "k", value)

    return act


def deleting(form: Form) -> Callable[[SessionStore, int], Any]:
    def act(store: SessionStore, turn: int) -> Any:
        name = "delete" if form.loop is None else "adelete"
        return getattr(store, name)(("n", f"{turn}"), "k")

    return act


def left_over(manager_on: Callable[..., SessionManager], form: Form) -> list[Any]:
    """The items that are there, after each has been found whole and its namespace, and no other, has been listed."""
    store = manager_on().store
    items = form.do(store, "batch", [GetOp(("n", f"{turn}"), "k") for turn in range(ROUNDS)])
    there = [item for item in items if item is not None]
    assert all(item.value == {"by": item.value["by"], "text": f"{item.value['by']}" * 300} for item in there)
    assert form.do(store, "list_namespaces", limit=1000) == sorted(item.namespace for item in there)
    assert sorted(item.namespace for item in form.do(store, "search", (), limit=1000)) == sorted(
        item.namespace for item in there
    )
    return there


@every_place
def test_two_puts_at_once_leave_one_of_the_values_and_times_in_their_order(
    manager_on: Callable[..., SessionManager], form: Form
) -> None:
    sides(manager_on, form, [putting(1, form), putting(2, form)])
    there = left_over(manager_on, form)
    assert len(there) == ROUNDS
    assert all(item.created_at <= item.updated_at for item in there)


@two_places
def test_times_are_in_their_order_when_clocks_are_not(
    manager_on: Callable[..., SessionManager], form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead, behind, now = manager_on().store, manager_on().store, clock._now
    form.do(ahead, "put", ("n",), "k", {"v": 1})
    monkeypatch.setattr(clock, "_now", lambda: now() - 3_600_000_000)
    form.do(behind, "put", ("n",), "k", {"v": 2})
    for item in (form.do(ahead, "get", ("n",), "k"), *form.do(ahead, "search", ("n",))):
        assert item.value == {"v": 2}
        assert item.created_at <= item.updated_at


@every_place
def test_a_put_beside_a_delete_leaves_the_item_or_nothing(
    manager_on: Callable[..., SessionManager], form: Form
) -> None:
    for prepared in (False, True):
        if prepared:
            form.do(manager_on().store, "batch", [PutOp(("n", f"{turn}"), "k", {"v": 0}) for turn in range(ROUNDS)])
        sides(manager_on, form, [putting(1, form), deleting(form), deleting(form)])
        left_over(manager_on, form)


class Slow(FaultyBackend):
    """Lets others act right before and right after a line is taken from the list."""

    def __init__(self, inner: Backend, before: Callable[[], Any], after: Callable[[], Any]) -> None:
        super().__init__(inner, {})
        self.before, self.after = before, after

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        forgets = any(isinstance(op, Forget) for call in calls for op in call.batch.ops)
        if forgets:
            self.before()
        answers = self.inner.execute(calls, ordered=ordered)
        if forgets:
            self.after()
        return answers


@two_kinds
def test_what_was_put_is_listed_while_somebody_takes_the_empty_namespace_away(
    storage: Callable[[], Backend],
) -> None:
    other, seen = SessionStore(storage()), list[Any]()

    def before() -> None:
        time.sleep(0.002)  # in the same millisecond it is listed again a moment later
        other.put(("n", "m"), "new", {})

    store = SessionStore(Slow(storage(), before, lambda: seen.extend([*other.list_namespaces(), *other.search(())])))
    store.put(("n", "m"), "old", {})
    store.delete(("n", "m"), "old")
    assert other.list_namespaces() == [("n", "m")]
    assert [item.key for item in other.search(("n",))] == ["new"]
    assert seen[:1] == [("n", "m")]
    assert [item.key for item in seen[1:]] == ["new"]


@two_places
def test_two_workers_leave_one_of_their_values(manager_on: Callable[..., SessionManager], form: Form) -> None:
    workers = [manager_on().store for _ in range(2)]

    def work(number: int) -> None:
        for turn in range(30):
            workers[number].put(("shared",), "k", {"by": number, "turn": turn, "text": f"{number}" * 500})
            workers[number].put(("comes and goes",), f"{number}", {})
            workers[number].delete(("comes and goes",), f"{number}")
            workers[number].put((f"own {number}", f"{turn}"), "k", {})

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, range(2)))
    found = form.do(workers[0], "get", ("shared",), "k").value
    assert found["turn"] == 29
    assert found["text"] == f"{found['by']}" * 500
    assert len(form.do(workers[0], "list_namespaces", limit=100)) == 61
    workers[1].put(("comes and goes",), "last", {})
    assert ("comes and goes",) in form.do(workers[0], "list_namespaces", limit=100)


@every_place
def test_a_namespace_that_others_emptied_is_listed_again(manager_on: Callable[..., SessionManager], form: Form) -> None:
    one, two = manager_on().store, manager_on().store
    for _ in range(2):
        form.do(one, "put", ("n", "m"), "k", {"v": 1})
        form.do(two, "put", ("n", "m"), "l", {"v": 1})
        form.do(two, "batch", [PutOp(("n", "m"), "k", None), PutOp(("n", "m"), "l", None)])
        assert form.do(one, "list_namespaces") == [] == form.do(one, "search", ())
    form.do(one, "put", ("n", "m"), "k", {"v": 1})
    assert form.do(two, "list_namespaces") == [("n", "m")]
