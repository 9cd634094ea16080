"""Only loaded and allowed data types are revived; what could not be revived is refused when it is written."""

import builtins
import collections
import importlib
import io
import subprocess
import sys
import threading
import types as python_types
from typing import Any, cast

import langchain_core.messages as lc
import ormsgpack
import pytest
from serde.same import serializer
from support import serde_types as types

from langgraph_sessionstore import ConfigurationError, CorruptData, DataError, Unstorable
from langgraph_sessionstore.errors import UntrustedType
from langgraph_sessionstore.serde import SessionSerializer, codes

CLASS_CODES = [codes.MODEL, codes.MODEL_V1, codes.DATACLASS, codes.ENUM, codes.NAMED_TUPLE, codes.RECORD]


def stored(code: int, parts: Any) -> tuple[str, bytes]:
    return "data", b"\x01" + ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(parts)))


@pytest.mark.parametrize("code", CLASS_CODES)
@pytest.mark.parametrize(
    "ref",
    [
        "os:system", "subprocess:Popen", "builtins:eval", "builtins:object", "builtins:type", "builtins:ValueError",
        "os:path",
        "os.path:join", "sys:modules", "not.loaded:Thing", "antigravity:Thing", "support.serde_types:function",
        "support.serde_types:NoData", "support.serde_types:Inner.model_validate",
        "support.serde_types:Inner.model_fields",
        "support.serde_types:Color.RED", "support.serde_types:Color.RED.__class__",
        "support.serde_types:Computed.double",
        "support.serde_types:Renamed", "support.serde_types:Plain.__init__", "support.serde_types:BaseModel",
        "support.serde_types:T",
        "support.serde_types:", ":", "", "support.serde_types", "pydantic:BaseModel", "pydantic.main:BaseModel",
        "enum:Enum", "enum:Flag",
        "typing:NamedTuple", "collections:OrderedDict", "builtins:tuple",
        "support.serde_types:local_model.<locals>.Local",
        ["support.serde_types:Inner", "int"], ["os:system"], [], [[]], None, 5, {},
        ["support.serde_types:Box", "nothing"], ["support.serde_types:Box"],
        ["support.serde_types:Box", "os:system"],
    ],
    ids=str,
)  # fmt: skip
def test_hostile_names_are_refused_and_nothing_runs(code: int, ref: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("something was imported")

    types.called.clear()
    with monkeypatch.context() as patched:
        patched.setattr(importlib, "import_module", forbidden)
        patched.setattr(builtins, "__import__", forbidden)
        loaded = set(sys.modules)
        error = None
        try:
            serializer.loads_typed(stored(code, [ref, {"x": 1, "value": "echo"}]))
        except DataError as exc:
            error = exc
        new = set(sys.modules) - loaded
    assert isinstance(error, (UntrustedType, CorruptData)), error
    assert not new
    assert types.called == []


class Trap(python_types.ModuleType):
    """A module that wakes up when it is asked for anything."""

    def __getattribute__(self, name: str) -> Any:
        types.called.append(name)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        return types.Inner


class Meta(type):
    @property
    def Hidden(cls) -> Any:
        types.called.append("Hidden")
        return types.Inner


class Holder(metaclass=Meta):
    pass


def test_the_way_to_a_class_wakes_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trap", Trap("trap"))
    monkeypatch.setitem(sys.modules, "odd", Holder())
    monkeypatch.setattr(types, "Holder", Holder, raising=False)
    types.called.clear()
    for ref in ("trap:Inner", "trap:Inner.Deep", "odd:Hidden", "support.serde_types:Holder.Hidden"):
        with pytest.raises(UntrustedType, match="is not loaded"):
            serializer.loads_typed(stored(codes.MODEL, [ref, {}]))
    assert types.called == []


def test_a_class_is_only_taken_for_what_it_is() -> None:
    for name, good in [
        ("Inner", codes.MODEL), ("Plain", codes.DATACLASS), ("Color", codes.ENUM), ("Point", codes.NAMED_TUPLE),
        ("Numbers", codes.MODEL), ("Checked", codes.DATACLASS), ("Level", codes.ENUM),
    ]:  # fmt: skip
        for code in CLASS_CODES:
            if code != good:
                with pytest.raises(UntrustedType, match=f"serde_types.{name} is not a data type of the stored kind"):
                    serializer.loads_typed(stored(code, [f"support.serde_types:{name}", {}]))


def test_a_constructor_that_refuses_is_named() -> None:
    with pytest.raises(CorruptData, match=r"serde_types\.Picky does not take what is stored: no number") as caught:
        serializer.loads_typed(stored(codes.DATACLASS, ["support.serde_types:Picky", {"x": "text"}]))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(CorruptData, match=r"Color does not take"):
        serializer.loads_typed(stored(codes.ENUM, ["support.serde_types:Color", 99]))
    with pytest.raises(CorruptData, match=r"Point does not take"):
        serializer.loads_typed(stored(codes.NAMED_TUPLE, ["support.serde_types:Point", {"x": 1}]))


def test_a_type_that_another_process_has_not_loaded() -> None:
    data = serializer.dumps_typed([types.Inner(n=1), types.Color.RED])[1].hex()
    code = (
        "from langgraph_sessionstore.serde import SessionSerializer\n"
        "from langgraph_sessionstore.errors import UntrustedType\n"
        "import sys; loaded = set(sys.modules)\n"
        f"try: SessionSerializer().loads_typed(('data', bytes.fromhex('{data}')))\n"
        "except UntrustedType as exc: print(exc)\n"
        "assert set(sys.modules) == loaded, set(sys.modules) - loaded\n"
        "sys.path.insert(0, 'tests'); import support.serde_types\n"
        f"print(SessionSerializer().loads_typed(('data', bytes.fromhex('{data}'))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "support.serde_types.Inner is not loaded in this process: import its module before reading" in first
    assert second == "[Inner(n=1, tags=()), <Color.RED: 1>]"


Local = types.local_model()


def test_local_classes_need_to_be_given() -> None:
    value = Local.model_validate({"x": 5})
    with pytest.raises(Unstorable, match=r"local_model\.<locals>\.Local cannot be found.*top level.*allow=\[Local\]"):
        serializer.dumps_typed([value])
    for strict in (True, False):
        given = SessionSerializer(allow=[Local], strict=strict)
        back = given.loads_typed(given.dumps_typed([value]))[0]
        assert (type(back), back) == (Local, value)
    with pytest.raises(UntrustedType, match="is not loaded"):
        serializer.loads_typed(given.dumps_typed(value))
    with pytest.raises(Unstorable, match="cannot be found"):  # another class of the same name
        given.dumps_typed(types.local_model()())


def test_strict() -> None:
    strict = SessionSerializer(strict=True)
    safe = [lc.HumanMessage("x"), {1: (2, {3})}, lc.ToolMessage("x", tool_call_id="1", artifact=collections.deque([1]))]
    assert strict.loads_typed(strict.dumps_typed(safe)) == safe
    for value in (
        types.Inner(),
        types.Plain("a"),
        types.Color.RED,
        types.Point(1, 2),
        types.MyMessage(content="x"),
        types.Box[int](content=1),
    ):
        with pytest.raises(Unstorable, match=r"not allowed by the strict policy: pass allow=\["):
            strict.dumps_typed({"a": value})
        data = serializer.dumps_typed(value)
        with pytest.raises(UntrustedType, match=r"not allowed by the strict policy: pass allow=\["):
            strict.loads_typed(data)
        cls: Any = type(value)
        for allow in (
            cls,
            (cls.__module__, cls.__qualname__),
            (cls.__module__, cls.__name__),
            (*cls.__module__.split("."), cls.__name__),
        ):
            for given in (SessionSerializer(allow=[allow], strict=True), strict.with_allowlist([allow])):
                assert given.loads_typed(given.dumps_typed(value)) == value
    box = SessionSerializer(allow=[types.Box], strict=True)
    assert box.loads_typed(box.dumps_typed(types.Box[int](content=1))) == types.Box[int](content=1)
    with pytest.raises(Unstorable, match="strict"):
        box.dumps_typed(types.Box[types.Inner](content=types.Inner()))
    message = types.Box[lc.HumanMessage](content=lc.HumanMessage("x"))
    assert box.loads_typed(box.dumps_typed(message)) == message
    nested = SessionSerializer(allow=[("support.serde_types", "Nested")], strict=True)
    assert nested.loads_typed(nested.dumps_typed(types.NoData.Nested())) == types.NoData.Nested()


def test_more_allowed() -> None:
    base = SessionSerializer(allow=[Local], strict=True)
    assert base.with_allowlist([]) is base
    more = base.with_allowlist([types.Inner])
    assert more.with_allowlist([types.Inner, Local]) is more
    assert more.loads_typed(more.dumps_typed([types.Inner(), Local()])) == [types.Inner(), Local()]
    with pytest.raises(Unstorable):
        base.dumps_typed(types.Inner())
    for wrong in ("name", ("one",), 5, (1, 2), [types.Inner]):
        with pytest.raises(ConfigurationError, match="allow= takes classes"):
            SessionSerializer(allow=[wrong])  # type: ignore[list-item]


def test_refusals_say_what_and_where() -> None:
    lock, cyclic = threading.Lock(), types.Node("a")
    cyclic.children.append(cyclic)
    for value, message in [
        (object(), "cannot be stored: no stored form for the type builtins.object: store data"),
        ({"user": types.WithLock({"profile": [1, {"lock": lock}]})},
        r"\['user'\]\.user\['profile'\]\[1\]\['lock'\]: .*_thread\.lock"),
        ({1: {"a": (0, lock)}}, r"\[1\]\['a'\]\[1\]: no stored form"),
        ([types.Outer(inner=types.Inner(), anything=[lock])], r"\[0\]\.anything\[0\]: "),
        ([lc.HumanMessage("x", additional_kwargs={"f": print})],
        r"\[0\]\.additional_kwargs\['f'\]: .*builtin_function"),
        (types.Typed("x", cast(Any, (io.BytesIO(),))), r"\.tags\[0\]: .*BytesIO"),
        (lambda: 1, "function"), (types, "module"), (types.Inner, "ModelMetaclass"), (iter([]), "list_iterator"),
        ({object()}, "builtins.object"),
        ({object(): 1}, "builtins.object"), (types.NoData(), r"serde_types\.NoData"),
        (NotImplemented, "NotImplementedType"), (..., "ellipsis"),
        (cyclic, "contains itself"), (collections.UserDict(), "UserDict"), (print, "builtin_function"),
    ]:  # fmt: skip
        with pytest.raises(Unstorable, match=message):
            serializer.dumps_typed(value)
    endless: Any = []
    endless.append((endless, {"a": endless}))
    with pytest.raises(Unstorable, match="contains itself"):
        serializer.dumps_typed(endless)
    endless = 1
    for _ in range(100_000):
        endless = [endless]
    with pytest.raises(Unstorable, match="nested too deep"):
        serializer.dumps_typed(endless)
    while type(endless) is list:  # freed step by step
        endless = endless[0]


def test_an_attribute_that_fails_is_named() -> None:
    class Broken(ValueError):
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    with pytest.raises(Unstorable, match=r"\['a'\]: a value of the type .*Broken: no repr"):
        serializer.dumps_typed({"a": Broken()})
