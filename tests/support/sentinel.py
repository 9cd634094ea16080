"""A real master, its replica, and three sentinels that watch them.

Rule: the data servers get their roles by command, not by command line, and keep them in their
configuration files, so a server that is restarted after a failover comes back in its last role.
"""

from __future__ import annotations

from collections.abc import Sequence

from support.binaries import RedisBinary
from support.lifecycle import Startable
from support.process import ServerProcess, close_all
from support.single import QUICK_REPLICATION, RedisServer
from support.waiting import wait_until

SERVICE = "main"
# Sentinels ping once a second; with a limit of one second they now and then take a master that has just been
# promoted for dead, and swap the roles back.
DOWN_AFTER_MS = 2000
FAILOVER_TIMEOUT_MS = 3000
SENTINELS = 3
READY_TIMEOUT = 40.0


class SentinelServer(ServerProcess):
    """One sentinel; it keeps what it has learned in its configuration file."""

    def __init__(self, binary: RedisBinary, master: RedisServer) -> None:
        """Prepare a sentinel for `master`, whose port must be final by the time this one starts."""
        super().__init__(binary)
        self._master = master

    def _arguments(self) -> Sequence[str]:
        config = self.folder / "sentinel.conf"
        port_line = f"port {self.port}\n"
        # Written anew only when there is none for this port: a sentinel stores its state in this file.
        if not config.exists() or port_line not in config.read_text():
            config.write_text(
                f"{port_line}bind {self.host}\ndir {self.folder}\n"
                f"sentinel monitor {SERVICE} {self._master.host} {self._master.port} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
                f"sentinel failover-timeout {SERVICE} {FAILOVER_TIMEOUT_MS}\n"
            )
        return (str(config), "--sentinel")

    def state(self) -> dict[str, str]:
        """Return what this sentinel knows of the master, as `SENTINEL MASTER` words it."""
        words = self.ask("SENTINEL", "MASTER", SERVICE)
        return dict(zip(words[::2], words[1::2], strict=True))

    def master_port(self) -> int:
        """Return the port of the server this sentinel holds for the master."""
        return int(self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])


class SentinelGroup(Startable):
    """Two data servers (`servers`) and three `sentinels`; the service is called "main"."""

    service = SERVICE

    def __init__(self, binary: RedisBinary, args: Sequence[str] = ()) -> None:
        """Prepare the group, the data servers with extra command line `args`; nothing is started yet."""
        options = (*QUICK_REPLICATION, *args)
        self.servers = [RedisServer(binary, args=options) for _ in range(2)]
        self.sentinels = [SentinelServer(binary, self.servers[0]) for _ in range(SENTINELS)]
        self._formed = False

    @property
    def url(self) -> str:
        """The address of the group: its sentinels and the service."""
        nodes = ",".join(f"{sentinel.host}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{nodes}/{self.service}"

    def start(self) -> None:
        """Start everything; returns when every sentinel knows enough for a failover to work at once."""
        master, replica = self.servers
        master.start()
        replica.start()
        if not self._formed:
            replica.ask("REPLICAOF", master.host, master.port)
            replica.ask("CONFIG", "REWRITE")
            # Before the sentinels start: they look for replicas at once, but then only every ten seconds.
            wait_until(lambda: ",state=online," in master.ask("INFO", "replication"), "the replica follows")
            self._formed = True
        for sentinel in self.sentinels:
            sentinel.start()
        wait_until(self._all_known, "the sentinels know the servers and each other", READY_TIMEOUT)

    def _all_known(self) -> bool:
        states = [sentinel.state() for sentinel in self.sentinels]
        return all(
            state["num-other-sentinels"] == str(SENTINELS - 1)
            and state["num-slaves"] == "1"
            and state["flags"] == "master"  # a master that is down or unknown has further flags
            for state in states
        )

    def master(self) -> RedisServer:
        """Ask a sentinel for the master and return that server (which may be down, if it just died)."""
        sentinel = next(sentinel for sentinel in self.sentinels if sentinel.answering)
        port = sentinel.master_port()
        return next(server for server in self.servers if server.port == port)

    def failover(self, *, demote: bool = True, timeout: float = 40.0) -> RedisServer:
        """Have the sentinels swap the roles of two healthy servers; return the new master.

        The sentinels let the old master go on as a master, losing what is written to it, for about ten
        seconds, and then make it a replica. By default that is done here at once; `demote=False` leaves it
        to them.
        """
        old = self.master()
        # Sentinels would also promote a server that does not follow the master yet, and lose its data.
        self.wait_replica(timeout)
        wait_until(self._failover_accepted, "a sentinel accepts the order to fail over", timeout)
        new = self.wait_new_master(old, timeout)
        if demote:
            old.ask("REPLICAOF", new.host, new.port)
            old.ask("CONFIG", "REWRITE")
            self.wait_replica(timeout)
        return new

    def _failover_accepted(self) -> bool:
        # Refused while an earlier failover is not finished and while the replica is not yet known to be fit;
        # that refusal is an error reply, which `wait_until` takes for "not yet".
        sentinel = next(sentinel for sentinel in self.sentinels if sentinel.answering)
        return bool(sentinel.ask("SENTINEL", "FAILOVER", SERVICE) == "OK")

    def kill_master(self) -> RedisServer:
        """Kill the master and return it; does not wait for its replacement (`wait_new_master`)."""
        victim = self.master()
        victim.kill()
        return victim

    def wait_new_master(self, old: RedisServer, timeout: float = 40.0) -> RedisServer:
        """Wait until all answering sentinels name a master other than `old`, and that server says so too."""

        def promoted() -> RedisServer | None:
            ports = {sentinel.master_port() for sentinel in self.sentinels if sentinel.answering}
            new = next(server for server in self.servers if server is not old)
            return new if ports == {new.port} and new.role() == "master" else None

        return wait_until(promoted, f"a server other than {old!r} is the master", timeout)

    def wait_replica(self, timeout: float = 40.0) -> None:
        """Wait until the master has its replica (again, when a killed server was restarted)."""
        wait_until(
            lambda: ",state=online," in self.master().ask("INFO", "replication"),
            "the master has a replica",
            timeout,
        )

    def stop(self) -> None:
        """Stop everything, the sentinels first, so that they do not take the end for a failure."""
        for group in (self.sentinels, self.servers):
            for server in group:
                server.request_stop()
            for server in group:
                server.stop()

    def close(self) -> None:
        """Stop everything and remove the directories."""
        close_all(self.sentinels)
        close_all(self.servers)
