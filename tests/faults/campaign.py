"""The scenarios by name, each with the servers that it needs, and the table of what became of the writes.

Rule: the short form in the tests and the long one on the command line are the same scenarios with other figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from faults import files, groups, servers
from faults.ledger import Figures
from faults.writers import Plan
from support.binaries import find_binary
from support.servers import RedisCluster, RedisServer, SentinelGroup


class Scenario(NamedTuple):
    """What is done, and the servers on which it is done."""

    run: Callable[[Plan, Any], Figures]
    servers: Callable[[], AbstractContextManager[Any]] = nullcontext


def lasting_server() -> RedisServer:
    """A server that keeps what it has answered."""
    return RedisServer(find_binary("7"), aof=True, args=servers.ALWAYS)


def lasting_cluster() -> RedisCluster:
    """A cluster whose nodes do."""
    return RedisCluster(find_binary("7"), args=groups.LASTING)


def killed_on_file(durability: str) -> Callable[[Plan, Any], Figures]:
    def run(plan: Plan, _: Any) -> Figures:
        url, options = f"file:{plan.folder}/store", {"durability": durability, **plan.options}
        return files.killed(plan._replace(options=options), url)

    return run


SCENARIOS = {
    "file-killed-normal": Scenario(killed_on_file("normal")),
    "file-killed-full": Scenario(killed_on_file("full")),
    "file-limited": Scenario(lambda plan, _: files.limited(plan)),
    "file-disk-full": Scenario(lambda plan, _: files.full(plan)),
    "file-read-only": Scenario(lambda plan, _: files.read_only(plan)),
    "redis-killed": Scenario(lambda plan, server: files.killed(plan, server.url), lasting_server),
    "redis-cut": Scenario(servers.cuts, lasting_server),
    "redis-late": Scenario(servers.late, lasting_server),
    "redis-restart": Scenario(servers.restarts, lasting_server),
    "sentinel-failover": Scenario(groups.failovers, lambda: SentinelGroup(find_binary("7"))),
    "cluster-killed": Scenario(lambda plan, cluster: files.killed(plan, cluster.url), lasting_cluster),
    "cluster-move": Scenario(groups.moves, lasting_cluster),
    "cluster-restart": Scenario(groups.returns, lasting_cluster),
    "cluster-promotion": Scenario(groups.promotions, lambda: RedisCluster(find_binary("7"), replicas=1)),
}

COLUMNS = ("scenario", "acknowledged", "unknown", "refused", "lost", "twice", "ghosts", "wrong", "seconds")


def table(rows: Iterable[tuple[str, Figures | str]]) -> str:
    """The figures of each scenario in a line; what was not run says why."""
    lines = [f"{COLUMNS[0]:<20}" + "".join(f"{name:>13}" for name in COLUMNS[1:])]
    for name, found in rows:
        if isinstance(found, str):
            lines.append(f"{name:<20}  not run: {found}")
            continue
        cells = [found.acknowledged, found.unknown, found.refused]
        cells += map(len, (found.lost, found.twice, found.ghosts, found.wrong))
        lines.append(f"{name:<20}" + "".join(f"{cell:>13}" for cell in [*cells, round(found.seconds)]))
        lines[-1] += f"  {found.remark}".rstrip()
    return "\n".join(lines)
