"""A store keeps values and their times, and a batch reads before it writes."""

from __future__ import annotations

from datetime import datetime

from langchain_core.messages import HumanMessage
from langgraph.store.base import GetOp, PutOp
from support.places import every_place, two_places
from support.sittings import Form

from langgraph_sessionstore import SessionManager


@every_place
def test_values_and_times_come_back(manager: SessionManager, form: Form) -> None:
    store = manager.store
    given = {"text": "ü\0\ud800", "when": datetime(2020, 1, 1), "message": HumanMessage("Hi", id="1"), "t": (1, {2})}
    form.do(store, "put", ("u",), "k", given)
    first = form.do(store, "get", ("u",), "k")
    assert first.value == given
    assert first.created_at == first.updated_at
    form.do(store, "put", ("u",), "k", {"n": 1})
    second = form.do(store, "get", ("u",), "k")
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    assert form.do(store, "search", ("u",))[0].updated_at == second.updated_at
    form.do(store, "delete", ("u",), "k")
    form.do(store, "put", ("u",), "k", {"n": 2})
    assert form.do(store, "get", ("u",), "k").created_at > first.created_at


@two_places
def test_a_batch_reads_first_and_the_last_write_counts(manager: SessionManager, form: Form) -> None:
    store = manager.store
    form.do(store, "put", ("n",), "k", {"v": 0})
    ops = [PutOp(("n",), "k", {"v": 1}), GetOp(("n",), "k"), PutOp(("n",), "k", {"v": 2}), PutOp(("n",), "l", None)]
    before = form.do(store, "batch", [*ops, PutOp(("m",), "k", {"v": 3}), PutOp(("m",), "k", None)])
    assert before[1].value == {"v": 0}
    assert [before[at] for at in (0, 2, 3, 4, 5)] == [None] * 5
    assert form.do(store, "get", ("n",), "k").value == {"v": 2}
    assert form.do(store, "list_namespaces") == [("n",)]


@every_place
def test_many_items_and_namespaces_are_found_page_by_page(manager: SessionManager, form: Form) -> None:
    store = manager.store
    ops = [PutOp(("many",), f"{n:04}", {"n": n, "odd": n % 2 == 1}) for n in range(1000)]
    ops += [PutOp(("wide", f"{n:04}"), "k", {"n": n, "odd": n % 2 == 1}) for n in range(450)]
    form.do(store, "batch", ops)
    odd = form.do(store, "search", ("many",), filter={"odd": True}, limit=10, offset=300)
    assert [item.value["n"] for item in odd] == list(range(601, 621, 2))
    last = form.do(store, "search", ("many",), limit=5, offset=997)
    assert [item.value["n"] for item in last] == [997, 998, 999]
    wide = form.do(store, "search", ("wide",), filter={"odd": True}, limit=1000)
    assert [item.value["n"] for item in wide] == list(range(1, 450, 2))
    assert [item.value["n"] for item in form.do(store, "search", ("wide",), limit=3, offset=400)] == [400, 401, 402]
    assert form.do(store, "list_namespaces", prefix=("wide",), offset=440, limit=100) == [
        ("wide", f"{n:04}") for n in range(440, 450)
    ]
    assert form.do(store, "list_namespaces", max_depth=1) == [("many",), ("wide",)]
    form.do(store, "batch", [PutOp(("wide", f"{n:04}"), "k", None) for n in range(449)])
    assert form.do(store, "list_namespaces", prefix=("wide",)) == [("wide", "0449")]
