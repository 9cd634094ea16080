"""Threat: what is read from the storage is run.

How others were broken into: values that look like a serialized object are revived through their constructor, also when
a user has typed them (CVE-2025-64439, CVE-2025-68664); extension types of msgpack import a module and call what they
name (CVE-2026-28277); what msgpack does not take is pickled, and unpickled (CVE-2026-27794).
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import ormsgpack
import pytest
from fuzz.guard import GUARD
from langchain_core.messages import HumanMessage
from support.everywhere import everywhere
from support.savers import checkpoint, config
from support.sittings import Form

from langgraph_sessionstore import (
    Backend,
    DataError,
    SessionManager,
    codec,
    keys,
    run,
)
from langgraph_sessionstore.ops import Get, Put, Range, must
from langgraph_sessionstore.plans import layout, places
from langgraph_sessionstore.serde import codes

ran: list[Any] = []


class Trap:
    """Says so when it is made, called or unpickled."""

    def __init__(self, *args: Any, **options: Any) -> None:
        ran.append((args, options))

    def __reduce__(self) -> tuple[Any, ...]:
        return Trap, ("unpickled",)


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    ran.clear()
    yield
    assert ran == []


def constructor(*names: str, **options: Any) -> dict[str, Any]:
    return {"lc": 2, "type": "constructor", "id": list(names), "args": ["echo"], "kwargs": {}, **options}


LOOKS: list[Any] = [
    constructor("os", "system"),
    constructor(__name__, "Trap"),
    constructor("langchain_core", "messages", "HumanMessage", lc=1, kwargs={"content": "revived"}),
    constructor("builtins", "eval", method=[None, "__call__"]),
    {"lc": 1, "type": "secret", "id": ["HOME"]},
    {"__class__": "os.system", "args": ["echo"]},
    {"__reduce__": ["os", "system"]},
    {"lc": 2, "type": "constructor", "id": ["os", "system"], "args": ["\ud800"]},  # no UTF-8: others took another way
]


@everywhere
def test_what_a_user_has_typed_comes_back_as_it_was(manager: SessionManager, form: Form) -> None:
    do, saver = form.do, manager.checkpointer
    session = do(manager, "create_session", "s", metadata={"typed": LOOKS}, summary=str(LOOKS[0]))
    do(session, "append", HumanMessage("x", additional_kwargs={"typed": LOOKS}, response_metadata=LOOKS[1]))
    metadata: Any = {"source": "input", "step": -1, "typed": LOOKS}
    where = do(saver, "put", config("t"), checkpoint({"a": LOOKS, "b": LOOKS[0]}), metadata, {"a": 1, "b": 1})
    do(saver, "put_writes", where, [("a", LOOKS)], "task")
    do(manager.store, "put", ("n",), "k", {"typed": LOOKS})
    do(manager.cache, "set", {(("n",), "k"): (LOOKS, None)})
    with GUARD.watching():
        (message,) = do(session, "messages")
        found = do(saver, "get_tuple", config("t"))
        item = do(manager.store, "get", ("n",), "k")
        (cached,) = do(manager.cache, "get", [(("n",), "k")]).values()
        info = do(session, "info")
        arrived = do(manager, "from_dict", do(session, "to_dict"), session_id="arrived")
    assert (message.additional_kwargs, message.response_metadata) == ({"typed": LOOKS}, LOOKS[1])
    assert found.checkpoint["channel_values"] == {"a": LOOKS, "b": LOOKS[0]}
    assert (found.metadata["typed"], found.pending_writes) == (LOOKS, [("task", "a", LOOKS)])
    assert (item.value, cached, info.metadata) == ({"typed": LOOKS}, LOOKS, {"typed": LOOKS})
    assert do(arrived, "messages") == [message]


def payloads() -> list[tuple[str, bytes]]:
    """What other serializers would run, by the tags that they give it."""
    calls: list[Any] = [(__name__, "Trap", "called"), ("os", "system", "echo")]
    made = [("json", json.dumps(look).encode()) for look in LOOKS[:4]]
    for module, name, argument in calls:
        for code in range(8):  # with one argument, with many, by name, as a model, through a method ...
            parts = [module, name, [argument] if code % 2 else {"a": argument}, "__call__"]
            made.append(("msgpack", ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(parts)))))
        for code in (codes.MODEL, codes.DATACLASS, codes.ENUM, codes.NAMED_TUPLE, codes.RECORD, codes.MODEL_V1):
            parts_of = [f"{module}:{name}", {"a": argument}]
            made.append(("data", b"\x01" + ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(parts_of)))))
    return made + [(tag, pickle.dumps(Trap.__new__(Trap))) for tag in ("pickle", "data", "cloudpickle", "msgpack")]


def refused(do: Any, subject: Any, name: str, *args: Any) -> None:
    with GUARD.watching(), pytest.raises(DataError):
        do(subject, name, *args)


@everywhere
def test_what_somebody_has_put_into_the_storage_is_refused_where_it_lies(
    manager_on: Callable[..., SessionManager], storage: Callable[[], Backend], form: Form
) -> None:
    do, writer, backend = form.do, manager_on(), storage()
    do(do(writer, "create_session", "s", title="T"), "append", "user", "x")
    where = do(writer.checkpointer, "put", config("t"), checkpoint({"a": "x" * 200}), {"source": "input"}, {"a": 1})
    do(writer.checkpointer, "put_writes", where, [("a", 1)], "task")
    do(writer.store, "put", ("n",), "k", {"v": 1})
    thread = keys.session("t")
    ((element, value),) = run(backend, must(thread, Range(*layout.ELEMENTS)))[0]
    ((write, row),) = run(backend, must(thread, Range(*layout.WRITES)))[0]
    record_key = layout.record("", where["configurable"]["checkpoint_id"])
    channel, _, _, path, of_run = codec.unpack(row, "a write")
    (record,) = run(backend, must(thread, Get(record_key)))
    for tag, payload in payloads():
        typed = codec.pack([tag, payload])
        run(backend, must(keys.session("s"), Put(places.message(0), typed), Put(places.DETAILS, typed)))
        run(backend, must(keys.encode("store", "n"), Put(keys.encode(0, 0, "k"), codec.pack([1, typed]))))
        reader = manager_on()
        refused(do, reader, "get_session", "s")
        refused(do, reader, "list_sessions")
        refused(do, reader.data, "get", ("memory", "s"), "messages")
        refused(do, reader.store, "get", ("n",), "k")
        for key, made, old in (
            (element, typed, value),
            (write, codec.pack([channel, tag, payload, path, of_run]), row),
        ):
            run(backend, must(thread, Put(key, made)))
            refused(do, reader.checkpointer, "get_tuple", config("t"))
            run(backend, must(thread, Put(key, old)))
    assert do(manager_on().checkpointer, "get_tuple", config("t")).pending_writes == [("task", "a", 1)]
    assert run(backend, must(thread, Get(record_key))) == [record]
