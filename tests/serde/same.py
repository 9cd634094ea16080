"""Equal in value and in type, all the way down."""

from __future__ import annotations

import collections
import dataclasses
import math
from typing import Any

from pydantic import BaseModel

from langgraph_sessionstore.serde import SessionSerializer

serializer = SessionSerializer()


def trip(value: Any, by: SessionSerializer = serializer) -> Any:
    """What comes back of a value, inside others as well as alone."""
    (nested,) = by.loads_typed(by.dumps_typed({"deep": ({1: value},)}))["deep"]
    assert_same(nested[1], value)
    back = by.loads_typed(by.dumps_typed(value))
    assert_same(back, value)
    return back


def assert_same(back: Any, value: Any) -> None:
    assert type(back) is type(value), (back, value)
    if isinstance(value, float) and math.isnan(value):
        assert math.isnan(back)
    elif isinstance(value, float):
        assert (back, math.copysign(1, back)) == (value, math.copysign(1, value))
    elif isinstance(value, complex):
        assert_same([back.real, back.imag], [value.real, value.imag])
    elif isinstance(value, (list, tuple, collections.deque)):
        assert len(back) == len(value)
        for one, other in zip(back, value, strict=True):
            assert_same(one, other)
    elif isinstance(value, dict):
        assert len(back) == len(value)
        for one, other in zip(back.items(), value.items(), strict=True):
            assert_same(one, other)
    elif isinstance(value, BaseModel):
        assert_same(
            {name: back.__dict__.get(name) for name in type(value).model_fields},
            {name: value.__dict__.get(name) for name in type(value).model_fields},
        )
        assert_same(back.__pydantic_extra__ or {}, value.__pydantic_extra__ or {})
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            assert_same(getattr(back, field.name, None), getattr(value, field.name, None))
    else:
        assert back == value
