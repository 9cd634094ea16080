"""Values of every kind go through a checkpoint unchanged, on every backend; what cannot is refused and named."""

from __future__ import annotations

import collections
import datetime
import sys
import threading
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import langchain_core.messages as lc
import numpy
import pytest
from langgraph.types import Command, Interrupt, Overwrite, Send
from support import serde_types as types
from support.savers import Saver, checkpoint, config

from langgraph_sessionstore import Unstorable, UntrustedType
from langgraph_sessionstore.serde.serializer import SessionSerializer

BLOCKS: list[Any] = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
CALL: Any = {"name": "search", "args": {"q": [1, {"deep": None}]}, "id": "call-1", "type": "tool_call"}
CHUNK: Any = {"name": "s", "args": "{", "id": "1", "index": 0, "type": "tool_call_chunk"}
MESSAGES = [
    lc.HumanMessage("text", id="1", name="me"),
    lc.HumanMessage(BLOCKS, additional_kwargs={"a": {"b": [1]}}),
    lc.SystemMessage("rules"),
    lc.AIMessage(
        "thinking",
        tool_calls=[CALL],
        invalid_tool_calls=[{"name": "x", "args": "{", "id": "2", "error": "no", "type": "invalid_tool_call"}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        response_metadata={"model_name": "m", "logprobs": None},
    ),
    lc.ToolMessage("found", tool_call_id="call-1", artifact={"rows": (1, 2), "at": {3}}, status="error"),
    lc.FunctionMessage(content="f", name="function"),
    lc.ChatMessage(content="c", role="critic"),
    lc.RemoveMessage("1"),
    lc.AIMessageChunk(content="part", tool_call_chunks=[CHUNK]),
    lc.HumanMessageChunk(content="part"),
    lc.SystemMessageChunk(content="part"),
    lc.ToolMessageChunk(content="part", tool_call_id="call-1"),
    lc.FunctionMessageChunk(content="part", name="function"),
    lc.ChatMessageChunk(content="part", role="critic"),
    types.MyMessage(content="of a class of my own", mood="glad"),
]
VALUES: dict[str, Any] = {
    "messages": MESSAGES,
    "none": None,
    "numbers": [0, -1, 2**63, -(2**63) - 1, 2**200, -0.0, float("inf"), 1.5, True],
    "text": "",
    "nul": "a\0b\0",
    "surrogates": ["\ud800", {"\udfff": "x\ud83dy"}],
    "bytes": b"\x00\xff",
    "tuple": (1, (2, [3, (4,)]), ()),
    "int keys": {1: "one", (1, 2): "pair", None: 0, b"b": 1, 1.5: 2, types.Color.RED: 3, uuid.UUID(int=1): 4},
    "sets": [{1, 2}, frozenset({(1, 2)}), set()],
    "deque": collections.deque([1, 2, 3], maxlen=5),
    "enums": [
        types.Color.BLUE,
        types.Color.PAIR,
        types.Word.YES,
        types.Level.HIGH,
        types.Right.READ | types.Right.WRITE,
    ],
    "named tuples": [types.Point(1, 2), types.Typed("a", ("b",))],
    "dataclasses": [types.Plain("a", [types.Frozen(1, (2,))], types.Plain("b")), types.Derived("c", extra=1)],
    "models": types.Outer(inner=types.Inner(n=1, tags=("x",)), anything=types.Frozen(3), table={1: {"a"}}),
    "times": [
        datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc),
        datetime.datetime(2026, 1, 2, fold=1),
        datetime.date(2026, 1, 2),
        datetime.time(1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
        datetime.timedelta(days=-1, microseconds=5),
    ],
    "others": [uuid.UUID(int=5), Decimal("1.10"), 1 + 2j, range(3)],
    "langgraph": [Send("node", {"a": (1,)}), Interrupt(value="why?", id="i"), Command(update={"a": 1}), Overwrite([1])],
    "files": {f"file-{n}.txt": f"{n}" * 2000 for n in range(5)},
    "dicts": [{"page": n, "content": "x" * 300, "tags": ("a", n)} for n in range(20)],
}


def equal(found: Any, value: Any) -> bool:
    """Equal in value and in type, all the way down."""
    if type(found) is not type(value):
        return False
    if isinstance(value, dict):
        return list(found) == list(value) and all(equal(found[key], value[key]) for key in value)
    if isinstance(value, (list, tuple, collections.deque)):
        return len(found) == len(value) and all(map(equal, found, value))
    return bool(found == value)


@pytest.fixture(params=["the same worker", "another worker"])
def reader(request: pytest.FixtureRequest, saver: Saver, saver_on: Callable[..., Saver]) -> Saver:
    return saver if request.param == "the same worker" else saver_on()


@pytest.mark.parametrize("share", [True, False])
def test_values_come_back_as_they_were(saver_on: Callable[..., Saver], thread: str, share: bool) -> None:
    saver = saver_on(share=share)
    metadata: dict[str, Any] = {"source": "loop", "step": 1, "parents": {}, "mine": VALUES["tuple"]}
    stored = saver.put(config(thread), checkpoint(VALUES), metadata)
    writes = [("messages", MESSAGES), ("int keys", VALUES["int keys"]), ("none", None), ("models", VALUES["models"])]
    saver.put_writes(stored, writes, "task")
    for reader in (saver, saver_on()):
        for found in (reader.load(stored), *reader.list(config(thread))):
            for channel, value in VALUES.items():
                assert equal(found.checkpoint["channel_values"][channel], value), channel
            assert equal(dict(found.metadata), metadata)
            assert found.pending_writes is not None
            assert equal([value for _, _, value in found.pending_writes], [value for _, value in writes])
    assert saver.check(thread) == []


def test_arrays_come_back_writable(saver: Saver, reader: Saver, thread: str) -> None:
    grid = numpy.arange(12, dtype="<i4").reshape(3, 4)
    arrays = {
        "c": grid,
        "fortran": numpy.asfortranarray(grid),
        "strided": grid[:, ::2],
        "dates": numpy.array(["2026-01-01"], dtype="datetime64[D]"),
        "empty": numpy.zeros((0, 3)),
        "scalar": numpy.float32(1.5),
    }
    saver.put(config(thread), checkpoint(arrays))
    found = reader.load(config(thread)).checkpoint["channel_values"]
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert numpy.array_equal(found[name], array)
    found["c"][0, 0] = 100
    assert reader.load(config(thread)).checkpoint["channel_values"]["c"][0, 0] == 0


def test_large_values_come_back(saver: Saver, saver_on: Callable[..., Saver], thread: str) -> None:
    size = 20 * 2**20
    values = {"bytes": b"\xff" * size, "messages": [lc.HumanMessage("é" * (size // 2), id="1")]}
    saver.put(config(thread), checkpoint(values))
    assert saver_on().load(config(thread)).checkpoint["channel_values"] == values
    saver.delete_thread(thread)


class Opaque:
    """Nothing that could be stored."""


@pytest.mark.parametrize(
    "value", [threading.Lock(), lambda: 1, Opaque(), [lc.HumanMessage("a"), Opaque()], {"a": {"b": (Opaque(),)}}, sys]
)
def test_what_cannot_be_stored_is_named_and_leaves_no_trace(saver: Saver, thread: str, value: Any) -> None:
    stored = saver.put(config(thread), checkpoint({"good": 1}))
    before = saver.list(config(thread))
    with pytest.raises(Unstorable, match=rf"(?s)channel 'bad' of thread '{thread}'.*cannot be stored"):
        saver.put(stored, checkpoint({"good": 2, "bad": value}))
    with pytest.raises(Unstorable, match=rf"(?s)channel 'bad' of thread '{thread}'.*cannot be stored"):
        saver.put_writes(stored, [("good", 1), ("bad", value)], "task")
    with pytest.raises(Unstorable, match="metadata"):
        saver.put(stored, checkpoint({"good": 2}), {"source": "loop", "bad": value})
    assert saver.list(config(thread)) == before
    assert saver.check(thread) == []


# -- which types


def test_a_local_class_is_refused_with_the_remedy_and_admitted_on_request(
    saver_on: Callable[..., Saver], thread: str
) -> None:
    local = types.local_model()
    saver = saver_on()
    with pytest.raises(Unstorable, match=r"(?s)'it'.*Local.*allow="):
        saver.put(config(thread), checkpoint({"it": local()}))
    assert saver.get(config(thread)) is None
    allowing = saver_on(allow=[local])
    allowing.put(config(thread), checkpoint({"it": local()}))
    assert type(allowing.load(config(thread)).checkpoint["channel_values"]["it"]) is local
    with pytest.raises(UntrustedType, match=rf"(?s)'it'.*{thread}.*Local"):
        saver.get(config(thread))


def test_strict_admits_what_is_allowed(saver_on: Callable[..., Saver], thread: str) -> None:
    strict = saver_on(strict=True)
    with pytest.raises(Unstorable, match=r"(?s)'it'.*Inner.*allow="):
        strict.put(config(thread), checkpoint({"it": types.Inner()}))
    strict.put(config(thread), checkpoint({"it": MESSAGES[:-1], "n": (1, {2})}))
    saver_on().put(config(thread + "b"), checkpoint({"it": types.Inner(n=3)}))
    with pytest.raises(UntrustedType, match="Inner"):
        strict.get(config(thread + "b"))
    clone = strict.checkpointer.with_allowlist({(types.Inner.__module__, "Inner")})
    allowed = Saver(clone, strict.loop)  # type: ignore[arg-type]
    assert allowed.load(config(thread + "b")).checkpoint["channel_values"]["it"] == types.Inner(n=3)
    assert saver_on(strict=True, allow=[types.Inner]).get(config(thread + "b")) is not None


def test_reading_imports_and_calls_nothing(
    saver: Saver, saver_on: Callable[..., Saver], thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver.put(config(thread), checkpoint({"it": types.Plain("a"), "messages": MESSAGES}))
    monkeypatch.delitem(sys.modules, types.__name__)
    before = set(sys.modules)
    with pytest.raises(UntrustedType, match=r"(?s)serde_types.*import"):
        saver_on().get(config(thread))
    assert set(sys.modules) == before


def test_the_strict_flag_of_langgraph_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    import langgraph.checkpoint.serde._msgpack as flags

    monkeypatch.setattr(flags, "STRICT_MSGPACK_ENABLED", True)
    with pytest.raises(Unstorable, match="allow="):
        SessionSerializer().dumps_typed(types.Inner())
    SessionSerializer(strict=False).dumps_typed(types.Inner())
