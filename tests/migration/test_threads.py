"""Threads copied between each of the others and ours: all of it is there, and graphs go on from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langgraph.checkpoint.base import WRITES_IDX_MAP
from migration.graphs import carry_on, fill, held
from support.peers import OURS, PEERS, Form, Peer
from support.savers import checkpoint, config

from langgraph_sessionstore import SessionCheckpointer, migration

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:get_async_redis_connection:DeprecationWarning"),
]


def test_what_was_copied_to_us_and_back_is_the_same(
    form: Form, peer: Peer, our_url: Callable[[str], str], new_peer: Callable[[str], Peer]
) -> None:
    source, ours = form.saver(peer), form.our_saver(our_url("file"))
    fill(form, source)
    before = held(form, source)
    report = form.do(migration, "copy_threads", source, ours, verify=True)
    assert (report.seen, report.copied, report.present) == (5, len(before), 0)
    assert report.writes == sum(len(writes) for *_, tasks in before.values() for writes in tasks.values()) > 50
    assert (report.failed, report.differences) == ({}, ())
    assert held(form, ours) == before
    assert [problem for thread in {name[0] for name in before} for problem in form.do(ours, "check", thread)] == []
    again = form.saver(new_peer(peer.name))
    report = form.do(migration, "copy_threads", ours, again)
    assert (report.copied, report.failed) == (len(before), {})
    assert held(form, again) == before


@pytest.mark.parametrize(("name", "ours"), [*zip(PEERS, OURS, strict=True)])
def test_graphs_go_on_with_us(
    form: Form, name: str, ours: str, new_peer: Callable[[str], Peer], our_url: Callable[[str], str]
) -> None:
    source, target = form.saver(new_peer(name)), form.our_saver(our_url(ours))
    fill(form, source)
    form.do(migration, "copy_threads", source, target)
    assert carry_on(form, target) == carry_on(form, source)


def test_graphs_go_on_with_the_others(form: Form, peer: Peer) -> None:
    source, target = form.our_saver("memory:"), form.saver(peer)
    fill(form, source)
    report = form.do(migration, "copy_threads", source, target, verify=True)
    kept = "order of pending writes"  # RedisSaver has one of its own, which is not that of the tasks
    assert [
        each for each in report.differences if peer.name != "redis" or not each.endswith(f"differs in {kept}")
    ] == []
    assert carry_on(form, target) == carry_on(form, source)


def test_again_brings_what_is_new_and_changes_nothing_else(form: Form, peer: Peer) -> None:
    source, target = form.saver(peer), form.our_saver("memory:")
    fill(form, source)
    first = form.do(migration, "copy_threads", source, target)
    before = held(form, target)
    done: list[Any] = []
    report = form.do(migration, "copy_threads", source, target, progress=lambda *at: done.append(at))
    assert (report.copied, report.present, report.writes) == (0, first.copied, 0)
    assert done == [(number + 1, first.copied) for number in range(first.copied)]
    assert held(form, target) == before
    carry_on(form, source)
    report = form.do(migration, "copy_threads", source, target, verify=True)
    now = held(form, source)
    assert (report.copied, report.present, report.differences) == (len(now) - first.copied, first.copied, ())
    assert held(form, target) == now


def test_again_reads_of_ours_what_may_have_changed_and_no_more(form: Form) -> None:
    read: list[Any] = []

    class Noting(SessionCheckpointer):
        def get_tuple(self, config: Any) -> Any:
            read.append(config)
            return super().get_tuple(config)

        async def aget_tuple(self, config: Any) -> Any:
            read.append(config)
            return await super().aget_tuple(config)

    source, target = form.our_saver("memory:"), form.our_saver("memory:")
    fill(form, source)
    noting = Noting(source.backend)
    for number in range(110):  # more than a page of threads, and of checkpoints
        for thread in (f"t{number}", "long"):
            form.do(source, "put", config(thread), checkpoint({"n": number}, {"n": number}), {}, {"n": number})
    before = held(form, source)
    assert form.do(migration, "copy_threads", noting, target).copied == len(before) == len(read)
    assert held(form, target) == before
    read.clear()
    assert form.do(migration, "copy_threads", noting, target).present == len(before)
    last = {max(name for name in before if name[:2] == begin) for begin in {name[:2] for name in before}}
    specials = {
        (where["thread_id"], where["checkpoint_ns"], where["checkpoint_id"])
        for found in form.tuples(source, None)
        for where in [found.config["configurable"]]
        if any(channel in WRITES_IDX_MAP for _, channel, _ in found.pending_writes)
    }
    assert specials
    assert len(read) == len(last | specials) < len(before)
