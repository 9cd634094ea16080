"""Trouble of several Redis servers: a Sentinel group that fails over, a cluster whose slots move and whose nodes die.

Rule: a replica that takes over has not always what its master has answered. There, and only there, acknowledged writes
may be missing: they are counted. With `wait_replicas` among the options nothing may be missing there either.
"""

from __future__ import annotations

import time

from faults.ledger import Figures
from faults.servers import ALWAYS, PATIENCES, judged, pause
from faults.writers import SHARED, Load, Plan, load
from redis_faults.load import end_move, follows, others, slot_of
from support.servers import RedisCluster, SentinelGroup
from support.waiting import wait_until

from langgraph_sessionstore import keys

LASTING = ("--appendonly", "yes", *ALWAYS)
"""What a node keeps that is killed and started again."""
REPLICATED = "wait_replicas"
"""The option with which a write is acknowledged when replicas have it."""


def failovers(plan: Plan, group: SentinelGroup) -> Figures:
    """The Sentinels swap the roles of two healthy servers, or replace a master that was killed, in turn."""
    begun = time.monotonic()
    with load(plan, group.url, *PATIENCES) as writers:
        for number in plan.rounds():
            writers.progress(20)
            if number % 2:
                group.failover()
            else:
                old = group.kill_master()
                new = group.wait_new_master(old)
                writers.progress(10)
                old.start()
                # as the Sentinels would after ten seconds
                old.ask("REPLICAOF", new.host, new.port)
                old.ask("CONFIG", "REWRITE")
                group.wait_replica()
        writers.progress(20)
    return judged(plan, group.url, begun, REPLICATED not in plan.options)


def moves(plan: Plan, cluster: RedisCluster) -> Figures:
    """Slots of sessions that are written to move from node to node."""
    begun = time.monotonic()
    with load(plan, cluster.url, *PATIENCES) as writers:
        for _ in plan.rounds(3):
            slot = slot_of(keys.session(plan.chance.choice([SHARED, *places(writers)])))
            cluster.begin_slot_move(slot, plan.chance.choice(others(cluster, cluster.node_for(slot))))
            writers.progress(5)
            cluster.move_keys(slot)
            writers.progress(5)
            end_move(cluster, slot)
            writers.progress(5)
    return judged(plan, cluster.url, begun)


def places(load: Load) -> list[str]:
    return [place for writer in load.writers for place in writer.places]


def returns(plan: Plan, cluster: RedisCluster) -> Figures:
    """A node without a replica is killed, and started again on what it has written."""
    begun = time.monotonic()
    with load(plan, cluster.url + "?socket_timeout=1", *PATIENCES) as writers:
        for number in plan.rounds():
            writers.progress(20)
            victim = plan.chance.choice(cluster.nodes)
            victim.kill()
            pause(plan, writers, number, 4)  # the other nodes notice after two seconds
            victim.start()
            cluster.wait_ok()
        writers.progress(20)
    return judged(plan, cluster.url, begun)


def promotions(plan: Plan, cluster: RedisCluster) -> Figures:
    """A master is killed, its replica takes over, and it comes back as a replica."""
    begun = time.monotonic()
    with load(plan, cluster.url + "?socket_timeout=1", *PATIENCES) as writers:
        for _ in plan.rounds():
            writers.progress(20)
            victim = plan.chance.choice(cluster.masters())
            victim.kill()
            cluster.wait_ok()
            writers.progress(20)
            victim.start()
            cluster.wait_ok()
            wait_until(lambda: all(node.role() == "master" or follows(node) for node in cluster.nodes), "all is well")
        writers.progress(20)
    return judged(plan, cluster.url, begun, REPLICATED not in plan.options)
