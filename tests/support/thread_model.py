"""What a checkpointer should have in its threads: every checkpoint in full; and values to put into channels.

Rule: nothing here shares an object with what a checkpointer gets or hands out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.base import WRITES_IDX_MAP, CheckpointTuple

Name = tuple[str, str]
"""A checkpoint in its thread: (id, namespace), so that the order is that of a listing, backwards."""


def plain(value: Any) -> Any:
    """A value in a form that is equal only for the same types and contents, in the same order."""
    if isinstance(value, BaseMessage):
        fields = {name: each for name, each in value.__dict__.items() if each is not None}
        return type(value).__name__, plain(dict(sorted(fields.items()))), plain(value.__pydantic_extra__ or {})
    if isinstance(value, dict):
        return "dict", [(plain(key), plain(each)) for key, each in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [plain(each) for each in value]
    return type(value).__name__, value


def wreck(value: Any) -> None:
    """Change everything in a value that can be changed."""
    if isinstance(value, CheckpointTuple):
        for part in (value.config, value.checkpoint, value.metadata, value.parent_config, value.pending_writes):
            wreck(part)
    elif isinstance(value, BaseMessage):
        for part in value.__dict__.values():
            wreck(part)
        value.content = "wrecked"
        value.additional_kwargs["wrecked"] = True
    elif isinstance(value, dict):
        for part in value.values():
            wreck(part)
        value["wrecked"] = True
    elif isinstance(value, list):
        for part in value:
            wreck(part)
        value.append("wrecked")
    elif isinstance(value, tuple):
        for part in value:
            wreck(part)


class Known(NamedTuple):
    """A checkpoint as it has to come back."""

    values: dict[str, Any]
    versions: dict[str, Any]
    metadata: dict[str, Any]
    parent: str | None


class ThreadModel:
    """One thread."""

    def __init__(self) -> None:
        self.known: dict[Name, Known] = {}
        self.writes: dict[Name, dict[tuple[str, int], tuple[str, str, Any]]] = {}

    def put(self, name: Name, values: Any, versions: Any, metadata: Any, parent: str | None) -> None:
        self.known[name] = Known(*copy.deepcopy((values, versions, metadata)), parent)

    def write(self, name: Name, writes: list[tuple[str, Any]], task: str, path: str) -> None:
        """Ordinary writes stay as they were first, special ones are replaced."""
        there = self.writes.setdefault(name, {})
        for number, (channel, value) in enumerate(writes):
            index = WRITES_IDX_MAP.get(channel, number)
            if index < 0 or (task, index) not in there:
                there[task, index] = path, channel, copy.deepcopy(value)

    def form(self, name: Name) -> Any:
        """The checkpoint and its writes, to be compared."""
        known = self.known[name]
        writes = sorted(self.writes.get(name, {}).items(), key=lambda item: (item[1][0], *item[0]))
        pending = [(task, channel, value) for (task, _), (_, channel, value) in writes]
        return form(name[0], name[1], known.parent, known.values, known.versions, known.metadata, pending)

    def names(self, ns: str | None = None) -> list[Name]:
        """Newest first."""
        return sorted((name for name in self.known if ns is None or name[1] == ns), reverse=True)

    def copy_of(self, name: Name) -> tuple[dict[str, Any], dict[str, Any]]:
        """Values and versions, the caller's own."""
        return copy.deepcopy(self.known[name].values), dict(self.known[name].versions)

    def copy(self) -> ThreadModel:
        made = ThreadModel()
        made.known, made.writes = copy.deepcopy((self.known, self.writes))
        return made

    def exists(self) -> bool:
        return bool(self.known or self.writes)

    def prune(self) -> None:
        """Keep the newest of each namespace, and writes that are newer than it."""
        newest = {ns: max(id_ for id_, of in self.known if of == ns) for _, ns in self.known}
        for name in {*self.known, *self.writes}:
            if name[0] < newest.get(name[1], ""):
                self.known.pop(name, None)
                self.writes.pop(name, None)

    def delete_runs(self, runs: list[str]) -> None:
        for name, known in list(self.known.items()):
            if known.metadata.get("run_id") in runs:
                del self.known[name]
                self.writes.pop(name, None)


def form(
    checkpoint_id: str, ns: str, parent: str | None, values: Any, versions: Any, metadata: Any, writes: Any
) -> Any:
    """A checkpoint, to be compared; the order of channels does not matter."""
    channels = {name: plain(value) for name, value in values.items()}
    return checkpoint_id, ns, parent, channels, dict(versions), plain(dict(sorted(metadata.items()))), plain(writes)


def form_of(found: CheckpointTuple) -> Any:
    """The same of what a checkpointer handed out."""
    named = found.config["configurable"]
    parent = found.parent_config["configurable"]["checkpoint_id"] if found.parent_config else None
    inside: Any = found.checkpoint
    assert inside["id"] == named["checkpoint_id"]
    return form(
        named["checkpoint_id"], named["checkpoint_ns"], parent,
        inside["channel_values"], inside["channel_versions"], found.metadata, found.pending_writes,
    )  # fmt: skip


# -- values


_WORDS = "all the words that a message may be made of, again and again, until it is long enough to be shared "


def message(kind: int, number: int) -> Any:
    """A message; of few kinds and numbers, so that equal ones meet."""
    text = f"{number}: {_WORDS * (number % 3)}"
    call: Any = {"name": "f", "args": {"n": [number, {"deep": text}]}, "id": f"c{number}", "type": "tool_call"}
    makers: list[Callable[[], Any]] = [
        lambda: HumanMessage(text, id=f"h{number}"),
        lambda: HumanMessage([{"type": "text", "text": text}, {"type": "text", "text": "more"}], id=f"h{number}"),
        lambda: AIMessage(text, tool_calls=[call], response_metadata={"model": "m", "tokens": number}),
        lambda: AIMessageChunk(content=text, id=f"k{number}"),
        lambda: SystemMessage(text, additional_kwargs={"tuple": (number, text), "set": [number]}),
        lambda: ToolMessage(text, tool_call_id=f"c{number}", artifact={"raw": [number] * 3}),
        lambda: ChatMessage(content=text, role="critic"),
        lambda: FunctionMessage(content=text, name="f"),
        lambda: RemoveMessage(id=f"h{number}"),
    ]
    return makers[kind % len(makers)]()


def item(kind: int, number: int) -> Any:
    """An item of a list: a message, or something else."""
    others: list[Any] = [
        {"number": number, "text": _WORDS * (number % 3), "inner": [number, (number, "t")]},
        _WORDS * (number % 4) + str(number),
        number,
        number % 2 == 0,
        float(number % 2),
        None,
        [_WORDS, [number]],
    ]
    return others[kind % 16 - 9] if kind % 16 >= 9 else message(kind % 16, number)


def edit_in_place(value: Any, number: int) -> bool:
    """Change an item, which stays the same object; whether that was possible."""
    if isinstance(value, BaseMessage):
        if isinstance(value.content, list):
            value.content.append({"type": "text", "text": f"edit {number}"})
        elif number % 2:
            value.additional_kwargs["edit"] = {"n": [number]}
        else:
            value.content = f"edit {number} {_WORDS}"
    elif isinstance(value, dict):
        value["number"] = number + 100
    elif isinstance(value, list):
        value.append(number)
    else:
        return False
    return True


def change_list(values: list[Any], how: int, at: int, made: Callable[[int], Any]) -> None:
    """One of the things that programs do to a list."""
    place = at % (len(values) + 1)
    if how % 16 < 4 or not values:
        values.extend(made(at + more) for more in range(how % 3 + 1))
    elif how % 16 == 6:
        del values[:place]
    elif how % 16 == 7:
        del values[place:]
    elif how % 16 == 8:
        values.reverse()
    elif how % 16 == 9:
        values.insert(place, values[at % len(values)])
    elif how % 16 == 10:
        values[:] = values[place:] + values[:place]
    elif how % 16 == 11:
        values[::2], values[1::2] = values[::2][::-1], values[1::2][::-1]
    elif how % 16 == 12:
        values.clear()
    elif how % 16 == 13:
        values.insert(place, made(at))
    elif how % 16 == 14:
        values[:] = [made(at + more) for more in range(3)]
    elif not edit_in_place(values[at % len(values)], how + at):
        values[at % len(values)] = made(at + 1)


def change_files(files: dict[str, Any], how: int, at: int) -> None:
    """One of the things that programs do to a file map."""
    name = f"file {at % 5}"
    if how % 6 == 4:
        files.pop(name, None)
    elif how % 6 == 5:
        moved = list(files.items())[::-1]
        files.clear()
        files.update(moved)
    elif how % 6 == 3 and isinstance(files.get(name), dict):
        files[name]["lines"].append(f"line {at}")
    else:
        files[name] = f"{at} {_WORDS * 3}" if how % 2 else {"lines": [_WORDS, str(at)]}
