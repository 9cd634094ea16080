"""A TCP proxy in front of one server, for counting round trips and for breaking connections on purpose.

Rule: it knows bytes and not commands, and a cut happens at an exact byte. One thread moves all the data;
the callers' methods only change what it decides by, under one lock.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from support.proxy_counters import Counters
from support.proxy_link import PATIENCE, Link, close_hard, deliver, receive, within

if TYPE_CHECKING:
    from typing_extensions import Self  # in `typing` only since Python 3.11

HOST = "127.0.0.1"
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Proxy(Counters):
    """Forward connections on `host:port` of its own to the given server.

    A pipeline may leave the client in several packets, and a quick server answers the first before the
    last has left. A reply is therefore forwarded only when the client has been silent for `settle` seconds,
    so that this still counts as one round trip; pass 0 where speed matters more than the count.
    """

    def __init__(self, host: str, port: int, *, settle: float = 0.003) -> None:
        """Listen on a free loopback port at once; the server need not run yet."""
        super().__init__()
        self._target = (host, port)
        self._settle = settle
        self._links: list[Link] = []
        self._request_budget: int | None = None
        self._reply_budget: int | None = None
        self._holding = self._refusing = self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server((HOST, 0), backlog=256)
        self._wake_end, self._waker = socket.socketpair()
        for sock in (self._listener, self._wake_end):
            sock.setblocking(False)
            self._selector.register(sock, READ)
        self.host = HOST
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run, name=f"proxy-{self.port}", daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """Set all counters to zero; armed faults and open connections stay."""
        with self._lock:
            super().reset()
            for link in self._links:
                link.in_burst = False

    def cut_after_reply_bytes(self, n: int) -> None:
        """Once: forward n more bytes from the server, then cut the connection that carried the last of them.

        With n=0 it is cut when the first byte has come from the server: the request has been carried out.
        """
        with self._lock:
            self._reply_budget = n

    def cut_after_request_bytes(self, n: int) -> None:
        """Once: forward n more bytes to the server, then cut the connection that carried the last of them.

        With n=0 it is cut when a client sends: nothing of it reaches the server. With n as long as the
        request the server carries it out, and its reply is lost.
        """
        with self._lock:
            self._request_budget = n

    def cut_nothing(self) -> None:
        """Take back a cut that has not happened."""
        with self._lock:
            self._request_budget = self._reply_budget = None

    def hold_replies(self) -> None:
        """Withhold what the server sends; a reply cut that is armed meanwhile happens after the release."""
        with self._lock:
            self._holding = True

    def release_replies(self) -> None:
        """Forward what was withheld, and everything after it."""
        with self._lock:
            self._holding = False
        self._wake()

    def refuse(self) -> None:
        """Close new connections as soon as they are opened; open ones stay."""
        with self._lock:
            self._refusing = True

    def accept(self) -> None:
        """Take new connections again."""
        with self._lock:
            self._refusing = False

    def drop_all(self) -> None:
        """Cut every open connection before returning."""
        with self._lock:
            for link in list(self._links):
                self._end(link, hard=True)

    def close(self) -> None:
        """Cut every connection and free the port."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            self._wake()  # before the thread can see it, for then it closes what wakes it
        self._thread.join()

    def __enter__(self) -> Self:
        """Return the proxy, which listens already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut every connection and free the port."""
        self.close()

    def _wake(self) -> None:
        self._waker.send(b"\0")

    def _run(self) -> None:
        pause: float | None = None
        while True:
            events = self._selector.select(pause)
            with self._lock:
                if self._stopping:
                    break
                # Clients first: what they sent before they were sent a reply belongs to the same burst.
                events.sort(key=lambda event: event[0].data is not None and event[0].data[1])
                for key, mask in events:
                    if key.data is not None and key.data[0] in self._links and mask & READ:
                        self._take(*key.data)
                    elif key.fileobj is self._listener:
                        self._open()
                    elif key.fileobj is self._wake_end:
                        self._wake_end.recv(4096)
                pauses = [self._advance(link) for link in list(self._links)]
                pause = min((wait for wait in pauses if wait is not None), default=None)
        self.drop_all()
        for sock in (self._listener, self._wake_end, self._waker):
            sock.close()
        self._selector.close()

    def _open(self) -> None:
        client, _ = self._listener.accept()
        try:
            if self._refusing:
                raise ConnectionRefusedError
            server = socket.create_connection(self._target, timeout=PATIENCE)
        except OSError:
            close_hard(client)
            return
        link = Link(client, server)
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._links.append(link)
        self._connections += 1

    def _take(self, link: Link, from_server: bool) -> None:
        """Read once from one side of a link."""
        try:
            data = receive(link.server if from_server else link.client)
        except OSError:
            self._end(link, hard=True)
            return
        if from_server:
            link.withheld += data or b""
            link.server_ended |= data == b""
        elif data:
            self._forward_up(link, data)
        elif data is not None:
            link.client_ended = True

    def _forward_up(self, link: Link, data: bytes) -> None:
        if not link.in_burst:
            self._round_trips += 1
        link.in_burst = True
        link.last_sent = time.monotonic()
        data, self._request_budget, cut = within(self._request_budget, data)
        self._bytes_up += len(data)
        link.up += data
        if cut:
            self._cuts += 1
            deliver(link.server, link.up)
            # Only the client is reset: a server that has not accepted yet would drop the request unread.
            self._end(link, hard=True, server_hard=False)

    def _forward_down(self, link: Link) -> None:
        data, self._reply_budget, cut = within(self._reply_budget, bytes(link.withheld))
        link.withheld.clear()
        link.in_burst = False
        self._bytes_down += len(data)
        link.down += data
        if cut:
            self._cuts += 1
            deliver(link.client, link.down)
            self._end(link, hard=True)

    def _advance(self, link: Link) -> float | None:
        """Move a link's bytes on as far as they may go; return the seconds until its replies are due."""
        wait = None
        if link.withheld and not self._holding:
            wait = link.last_sent + self._settle - time.monotonic()
            if wait <= 0:
                wait = None
                self._forward_down(link)
        if link not in self._links:
            return None  # that was its cut
        try:
            link.flush()
        except OSError:
            self._end(link, hard=True)
            return None
        if link.finished:
            self._end(link, hard=False)
            return None
        self._watch(link, False, (0 if link.client_ended else READ) | (WRITE if link.down else 0))
        self._watch(link, True, (0 if link.server_ended else READ) | (WRITE if link.up else 0))
        return wait

    def _watch(self, link: Link, from_server: bool, mask: int) -> None:
        sock = link.server if from_server else link.client
        key = self._selector.get_map().get(sock)
        if key is None and mask:
            self._selector.register(sock, mask, (link, from_server))
        elif key is not None and not mask:
            self._selector.unregister(sock)
        elif key is not None and key.events != mask:
            self._selector.modify(sock, mask, (link, from_server))

    def _end(self, link: Link, *, hard: bool, server_hard: bool = True) -> None:
        self._links.remove(link)
        for from_server, sock, reset in (
            (False, link.client, hard),
            (True, link.server, hard and server_hard),
        ):
            self._watch(link, from_server, 0)
            if reset:
                close_hard(sock)
            else:
                sock.close()
