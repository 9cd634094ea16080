"""Rows that anybody may have written, in a storage with something of everything: an answer or an error of ours.

Each example harms some rows of one partition, asks for a part of all there is, and looks at a session that nobody has
harmed. The default run has few examples, always the same. A campaign goes through the same code for so many seconds in
each test, from a seed of its own: FUZZ_SECONDS=900 pytest tests/fuzz/test_rows.py -s. FUZZ_SEED=n begins there.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fuzz.guard import GUARD
from fuzz.harm import harm
from fuzz.world import HARMED, IDS, LISTS, OTHER, InFile, InMemory, InRedis, Raw, World
from support.servers import RedisServer
from support.sittings import Form

from langgraph_sessionstore import Backend, SessionStoreError, keys, open_backend
from langgraph_sessionstore.backends.memory import MemoryBackend

pytestmark = pytest.mark.long

SECONDS = float(os.environ.get("FUZZ_SECONDS", 0))
EXAMPLES = {"memory": 12, "file": 4, "redis": 4}


def opened(kind: str, folder: Path, redis7: RedisServer) -> tuple[Backend, Raw]:
    if kind == "memory":
        memory = MemoryBackend()
        return memory, InMemory(memory)
    if kind == "file":
        return open_backend(folder / "sessions"), InFile(folder / "sessions")
    GUARD.ports.add(redis7.port)
    prefix = f"fuzz-{uuid.uuid4()}"
    return open_backend(redis7.url, prefix=prefix), InRedis(redis7.client(), prefix)


@pytest.fixture(params=["memory sync", "memory async", "file sync", "redis async"])
def world(request: pytest.FixtureRequest, tmp_path: Path, redis7: RedisServer) -> Iterator[World]:
    """A storage that was filled, and all that is loaded on first use."""
    kind, how = request.param.split()
    form = Form(asyncio.new_event_loop() if how == "async" else None)
    backend, raw = opened(kind, tmp_path, redis7)
    world = World(kind, form, backend, raw, tmp_path)
    for _ in range(2):
        answers(world, None)
        world.restore()
    yield world
    if form.loop is not None:
        form.do(backend, "close")
        form.loop.close()
    backend.close()


def answers(world: World, chance: Random | None) -> int:
    """Ask for all of it, or some; how much was answered."""
    answered = 0
    for _, act in world.acts(world.manager(), chance):
        try:
            act()
            answered += 1
        except SessionStoreError:
            continue
    return answered


def seeds(kind: str) -> Iterator[int]:
    first = int(os.environ.get("FUZZ_SEED", time.time_ns() if SECONDS else 0))
    end, number = time.monotonic() + SECONDS, 0
    while time.monotonic() < end if SECONDS else number < EXAMPLES[kind]:
        yield first + number
        number += 1


def test_a_harmed_row_brings_an_answer_or_an_error_of_ours(world: World) -> None:
    answered = refused = 0
    for seed in seeds(world.kind):
        chance = Random(seed)
        partition = chance.choice(HARMED)
        manager = world.manager()
        if warm := chance.random() < 0.3:  # this process remembers it as it was
            for name in IDS:
                for act in world.reads(manager, name).values():
                    _quietly(act)
        for _ in range(chance.choice([1, 1, 1, 2, 4])):
            world.raw.change(partition, harm(world.whole, partition, chance))
        for what, act in world.acts(manager if warm else world.manager(), chance):
            try:
                with GUARD.watching():
                    act()
                answered += 1
            except SessionStoreError:
                refused += 1
            except BaseException as exc:
                raise AssertionError(f"seed {seed}: {what} after harm to {partition!r}") from exc
        if partition not in LISTS:
            others(world, seed)
        world.restore()
    assert answered > refused > 0


def _quietly(act: Any) -> None:
    with suppress(SessionStoreError):
        act()


def others(world: World, seed: int) -> None:
    """A session that was not harmed works, and so does its line in the list."""
    manager, do = world.manager(), world.form.do
    session = do(manager, "get_session", OTHER)
    assert do(session, "at", 0).text == "ONE", seed
    do(session, "append", "user", "still here")
    do(session, "remove", -1)
    assert do(session.store, "get", ("notes",), "k").value == {"text": "of a session"}
    assert OTHER in [info.id for info in do(manager, "list_sessions")], seed  # the others were deleted
    assert world.raw.read(keys.session(OTHER)), seed
