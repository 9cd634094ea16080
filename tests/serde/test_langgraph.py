"""LangGraph's own types, and everything that LangGraph's serializer gives back, ours gives back as well."""

import collections
import datetime as dt
import decimal
import ipaddress
import pathlib
import re
import uuid
from typing import Any

import langchain_core.messages as lc
import pytest
from langchain_core.documents import Document
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.store.base import GetOp, Item, SearchItem
from serde.same import assert_same, serializer, trip
from support import serde_types as types

from langgraph_sessionstore.serde import SessionSerializer

NOW = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)
VALUES: list[Any] = [
    None, True, 1, 1.5, "text", b"bytes", bytearray(b"x"), [1, {"a": 2}], {1: 2}, (1, 2), {1, 2}, frozenset({1}),
    collections.deque([1]), NOW, NOW.replace(tzinfo=None), NOW.date(), NOW.time(), NOW.timetz(), dt.timedelta(1),
    dt.timezone.utc,
    uuid.UUID(int=7), decimal.Decimal("1.1"), ipaddress.ip_address("1.1.1.1"), ipaddress.ip_network("::/8"),
    pathlib.Path("a/b"),
    re.compile("a", re.I), types.Color.RED, types.Level.LOW, types.Point(1, 2), types.Typed("a"), types.Plain("a", [1]),
    types.Frozen(1), types.Inner(n=1), types.Outer(inner=types.Inner()), lc.HumanMessage("x", id="1"),
    lc.AIMessage("x", tool_calls=[{"name": "f", "args": {}, "id": "1"}]), lc.ToolMessage("x", tool_call_id="1"),
    Document("x"),
    Item(value={"a": 1}, key="k", namespace=("a", "b"), created_at=NOW, updated_at=NOW), ValueError("x"),
    GetOp(("a",), "k"),
    {"messages": [lc.HumanMessage("x"), lc.RemoveMessage("1")], "nested": {"at": [NOW], "who": types.Plain("b")}},
]  # fmt: skip


def test_it_is_a_serializer() -> None:
    assert isinstance(serializer, SerializerProtocol)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_at_least_as_well_as_langgraph(value: Any) -> None:
    theirs = JsonPlusSerializer(allowed_msgpack_modules=True)
    other = theirs.loads_typed(theirs.dumps_typed(value))
    back = serializer.loads_typed(serializer.dumps_typed(value))
    assert back in (value, other)
    if other == value and type(other) is type(value):
        assert_same(back, value)


def test_types_of_langgraph() -> None:
    graph = pytest.importorskip("langgraph.types")
    send = graph.Send("node", {"a": (1,)})
    assert getattr(trip(send), "timeout", None) is None
    for value in (
        graph.Interrupt(value={"q": (1,)}, id="i"),
        graph.Command(update={"a": {1}}, resume={"i": (2,)}, goto=[send, "b"]),
        graph.Command(graph=graph.Command.PARENT, goto=()),
        graph.Overwrite([1, (2,)]),
        graph.PregelTask("1", "n", ("a", 1), None, (graph.Interrupt(1, "x"),)),
        graph.StateSnapshot({"a": 1}, ("n",), {}, None, None, None, (), ()),
    ):
        trip(value)
    if hasattr(graph, "TimeoutPolicy"):
        back = trip(graph.Send("node", 1, timeout=graph.TimeoutPolicy(run_timeout=5.0, idle_timeout=1.0)))
        assert back.timeout.idle_timeout == 1.0


def test_items_of_the_store() -> None:
    trip(Item(value={"a": (1,)}, key="k", namespace=("a", "b"), created_at=NOW, updated_at=NOW))
    found = SearchItem(("a",), "k", {"a": 1}, NOW, NOW, 0.5)
    assert trip(found).score == 0.5


def test_snapshots_of_channels() -> None:
    module = pytest.importorskip("langgraph.checkpoint.serde.types")
    if not hasattr(module, "_DeltaSnapshot"):
        pytest.skip("this langgraph-checkpoint has none")
    back = trip(module._DeltaSnapshot([lc.HumanMessage("x", id="1"), lc.AIMessage("y")]))
    assert isinstance(back, module._DeltaSnapshot)


def test_the_environment_asks_for_strictness(monkeypatch: pytest.MonkeyPatch) -> None:
    found = pytest.importorskip("langgraph.checkpoint.serde._msgpack")
    stored = serializer.dumps_typed(types.Inner())
    for strict in (True, False):
        monkeypatch.setattr(found, "STRICT_MSGPACK_ENABLED", strict)
        assert SessionSerializer()._policy.strict is strict
        assert SessionSerializer(strict=not strict)._policy.strict is not strict
    assert SessionSerializer().loads_typed(stored) == types.Inner()
