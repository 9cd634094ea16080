"""Copies that are killed, that fail, that are asked for what cannot be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import RESUME
from langgraph.store.memory import InMemoryStore
from migration.graphs import carry_on, fill, held
from support.peers import Form, Peer, forms
from support.savers import checkpoint, config
from support.servers import RedisServer

from langgraph_sessionstore import (
    BackendError,
    ConfigurationError,
    MessagesElsewhere,
    MigrationError,
    NotReplicated,
    SessionCheckpointer,
    SessionManager,
    UntrustedType,
    keys,
    migration,
    open_backend,
    run,
)
from langgraph_sessionstore.ops import Put, must
from langgraph_sessionstore.plans import layout
from langgraph_sessionstore.testing import Fault, FaultyBackend

pytestmark = pytest.mark.filterwarnings("ignore:get_async_redis_connection:DeprecationWarning")
KILLED = """
import os, signal, sys
from langgraph_sessionstore import SessionCheckpointer
from langgraph_sessionstore.migration import copy_threads, open_saver

source, target, method, left = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
alive = getattr(SessionCheckpointer, method)


def dying(self, *args):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return alive(self, *args)


setattr(SessionCheckpointer, method, dying)
with open_saver(source) as saver, SessionCheckpointer.from_url(target) as ours:
    copy_threads(saver, ours)
"""


@pytest.mark.peers
@pytest.mark.parametrize(("method", "call"), [("put", 20), ("put_writes", 1)])
def test_a_copy_that_was_killed_goes_on_as_if_nothing_had_happened(
    method: str, call: int, new_peer: Any, tmp_path: Path
) -> None:
    peer: Peer = new_peer("sqlite")
    target = f"file:{tmp_path}/sessions"
    with forms("sync") as form:
        source = form.saver(peer)
        fill(form, source)
        before = held(form, source)
    command = [sys.executable, "-c", KILLED, peer.url, target, method, str(call)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    with forms("sync") as form:
        source, ours = form.saver(peer), form.our_saver(target)
        was = held(form, ours)
        assert len(was) == (call - 1 if method == "put" else len(was)) < len(before)
        report = migration.copy_threads(source, ours, verify=True)
        assert (report.copied, report.present) == (len(before) - len(was), len(was))
        assert report.differences == ()
        assert held(form, ours) == before
        assert carry_on(form, ours) == carry_on(form, source)


def filled(*threads: str, value: Any = "x") -> InMemorySaver:
    """A checkpointer with a checkpoint and a write in each thread."""
    saver = InMemorySaver(serde=JsonPlusSerializer(pickle_fallback=True))
    for thread in threads:
        put = saver.put(config(thread), checkpoint({"a": value}), {}, {"a": 1})
        saver.put_writes(put, [("a", "y")], "task")
    return saver


def test_an_error_names_the_thread_and_the_same_again_goes_on(form: Form) -> None:
    source, target = filled("1", "2", "3"), form.our_saver("memory:")
    bad = source.put(config("2"), checkpoint({"a": open}, {"a": 2}), {}, {"a": 2})
    with pytest.raises(
        MigrationError, match=r"thread '2' .* channel 'a' .*the same copy again goes on from there"
    ) as error:
        form.do(migration, "copy_threads", source, target)
    assert error.value.__cause__ is not None
    done: list[tuple[int, int]] = []
    options = {"keep_going": True, "progress": lambda *at: done.append(at)}
    report = form.do(migration, "copy_threads", source, target, **options)
    assert set(report.failed) == {"2"}
    assert "channel 'a'" in report.failed["2"]
    assert done[-1] == (4, 4)
    assert {found.config["configurable"]["thread_id"] for found in form.tuples(target)} == {"1", "2", "3"}
    del source.storage["2"][""][bad["configurable"]["checkpoint_id"]]
    report = form.do(migration, "copy_threads", source, target, verify=True)
    assert (report.failed, report.copied, report.present, report.differences) == ({}, 0, 3, ())


def test_a_storage_that_is_gone_stops_all(form: Form) -> None:
    backend = FaultyBackend(open_backend("memory:"), {4: Fault.FAIL})
    with pytest.raises(BackendError):
        form.do(migration, "copy_threads", filled("1", "2"), SessionCheckpointer(backend), keep_going=True)
    report = form.do(migration, "copy_threads", filled("1", "2"), SessionCheckpointer(backend))
    assert report.failed == {}


@pytest.mark.parametrize("keep_going", [False, True])
def test_what_the_callback_raises_passes_as_it_is(form: Form, keep_going: bool) -> None:
    class Stop(Exception):
        pass

    def progress(done: int, total: int) -> None:
        raise Stop

    target = form.our_saver("memory:")
    options = {"keep_going": keep_going, "progress": progress}
    with pytest.raises(Stop):
        form.do(migration, "copy_threads", filled("1", "2"), target, **options)
    assert len(form.tuples(target)) == 1
    with pytest.raises(Stop):
        form.do(migration, "copy_items", *stores({"a": 1}, {}), **options)


def stores(one: dict[str, Any], other: dict[str, Any]) -> tuple[InMemoryStore, InMemoryStore]:
    """Two stores with these items."""
    made = InMemoryStore(), InMemoryStore()
    for store, values in zip(made, (one, other), strict=True):
        for key, value in values.items():
            store.put(("n",), key, {"v": value})
    return made


def test_a_truth_is_no_number_and_a_whole_number_no_float(form: Form) -> None:
    values = {"a": True, "b": 1, "c": [0.0], "d": 1, "e": float("nan"), "f": (2.0,)}
    others = {"a": 1, "b": 1.0, "c": [False], "d": 1, "e": float("nan"), "f": [2.0]}
    report = form.do(migration, "copy_items", *stores(values, others), verify=True)
    assert report.differing == 3
    assert report.differences == tuple(f"namespace ('n',): item {key!r} differs" for key in "abc")


def test_a_write_that_was_replaced_is_replaced_again(form: Form) -> None:
    source, target = filled("1"), form.our_saver("memory:")
    (first,) = source.list(None)
    source.put_writes(first.config, [(RESUME, ["Tea"])], "asking")
    form.do(migration, "copy_threads", source, target)
    source.put_writes(first.config, [(RESUME, ["Tea", "Cake"])], "asking")
    source.put(first.config, checkpoint({"a": "z"}, {"a": 2}), {}, {"a": 2})
    report = form.do(migration, "copy_threads", source, target, verify=True)
    assert (report.copied, report.writes, report.differences) == (1, 1, ())
    assert form.do(migration, "copy_threads", source, target).writes == 0


def test_a_session_with_messages_in_its_log_is_left_as_it_is() -> None:
    with SessionManager.from_url("memory:") as manager, forms("sync") as form:
        session = manager.create_session("done", messages=["Hello"])
        source = InMemorySaver()
        fill(form, source)
        with pytest.raises(MigrationError, match="thread 'done'") as error:
            migration.copy_threads(source, manager.checkpointer)
        assert isinstance(error.value.__cause__, MessagesElsewhere)
        report = migration.copy_threads(source, manager.checkpointer, keep_going=True)
        assert set(report.failed) == {"done"}
        assert [message.text for message in session.messages] == ["Hello"]
        assert manager.get_session("twice") is not None


def test_only_the_threads_that_are_named(form: Form) -> None:
    target = form.our_saver("memory:")
    report = form.do(migration, "copy_threads", filled("1", "2", "3"), target, threads=["3", "1", "3"])
    assert (report.seen, report.copied) == (2, 2)
    assert {found.config["configurable"]["thread_id"] for found in form.tuples(target)} == {"1", "3"}
    with pytest.raises(MigrationError, match=r"thread 'four' .* no such thread"):
        form.do(migration, "copy_threads", filled("1"), target, threads=["1", "four"])
    report = form.do(migration, "copy_threads", filled("1"), target, threads=["four"], keep_going=True)
    assert (report.seen, list(report.failed)) == (0, ["four"])
    with pytest.raises(ConfigurationError, match="list of thread ids"):
        form.do(migration, "copy_threads", filled("1"), target, threads="1")


def test_what_verify_finds_is_told_without_content() -> None:
    class Forgetful(SessionCheckpointer):
        def put(self, _: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
            changed: Any = {**checkpoint, "channel_values": {"a": "secret too"}}
            other: Any = {"b": 1}
            return super().put(config("1"), changed, other, new_versions)

        def put_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
            pass

    source = filled("1", value="secret")
    first = next(source.list(None))
    second = source.put(first.config, checkpoint({"a": "secret"}, {"a": 2}), {}, {"a": 2})
    report = migration.copy_threads(source, Forgetful(open_backend("memory:")), verify=True)
    one, two = (each["configurable"]["checkpoint_id"] for each in (first.config, second))
    assert report.differences == (
        f"thread '1': checkpoint {one!r} differs in channel values, metadata, pending writes",
        f"thread '1': checkpoint {two!r} differs in channel values, metadata, parent",
    )


def test_of_very_many_differences_some_are_told() -> None:
    class Empty(InMemorySaver):
        def put(self, *args: Any) -> Any:
            pass

    report = migration.copy_threads(filled(*map(str, range(130))), Empty(), verify=True)
    assert len(report.differences) == 101
    assert report.differences[-1] == "and 30 more"


@pytest.mark.peers
def test_a_class_without_this_form_says_so(new_peer: Any) -> None:
    peer: Peer = new_peer("sqlite")
    with forms("async") as form, peer.saver() as blocking:
        awaiting = form.saver(peer)
        with pytest.raises(ConfigurationError, match=r"SqliteSaver has no async form .*copy_threads"):
            form.do(migration, "copy_threads", blocking, InMemorySaver())

        async def in_the_loop() -> None:
            migration.copy_threads(awaiting, InMemorySaver())

        with pytest.raises(ConfigurationError, match="AsyncSqliteSaver has no sync form"):
            form.wait(in_the_loop())


@pytest.mark.peers
@pytest.mark.parametrize("name", ["sqlite", "postgres"])
def test_what_cannot_be_revived_is_not_copied_as_something_else(
    form: Form, name: str, new_peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("an_application")
    monkeypatch.setitem(sys.modules, "an_application", module)
    exec("from dataclasses import dataclass\n@dataclass\nclass Order:\n    number: int", vars(module))
    source, target = form.saver(new_peer(name)), form.our_saver("memory:")
    for thread, value in (("1", "x"), ("2", module.Order(7))):
        form.do(source, "put", config(thread), checkpoint({"a": [value]}), {"step": 0}, {"a": 1})
    with monkeypatch.context() as elsewhere:
        elsewhere.delitem(sys.modules, "an_application")
        report = form.do(migration, "copy_threads", source, target, keep_going=True)
        assert (report.copied, set(report.failed)) == (1, {"2"})
        assert "an_application.Order, which cannot be imported here" in report.failed["2"]
    assert form.do(migration, "copy_threads", source, target, verify=True).differences == ()
    assert form.do(target, "get_tuple", config("2")).checkpoint["channel_values"] == {"a": [module.Order(7)]}


def test_what_we_cannot_revive_stops_its_thread_alone(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("an_application")
    monkeypatch.setitem(sys.modules, "an_application", module)
    exec("from dataclasses import dataclass\n@dataclass\nclass Order:\n    number: int", vars(module))
    written, target = form.our_saver("memory:"), form.our_saver("memory:")
    for thread, value in (("1", "x"), ("2", module.Order(7)), ("3", "y")):
        put = form.do(written, "put", config(thread), checkpoint({"a": [value]}), {"step": 0}, {"a": 1})
        form.do(written, "put_writes", put, [("a", value)], "task")
    source = SessionCheckpointer(written.backend)  # which remembers nothing
    with monkeypatch.context() as elsewhere:
        elsewhere.delitem(sys.modules, "an_application")
        with pytest.raises(
            MigrationError, match=r"thread '2' .* an_application.Order is not loaded .*--import"
        ) as error:
            form.do(migration, "copy_threads", source, target)
        assert isinstance(error.value.__cause__, UntrustedType)
        report = form.do(migration, "copy_threads", source, target, keep_going=True)
        assert (report.seen, set(report.failed)) == (3, {"2"})
        assert "an_application.Order is not loaded" in report.failed["2"]
    assert form.do(migration, "copy_threads", source, target, verify=True).differences == ()
    assert held(form, target) == held(form, written)


def test_a_damaged_checkpoint_of_ours_stops_its_thread_alone(form: Form) -> None:
    source, target = form.our_saver("memory:"), form.our_saver("memory:")
    for thread in "123":
        put = form.do(source, "put", config(thread), checkpoint({"a": 1}), {}, {"a": 1})["configurable"]
        if thread == "2":
            run(source.backend, must(keys.session("2"), Put(layout.record("", put["checkpoint_id"]), b"junk")))
    with pytest.raises(MigrationError, match=r"thread '2' could not be copied: .*damaged"):
        form.do(migration, "copy_threads", source, target)
    report = form.do(migration, "copy_threads", source, target, threads=["1", "2", "4"], keep_going=True)
    assert (report.copied, set(report.failed)) == (1, {"2", "4"})
    assert "damaged" in report.failed["2"]
    assert "no such thread" in report.failed["4"]
    report = form.do(migration, "copy_threads", source, target, keep_going=True)
    assert (report.copied, report.present, set(report.failed)) == (1, 1, {"2"})


def test_ids_may_be_numbers(form: Form) -> None:
    source, target = InMemorySaver(), form.our_saver("memory:")
    put = source.put(config(7), checkpoint({"a": 1}), {}, {"a": 1})
    assert form.do(migration, "copy_threads", source, target, threads=[7], verify=True).copied == 1
    assert form.do(migration, "copy_threads", source, target, verify=True).present == 1
    assert form.do(target, "get_tuple", config("7")).checkpoint["id"] == put["configurable"]["checkpoint_id"]


@pytest.mark.peers
@pytest.mark.parametrize("name", ["sqlite", "redis"])
def test_numbers_name_threads_of_those_that_hand_out_text(form: Form, name: str, new_peer: Any) -> None:
    source, target = form.saver(new_peer(name)), form.our_saver("memory:")
    form.do(source, "put", config("7"), checkpoint({"a": 1}), {"step": 0}, {"a": 1})
    assert form.do(migration, "copy_threads", source, target, threads=[7], verify=True).copied == 1
    with pytest.raises(MigrationError, match=r"thread '8' .* no such thread"):
        form.do(migration, "copy_threads", source, target, threads=[8])


def test_what_names_nothing_is_refused(form: Form) -> None:
    for threads in (5, [[5]], [("a", [5])]):
        with pytest.raises(ConfigurationError, match="threads is a list of thread ids"):
            form.do(migration, "copy_threads", filled("1"), InMemorySaver(), threads=threads)
    for prefix in (5, "notes", (label for label in ("notes",)), (5,)):
        with pytest.raises(ConfigurationError, match="a prefix is a tuple of labels"):
            form.do(migration, "copy_items", *stores({}, {}), prefix=prefix)


def test_what_is_no_checkpointer_is_refused() -> None:
    saver = InMemorySaver()
    with pytest.raises(ConfigurationError, match="not str; open_saver"):
        migration.copy_threads("sqlite:x.db", saver)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="the same"):
        migration.copy_threads(saver, saver)


def test_sessions_are_listed_by_when_their_threads_began() -> None:
    source = InMemorySaver()
    for number, day in enumerate((3, 1, 2)):
        source.put(config(f"t{number}"), checkpoint({"a": 1}, ts=f"2024-05-0{day}T06:32:42.235444+00:00"), {}, {"a": 1})
    source.put(config("odd"), checkpoint({"a": 1}, ts="long ago"), {}, {"a": 1})
    with SessionManager.from_url("memory:") as manager:
        made = manager.create_session("t1").info.created_at
        migration.copy_threads(source, manager.checkpointer)
        listed = {info.id: info.created_at for info in manager.list_sessions(by="created")}
        assert list(listed) == ["t2", "t0", "t1", "odd"]
        assert (listed["t2"], listed["t1"]) == ("2024-05-02T06:32:42.235+00:00", made)


def test_replicas_that_have_not_confirmed_stop_nothing(form: Form, own_redis: RedisServer) -> None:
    source, (items, _) = filled("a", "b"), stores({"a": {"n": 1}, "b": {"n": 2}}, {})
    with SessionManager.from_url(own_redis.url, wait_replicas=1, wait_timeout=0.01) as lone:
        for name, here, target in (("threads", source, lone.checkpointer), ("items", items, lone.store)):
            with pytest.raises(NotReplicated) as caught:
                form.do(migration, f"copy_{name}", here, target, verify=True)
            report = caught.value.result
            assert (report.copied, report.present, report.failed, report.differences) == (2, 0, {}, ())
    with SessionManager.from_url(own_redis.url) as manager:
        assert held(form, manager.checkpointer) == held(form, source)
        again = form.do(migration, "copy_items", items, manager.store, verify=True)
        assert (again.copied, again.present) == (0, 2)
