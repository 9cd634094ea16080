"""Objects whose class is there and refuses them: their bare data is not copied in their place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import TASKS
from langgraph.types import Interrupt, Send
from migration.graphs import held
from pydantic import BaseModel
from support.peers import PEERS, Form
from support.savers import checkpoint, config

from langgraph_sessionstore import MigrationError, UntrustedType, migration

pytestmark = pytest.mark.filterwarnings("ignore:get_async_redis_connection:DeprecationWarning")


class Color(Enum):
    """Values of which there is one object each."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Order:
    """What refuses, when a test says so."""

    number: int
    color: Color = Color.RED

    def __post_init__(self) -> None:
        if self.number in REFUSED:
            raise ValueError("no such order")


@dataclass(frozen=True, slots=True)
class Key:
    """What may lie in a set."""

    name: str


class Point(NamedTuple):
    """A tuple of a class of its own."""

    x: int
    of: Any


class Note(BaseModel):
    """A model."""

    text: str
    color: Color


REFUSED: set[int] = set()


def fill(form: Form, saver: Any, v: int = 4) -> None:
    """Objects in many places, some of them more than once."""
    shared = Order(1)
    values = {
        "shared": [shared, {"again": shared}, (Color.RED, Color.RED, Color.BLUE)],
        "nested": Point(1, {"of": Order(2, Color.BLUE)}),
        "set": {Key("a"), Key("b")},
        "model": Note(text="x", color=Color.RED),
    }
    versions = dict.fromkeys(values, "1")
    first = form.do(saver, "put", config("t"), checkpoint(values, versions, v=v), {"step": 0}, versions)
    form.do(saver, "put_writes", first, [(TASKS, Send("node", {"order": Order(3)})), ("a", [Order(4)])], "task")
    form.do(saver, "put_writes", first, [("__interrupt__", [Interrupt(Order(5), id="i")])], "asking")
    versions = {**versions, "model": "2"}
    form.do(saver, "put", first, checkpoint(values, versions, v=v), {"step": 1}, {"model": "2"})


@pytest.mark.peers
@pytest.mark.parametrize(("name", "v"), [*((name, 4) for name in PEERS), ("postgres", 3)])
def test_what_is_revived_is_copied(form: Form, name: str, v: int, new_peer: Any) -> None:
    source, target = form.saver(new_peer(name)), form.our_saver("memory:")
    fill(form, source, v)
    report = form.do(migration, "copy_threads", source, target, verify=True)
    assert (report.copied, report.differences) == (2, ())
    assert held(form, target) == held(form, source)


@pytest.mark.peers
@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("name", ["sqlite", "postgres"])
def test_what_is_refused_is_not_copied_as_something_else(
    form: Form, name: str, number: int, new_peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = form.saver(new_peer(name)), form.our_saver("memory:")
    fill(form, source)
    monkeypatch.setitem(globals(), "REFUSED", {number})
    with pytest.raises(MigrationError, match=r"holds [\w.]*test_reviving\.Order, which refuses") as error:
        form.do(migration, "copy_threads", source, target)
    assert isinstance(error.value.__cause__, UntrustedType)
    monkeypatch.undo()
    assert form.do(migration, "copy_threads", source, target, verify=True).differences == ()


def test_one_of_many_that_is_refused_is_noticed(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = InMemorySaver(), form.our_saver("memory:")
    source.put(config("t"), checkpoint({"a": [Color.RED, Color.RED, Color.BLUE]}), {}, {"a": 1})

    class Shorter(Enum):
        RED = "red"

    monkeypatch.setitem(globals(), "Color", Shorter)
    report = form.do(migration, "copy_threads", source, target, keep_going=True)
    assert "Shorter, which refuses what is stored of it" in report.failed["t"]
    assert form.tuples(target) == []
