"""A real Redis Cluster on one machine, built with plain commands.

Rule: every method returns only when the cluster has really reached the state it names (all answering
nodes agree), except where its docstring says that it does not wait.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from support.binaries import RedisBinary
from support.cluster_view import SLOTS, agreed_owners, own_line, view_of
from support.lifecycle import Startable
from support.process import close_all
from support.single import QUICK_REPLICATION, RedisServer
from support.waiting import wait_until

NODE_TIMEOUT_MS = 2000
FORM_TIMEOUT = 40.0


class RedisCluster(Startable):
    """`masters` masters with `replicas` (0 or 1) replicas each; `nodes` lists the masters first."""

    def __init__(
        self,
        binary: RedisBinary,
        masters: int = 3,
        replicas: int = 0,
        args: Sequence[str] = (),
    ) -> None:
        """Prepare the nodes, each with extra command line `args`; nothing is started yet."""
        if replicas not in (0, 1):
            raise ValueError("replicas is per master and must be 0 or 1")
        options = (
            *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"),
            *("--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-announce-ip", "127.0.0.1"),
            *QUICK_REPLICATION,
            *args,
        )
        self.nodes = [RedisServer(binary, args=options) for _ in range(masters * (1 + replicas))]
        self._masters = masters
        self._formed = False
        self._moves: dict[int, tuple[RedisServer, RedisServer]] = {}

    @property
    def url(self) -> str:
        """The address of the cluster: its first (up to three) nodes."""
        return "redis+cluster://" + ",".join(f"{node.host}:{node.port}" for node in self.nodes[:3])

    def start(self) -> None:
        """Start all nodes; the first time, also make them a cluster. Returns when all agree."""
        for node in self.nodes:
            node.start()
        if not self._formed:
            self._form()
            self._formed = True
        self.wait_ok(FORM_TIMEOUT)

    def _form(self) -> None:
        masters, replicas = self.nodes[: self._masters], self.nodes[self._masters :]
        for index, node in enumerate(self.nodes):
            # Distinct from the start, so that the nodes need not first settle a conflict of epochs.
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for index, node in enumerate(masters):
            first, end = (SLOTS * edge // len(masters) for edge in (index, index + 1))
            node.ask("CLUSTER", "ADDSLOTS", *range(first, end))  # the range form is missing in 6.2
        for one, other in itertools.combinations(self.nodes, 2):
            one.ask("CLUSTER", "MEET", other.host, other.port)
        wait_until(self._all_met, "the cluster's nodes know each other", FORM_TIMEOUT)
        for master, replica in zip(masters, replicas, strict=False):
            replica.ask("CLUSTER", "REPLICATE", own_line(master).id)
        wait_until(lambda: self._all_follow(replicas), "every replica follows its master", FORM_TIMEOUT)

    def _all_met(self) -> bool:
        return all(
            len(view) == len(self.nodes)
            and all(line.linked and not line.flags & {"handshake", "noaddr"} for line in view)
            for view in map(view_of, self.nodes)
        )

    def _all_follow(self, replicas: Sequence[RedisServer]) -> bool:
        ports = {replica.port for replica in replicas}
        linked = all("master_link_status:up" in node.ask("INFO", "replication") for node in replicas)
        seen = [{line.port for line in view_of(node) if "slave" in line.flags} for node in self.nodes]
        return linked and all(part == ports for part in seen)

    def masters(self) -> list[RedisServer]:
        """Return the answering nodes which call themselves masters, in the order of `nodes`."""
        return [node for node in self._answering() if "master" in own_line(node).flags]

    def node_for(self, slot: int) -> RedisServer:
        """Return the master that serves the slot now; raise LookupError if no answering node does."""
        claims = []
        for index, node in enumerate(self._answering()):
            line = own_line(node)
            if "master" in line.flags and line.owns(slot):
                # Right after a failover two nodes may claim a slot; the higher epoch is the valid claim.
                claims.append((line.epoch, -index, node))
        if not claims:
            raise LookupError(f"no answering node serves slot {slot}")
        return max(claims, key=lambda claim: claim[:2])[2]

    def begin_slot_move(self, slot: int, to_node: RedisServer) -> None:
        """Mark the slot as moving: from now on its old node answers ASK for keys it does not hold."""
        source = self.node_for(slot)
        to_node.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", own_line(source).id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", own_line(to_node).id)
        self._moves[slot] = (source, to_node)

    def move_keys(self, slot: int, keys: Sequence[str] | None = None) -> int:
        """Move the given keys, or all keys of the moving slot; return how many were moved by name."""
        source, target = self._moves[slot]
        moved = 0
        while True:
            batch = source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100) if keys is None else list(keys)
            if batch:
                source.ask("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *batch)
                moved += len(batch)
            if not batch or keys is not None:
                return moved

    def end_slot_move(self, slot: int) -> None:
        """Give the moving slot to its new node and wait until all agree; its keys must have been moved."""
        source, target = self._moves[slot]
        # The new owner first: were it last, a client could be sent back and forth in between.
        others = [node for node in self.masters() if node not in (source, target)]
        for node in (target, source, *others):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", own_line(target).id)
        del self._moves[slot]
        wait_until(
            lambda: (agreed_owners(self._answering()) or {}).get(slot) == target.port,
            f"every node knows the new owner of slot {slot}",
        )

    def move_slot(self, slot: int, to_node: RedisServer) -> None:
        """Move a slot with all its keys."""
        self.begin_slot_move(slot, to_node)
        self.move_keys(slot)
        self.end_slot_move(slot)

    def kill_master(self, i: int) -> RedisServer:
        """Kill the i-th of the current masters and return it; its replacement is not waited for."""
        victim = self.masters()[i]
        victim.kill()
        return victim

    def wait_ok(self, timeout: float = 30.0) -> None:
        """Wait until all answering nodes report an ok state and agree that answering nodes own every slot."""
        wait_until(lambda: agreed_owners(self._answering()), "the cluster is whole and agrees", timeout, 0.05)

    def _answering(self) -> list[RedisServer]:
        return [node for node in self.nodes if node.answering]

    def stop(self) -> None:
        """Stop all nodes; their directories stay, so that `start()` brings the same cluster back."""
        for node in self.nodes:
            node.request_stop()
        for node in self.nodes:
            node.stop()

    def close(self) -> None:
        """Stop all nodes and remove their directories."""
        close_all(self.nodes)
