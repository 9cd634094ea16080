"""LangChain's messages: stored without loss, small, copied without sharing."""

import copy
import datetime as dt
import uuid
from typing import Any

import langchain_core.messages as lc
import numpy as np
import pytest
from langchain_core.documents import Document
from serde.same import assert_same, serializer, trip
from support import serde_types as types

from langgraph_sessionstore.serde.messages import CLASSES, clone, fingerprint, is_as_read, is_message

CALL: Any = {"name": "f", "args": {"a": [1, {"b": None}]}, "id": "c1", "type": "tool_call"}
USAGE: Any = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "input_token_details": {"audio": 1}}
MESSAGES: list[Any] = [
    lc.HumanMessage("hello", id=str(uuid.uuid4())),
    lc.HumanMessage(["a", {"type": "text", "text": "b"}], name="me", extra_field=(1, 2)),
    lc.HumanMessageChunk(content="x"),
    lc.HumanMessage("odd \ud800", additional_kwargs={1: "one", "t": dt.datetime(2024, 1, 1)}),
    lc.AIMessage("", tool_calls=[CALL], usage_metadata=USAGE, response_metadata={"m": {"n": 1.5}}),
    lc.AIMessage(
        "x", invalid_tool_calls=[{"name": "f", "args": "{", "id": None, "error": "no", "type": "invalid_tool_call"}]
    ),
    lc.AIMessage("x", tool_calls=[]),
    lc.AIMessageChunk(
        content="x", tool_call_chunks=[{"name": "f", "args": "{", "id": "1", "index": 0}], chunk_position="last"
    ),
    lc.AIMessageChunk(content="x", usage_metadata=USAGE),
    lc.SystemMessage("s"),
    lc.SystemMessageChunk(content="s"),
    lc.ToolMessage("r", tool_call_id="c1", status="error", artifact=types.Outer(inner=types.Inner())),
    lc.ToolMessage("r", tool_call_id="c1", artifact={(1, 2): {3}}, name="tool"),
    lc.ToolMessageChunk(content="r", tool_call_id="c1"),
    lc.FunctionMessage(name="f", content="x"),
    lc.FunctionMessageChunk(name="f", content="x"),
    lc.ChatMessage(content="x", role="judge"),
    lc.ChatMessageChunk(content="x", role="judge"),
    lc.RemoveMessage("some-id"),
    lc.BaseMessage(content="x", type="own"),
    lc.BaseMessageChunk(content="x", type="own"),
    lc.AIMessage.model_construct(content="x"),
    lc.ToolMessage.model_construct(),
]


def test_every_class_has_a_number() -> None:
    named = {getattr(lc, name) for name in lc.__all__}
    assert {cls for cls in named if isinstance(cls, type) and issubclass(cls, lc.BaseMessage)} <= set(CLASSES.values())


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages(message: Any) -> None:
    back = trip(message)
    assert back == message
    assert back.model_dump() == message.model_dump()
    assert repr(back) == repr(message)
    back.additional_kwargs["new"] = 1  # it has defaults of its own
    assert "new" not in serializer.loads_typed(serializer.dumps_typed(message)).additional_kwargs


def test_a_message_is_small() -> None:
    message = lc.HumanMessage("x" * 400, id=str(uuid.uuid4()))
    assert len(serializer.dumps_typed(message)[1]) - 400 - 36 < 30


def test_documents() -> None:
    trip(Document("text", metadata={"a": (1,), "at": dt.date(2024, 1, 1)}, id="7"))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_clone_shares_nothing(message: Any) -> None:
    assert is_message(message)
    kept = copy.deepcopy(message)
    new = clone(message)
    assert_same(new, message)
    assert (new == message, new.__pydantic_fields_set__) == (True, message.__pydantic_fields_set__)
    for part in (new.__dict__, new.__pydantic_extra__):
        for value in list(part.values()):
            _spoil(value)
        part["additional_kwargs"] = "gone"
    new.__pydantic_fields_set__.add("spoiled")
    assert message == kept
    assert message.__pydantic_fields_set__ == kept.__pydantic_fields_set__


def _spoil(value: Any) -> None:
    if isinstance(value, list):
        for part in value:
            _spoil(part)
        value.append("spoiled")
    elif isinstance(value, dict):
        for part in value.values():
            _spoil(part)
        value["spoiled"] = 1
    elif isinstance(value, types.Outer):
        value.inner.n = 77


def test_a_clone_of_what_contains_itself() -> None:
    message = lc.HumanMessage("x")
    message.additional_kwargs["self"] = message.additional_kwargs
    new = clone(message)
    assert new.additional_kwargs["self"] is new.additional_kwargs is not message.additional_kwargs


def test_a_clone_asks_nothing_of_what_a_message_holds() -> None:
    message = lc.ToolMessage("x", tool_call_id="1", artifact=np.arange(3))
    new = clone(message)
    assert new.artifact.tolist() == [0, 1, 2]
    assert new.artifact is not message.artifact


def test_only_the_exact_classes_are_messages() -> None:
    assert not is_message(types.MyMessage(content="x"))
    assert not is_message("x")
    assert not is_message(lc.HumanMessage)


def test_fingerprints() -> None:
    different: list[Any] = [
        lc.HumanMessage("x"), lc.HumanMessage("y"), lc.HumanMessage("x", id="1"), lc.HumanMessage("x", name="1"),
        lc.HumanMessageChunk(content="x"), lc.AIMessage("x"), lc.HumanMessage("x", more=1),
        lc.HumanMessage("x", more=True),
        lc.HumanMessage("x", more=1.0), lc.HumanMessage("x", more=0.0), lc.HumanMessage("x", more=-0.0),
        lc.HumanMessage("x", more=b"1"), lc.HumanMessage("x", more="1"), lc.HumanMessage("x", more=[]),
        lc.HumanMessage("x", more={}),
        lc.HumanMessage("x", additional_kwargs={"more": 1}), lc.HumanMessage(["x"]), lc.BaseMessage("x", type="human"),
    ]  # fmt: skip
    prints = [fingerprint(message) for message in different]
    assert None not in prints
    assert len(set(prints)) == len(different)
    for message in different:
        assert fingerprint(clone(message)) == fingerprint(message)


@pytest.mark.parametrize(
    "part", [(1, 2), {1}, {1: 2}, 2**70, "\ud800", types.Text("x"), types.Word.YES, dt.date(2024, 1, 1), uuid.uuid4(),
    types.Plain("a"), object()]
)  # fmt: skip
def test_what_has_no_fingerprint(part: Any) -> None:
    assert fingerprint(lc.HumanMessage("x", additional_kwargs={"a": part})) is None


def test_fields_that_the_class_of_today_does_not_have() -> None:
    tag, stored = serializer.dumps_typed(lc.HumanMessage("x"))
    back = serializer.loads_typed(
        (
            tag,
            stored.replace(b"\x81\xa7content\xa1x", b"\x82\xa7content\xa1x\xa4gone\x01").replace(
                b"\xc7\x0d", b"\xc7\x13"
            ),
        )
    )
    assert back == lc.HumanMessage("x", gone=1)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_what_is_said_of_reading_is_so(message: Any) -> None:
    turned = copy.deepcopy(message)
    turned.__dict__.update({name: turned.__dict__.pop(name) for name in reversed([*turned.__dict__])})
    for each in (message, turned):
        before = fingerprint(each)
        back = serializer.loads_typed(serializer.dumps_typed(each))
        assert not is_as_read(each) or before is None or fingerprint(back) == before
    assert not is_as_read(turned)
    assert is_as_read(message) == ([*message.__dict__] == [*type(message).model_fields])
