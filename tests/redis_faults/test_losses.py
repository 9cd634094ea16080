"""A cluster that loses masters, nodes, and scripts."""

from __future__ import annotations

import re
import socket
import time
from contextlib import ExitStack

import pytest
from redis.exceptions import AskError, MovedError, NoScriptError
from redis_faults.load import (
    LOG,
    LOG_SPAN,
    SUM,
    Load,
    Wiretap,
    addresses,
    end_move,
    follows,
    move,
    one,
    others,
    session,
    session_on,
    slot_of,
    work_during,
    work_in_both_forms_during,
)
from support.binaries import find_binary
from support.ports import free_port
from support.servers import RedisCluster, RedisServer
from support.waiting import wait_until
from support.workers import Use

from langgraph_sessionstore import (
    BackendUnavailable,
    OutcomeUnknown,
    keys,
)
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import (
    Add,
    Append,
    Call,
    Get,
    Op,
    Outcome,
    Put,
    Range,
)
from langgraph_sessionstore.testing.checks import check_partition
from langgraph_sessionstore.testing.worker import Worker

# -- masters that are replaced


def test_a_frozen_master_is_replaced(both: Use, replicated: RedisCluster) -> None:
    """It does what it had received when it goes on. (One that is killed: `faults`.)"""
    url = replicated.url + "?socket_timeout=0.5"
    hasty, patient = both(url, patience=1), both(url, patience=30)
    victim = replicated.masters()[0]
    loads = []
    for _ in range(2):
        lost = [session_on(replicated, victim) for _ in range(2)]
        loads.append(Load(*lost, *[session_on(replicated, node) for node in others(replicated, victim)]))
    marks: list[int] = []

    def change() -> None:
        for load in loads:
            load.progress(200)
        victim.pause()
        wait_until(lambda: loads[0].refused, "the hasty are told")
        replicated.wait_ok()
        marks.extend(load.mark() for load in loads)
        for load in loads:
            load.progress(200)
        victim.resume()  # it does what it has received, and learns that it is no master any more
        wait_until(lambda: follows(victim), "the old master follows the new one")
        for load in loads:
            load.progress(200)

    try:
        works = [(hasty.backend, loads[0].step), (patient.backend, loads[1].step)]
        work_in_both_forms_during(hasty, works * 2, change)
        assert re.search(r"could not be reached within 1 s: .+", str(next(iter(loads[0].refused.values()))))
        assert not loads[1].refused
        assert not loads[1].unknown.keys() & loads[1].repeatable  # the others cannot be known
        for worker, load, kept_since in zip((hasty, patient), loads, marks, strict=True):
            load.check(worker.rows, kept_since)
            assert max(load.appended) > kept_since
            for partition in load.partitions:
                assert not worker.run(check_partition(partition))
    finally:
        if victim.paused:
            victim.resume()
        replicated.wait_ok()
        wait_until(lambda: all(node.role() == "master" or follows(node) for node in replicated.nodes), "all is well")


# -- nodes that are lost


def test_a_lost_node_takes_the_cluster_down_until_it_is_back(both: Use, fragile: RedisCluster) -> None:
    in_tasks = both(fragile.url, patience=0.1)
    in_threads = Worker(in_tasks.backend, None)
    victim, *rest = fragile.masters()
    lost, *left = [session_on(fragile, node) for node in (victim, *rest)]
    everything = [one(name, Append(LOG, b"x")) for name in (lost, *left)]
    count = dict.fromkeys(left, 0)  # what is there for certain

    def answers_of(worker: Worker, *calls: Call, ordered: bool = False) -> list[Answer]:
        begun = time.monotonic()
        found = worker.answers(*calls, ordered=ordered)
        assert time.monotonic() - begun < 15
        for (name, batch, *_), answer in zip(calls, found, strict=True):
            if isinstance(answer, list) and batch.writes and name in count:
                count[name] += 1
        return found

    for worker in (in_tasks, in_threads):
        assert all(isinstance(answer, list) for answer in answers_of(worker, *everything))
    victim.kill()
    try:
        for worker in (in_tasks, in_threads):
            for ops in [(Get(LOG),), (Get(LOG), Range(b"", None))]:
                (answer,) = answers_of(worker, one(lost, *ops))
                assert isinstance(answer, BackendUnavailable)
            first, *rest_answers = answers_of(worker, *everything)
            assert isinstance(first, (BackendUnavailable, OutcomeUnknown))
            # the cluster may be down already
            assert all(isinstance(answer, (list, BackendUnavailable)) for answer in rest_answers)
            first, *rest_answers = answers_of(worker, *everything, ordered=True)
            assert isinstance(first, (BackendUnavailable, OutcomeUnknown))
            assert ["not tried" in str(answer) for answer in rest_answers] == [True, True]

        def down() -> bool:
            found = answers_of(in_tasks, *[one(name, Get(LOG)) for name in left])
            for name, answer in zip(left, found, strict=True):
                assert isinstance(answer, BackendUnavailable) or answer == [b"%d" % count[name]]
            return all("The cluster is down" in str(answer) for answer in found)

        wait_until(down, "the nodes that are left give up")
        for worker in (in_tasks, in_threads):
            found = answers_of(worker, *[one(name, Append(LOG, b"x")) for name in left])
            assert [type(answer) for answer in found] == [BackendUnavailable] * 2
            for source, target in ((left[0], session()), (left[0], left[1])):
                with pytest.raises(BackendUnavailable):
                    worker.copy(source, target)
    finally:
        victim.restart()
        fragile.wait_ok()
    for number, worker in enumerate((in_tasks, in_threads)):
        wanted = [[keys.sequence(LOG, count[name])] for name in left]
        assert answers_of(worker, *[one(name, Append(LOG, b"x")) for name in left]) == wanted
        found = worker.do(lost, Append(LOG, b"x"), Get(LOG))  # a node without a disk
        assert found == [keys.sequence(LOG, number), b"%d" % (number + 1)]
    assert in_threads.copy(left[0], lost, Get(LOG)) == [b"%d" % count[left[0]]]


def test_a_silent_node_is_not_asked_for_the_map(use: Use, fragile: RedisCluster, tap: Wiretap) -> None:
    """Each time costs a time limit, also those who want something of the other nodes."""
    worker = use(fragile.url + "?socket_timeout=0.1", patience=0)
    silent, well, _ = fragile.masters()
    names = [session_on(fragile, silent), session_on(fragile, well)]
    worker.execute(*[one(name, Put(b"k", b"1")) for name in names])
    tap.maps.clear()
    silent.pause()
    try:
        for _ in range(12):
            assert isinstance(worker.answers(one(names[0], Get(b"k")))[0], BackendUnavailable)
            worker.answers(one(names[1], Get(b"k")))
    finally:
        silent.resume()
        fragile.wait_ok()
    assert len(tap.maps) >= 12
    assert (silent.host, silent.port) not in tap.maps


def test_a_cluster_that_cannot_name_its_nodes(use: Use, fragile: RedisCluster, met: list[Exception]) -> None:
    """Where a node does not know how it is reached, it sends clients to another port of the host that they know."""
    worker = use(fragile.url)
    name = session()
    slot = slot_of(name)
    try:
        for node in fragile.nodes:
            node.ask("CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint")
        assert worker.do(name, Add(SUM, 1)) == [1]
        fragile.begin_slot_move(slot, others(fragile, fragile.node_for(slot))[0])
        fragile.move_keys(slot)
        assert worker.do(name, Add(SUM, 1), Range(LOG, SUM)) == [2, []]
        end_move(fragile, slot)
        assert worker.do(name, Add(SUM, 1)) == [3]
    finally:
        for node in fragile.nodes:
            node.ask("CONFIG", "SET", "cluster-preferred-endpoint-type", "ip")
    assert {AskError, MovedError} <= {type(error) for error in met}


# -- scripts that a server has forgotten


def test_a_flushed_script_is_sent_again_to_the_node_that_lost_it(
    use: Use, fragile: RedisCluster, met: list[Exception], tap: Wiretap
) -> None:
    worker = use(fragile.url)
    names = [session_on(fragile, node) for node in fragile.masters()]
    worker.execute(*[one(name, Put(b"k", b"1")) for name in names])
    rounds: list[tuple[Op, ...]] = [(Add(SUM, 1),), (Range(b"k", b"l"), Add(SUM, 1), Range(*LOG_SPAN))]
    for number, ops in enumerate(rounds, 1):
        fragile.masters()[1].ask("SCRIPT", "FLUSH")
        met.clear()
        tap.visited()
        found: list[Outcome] = worker.execute(*[one(name, *ops) for name in names])
        assert [type(error) for error in met] == [NoScriptError]
        assert sorted(map(str, tap.visited())) == sorted(map(str, addresses([*fragile.nodes, fragile.masters()[1]])))
        row = [(b"k", b"1")]
        assert found == [[number] if len(ops) == 1 else [row, number, []]] * 3
        met.clear()
        worker.execute(*[one(name, *ops[:0], Get(b"k"), Put(b"k", b"1")) for name in names])
        assert met == []
    for name in names:
        target = session_on(fragile, fragile.masters()[2])
        fragile.masters()[2].ask("SCRIPT", "FLUSH")
        assert worker.copy(name, target, Get(SUM)) == [b"2"]


def test_a_flushed_script_is_no_matter_of_patience(use: Use, fragile: RedisCluster) -> None:
    worker = use(fragile.url, patience=0)
    name = session()
    worker.do(name, Get(b"k"))  # learns the map
    fragile.node_for(slot_of(name)).ask("SCRIPT", "FLUSH")
    assert worker.do(name, Add(SUM, 1)) == [1]


def test_scripts_are_flushed_under_load(use: Use, fragile: RedisCluster, met: list[Exception]) -> None:
    worker = use(fragile.url)
    load = Load(*[session_on(fragile, node) for node in fragile.masters()])

    def change() -> None:
        for node in fragile.masters() * 3:
            load.progress(20)
            node.ask("SCRIPT", "FLUSH")
        load.progress()

    work_during(worker._loop, [(worker.backend, load.step)] * 4, change)
    load.check_all_went_well(worker.rows)
    assert {type(error) for error in met} == {NoScriptError}


# -- where to begin


def test_one_seed_that_answers_is_enough(use: Use, fragile: RedisCluster) -> None:
    good = fragile.nodes[2]
    name = session()
    with ExitStack() as stack:
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))  # takes connections, and says nothing
        alone = stack.enter_context(RedisServer(find_binary("7")))  # of no cluster
        unmet = stack.enter_context(RedisServer(find_binary("7"), args=("--cluster-enabled", "yes")))  # of its own
        ports = [free_port(), mute.getsockname()[1], alone.port, unmet.port, good.port]
        seeds = ",".join(f"127.0.0.1:{port}" for port in ports)
        worker = use(f"redis+cluster://{seeds}?socket_timeout=0.3")
        assert worker.do(name, Add(SUM, 1)) == [1]
        for other in ports[:4]:
            seeds = f"127.0.0.1:{other},127.0.0.1:{good.port}"
            assert use(f"redis+cluster://{seeds}?socket_timeout=0.3").do(name, Get(SUM)) == [b"1"]


def test_without_a_seed_that_answers_the_trouble_is_named(use: Use) -> None:
    ports = [free_port() for _ in range(3)]
    seeds = ",".join(f"127.0.0.1:{port}" for port in ports)
    worker = use(f"redis+cluster://{seeds}", patience=0.1)
    begun = time.monotonic()
    for op in (Get(b"k"), Append(LOG, b"x")):
        with pytest.raises(BackendUnavailable, match=rf"within 0.1 s: .*({'|'.join(map(str, ports))})"):
            worker.do(session(), op)
    with pytest.raises(BackendUnavailable):
        worker.copy(session(), session())
    assert time.monotonic() - begun < 15
    with RedisServer(find_binary("7")) as alone:
        worker = use(f"redis+cluster://127.0.0.1:{alone.port}", patience=0.1)
        with pytest.raises(BackendUnavailable, match="cluster support disabled"):
            worker.do(session(), Get(b"k"))


def test_the_first_seeds_may_die_later(use: Use, fragile: RedisCluster) -> None:
    """What was learnt from a seed that is gone is used, and so are the nodes that it named."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        seed = f"127.0.0.1:{mute.getsockname()[1]},127.0.0.1:{fragile.nodes[0].port}"
        worker = use(f"redis+cluster://{seed}?socket_timeout=0.3")
        name = session()
        assert worker.do(name, Add(SUM, 1)) == [1]
    move(fragile, name)
    assert worker.do(name, Add(SUM, 1)) == [2]
