"""Whatever other workers write meanwhile, a search by meaning gives values with the scores of their own texts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from langgraph.store.base import PutOp, SearchItem
from support.between import Between
from support.meanings import Stores, belong, index, texts_of
from support.places import every_place, two_places
from support.sittings import Form

from langgraph_sessionstore import SessionManager, SessionStore
from langgraph_sessionstore.backends.memory import MemoryBackend

pytestmark = pytest.mark.long


@every_place
def test_what_one_worker_puts_another_finds_at_once(manager_on: Callable[..., SessionManager], form: Form) -> None:
    one, two = (manager_on(index=index()).store for _ in range(2))
    for turn in range(10):
        key = f"{turn % 3}"
        form.do(one, "put", ("n",), key, {"text": f"t{turn}"})
        for each in (two, one):
            (first, *rest) = form.do(each, "search", ("n",), query=f"t{turn}", limit=10)
            assert (first.key, first.value) == (key, {"text": f"t{turn}"})
            belong(f"t{turn}", [first, *rest])
            assert len(rest) == min(turn, 2)
    form.do(one, "delete", ("n",), "0")
    assert [item.key for item in form.do(two, "search", ("n",), query="t9", limit=1)] != ["0"]
    for key in "12":
        form.do(one, "delete", ("n",), key)
    assert form.do(two, "search", ("n",), query="t9") == []
    form.do(one, "put", ("n",), "0", {"text": "back"})
    assert texts_of(form.do(two, "search", ("n",), query="t9")) == ["back"]


@two_places
def test_workers_and_threads_at_once_leave_values_with_their_vectors(
    manager_on: Callable[..., SessionManager], form: Form
) -> None:
    one, two = (manager_on(index=index()).store for _ in range(2))
    one.put(("shared",), "still", {"text": "still"})

    def work(number: int) -> None:
        store = (one, two)[number % 2]
        for turn in range(12):
            text = f"{number} {turn}"
            store.put(("shared",), f"{turn % 2}", {"text": text}, index=None if turn != 5 else False)
            store.put((f"own {number}",), "k", {"text": text})
            (own,) = store.search((f"own {number}",), query="q")
            assert own.value == {"text": text}
            belong("q", [own])
            found = store.search(("shared",), query="still", limit=1)
            assert texts_of(found) == ["still"]
            belong("still", found)
            if turn % 4 == 3:
                store.delete(("shared",), f"{turn % 2}")

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, range(6)))
    for key in "01":
        form.do(one, "put", ("shared",), key, {"text": f"last {key}"})
    for store in (one, two, manager_on(index=index()).store):
        found = form.do(store, "search", (), query="q", limit=100)
        assert len(found) == 9
        belong("q", found)


@two_places
def test_two_workers_put_one_key(manager_on: Callable[..., SessionManager], form: Form) -> None:
    workers = [manager_on(index=index()).store for _ in range(2)]
    both = threading.Barrier(2)

    def work(number: int) -> None:
        try:
            for turn in range(15):
                both.wait(30)
                workers[number].put(("n",), f"{turn}", {"text": f"{number} {turn}"})
                both.wait(30)
                found = workers[number].search(("n",), query="q", limit=99)
                assert len(found) == turn + 1
                belong("q", found)
        except BaseException:
            both.abort()
            raise

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, range(2)))
    for each in (*workers, manager_on(index=index()).store):
        found = form.do(each, "search", ("n",), query="q", limit=99)
        assert len(found) == 15
        belong("q", found)


@two_places
def test_tasks_of_one_loop_share_a_store(store_on: Stores) -> None:
    store = store_on()

    async def work(number: int) -> None:
        for turn in range(4):
            await store.aput((f"{number}",), "k", {"text": f"{number} {turn}"})
            found = await store.asearch((), query=f"{number} {turn}", limit=1)
            assert texts_of(found) == [f"{number} {turn}"]

    async def main() -> None:
        waiting: list[Awaitable[None]] = [work(number) for number in range(8)]
        await asyncio.gather(*waiting)
        await store.backend.aclose()

    asyncio.run(main())


MEANWHILE: dict[str, list[PutOp]] = {
    "an item goes": [PutOp(("n",), "near", None)],
    "all others go": [PutOp(("n",), key, None) for key in ("near", "far")],
    "an item comes": [PutOp(("n",), "a", {"text": "come"})],
    "one that others replace": [PutOp(("n",), "near", {"text": "replaced"})],
    "one that loses its vectors": [PutOp(("n",), "near", {"text": "bare"}, False)],
}
REPLACED = ("one that others replace", "one that loses its vectors")


def searched(name: str, warm: str, limit: int, at: int, form: Form) -> tuple[list[SearchItem], int]:
    """What a search finds while something happens before one of its trips, and how many there were."""
    inner = MemoryBackend()
    other = SessionStore(inner, index=index())
    other.batch([PutOp(("n",), key, {"text": key}) for key in ("still", "near", "far")])
    between = Between(inner, {})
    store = SessionStore(between, index=index(), vector_bytes=limit)
    if warm != "cold":
        store.search(("n",), query="near")
    if warm == "stale":
        other.put(("n",), "far", {"text": "further"})
    between.trips, between.before = 0, {at: lambda: other.batch(MEANWHILE[name])}
    return form.do(store, "search", ("n",), query="near"), between.trips


@pytest.mark.parametrize("warm", ["warm", "cold", "stale"])
@pytest.mark.parametrize("name", list(MEANWHILE))
def test_what_changes_during_a_search_does_not_disturb_the_others(name: str, warm: str, form: Form) -> None:
    """And what is replaced has the score of what is found."""
    for limit in (0, 1 << 20):
        for at in range(1, 9):
            found, trips = searched(name, warm, limit, at, form)
            assert "still" in texts_of(found)
            belong("near", [item for item in found if item.key == "still"])
            for item in found if name in REPLACED else ():
                if item.value["text"] == "bare":
                    assert item.score is None
                else:
                    belong("near", [item])
            assert len(found) == len({item.key for item in found})
            if at > trips:
                break


@pytest.mark.parametrize("text", ["old", "new"])
def test_an_item_that_others_replace_while_it_is_put_has_its_own_vectors(text: str, form: Form) -> None:
    for paths in (None, False):
        for at in (1, 2):
            inner = MemoryBackend()
            other = SessionStore(inner, index=index())
            other.put(("n",), "k", {"text": "old"})
            act = lambda other=other, paths=paths: other.put(("n",), "k", {"text": "other"}, index=paths)  # noqa: E731
            store = SessionStore(Between(inner, {at: act}), index=index())
            form.do(store, "put", ("n",), "k", {"text": text})
            for each in (store, other, SessionStore(inner, index=index())):
                found = each.search(("n",), query="q")
                assert texts_of(found) == [text]
                belong("q", found)
