"""What a server is given: two factories on one manager, with settings from the environment."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from server.graphs import Place, builder
from support.leftovers import descriptors

from langgraph_sessionstore import (
    SESSION_NAMESPACE,
    BackendClosed,
    ConfigurationError,
    EncryptedBackend,
    Keyring,
    SessionCheckpointer,
    SessionManager,
    Unstorable,
)
from langgraph_sessionstore.serde import policy
from langgraph_sessionstore.server import checkpointer, manager, store

KEYS = "SESSIONSTORE_ENCRYPTION_KEYS"


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all lies, unless a test says otherwise."""
    monkeypatch.setenv("SESSIONSTORE_URL", "memory:")


async def run(saver: SessionCheckpointer) -> str:
    """The id of a thread that a graph has run on."""
    thread = str(uuid4())
    await builder.compile(checkpointer=saver).ainvoke({}, {"configurable": {"thread_id": thread}})
    return thread


def test_both_stand_on_one_storage_which_ends_with_the_last_user() -> None:
    async def main() -> None:
        async with checkpointer() as saver, manager() as shared:
            async with store() as items:
                thread = await run(saver)
                await items.aput((SESSION_NAMESPACE, thread), "a", {"b": 1})
            item = await shared.store.aget((SESSION_NAMESPACE, thread), "a")
            assert item is not None
            assert item.value == {"b": 1}
        with pytest.raises(BackendClosed):
            await items.aget((SESSION_NAMESPACE, thread), "a")
        async with manager() as another:
            assert another is not shared
            assert await another.acount_sessions() == 0

    asyncio.run(main())


@pytest.mark.parametrize("waits", [True, False])
def test_who_is_cancelled_while_it_opens_leaves_nothing_open(waits: bool) -> None:
    async def use() -> None:
        async with manager():
            raise AssertionError("it was cancelled")

    async def cancelled() -> None:
        using = asyncio.create_task(use())
        await asyncio.sleep(0)  # it has begun to open
        if waits:
            using.cancel()
            with pytest.raises(asyncio.CancelledError):
                await using

    async def only_user() -> None:
        async with manager() as shared:
            pass
        with pytest.raises(BackendClosed):
            await shared.acount_sessions()

    asyncio.run(cancelled())  # which cancels whoever is left
    asyncio.run(only_user())


def test_a_storage_is_closed_when_nothing_can_sweep_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SESSIONSTORE_URL", f"{tmp_path}/sessions")
    monkeypatch.setenv("SESSIONSTORE_STORE_TTL", "1")

    async def main() -> None:
        await asyncio.to_thread(int)  # so that the thread that opens it is there
        size = threading.stack_size(1 << 50)  # more than there is for another one
        try:
            async with manager():
                pass
        finally:
            threading.stack_size(size)

    with pytest.raises(RuntimeError, match="start new thread") as caught:
        asyncio.run(main())
    assert [name for name in descriptors() if str(tmp_path) in name] == []
    del caught  # which holds whatever was opened


def test_event_loops_of_several_threads_share_it() -> None:
    both = threading.Barrier(2, timeout=30)
    seen = []

    async def main() -> None:
        async with manager() as shared:
            seen.append(shared)
            await asyncio.to_thread(both.wait)

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 2
    assert seen[0] is seen[1]


@pytest.mark.parametrize("how", ["delete", "prune", "prune as servers call it"])
def test_a_thread_that_is_deleted_is_a_session_that_is_deleted(how: str) -> None:
    async def main() -> None:
        async with checkpointer() as saver, manager() as shared:
            thread, other = await run(saver), await run(saver)
            await shared.store.aput((SESSION_NAMESPACE, thread), "a", {"b": 1})
            await (await shared.acreate_session(thread, exist_ok=True)).aupdate(title="A trip")
            if how == "delete":
                await saver.adelete_thread(thread)
            else:
                await saver.aprune([thread], strategy="delete" if how == "prune" else "delete_all")
            assert [info.id async for info in shared.aiter_sessions()] == [other]
            assert await shared.store.asearch((SESSION_NAMESPACE, thread)) == []
            await builder.compile(checkpointer=saver).ainvoke({}, {"configurable": {"thread_id": thread}})  # anew
            assert await shared.acount_sessions() == 2

    asyncio.run(main())


def test_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = Keyring.new_key()
    monkeypatch.setenv("SESSIONSTORE_URL", f"{tmp_path}/sessions")
    monkeypatch.setenv(KEYS, key)
    monkeypatch.setenv("SESSIONSTORE_TTL", "3600")
    monkeypatch.setenv("SESSIONSTORE_STORE_TTL", "2.5")

    async def main() -> None:
        async with checkpointer() as saver, store() as items:
            assert isinstance(items.backend, EncryptedBackend)
            assert items.ttl_config == {"default_ttl": 2.5, "refresh_on_read": True}
            await run(saver)
            monkeypatch.setenv("SESSIONSTORE_TTL", "60")
            async with manager() as other:  # who is told something else has a manager of their own
                assert other.store is not items

    asyncio.run(main())
    with SessionManager.from_url(tmp_path / "sessions", encryption=key) as opened:
        (info,) = opened.list_sessions()
        assert info.expires_at is not None


@pytest.mark.parametrize(("allow", "works"), [("server.graphs:Place", True), ("a.b:C, d:E", False)])
def test_types_that_may_be_stored(allow: str, works: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONSTORE_ALLOW", allow)
    monkeypatch.setattr(policy, "strict_by_environment", lambda: True)

    async def main() -> None:
        async with checkpointer() as saver:
            config: Any = {"configurable": {"thread_id": await run(saver)}}
            found = await saver.aget_tuple(config)
            assert found is not None
            assert found.checkpoint["channel_values"]["place"] == Place(name="Kyoto")

    if works:
        asyncio.run(main())
    else:
        with pytest.raises(Unstorable, match="Place is not allowed"):
            asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SESSIONSTORE_URL", "", r"SESSIONSTORE_URL says where .* redis://"),
        ("SESSIONSTORE_URL", None, "SESSIONSTORE_URL says where"),
        ("SESSIONSTORE_URL", "mysql://x", "SESSIONSTORE_URL cannot work: no backend for 'mysql:'"),
        ("SESSIONSTORE_TTL", "soon", "SESSIONSTORE_TTL cannot be 'soon'"),
        ("SESSIONSTORE_TTL", "0", "SESSIONSTORE_TTL cannot be '0': it is more than 0 seconds"),
        ("SESSIONSTORE_TTL", "-1", "SESSIONSTORE_TTL cannot be '-1': it is a number of seconds"),
        ("SESSIONSTORE_TTL", "nan", "SESSIONSTORE_TTL cannot be 'nan': it is a number of seconds"),
        ("SESSIONSTORE_STORE_TTL", "0", "SESSIONSTORE_STORE_TTL cannot be '0': .* a number of minutes"),
        ("SESSIONSTORE_ALLOW", "Person", "SESSIONSTORE_ALLOW cannot be 'Person': .* my_app.state:Person"),
        (KEYS, "", f"{KEYS} holds no key"),
        (KEYS, "s3cret!", f"{KEYS}: this text is no key"),
    ],
)
def test_what_cannot_work_is_named(name: str, value: str | None, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)

    async def main() -> None:
        async with checkpointer():
            pass

    with pytest.raises(ConfigurationError, match=says) as caught:
        asyncio.run(main())
    assert "s3cret" not in str(caught.value)
