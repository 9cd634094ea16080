"""What clients do with LangGraph's server: each act begins before a restart of the server, and ends after it.

Rule: all acts play at the same time, since the server takes half a second to find a run that waits. Each has threads
and names of its own, and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple
from uuid import uuid4

from langgraph_sdk import get_client
from server.graphs import Place, builder
from server.running import LangGraphServer

from langgraph_sessionstore import SESSION_NAMESPACE, SessionManager


class Stage(NamedTuple):
    """What an act has."""

    client: Any
    manager: SessionManager
    """On the server's storage, in this process."""
    turn: asyncio.Lock
    """Held while threads are deleted: the server takes the wrong one off its list when two are deleted at once."""

    async def thread(self, **options: Any) -> str:
        """The id of a new thread."""
        return str((await self.client.threads.create(**options))["thread_id"])

    async def left(self, thread: str) -> bool:
        """Whether anything of a thread is in the storage."""
        namespace = (SESSION_NAMESPACE, thread)
        return await self.manager.aget_session(thread) is not None or bool(await self.manager.store.asearch(namespace))

    async def end(self, *threads: str) -> None:
        """Delete threads; nothing of them is left."""
        for thread in threads:
            async with self.turn:
                await self.client.threads.delete(thread)
            assert not await self.left(thread)

    async def waiting(self, thread: str, **options: Any) -> str:
        """The id of a run that waits in its second step."""
        run = await self.client.runs.create(thread, "steps", input={"wait": True}, **options)
        await until(lambda: self._is_waiting(thread, run["run_id"]))
        return str(run["run_id"])

    async def _is_waiting(self, thread: str, run: str) -> bool:
        state = await self.client.threads.get_state(thread)
        return bool(state["next"] == ["second"] and state["metadata"]["run_id"] == run)


Act = Callable[[Stage], AsyncIterator[None]]


async def until(probe: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until it is so."""

    deadline = time.monotonic() + 20
    while not await probe():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def said(text: str) -> dict[str, Any]:
    """What a user says to the agent."""
    return {"messages": [{"role": "user", "content": text}]}


async def asks_and_is_answered_after_a_restart(stage: Stage) -> AsyncIterator[None]:
    client, thread = stage.client, await stage.thread()
    asked = await client.runs.wait(thread, "agent", input=said("Kyoto"))
    assert asked["__interrupt__"][0]["value"] == "Book Kyoto?"
    assert (await client.threads.get(thread))["status"] == "interrupted"
    yield
    state = await client.threads.get_state(thread)
    assert state["next"] == ["book"]
    assert state["tasks"][0]["interrupts"][0]["value"] == "Book Kyoto?"
    done = await client.runs.wait(thread, "agent", command={"resume": True})
    assert done["messages"][-1]["content"] == "Done: booked Kyoto"
    session = await stage.manager.aget_session(thread)
    assert session is not None
    assert [message.text for message in await session.amessages()][::3] == ["Kyoto", "Done: booked Kyoto"]
    items = await client.store.search_items([SESSION_NAMESPACE, thread])
    assert [(item["key"], item["value"]) for item in items["items"]] == [("Kyoto", {"booked": True})]
    assert (await client.store.get_item(["places"], "Kyoto"))["value"] == {"booked": True}
    await client.store.delete_item(["places"], "Kyoto")
    await stage.end(thread)


async def streams_and_joins_and_keeps_its_history(stage: Stage) -> AsyncIterator[None]:
    client, thread = stage.client, await stage.thread()
    parts = [part async for part in client.runs.stream(thread, "steps", input={}, stream_mode="updates")]
    assert [[*part.data] for part in parts if part.event == "updates"] == [["first"], ["second"]]
    run = await client.runs.create(thread, "steps", input={})
    joined = await client.runs.join(thread, run["run_id"])
    assert joined["done"] == ["first in Kyoto", "second in Kyoto"] * 2
    history = await client.threads.get_history(thread, limit=50)
    assert len(history) == 8
    assert history[0]["values"] == joined
    yield
    assert await client.threads.get_history(thread, limit=50) == history
    assert await client.threads.get_history(thread, limit=2, before=history[3]["checkpoint"]) == history[4:6]
    filtered = await client.threads.get_history(thread, limit=50, metadata={"run_id": run["run_id"]})
    assert filtered == history[:4]
    await stage.end(thread)


async def travels_in_time(stage: Stage) -> AsyncIterator[None]:
    client, thread = stage.client, await stage.thread()
    await client.runs.wait(thread, "steps", input={})
    (before,) = [each for each in await client.threads.get_history(thread) if each["next"] == ["second"]]
    again = await client.runs.wait(thread, "steps", input=None, checkpoint=before["checkpoint"])
    assert again["done"] == ["first in Kyoto", "second in Kyoto"]
    edited = await client.threads.update_state(
        thread, {"place": {"name": "Osaka"}, "done": ["moved"]}, as_node="first", checkpoint=before["checkpoint"]
    )
    state = await client.threads.get_state(thread)
    assert state["checkpoint"] == edited["checkpoint"]
    assert state["values"]["done"] == ["first in Kyoto", "moved"]
    yield
    old = await client.threads.get_state(thread, checkpoint=before["checkpoint"])
    assert (old["values"], old["next"]) == (before["values"], before["next"])
    assert (await client.threads.get_state(thread))["values"] == state["values"]
    history = await client.threads.get_history(thread, limit=50)
    assert [each["metadata"]["source"] for each in history] == [
        "update",
        "loop",
        "fork",
        "loop",
        "loop",
        "loop",
        "input",
    ]
    assert [each["checkpoint"] for each in history if each["parent_checkpoint"] == before["checkpoint"]] == [
        history[at]["checkpoint"] for at in (0, 2, 3)
    ]
    await stage.end(thread)


async def revives_types_after_a_restart(stage: Stage) -> AsyncIterator[None]:
    client, thread = stage.client, await stage.thread()
    await client.runs.wait(thread, "steps", input={})
    yield
    state = await client.runs.wait(thread, "steps", input={})
    assert state["place"] == {"name": "Kyoto"}
    assert state["done"] == ["first in Kyoto", "second in Kyoto"] * 2  # the graph asks it for its name
    await stage.end(thread)


async def copies_a_thread(stage: Stage) -> AsyncIterator[None]:
    client, thread = stage.client, await stage.thread()
    await client.runs.wait(thread, "agent", input=said("Nara"))
    copy = str((await client.threads.copy(thread))["thread_id"])
    assert len(await client.threads.get_history(copy)) == len(await client.threads.get_history(thread)) == 3
    yield
    done = await client.runs.wait(copy, "agent", command={"resume": False})
    assert done["messages"][-1]["content"] == "Done: not booked"
    assert (await client.threads.get_state(thread))["next"] == ["book"]
    await stage.end(thread)
    assert len(await client.threads.get_history(copy)) == 5
    await stage.end(copy)


async def rolls_back_for_the_next_run(stage: Stage) -> AsyncIterator[None]:
    client, thread = stage.client, await stage.thread()
    await stage.waiting(thread)
    run = await client.runs.create(thread, "steps", input={"wait": False}, multitask_strategy="rollback")
    await client.runs.join(thread, run["run_id"])

    async def is_alone() -> bool:  # the server takes away what the other one has put when it is no longer listed
        return {each["metadata"]["run_id"] for each in await client.threads.get_history(thread)} == {run["run_id"]}

    await until(is_alone)
    yield
    assert await is_alone()
    assert [each["run_id"] for each in await client.runs.list(thread)] == [run["run_id"]]
    await stage.end(thread)


async def cancels_runs(stage: Stage) -> AsyncIterator[None]:
    client, thread, other = stage.client, await stage.thread(), await stage.thread()
    kept, gone = await asyncio.gather(stage.waiting(thread), stage.waiting(other))
    await client.runs.cancel(thread, kept, wait=True, action="interrupt")
    assert (await client.threads.get_state(thread))["next"] == ["second"]
    await client.runs.cancel(other, gone, wait=True, action="rollback")

    async def is_gone() -> bool:
        return not await stage.left(other)

    await until(is_gone)
    yield
    state = await client.threads.get_state(thread)
    assert (state["next"], state["values"]["done"]) == (["second"], ["first in Kyoto"])
    assert await client.threads.get_history(other) == []
    await client.runs.delete(thread, kept)
    assert not await stage.left(thread)
    await stage.end(thread, other)


async def tells_threads_apart(stage: Stage) -> AsyncIterator[None]:
    client, mark = stage.client, str(uuid4())
    thread = await stage.thread(metadata={"mark": mark})
    again = await client.threads.create(thread_id=thread, if_exists="do_nothing")
    assert again["thread_id"] == thread
    await client.threads.update(thread, metadata={"more": 1})
    await client.runs.wait(thread, "steps", input={})
    yield
    (found,) = await client.threads.search(metadata={"mark": mark})
    assert (found["thread_id"], found["metadata"]["more"], found["status"]) == (thread, 1, "idle")
    assert found["values"]["done"] == ["first in Kyoto", "second in Kyoto"]
    await stage.end(thread)
    assert await client.threads.search(metadata={"mark": mark}) == []
    assert await stage.thread(thread_id=thread) == thread  # the same id, and a new thread
    state = await client.runs.wait(thread, "steps", input={})
    assert state["done"] == ["first in Kyoto", "second in Kyoto"]
    await stage.end(thread)


async def prunes_threads(stage: Stage) -> AsyncIterator[None]:
    client = stage.client
    threads = [await stage.thread(), await stage.thread()]
    await asyncio.gather(*(client.runs.wait(thread, "steps", input={}) for thread in threads))
    yield
    assert await stage.left(threads[0])
    async with stage.turn:
        pruned = await client.threads.prune(threads, strategy="delete")
    assert pruned["pruned_count"] == 2
    assert not any([await stage.left(thread) for thread in threads])


async def takes_up_a_thread_from_elsewhere(stage: Stage) -> AsyncIterator[None]:
    client, thread = stage.client, str(uuid4())
    graph = builder.compile(checkpointer=stage.manager.checkpointer)
    await graph.ainvoke({}, {"configurable": {"thread_id": thread}})
    assert await stage.thread(thread_id=thread) == thread
    state = await client.runs.wait(thread, "steps", input={})
    assert state["done"] == ["first in Kyoto", "second in Kyoto"] * 2
    yield
    again = await graph.aget_state({"configurable": {"thread_id": thread}})
    assert (again.values["done"], again.values["place"]) == (state["done"], Place(name="Kyoto"))
    await stage.end(thread)


async def runs_without_a_thread(stage: Stage) -> AsyncIterator[None]:
    state = await stage.client.runs.wait(None, "steps", input={})
    assert state["done"] == ["first in Kyoto", "second in Kyoto"]
    yield


async def keeps_items(stage: Stage) -> AsyncIterator[None]:
    store, name = stage.client.store, str(uuid4())
    for number in range(3):
        await store.put_item([name, "facts"], f"fact {number}", {"number": number})
    await store.put_item([name, "moods"], "today", {"is": "glad"})
    await store.put_item([name, "moods"], "now", {"is": "glad"}, ttl=5)
    await store.delete_item([name, "facts"], "fact 0")
    yield
    assert (await store.get_item([name, "moods"], "today"))["value"] == {"is": "glad"}
    assert (await store.get_item([name, "moods"], "now", refresh_ttl=True))["value"] == {"is": "glad"}
    found = await store.search_items([name], filter={"number": {"$gt": 1}})
    assert [item["key"] for item in found["items"]] == ["fact 2"]
    assert (await store.list_namespaces(prefix=[name]))["namespaces"] == [[name, "facts"], [name, "moods"]]
    for namespace, key in [("facts", "fact 1"), ("facts", "fact 2"), ("moods", "today"), ("moods", "now")]:
        await store.delete_item([name, namespace], key)
    assert (await store.search_items([name]))["items"] == []


ACTS: dict[str, Act] = {
    act.__name__: act
    for act in (
        asks_and_is_answered_after_a_restart,
        streams_and_joins_and_keeps_its_history,
        travels_in_time,
        revives_types_after_a_restart,
        copies_a_thread,
        rolls_back_for_the_next_run,
        cancels_runs,
        tells_threads_apart,
        prunes_threads,
        takes_up_a_thread_from_elsewhere,
        runs_without_a_thread,
        keeps_items,
    )
}


class Played(NamedTuple):
    """What came of all acts."""

    errors: dict[str, BaseException | None]
    """Of each act, what went wrong in it."""
    sessions: list[str]
    """The sessions that are left in the storage."""
    namespaces: list[tuple[str, ...]]
    """The namespaces of items that are left."""
    log: str
    """What the server has said."""

    def well(self) -> None:
        """Nothing is left, and the server has complained of nothing."""
        assert (self.sessions, self.namespaces) == ([], [])
        assert "Using custom checkpointer" in self.log
        for trouble in ("missing a", "Traceback", "BlockingError", "unclosed", "never awaited"):
            assert trouble not in self.log


async def play(server: LangGraphServer, manager: SessionManager) -> Played:
    """Play all acts, with a restart of the server in the middle of each."""
    async with manager, get_client(url=server.url, timeout=60) as client:
        stage = Stage(client, manager, asyncio.Lock())
        acts = {name: act(stage) for name, act in ACTS.items()}
        begun = await _go_on(acts)
        await asyncio.to_thread(server.restart)
        ended = await _go_on(acts)
        sessions = [info.id async for info in manager.aiter_sessions()]
        left = await manager.store.alist_namespaces()
    await asyncio.to_thread(server.stop)
    log = (server.folder / "log").read_text(errors="replace")
    return Played({name: begun[name] or ended[name] for name in acts}, sessions, left, log)


async def _go_on(acts: dict[str, AsyncIterator[None]]) -> dict[str, BaseException | None]:
    """Play each act to where it waits, or to its end; what went wrong."""
    ends = await asyncio.gather(*(_one(act) for act in acts.values()), return_exceptions=True)
    return dict(zip(acts, ends, strict=True))


async def _one(act: AsyncIterator[None]) -> None:
    await anext(act, None)
