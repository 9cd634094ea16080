"""Versions of channels: ours grow and never meet, and those of other checkpointers are continued."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from support.savers import Saver, config
from support.turns import run_turns

from langgraph_sessionstore import ConfigurationError, SessionCheckpointer, open_backend


@pytest.fixture
def checkpointer() -> SessionCheckpointer:
    return SessionCheckpointer(open_backend("memory:"))


@pytest.mark.parametrize("current", [None, 1, 9, 10, 2.0, 3.75, f"{9:032}.{0.5:016}", f"{99:032}.x", f"{7:032}"])
def test_the_next_version_is_greater_whatever_the_current_is(checkpointer: SessionCheckpointer, current: Any) -> None:
    version = checkpointer.get_next_version(current, None)
    counter = 0 if current is None else int(str(current).split(".")[0])
    assert isinstance(version, str)
    assert int(version.split(".")[0]) == counter + 1
    assert len(version) == len(checkpointer.get_next_version(10**9, None))
    if current is not None:
        assert version > current
        assert current < version
        assert not (version <= current)
        assert not (current >= version)
        assert version != current
        assert max([current, version]) == version
    for _ in range(20):
        following = checkpointer.get_next_version(version, None)
        assert following > version
        assert current is None or following > current
        version = following


def test_forks_never_make_the_same_version(checkpointer: SessionCheckpointer) -> None:
    assert len({checkpointer.get_next_version("1", None) for _ in range(1000)}) == 1000


def test_a_version_without_a_number_is_refused(checkpointer: SessionCheckpointer) -> None:
    for current in ("", "abc", float("inf"), float("nan")):
        with pytest.raises(ConfigurationError, match="whole number"):
            checkpointer.get_next_version(current, None)


class Whole(InMemorySaver):
    """A checkpointer whose versions are numbers, as the base class has them."""

    step: float = 1

    def get_next_version(self, current: Any, channel: None) -> Any:
        return (current or 0) + self.step


class Broken(Whole):
    step = 1.5


@pytest.mark.parametrize("other", [Whole, Broken, InMemorySaver])
def test_a_graph_goes_on_from_the_versions_of_another_checkpointer(
    saver_on: Callable[..., Saver], thread: str, other: type[InMemorySaver]
) -> None:
    source = other()
    run_turns(source, thread, 2)
    saver = saver_on()
    for found in reversed(list(source.list(config(thread)))):
        parent = (found.parent_config or config(thread))["configurable"].get("checkpoint_id")
        versions = found.checkpoint["channel_versions"]
        saver.put(config(thread, "", parent), found.checkpoint, found.metadata, versions)
        assert saver.load(config(thread)).checkpoint["channel_versions"] == versions
    for worker in (saver, saver_on()):
        before = len(worker.load(config(thread)).checkpoint["channel_values"]["messages"])
        assert len(run_turns(worker.checkpointer, thread, 1)["messages"]) == before + 4
    assert saver.check(thread) == []
