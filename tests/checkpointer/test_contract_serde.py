"""Another serializer in the checkpointer's place of its own, and clones that allow more types."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import TASKS
from langgraph.types import Send
from support.savers import Saver, checkpoint, config

from langgraph_sessionstore import Backend, Unstorable, keys, run
from langgraph_sessionstore.adapters.checkpointer import SessionCheckpointer
from langgraph_sessionstore.ops import Range, must
from langgraph_sessionstore.serde.serializer import SessionSerializer

Make = Callable[..., Saver]


@pytest.fixture
def thread(kind: str, storage: Callable[[], Backend]) -> Iterator[str]:
    """The id of a thread that nobody has used. It is taken away, for others could not read it."""
    name = f"thread-{uuid.uuid4()}"
    yield name
    if kind != "memory":
        SessionCheckpointer(storage()).delete_thread(name)


class Pickle:
    """A small serializer that reads nothing but its own."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return "mine", b"mine" + pickle.dumps(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        if data[0] != "mine":
            raise ValueError(f"not mine: {data[0]}")
        return pickle.loads(data[1].removeprefix(b"mine"))


class Flip:
    """A cipher that hides a text from whoever searches for it."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "flip", plaintext.translate(bytes(range(255, -1, -1)))

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        assert ciphername == "flip"
        return ciphertext.translate(bytes(range(255, -1, -1)))


SERDES: dict[str, Callable[[], SerializerProtocol]] = {
    "strict": lambda: SessionSerializer(strict=True),
    "json": JsonPlusSerializer,
    "flip": lambda: EncryptedSerializer(Flip()),
    "flip own": lambda: EncryptedSerializer(Flip(), SessionSerializer()),
    "pickle": Pickle,
}


@dataclasses.dataclass
class Custom:
    """A type of the user."""

    text: str
    inner: Any = None


class Other(Custom):
    """Another."""


def values() -> dict[str, Any]:
    """Values of every stored form."""
    return {
        "inline": "secret",
        "whole": "secret" * 100,
        "m": [HumanMessage(content=f"secret {number} " * 20, id=str(number)) for number in range(3)],
        "list": [{"secret": "secret" * 50} for _ in range(3)],
        "dict": {"secret": "secret" * 100, "more": "secret" * 100},
    }


def raw(saver: Saver, thread: str) -> bytes:
    """All that is stored of a thread."""
    (rows,) = run(saver.checkpointer.backend, must(keys.session(thread), Range(b"", None)))
    return b"|".join(value for _, value in rows)


def steps(saver: Saver, thread: str) -> dict[str, Any]:
    """Put three checkpoints with writes; what was put, by checkpoint id."""
    here, put = config(thread), {}
    for number in range(3):
        content = values()
        content["m"].append(HumanMessage(content=f"secret new {number} " * 20, id=f"new-{number}"))
        here = saver.put(here, checkpoint(content, dict.fromkeys(content, number)), {"step": number, "tag": "secret"})
        saver.put_writes(here, [("whole", "secret" * 30), (TASKS, Send("n", ["secret"]))], "task")
        put[here["configurable"]["checkpoint_id"]] = content
    return put


def see(saver: Saver, thread: str, put: dict[str, Any]) -> None:
    """All of it is there."""
    for found in (*saver.list(config(thread)), saver.load(config(thread))):
        assert found.checkpoint["channel_values"] == put[found.checkpoint["id"]]
        assert found.metadata.get("tag") == "secret"
        assert found.pending_writes == [("task", "whole", "secret" * 30), ("task", TASKS, Send("n", ["secret"]))]
    assert len(saver.list(config(thread), filter={"tag": "secret"})) == len(put)
    assert saver.check(thread) == []


@pytest.mark.parametrize("serde", SERDES)
def test_every_serializer_serves_given_at_first_or_put_in_later(saver_on: Make, thread: str, serde: str) -> None:
    writer, cold = saver_on(), saver_on(serde=SERDES[serde]())
    writer.checkpointer.serde = SERDES[serde]()
    put = steps(writer, thread)
    for saver in (writer, cold, cold):
        see(saver, thread, put)
    stored = raw(writer, thread)
    assert (b"secret" in stored) == (not serde.startswith("flip"))
    assert (b"mine" in stored) == (serde == "pickle")
    cold.prune([thread])
    assert writer.load(config(thread)).checkpoint["channel_values"] == list(put.values())[-1]


@pytest.mark.parametrize("serde", ["json", "pickle"])
@pytest.mark.parametrize("warm", ["wrote", "read"])
def test_what_is_put_with_a_new_serializer_needs_no_other(saver_on: Make, thread: str, serde: str, warm: str) -> None:
    writer = saver_on()
    before = steps(writer, thread)
    if warm == "read":
        writer = saver_on()
        see(writer, thread, before)
    writer.checkpointer.serde = SERDES[serde]()
    content = values()
    content["m"].append(HumanMessage(content="the last " * 20, id="last"))
    here = config(thread, "", max(before))
    after = writer.put(here, checkpoint(content, dict.fromkeys(content, 9)), {"step": 9})
    only = saver_on(serde=SERDES[serde]())
    for reader in (writer, only, only):
        assert reader.load(after).checkpoint["channel_values"] == content


def test_the_memory_of_a_checkpointer_follows_its_serializer(saver_on: Make, thread: str) -> None:
    class Loud(SessionSerializer):
        """Another reading of the same bytes."""

        def loads_typed(self, data: tuple[str, bytes]) -> Any:
            value = super().loads_typed(data)
            return value.model_copy(update={"name": "loud"}) if isinstance(value, HumanMessage) else value

    saver = saver_on()
    steps(saver, thread)
    quiet = saver.load(config(thread)).checkpoint["channel_values"]["m"]
    saver.checkpointer.serde = Loud()
    loud = saver.load(config(thread)).checkpoint["channel_values"]["m"]
    assert {message.name for message in quiet} == {None}
    assert {message.name for message in loud} == {"loud"}


# -- clones


@pytest.mark.parametrize("serde", [None, "json", "flip"])
def test_a_clone_shares_storage_and_memory_and_has_its_own_serializer(
    saver_on: Make, thread: str, serde: str | None
) -> None:
    saver = saver_on(serde=SERDES[serde]() if serde else None)
    original = saver.checkpointer
    before = original.serde
    made = original.with_allowlist([(Custom.__module__, "Custom")])
    assert isinstance(made, SessionCheckpointer)
    clone = Saver(made, saver.loop)
    assert original.serde is before
    assert type(clone.checkpointer.serde) is type(before)
    assert clone.checkpointer.backend is original.backend
    assert {name for name, value in vars(made).items() if value is not vars(original)[name]} <= {"serde"}
    for one, other in ((saver, clone), (clone, saver)):
        here = one.put(config(thread), checkpoint(values()))
        one.put_writes(here, [("a", 1)], "task")
        assert other.load(here).checkpoint["channel_values"] == values()
        assert other.load(config(thread)).pending_writes == [("task", "a", 1)]
    assert len(clone.list(config(thread))) == 2
    clone.delete_thread(thread)
    assert saver.get(config(thread)) is None


def test_clones_need_no_new_connections_and_one_of_nothing_new_is_as_good(saver_on: Make, thread: str) -> None:
    saver = saver_on()
    again = saver.checkpointer.with_allowlist([]).with_allowlist([]).with_allowlist([(Custom.__module__, "Custom")])
    assert isinstance(again, SessionCheckpointer)
    clone = Saver(again, saver.loop)
    here = clone.put(config(thread), checkpoint(values()))
    assert saver.load(here).checkpoint["channel_values"] == values()


def test_a_clone_alone_takes_what_it_allows(saver_on: Make, thread: str) -> None:
    content = {"one": Custom("a", {"x": (1, 2)}), "many": [Custom(f"{number} " * 90, number) for number in range(3)]}
    saver = saver_on(strict=True)
    made = saver.checkpointer.with_allowlist([(Custom.__module__, "Custom")])
    assert isinstance(made, SessionCheckpointer)
    clone = Saver(made, saver.loop)
    with pytest.raises(Unstorable, match="Custom"):
        saver.put(config(thread), checkpoint(content))
    assert saver.get(config(thread)) is None
    here = clone.put(config(thread), checkpoint(content))
    clone.put_writes(here, [("one", Custom("b"))], "task")
    for reader in (clone, saver_on(), saver_on(strict=True, allow=[Custom])):
        found = reader.load(here)
        assert found.checkpoint["channel_values"] == content
        assert found.pending_writes == [("task", "one", Custom("b"))]
    with pytest.raises(Unstorable, match="Other"):
        clone.put(here, checkpoint({"one": Other("c")}, {"one": 2}))
    assert clone.load(config(thread)).config == here


def test_clones_of_one_checkpointer_work_at_once(saver: Saver, thread: str) -> None:
    clones = [saver.checkpointer.with_allowlist([(Custom.__module__, "Custom")]) for _ in range(4)]

    new: dict[str, Any] = dict.fromkeys(values(), 1)

    async def all_at_once() -> None:
        calls = enumerate(clones)
        await asyncio.gather(*(one.aput(config(f"{thread}{n}"), checkpoint(values()), {}, new) for n, one in calls))

    if saver.loop is None:
        for number, clone in enumerate(clones):
            clone.put(config(f"{thread}{number}"), checkpoint(values()), {}, new)
    else:
        saver.loop.run_until_complete(all_at_once())
    for number in range(4):
        assert saver.load(config(f"{thread}{number}")).checkpoint["channel_values"] == values()
