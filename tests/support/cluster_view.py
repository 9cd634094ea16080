"""What one cluster node believes about the cluster, read from its `CLUSTER NODES`.

Rule: reading only; nothing in this file changes a server.
"""

from __future__ import annotations

from dataclasses import dataclass

from support.single import RedisServer

SLOTS = 16384


@dataclass(frozen=True)
class NodeView:
    """One line of a node's table: a node as another node (or itself) sees it."""

    id: str
    port: int
    flags: frozenset[str]
    epoch: int
    linked: bool
    slots: tuple[range, ...]

    def owns(self, slot: int) -> bool:
        """Whether the slot is in this node's ranges."""
        return any(slot in part for part in self.slots)


def view_of(server: RedisServer) -> list[NodeView]:
    """Return the table of one node."""
    return [_parsed(line) for line in server.ask("CLUSTER", "NODES", timeout=2.0).splitlines()]


def own_line(server: RedisServer) -> NodeView:
    """Return what a node says about itself."""
    return next(line for line in view_of(server) if "myself" in line.flags)


def agreed_owners(servers: list[RedisServer]) -> dict[int, int] | None:
    """Return slot -> port of its master if every given node sees the same, whole and healthy map, else None.

    Healthy means: each node reports `cluster_state:ok`, and each of the 16384 slots belongs to one of the
    given nodes, so a master that was killed but not yet replaced makes the answer None.
    """
    maps = []
    ports = {server.port for server in servers}
    for server in servers:
        if "cluster_state:ok" not in server.ask("CLUSTER", "INFO", timeout=2.0):
            return None
        owners = {slot: line.port for line in view_of(server) for part in line.slots for slot in part}
        if len(owners) != SLOTS or not set(owners.values()) <= ports:
            return None
        maps.append(owners)
    if not maps or any(other != maps[0] for other in maps):
        return None
    return maps[0]


def _parsed(line: str) -> NodeView:
    words = line.split()
    address = words[1].split("@")[0]  # "host:port@busport", since 7.0 with ",hostname" behind
    # A slot on its way from or to another node is listed as "[slot->-id]"; it has not changed hands yet.
    ranges = [word.split("-") for word in words[8:] if not word.startswith("[")]
    return NodeView(
        id=words[0],
        port=int(address.rsplit(":", 1)[1]),
        flags=frozenset(words[2].split(",")),
        epoch=int(words[6]),
        linked=words[7] == "connected",
        slots=tuple(range(int(ends[0]), int(ends[-1]) + 1) for ends in ranges),
    )
