"""Users' models, dataclasses, enums and named tuples come back as what they were."""

import threading
from decimal import Decimal
from typing import Any

import pydantic
import pytest
from serde.same import assert_same, serializer, trip
from support import serde_types as types

from langgraph_sessionstore import CorruptData
from langgraph_sessionstore.serde import SessionSerializer


def changed(value: Any, **changes: Any) -> Any:
    for name, part in changes.items():
        object.__setattr__(value, name, part)
    return value


@pytest.mark.parametrize(
    "value",
    [
        types.Plain("a", [1, (2,)], types.Plain("b")),
        types.Frozen(1, (2, 3)),
        types.Derived("d", extra=3),
        types.NotInit(4),
        changed(types.NotInit(4), double=5, never=6),
        types.Counting(1),
        types.WithInitVar(2, 3),
        types.OwnInit(5),
        types.Picky(1),
        types.Checked(x=1, y=["a"], zed=5),
        changed(types.Checked(x=1), x="not a number"),
        types.Inner(n=3, tags=("a",)),
        types.Outer(inner=types.Inner(), anything=[types.Special(more="z"), types.Point(1, 2)],
        base=types.Special(n=9)),
        types.Outer(inner=types.Inner(), many=[types.Special()], price=Decimal("2"), table={1: {"a"}},
        message=types.MyMessage(content="x")),
        types.Aliased.model_validate({"camelCase": 1, "in": 2, "a": 3, "deep": [4]}),
        types.Open(x=1, more=types.Inner(n=2), **{"odd key": (1,)}),  # type: ignore[call-arg]
        types.Closed(x=1, at=(2, 3)),
        types.Prefixed(name="a"),
        changed(types.Bounded(x=1), x=-5),
        types.Bounded.model_construct(),
        types.Computed(x=2),
        types.Numbers([1, 2]),
        types.Owner(pet=types.Dog()),
        types.Box[int](content=1),
        types.Box[types.Inner](content=types.Inner(n=2)),
        types.Box[types.Box[str]](content=types.Box[str](content="x")),
        types.Box(content=(1, 2)),
        types.NoData.Nested(x=5),
        types.MyMessage(content="text", mood="good", id="1", additional_kwargs={"a": (1,)}),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_instances(value: Any) -> None:
    trip(value)


def test_what_a_model_keeps_to_itself() -> None:
    value = types.Private(x=1)
    value._secret, value._count = "told", 7
    back = serializer.loads_typed(serializer.dumps_typed([value]))[0]
    assert (back._secret, back._count) == ("told", 7)
    assert type(back._lock) is type(threading.Lock())  # it has no stored form: the class made a new one
    hidden = types.Excluded(x=1, hidden="here", client=threading.Lock())
    back = serializer.loads_typed(serializer.dumps_typed(hidden))
    assert (back.x, back.hidden, back.client) == (1, "here", None)
    computed = types.Computed(x=3)
    assert computed.lock
    assert serializer.loads_typed(serializer.dumps_typed(computed)).double == 6


def test_a_child_that_knows_its_parent() -> None:
    parent = types.Parent(name="p", children=[types.Child() for _ in range(4)])
    for child in parent.children:
        child._parent = parent
    tag, stored = serializer.dumps_typed(parent)
    assert len(stored) < 400
    assert len(serializer.loads_typed((tag, stored)).children) == 4


def test_which_fields_were_given_is_kept() -> None:
    for value in (types.Inner(), types.Inner(n=0), types.Open(y=1)):  # type: ignore[call-arg]
        back = serializer.loads_typed(serializer.dumps_typed(value))
        assert back.model_dump(exclude_unset=True) == value.model_dump(exclude_unset=True)
    assert serializer.loads_typed(serializer.dumps_typed(types.Counting(5))).seen


def test_classes_that_change_between_writing_and_reading() -> None:
    module = types.__dict__
    old = pydantic.create_model("Moving", __module__=types.__name__, kept=(int, ...), gone=(str, "x"))
    new = pydantic.create_model("Moving", __module__=types.__name__, kept=(str, ...), added=(list[int], [1]))
    new.model_config["coerce_numbers_to_str"] = True
    new.model_rebuild(force=True)
    module["Moving"] = old
    try:
        stored = SessionSerializer().dumps_typed(old(kept=5))
        module["Moving"] = new
        assert_same(SessionSerializer().loads_typed(stored), new(kept="5"))
    finally:
        del module["Moving"]
    code = "from dataclasses import dataclass\n@dataclass\nclass Shape:\n    {}\n"
    exec(code.format("a: int\n    b: int = 2"), module)
    try:
        stored = serializer.dumps_typed([module["Shape"](1)])
        exec(code.format("a: int\n    c: int = 3"), module)
        assert serializer.loads_typed(stored) == [module["Shape"](1, 3)]
        exec(code.format("c: int"), module)
        with pytest.raises(CorruptData, match=r"serde_types\.Shape does not take what is stored.*'c'"):
            serializer.loads_typed(stored)
    finally:
        del module["Shape"]


def test_models_of_pydantic_v1() -> None:
    v1 = pytest.importorskip("pydantic.v1")
    old: Any = type(
        "Old", (v1.BaseModel,), {"__annotations__": {"x": int, "y": str}, "__module__": types.__name__, "y": "d"}
    )
    types.__dict__["Old"] = old
    try:
        back: Any = serializer.loads_typed(serializer.dumps_typed([old(x=1)]))[0]
        assert type(back) is old
        assert (back, back.__fields_set__) == (old(x=1), {"x"})
    finally:
        del types.__dict__["Old"]
