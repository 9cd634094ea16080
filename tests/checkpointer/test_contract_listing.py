"""Listing: which checkpoints, in which order, over pages, namespaces and threads."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver
from support.savers import Saver, checkpoint, config

from langgraph_sessionstore import Backend, open_backend
from langgraph_sessionstore.backends.memory import MemoryBackend
from langgraph_sessionstore.plans import listing

Make = Callable[..., Saver]


@pytest.fixture
def storage(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Backend]]:
    """Opens the storage, where nobody else has threads: listing all of them reads them all."""
    made: list[Backend] = []
    memory = MemoryBackend()
    prefix = f"listing-{uuid.uuid4()}"

    def make() -> Backend:
        if kind == "memory":
            return memory
        if kind == "file":
            made.append(open_backend(f"file:{tmp_path}/sessions"))
        else:
            made.append(open_backend(request.getfixturevalue(kind).url, prefix=prefix))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


def workers(saver: Saver, saver_on: Make) -> Iterator[Saver]:
    """The worker that wrote, and another that has read nothing yet."""
    yield from (saver, saver_on())


def paged(saver: Saver, saver_on: Make, monkeypatch: pytest.MonkeyPatch) -> Iterator[Saver]:
    """These two with pages of several sizes."""
    cold = saver_on()
    for worker, page in ((cold, 1), (saver, 3), (cold, 3), (saver, 100)):
        monkeypatch.setattr(listing, "PAGE", page)
        yield worker


def before(checkpoint_id: str) -> Any:
    """As LangGraph passes it: without a thread."""
    return {"configurable": {"checkpoint_id": checkpoint_id}}


def names(found: list[CheckpointTuple]) -> list[tuple[str, str]]:
    """Of each checkpoint its id and its namespace."""
    places = [one.config["configurable"] for one in found]
    return [(place["checkpoint_id"], place["checkpoint_ns"]) for place in places]


def ids(found: list[CheckpointTuple]) -> list[str]:
    """Of each checkpoint its id."""
    return [name for name, _ in names(found)]


# -- one namespace


def test_a_namespace_is_listed_as_with_the_in_memory_saver(
    saver: Saver, saver_on: Make, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = InMemorySaver()
    here = config(thread, "sub")
    for number in ("4", "2", "7", "1", "6", "3"):
        saved = checkpoint({"a": number * 200}, {"a": int(number)}, id=number)
        metadata: Any = {"step": int(number), "odd": int(number) % 2, "deep": {"x": [int(number) % 3]}}
        for target in (saver, memory):
            target.put(here, saved, metadata, {"a": int(number)})
            target.put_writes(config(thread, "sub", number), [("a", number)], f"task-{number}")
        here = config(thread, "sub", number)
        saver.put(config(thread), checkpoint(id=number), metadata)
        saver.put(config(thread, "su"), checkpoint(id=number), metadata)
        saver.put(config(thread + "b", "sub"), checkpoint(id=number), metadata)
    filters: list[Any] = [None, {}, {"odd": 1}, {"odd": 0, "step": 4}, {"deep": {"x": [0]}}, {"no": None}, {"no": 1}]
    limits = (None, 0, 1, 2, 3, 6, 9)
    untils: tuple[Any, ...] = (None, {}, before(""), before("1"), before("4"), before("5"), config(thread, "sub", "9"))
    every = list(itertools.product(filters, limits, untils))
    place = config(thread, "sub")
    chance = random.Random(7)
    for worker in paged(saver, saver_on, monkeypatch):
        for filter, limit, until in [every[0], *chance.sample(every, 40)]:
            found = worker.list(place, filter=filter, limit=limit, before=until)
            assert found == list(memory.list(place, filter=filter, limit=limit, before=until))


def test_more_than_a_page_is_listed(saver: Saver, saver_on: Make, thread: str) -> None:
    assert listing.PAGE == 100
    count = 2 * listing.PAGE + 5
    spaces = ["", "node:1", "node:1|sub:2"]
    numbers = [f"{number:04}" for number in range(count)]
    here = {ns: config(thread, ns) for ns in spaces}
    for number in range(count):
        ns = spaces[number % 3] if number < 20 else ""
        new = {"a": 1, "n": number} if number < 3 else {"n": number}
        values = {"a": "x" * 200, "n": number}
        saved = checkpoint(values, {"a": 1, "n": number}, id=numbers[number])
        here[ns] = saver.put(here[ns], saved, {"step": number}, new)
    for worker in workers(saver, saver_on):
        found = worker.list(config(thread, None))
        assert ids(found) == numbers[::-1]
        assert [one.checkpoint["channel_values"]["n"] for one in found] == list(range(count))[::-1]
        assert {one.checkpoint["channel_values"]["a"] for one in found} == {"x" * 200}
        root = worker.list(config(thread))
        assert root == [one for one in found if one.config["configurable"]["checkpoint_ns"] == ""]
        assert len(root) > listing.PAGE
        assert worker.list(config(thread), limit=150) == root[:150]
        assert worker.list(config(thread, None), limit=203) == found[:203]
        assert worker.list(config(thread, None), before=before(numbers[150]), limit=120) == found[55:175]
        assert ids(worker.list(config(thread, None), filter={"step": 3}, limit=1)) == ["0003"]


# -- all namespaces


def test_all_namespaces_are_listed_by_id_the_greatest_first(
    saver: Saver, saver_on: Make, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [("05", ""), ("01", "b"), ("04", "a"), ("09", "b"), ("02", ""), ("08", ""), ("07", "a"), ("03", "b|c:d")]
    places += [("06", "b|c:d"), ("00", "a")]
    for number, ns in places:
        saver.put(config(thread, ns), checkpoint({"a": ns + number}, id=number), {"ns": ns, "step": int(number)})
        saver.put_writes(config(thread, ns, number), [("a", number)], ns)
        saver.put(config(thread + "b", ns), checkpoint(id=number + "1"))
    wanted = sorted(places, reverse=True)
    for worker in paged(saver, saver_on, monkeypatch):
        found = worker.list(config(thread, None))
        assert names(found) == wanted
        for one, (number, ns) in zip(found, wanted, strict=True):
            assert one == worker.load(config(thread, ns, number))
            assert one.checkpoint["channel_values"] == {"a": ns + number}
            assert one.pending_writes == [(ns, "a", number)]
        for limit in (0, 1, 3, 4, 10, 11):
            assert names(worker.list(config(thread, None), limit=limit)) == wanted[:limit]
        for until in ("00", "045"):
            some = [name for name in wanted if name[0] < until]
            assert names(worker.list(config(thread, None), before=before(until))) == some
            assert names(worker.list(config(thread, None), before=before(until), limit=3)) == some[:3]
        for ns in ("", "b|c:d"):
            some = [name for name in wanted if name[1] == ns]
            assert names(worker.list(config(thread, None), filter={"ns": ns})) == some
            assert names(worker.list(config(thread, None), filter={"ns": ns}, limit=2)) == some[:2]
            assert names(worker.list(config(thread, ns))) == some


def test_the_same_id_in_several_namespaces_is_several_checkpoints(
    saver: Saver, saver_on: Make, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [(number, ns) for number in ("1", "2", "3") for ns in ("", "a", "b", "b|c")]
    for number, ns in places:
        saver.put(config(thread, ns), checkpoint({"a": (number, ns)}, id=number))
    for worker in paged(saver, saver_on, monkeypatch):
        found = worker.list(config(thread, None))
        assert names(found) == sorted(places, reverse=True)
        assert [one.checkpoint["channel_values"]["a"] for one in found] == names(found)
        assert names(worker.list(config(thread, None), limit=6)) == names(found)[:6]
        assert names(worker.list(config(thread, None), before=before("2"))) == names(found)[8:]
        assert names(worker.list(config(thread, None, "2"))) == names(found)[4:8]
        assert names(worker.list(config(thread, None, "2"), limit=1)) == names(found)[4:5]


def test_a_checkpoint_id_lists_that_checkpoint_alone(saver: Saver, saver_on: Make, thread: str) -> None:
    for ns in ("", "a"):
        for number in ("1", "2", "3"):
            saver.put(config(thread, ns), checkpoint(id=number), {"step": int(number)})
    saver.put(config(thread, "a"), checkpoint(id="4"))
    for worker in workers(saver, saver_on):
        assert names(worker.list(config(thread, "", "2"))) == [("2", "")]
        assert names(worker.list(config(thread, "a", "2"))) == [("2", "a")]
        assert names(worker.list(config(thread, None, "4"))) == [("4", "a")]
        assert names(worker.list(config(thread, None, "2"), before=before("3"))) == [("2", "a"), ("2", "")]
        assert worker.list(config(thread, None, "2"), before=before("2")) == []
        assert worker.list(config(thread, "", "2"), before=before("1")) == []
        assert worker.list(config(thread, "", "2"), filter={"step": 3}) == []
        assert names(worker.list(config(thread, "", "2"), filter={"step": 2}, limit=1)) == [("2", "")]
        assert worker.list(config(thread, "", "4")) == []


def test_the_filter_comes_before_the_limit(
    saver: Saver, saver_on: Make, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        ns = "a" if number % 3 else ""
        saver.put(config(thread, ns), checkpoint(id=str(number)), {"rare": number in (1, 6), "step": number})
    for worker in paged(saver, saver_on, monkeypatch):
        for limit, wanted in ((0, []), (1, ["6"]), (2, ["6", "1"]), (3, ["6", "1"])):
            assert ids(worker.list(config(thread, None), filter={"rare": True}, limit=limit)) == wanted
        assert ids(worker.list(config(thread), filter={"rare": True}, limit=1)) == ["6"]
        assert ids(worker.list(config(thread, "a"), filter={"rare": True}, limit=1)) == ["1"]
        assert ids(worker.list(config(thread, None), filter={"rare": True, "step": 1})) == ["1"]
        assert worker.list(config(thread, None), filter={"rare": True, "step": 2}) == []
        assert worker.list(config(thread, None), filter={"rare": True, "unknown": 1}) == []


def test_what_comes_while_a_list_is_read_does_not_disturb_it(
    saver: Saver, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 2)
    for number in range(1, 7):
        saver.put(config(thread, "a" if number % 2 else ""), checkpoint(id=str(number)))
    found = []
    for one in saver.checkpointer.list(config(thread, None)):
        found.append(one.checkpoint["id"])
        saver.put(config(thread, "a"), checkpoint(id=f"9{len(found)}"))
    assert found == ["6", "5", "4", "3", "2", "1"]


# -- all threads


def test_without_a_config_all_threads_are_listed(
    saver: Saver, saver_on: Make, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = [*(f"{thread}{name}" for name in ("{x}", "a:b", "\0", "a", "")), "7", ""]
    for number, name in enumerate(threads):
        for ns in ("", "a") if number % 2 else ("a",):
            for step in range(3):
                values = {"step": step, "number": number}
                saver.put(
                    config(name, ns), checkpoint({"t": name}, id=f"{step}{number:02}"), {"source": "loop", **values}
                )
    saver.put_writes(config(threads[0], "a", "100"), [("a", 1)], "task")
    for worker in paged(saver, saver_on, monkeypatch):
        found = worker.list(None)
        order = list(dict.fromkeys(one.config["configurable"]["thread_id"] for one in found))
        assert sorted(order) == sorted(threads)
        assert found == [one for name in order for one in worker.list(config(name, None))]
        assert [one.checkpoint["channel_values"]["t"] for one in found] == [
            one.config["configurable"]["thread_id"] for one in found
        ]
        for limit in (1, 4, len(found) + 1):
            assert worker.list(None, limit=limit) == found[:limit]
        steps = [one for one in found if one.metadata["step"] == 1]
        assert worker.list(None, filter={"step": 1}) == steps
        assert worker.list(None, filter={"step": 1}, limit=5) == steps[:5]
        assert worker.list(None, before=before("2")) == [one for one in found if one.checkpoint["id"] < "2"]
        assert worker.list(None, before=before("105"), limit=20, filter={"step": 1}) == [
            one for one in steps if one.checkpoint["id"] < "105"
        ]


def test_a_thread_is_listed_once_it_has_a_checkpoint_whoever_put_it(saver: Saver, saver_on: Make, thread: str) -> None:
    assert saver.list(None) == []
    saver.put_writes(config(thread, "", "1"), [("a", 1)], "task")
    assert saver.list(None) == []
    saver.put(config(thread), checkpoint(id="1"))
    for worker in workers(saver, saver_on):
        assert ids(worker.list(None)) == ["1"]


def test_a_thread_that_began_with_an_empty_list_of_writes_is_listed(saver: Saver, saver_on: Make, thread: str) -> None:
    saver.put_writes(config(thread, "", "1"), [], "task")
    saver.put(config(thread), checkpoint(id="1"), {"source": "loop"})
    for worker in workers(saver, saver_on):
        assert ids(worker.list(None)) == ["1"]


def test_a_thread_that_is_used_while_all_are_listed_is_not_passed_over(
    saver: Saver, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 1)
    threads = {f"{thread}{number}" for number in range(4)}
    for name in sorted(threads):
        saver.put(config(name), checkpoint(id="1"))
    found: list[str] = []
    for one in saver.checkpointer.list(None):
        found.append(one.config["configurable"]["thread_id"])
        for name in sorted(threads):
            saver.put(config(name), checkpoint(id="1"), {"source": "input"})
    assert sorted(found) == sorted(threads)
