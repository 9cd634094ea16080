"""A repair while others go on writing: it loses nothing that they have stored, and comes to an end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.savers import checkpoint, config
from upkeep.care import Care, says

from langgraph_sessionstore import SessionManager, keys
from langgraph_sessionstore.ops import Delete, Get, Op, Put, Touch
from langgraph_sessionstore.plans import layout
from langgraph_sessionstore.plans.places import LOG, REGISTRY

ROUNDS, ACTS = 12, 5


class Crowd:
    """Threads that do something again and again: so many times in each round, while that goes on."""

    def __init__(self, *acts: Callable[[int], None]) -> None:
        self._acts = acts
        self._turns = [threading.Semaphore(0) for _ in acts]
        self._done = threading.Semaphore(0)
        self._errors: list[BaseException] = []

    def _go_on(self, act: Callable[[int], None], turns: threading.Semaphore) -> None:
        for number in range(ROUNDS * ACTS):
            turns.acquire()
            try:
                if not self._errors:
                    act(number)
            except BaseException as exc:
                self._errors.append(exc)
            self._done.release()

    def rounds(self) -> Iterator[int]:
        """The rounds; behind the last one all is done."""
        threads = [
            threading.Thread(target=self._go_on, args=each, daemon=True)
            for each in zip(self._acts, self._turns, strict=True)
        ]
        for thread in threads:
            thread.start()
        for number in range(ROUNDS):
            for turns in self._turns:
                turns.release(ACTS)
            yield number
            for _ in range(ACTS * len(threads)):
                assert self._done.acquire(timeout=60)
            assert self._errors == []
        for thread in threads:
            thread.join(60)


def harmed(care: Care, name: str, number: int) -> None:
    """Damage that can be repaired, to rows that writers use as well."""
    live = [int(keys.decode(key)[1]) for key, _ in care.rows(name, layout.BRANCHES)]
    branch = live[number % len(live)]
    partition = keys.session(name)
    care.do(
        partition,
        Put(layout.element(77 + number, 0), b"dead"),
        Put(layout.branch(77 + number), b"1"),
        Put(layout.index("nowhere", f"{number}"), b""),
        Delete(layout.index("inner", "000001")),
        *([Delete(layout.branch(branch))] if number % 3 == 0 else []),
    )


def test_a_thread_is_repaired_while_graphs_go_on(care: Care, manager_on: Callable[..., SessionManager]) -> None:
    put: dict[str, list[str]] = {}
    care.put(config("t", "inner"), "000001", says(1))
    savers = [manager_on().checkpointer for _ in range(2)]
    here: list[Any] = [config("t") for _ in savers]
    texts: list[list[Any]] = [[], []]

    def writer(who: int) -> Callable[[int], None]:
        def write(number: int) -> None:
            if number % 10 == 9:  # and now and then from the beginning
                here[who], texts[who] = config("t"), []
            texts[who] = [*texts[who], *says(1000 * (who + 1) + number)]
            made = checkpoint({"messages": texts[who]}, {"messages": f"{who}-{number}"}, id=f"{number:06}-{who}")
            here[who] = savers[who].put(here[who], made, {}, made["channel_versions"])
            put[made["id"]] = [message.text for message in texts[who]]

        return write

    for number in Crowd(writer(0), writer(1)).rounds():
        harmed(care, "t", number)
        care.check("t", repair=True)
    assert len(put) == 2 * ROUNDS * ACTS
    care.check("t", repair=True)
    assert care.problems("t") == []
    found = {each.checkpoint["id"]: each for each in care.other().checkpointer.list(config("t"))}
    assert {id_: [message.text for message in each.checkpoint["channel_values"]["messages"]]
            for id_, each in found.items()} == put  # fmt: skip


def test_a_log_is_repaired_while_it_grows(care: Care, manager_on: Callable[..., SessionManager]) -> None:
    """The counter is damaged between two appends, for a row that was overwritten then no repair brings back."""
    care.form.do(care.manager, "create_session", "s")
    gate = threading.Lock()
    handles = [manager_on().get_session("s") for _ in range(2)]
    said: list[list[str]] = [[], []]

    def writer(who: int) -> Callable[[int], None]:
        def write(number: int) -> None:
            handle = handles[who]
            assert handle is not None
            with gate:
                handle.append("user", f"{who} {number}")
                said[who].append(f"{who} {number}")

        return write

    for _ in Crowd(writer(0), writer(1)).rounds():
        with gate:
            care.do(keys.session("s"), Put(LOG, b"x"))
            care.check("s", repair=True)
        care.check("s", repair=True)
    texts = care.form.texts(care.form.do(care.other(), "get_session", "s"))
    assert [[text for text in texts if text.startswith(str(who))] for who in (0, 1)] == said
    assert care.problems("s") == []


def test_the_list_is_repaired_while_sessions_come_and_go(care: Care, manager_on: Callable[..., SessionManager]) -> None:
    kept = [f"kept {number}" for number in range(5)]
    for name in kept:
        care.form.do(care.manager, "create_session", name)
    managers = [manager_on() for _ in range(2)]
    there: list[set[str]] = [set(), set()]

    def writer(who: int) -> Callable[[int], None]:
        def write(number: int) -> None:
            name = f"{who} {number % 7}"
            if name in there[who]:
                assert managers[who].delete_session(name)
                there[who].remove(name)
            else:
                managers[who].create_session(name, messages=["Hello"])
                there[who].add(name)
            handle = managers[who].get_session(kept[number % 5])
            assert handle is not None
            handle.append("user", "again")

        return write

    for number in Crowd(writer(0), writer(1)).rounds():
        line = keys.session(kept[number % 5])
        (record,) = care.do(REGISTRY, Get(b"n" + line))
        harm: list[Op] = [Put(b"n" + line, b"?")] if number % 2 else [Delete(b"c" + record[:12] + line)]
        care.do(REGISTRY, *harm, Put(b"c000000000001" + line, b""), Touch(keys.session("never"), at=1))
        for checked in care.check_all(repair=True):
            assert not [each for each in checked.problems if each.kind == "damaged"]
    care.check_all(repair=True)
    assert care.lists() == []
    wanted = sorted({*kept, *there[0], *there[1]})
    for by in ("created", "updated"):
        assert sorted(info.id for info in care.form.everything(care.other(), by=by)) == wanted
    assert [(each.id, each.problems) for each in care.check_all()] == [(name, ()) for name in wanted]


def test_two_that_repair_at_once_do_it_once(care: Care, manager_on: Callable[..., SessionManager]) -> None:
    care.thread("t")
    managers = [manager_on() for _ in range(4)]
    for number in range(5):
        harmed(care, "t", 3 * number)
        gate, found = threading.Barrier(len(managers)), list[Any]()

        def repair(manager: SessionManager, gate: threading.Barrier = gate, found: list[Any] = found) -> None:
            gate.wait(60)
            found.append(manager.check_session("t", repair=True))

        threads = [threading.Thread(target=repair, args=(manager,)) for manager in managers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [each.problems for each in found] == [()] * len(managers)
        assert care.problems("t") == []


@pytest.mark.parametrize("kind", ["memory"])
def test_pruning_by_age_while_graphs_go_on(care: Care, manager_on: Callable[..., SessionManager]) -> None:
    """What is younger is there afterwards, whoever prunes."""
    saver, put = manager_on().checkpointer, dict[str, list[str]]()
    here: list[Any] = [config("t")]
    texts: list[Any] = []

    def write(number: int) -> None:
        texts.extend(says(number))
        ts = "2001-01-01T00:00:00+00:00" if number % 3 else "2999-01-01T00:00:00+00:00"
        made = checkpoint({"messages": list(texts)}, {"messages": number}, id=f"{number:06}", ts=ts)
        here[0] = saver.put(here[0], made, {}, made["channel_versions"])
        if not number % 3:
            put[made["id"]] = [message.text for message in texts]

    for _ in Crowd(write).rounds():
        care.form.do(care.other().checkpointer, "prune", ["t"], older_than=3600)
    care.form.do(care.other().checkpointer, "prune", ["t"], older_than=3600)
    found = {each.checkpoint["id"]: each for each in care.other().checkpointer.list(config("t"))}
    for id_, wanted in put.items():
        assert [message.text for message in found[id_].checkpoint["channel_values"]["messages"]] == wanted
    assert len(found) - len(put) <= 1  # the newest
    assert care.problems("t") == []
